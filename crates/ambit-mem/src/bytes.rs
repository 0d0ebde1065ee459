//! How many bytes: one type for every size, limit and length in memory.
//!
//! A newtype over `u64`, so that a size is never mistaken for a count of items. Arithmetic is
//! checked or saturating, never wrapping. Text uses binary units ("12.3 MiB"); parsing is exact
//! (integers all the way) and refuses what does not fit in 64 bits.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

/// A number of bytes.
///
/// ```
/// use ambit_mem::Bytes;
///
/// assert_eq!("1.5GiB".parse(), Ok(Bytes::mib(1536)));
/// assert_eq!(Bytes::kib(12_595).to_string(), "12.3 MiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(u64);

impl Bytes {
    /// Zero bytes.
    pub const ZERO: Self = Self(0);
    /// The largest number of bytes.
    pub const MAX: Self = Self(u64::MAX);

    /// `n` bytes.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }

    /// `n` bytes, from a length in memory.
    pub const fn of(n: usize) -> Self {
        Self(n as u64)
    }

    /// `n` x 1,024 bytes; [`Bytes::MAX`] where that does not fit.
    pub const fn kib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 10))
    }

    /// `n` x 1,048,576 bytes; [`Bytes::MAX`] where that does not fit.
    pub const fn mib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 20))
    }

    /// `n` x 1,073,741,824 bytes; [`Bytes::MAX`] where that does not fit.
    pub const fn gib(n: u64) -> Self {
        Self(n.saturating_mul(1 << 30))
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as a length in memory; `None` where `usize` is too small.
    pub fn to_usize(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    /// Whether this is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum; `None` where it does not fit.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference; `None` where `other` is larger.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(difference) => Some(Self(difference)),
            None => None,
        }
    }

    /// The product; `None` where it does not fit.
    pub const fn checked_mul(self, factor: u64) -> Option<Self> {
        match self.0.checked_mul(factor) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// The sum, at most [`Bytes::MAX`].
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, at least zero.
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The product, at most [`Bytes::MAX`].
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl Sum for Bytes {
    /// The sum, at most [`Bytes::MAX`].
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Self::saturating_add)
    }
}

impl fmt::Display for Bytes {
    /// Whole bytes below 1 KiB, else one decimal in the largest unit that gives at least 1.0,
    /// rounded half up. Width and alignment of the format string apply.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1 << 10 {
            return f.pad(&format!("{} B", self.0));
        }
        let mut tenths = 0;
        let mut name = "";
        for (shift, unit) in
            [(10, "KiB"), (20, "MiB"), (30, "GiB"), (40, "TiB"), (50, "PiB"), (60, "EiB")]
        {
            let size = 1_u128 << shift;
            tenths = (u128::from(self.0) * 10 + size / 2) / size;
            name = unit;
            // 1,023.96 KiB would print as "1024.0 KiB": the next unit says "1.0 MiB".
            if tenths < 10_240 {
                break;
            }
        }
        f.pad(&format!("{}.{} {name}", tenths / 10, tenths % 10))
    }
}

/// Why a text is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParseBytesError {
    input: String,
    reason: &'static str,
}

impl fmt::Display for ParseBytesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { input, reason } = self;
        write!(
            f,
            "'{input}' is not a size in bytes: {reason}; write for example 64MiB, 1.5GiB or 1048576"
        )
    }
}

impl std::error::Error for ParseBytesError {}

impl FromStr for Bytes {
    type Err = ParseBytesError;

    /// Reads "1048576", "64MiB", "64M", "1.5 GiB", "10kb".
    ///
    /// Case and space around the parts do not matter. K, M, G, T, P (with or without `iB`) are
    /// powers of 1,024; KB, MB, GB, TB, PB are powers of 1,000. A fraction is cut to whole bytes.
    fn from_str(input: &str) -> Result<Self, ParseBytesError> {
        let refuse = |reason| ParseBytesError { input: input.into(), reason };
        let text = input.trim();
        let number_len =
            text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, unit) = text.split_at(number_len);
        let unit = unit_size(unit.trim()).ok_or_else(|| refuse("unknown unit"))?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() || (fraction.is_empty() && number.contains('.')) {
            return Err(refuse("no number"));
        }
        if fraction.contains('.') {
            return Err(refuse("more than one decimal point"));
        }
        // 18 decimals of the largest unit stay below 2^128.
        if fraction.len() > 18 {
            return Err(refuse("more than 18 decimals"));
        }
        let too_large = || refuse("more than 64 bits");
        let whole: u64 = whole.parse().map_err(|_| too_large())?;
        let mut total = u128::from(whole) * u128::from(unit);
        if !fraction.is_empty() {
            let digits: u64 = fraction.parse().map_err(|_| refuse("no number"))?;
            let scale = 10_u128.pow(fraction.len() as u32);
            total += u128::from(digits) * u128::from(unit) / scale;
        }
        u64::try_from(total).map(Self).map_err(|_| too_large())
    }
}

fn unit_size(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "ki" | "kib" => 1 << 10,
        "m" | "mi" | "mib" => 1 << 20,
        "g" | "gi" | "gib" => 1 << 30,
        "t" | "ti" | "tib" => 1 << 40,
        "p" | "pi" | "pib" => 1 << 50,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "pb" => 1_000_000_000_000_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn display_uses_the_largest_unit_that_gives_at_least_one() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1025, "1.0 KiB"),
            (1536, "1.5 KiB"),
            ((1 << 20) - 1, "1.0 MiB"),
            (1 << 20, "1.0 MiB"),
            (12_897_485, "12.3 MiB"),
            (1 << 40, "1.0 TiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Bytes::new(bytes).to_string(), text, "{bytes}");
        }
        assert_eq!(format!("{:>10}|", Bytes::mib(64)), "  64.0 MiB|");
    }

    #[test]
    fn parsing_takes_plain_numbers_and_binary_and_decimal_units() {
        let cases = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("64MiB", 64 << 20),
            ("64M", 64 << 20),
            ("64 mib", 64 << 20),
            (" 1.5GiB ", 3 << 29),
            ("1.5", 1),
            ("0.5k", 512),
            ("10KB", 10_000),
            ("7b", 7),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(Bytes::new(bytes)), "{text}");
        }
    }

    #[test]
    fn parsing_refuses_what_is_not_a_size() {
        for text in [
            "",
            " ",
            "MiB",
            "-1",
            "+1",
            "1..5M",
            "1.2.3",
            ".5M",
            "5.",
            "1e6",
            "64XB",
            "1 2",
            "18446744073709551616",
            "16384PiB",
            "99999999999999999999999",
            "0.1234567890123456789M",
            "１MiB",
            "∞",
        ] {
            let error = text.parse::<Bytes>().expect_err(text);
            assert!(error.to_string().contains("write for example 64MiB"), "{error}");
        }
    }

    #[test]
    fn arithmetic_never_wraps() {
        assert_eq!(Bytes::MAX.checked_add(Bytes::new(1)), None);
        assert_eq!(Bytes::MAX.saturating_add(Bytes::new(1)), Bytes::MAX);
        assert_eq!(Bytes::ZERO.checked_sub(Bytes::new(1)), None);
        assert_eq!(Bytes::ZERO.saturating_sub(Bytes::new(1)), Bytes::ZERO);
        assert_eq!(Bytes::mib(1).checked_mul(u64::MAX), None);
        assert_eq!(Bytes::mib(1).saturating_mul(u64::MAX), Bytes::MAX);
        assert_eq!(Bytes::gib(u64::MAX), Bytes::MAX);
        assert_eq!([Bytes::MAX, Bytes::new(1)].into_iter().sum::<Bytes>(), Bytes::MAX);
    }

    proptest! {
        #[test]
        fn a_plain_number_parses_to_itself(n: u64) {
            prop_assert_eq!(n.to_string().parse(), Ok(Bytes::new(n)));
        }

        #[test]
        fn parsing_never_panics(text in ".{0,24}") {
            let _ = text.parse::<Bytes>();
        }

        #[test]
        fn displayed_text_parses_to_within_its_last_digit(n in 1024_u64..1 << 59) {
            let back: Bytes = Bytes::new(n).to_string().parse().expect("own text");
            prop_assert!(back.get().abs_diff(n) <= n / 20, "{} {}", n, back.get());
        }
    }
}
