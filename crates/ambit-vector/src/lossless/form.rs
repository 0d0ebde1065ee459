//! What is a float made of? A symbol that has a code, and bits that have none.
//!
//! A form says from which numbers the floats of a vector come: floats with fewer significand
//! bits, the same times a scalar, integers times a scalar, decimals. [`Shape`] cuts such a number
//! into a symbol (at most 16 bits, coded) and a field of fixed width (sent as it is), and
//! [`Shape::combine`] puts a whole row together again, in loops that a compiler turns into vector
//! instructions. All arithmetic is in f64 with one rounding to f32 at the end, so that it gives
//! the same bits on every processor.

/// Symbols of a decimal place: D >> low is below this.
pub(super) const DECIMAL_SYMBOLS: u32 = 128;
/// Highest power of ten that f64 holds exactly.
const EXACT_PLACES: u32 = 22;
/// The most decimal places.
pub(super) const MAX_PLACES: u32 = 2 * EXACT_PLACES;
/// A number of decimals holds digits below bit 25, places below bit 31, the sign.
pub(super) const PLACES_SHIFT: u32 = 25;
/// The most low bits of decimals: with the 7 of the symbol they fill what holds digits.
pub(super) const MAX_LOW: u8 = PLACES_SHIFT as u8 - 7;
/// Residuals of an ulp that one symbol holds, three values each.
pub(super) const RESIDUALS: usize = 5;
/// Symbols of the residuals: 3^5.
pub(super) const RESIDUAL_SYMBOLS: usize = 243;

const POWERS_OF_TEN: [f64; EXACT_PLACES as usize + 1] = {
    let mut powers = [1.0; EXACT_PLACES as usize + 1];
    let mut i = 1;
    while i <= EXACT_PLACES as usize {
        powers[i] = powers[i - 1] * 10.0;
        i += 1;
    }
    powers
};

/// 10^`places`; those above 22 count as 22.
#[inline(always)]
pub(super) fn power_of_ten(places: u32) -> f64 {
    POWERS_OF_TEN[places.min(EXACT_PLACES) as usize]
}

/// The numbers that floats come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Floats whose significand has `kept` bits behind the leading one: 7 bfloat16, 10 float16.
    Float { kept: u8 },
    /// Such floats times one scalar a vector.
    Scaled { kept: u8 },
    /// The same, and then each off by -1, 0 or 1 units in the last place.
    Residual { kept: u8 },
    /// Integers of `bits` bits times one scalar a vector.
    Integer { bits: u8 },
    /// D / 10^k for an integer D of at most `low` + 7 bits and places k of each value.
    Decimal { low: u8 },
}

impl Form {
    /// Whether a vector has a scalar.
    pub(super) fn has_scale(self) -> bool {
        matches!(self, Self::Scaled { .. } | Self::Residual { .. } | Self::Integer { .. })
    }

    /// Significand bits of the floats; None if it is no form of floats.
    pub(super) fn kept(self) -> Option<u8> {
        match self {
            Self::Float { kept } | Self::Scaled { kept } | Self::Residual { kept } => Some(kept),
            Self::Integer { .. } | Self::Decimal { .. } => None,
        }
    }
}

/// How a number of a form is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) form: Form,
    /// Floats: significand bits in the symbol, below the exponent. 0 to 3, at most those kept.
    pub(super) top: u8,
    /// Floats: whether the sign is the lowest bit of the symbol, else of the field.
    pub(super) signed: bool,
}

impl Shape {
    /// Bits of the field.
    pub(super) fn width(self) -> u32 {
        match self.form {
            Form::Integer { bits } => u32::from(bits).saturating_sub(8),
            Form::Decimal { low } => u32::from(low) + 1,
            Form::Float { kept } | Form::Scaled { kept } | Form::Residual { kept } => {
                u32::from(kept - self.top) + u32::from(!self.signed)
            }
        }
    }

    /// Cuts `number` (see [`inner`](super::inner)) into symbol and field.
    ///
    /// `flip`: the sign bit where the dimension's signs are turned, else 0.
    #[inline(always)]
    pub(super) fn cut(self, number: u32, flip: u32) -> (u16, u32) {
        match self.form {
            Form::Integer { bits } => {
                let low = u32::from(bits).saturating_sub(8);
                ((number >> low) as u16, number & ((1 << low) - 1))
            }
            Form::Decimal { low } => {
                let (sign, places) = (number >> 31, number >> PLACES_SHIFT & 63);
                let digits = number & ((1 << PLACES_SHIFT) - 1);
                let symbol = places * DECIMAL_SYMBOLS + (digits >> low);
                (symbol as u16, (digits & ((1 << low) - 1)) << 1 | sign)
            }
            Form::Float { kept } | Form::Scaled { kept } | Form::Residual { kept } => {
                let (top, kept) = (u32::from(self.top), u32::from(kept));
                let (bits, sign) = (number & 0x7FFF_FFFF, (number ^ flip) >> 31);
                let high = bits >> (23 - top);
                let rest = bits >> (23 - kept) & ((1 << (kept - top)) - 1);
                if self.signed {
                    ((high << 1 | sign) as u16, rest)
                } else {
                    // The sign of the field is the true one; only symbols have turned signs.
                    (high as u16, rest << 1 | number >> 31)
                }
            }
        }
    }

    /// Puts symbols and fields together: `row` has the fields as bits, and the floats afterwards.
    ///
    /// `symbols`, `flips`, `row`: one for each dimension. Forms with residuals need
    /// [`add_residuals`] behind it. Symbols that the form does not have give any float.
    #[inline(always)]
    pub(super) fn combine(self, symbols: &[u16], flips: &[u32], scale: f64, row: &mut [f32]) {
        match self.form {
            Form::Float { kept } => self.floats(kept, symbols, flips, row, |y| y),
            Form::Scaled { kept } | Form::Residual { kept } => {
                self.floats(kept, symbols, flips, row, |y| times(y, scale));
            }
            Form::Integer { bits } => {
                let low = u32::from(bits).saturating_sub(8);
                let (zero, minus_zero) = (1i32 << (bits - 1), 1i32 << bits);
                for (value, symbol) in row.iter_mut().zip(symbols) {
                    let code = (u32::from(*symbol) << low | value.to_bits()) as i32;
                    let float = (f64::from(code - zero) * scale) as f32;
                    *value = if code == minus_zero { -0.0 } else { float };
                }
            }
            Form::Decimal { low } => {
                for (value, symbol) in row.iter_mut().zip(symbols) {
                    let (symbol, field) = (u32::from(*symbol), value.to_bits());
                    let digits = (symbol % DECIMAL_SYMBOLS) << low | field >> 1;
                    let float = decimal(digits, symbol / DECIMAL_SYMBOLS);
                    *value = f32::from_bits(float.to_bits() | field << 31);
                }
            }
        }
    }

    #[inline(always)]
    fn floats(
        self,
        kept: u8,
        symbols: &[u16],
        flips: &[u32],
        row: &mut [f32],
        last: impl Fn(f32) -> f32,
    ) {
        let (high, low) = (23 - u32::from(self.top), 23 - u32::from(kept));
        if self.signed {
            for ((value, symbol), flip) in row.iter_mut().zip(symbols).zip(flips) {
                let symbol = u32::from(*symbol);
                let bits = symbol >> 1 << high | value.to_bits() << low | symbol << 31;
                *value = last(f32::from_bits(bits ^ flip));
            }
        } else {
            for (value, symbol) in row.iter_mut().zip(symbols) {
                let field = value.to_bits();
                let bits = u32::from(*symbol) << high | field >> 1 << low | field << 31;
                *value = last(f32::from_bits(bits));
            }
        }
    }
}

/// `y` times the scalar: exact in f64 for significands of up to 53 bits together, then rounded once.
#[inline(always)]
pub(super) fn times(y: f32, scale: f64) -> f32 {
    (f64::from(y) * scale) as f32
}

/// D / 10^places, rounded to f64 and then to f32, as a reader of decimal text does. Beyond 22
/// places in two divisions, whose second rounding hardly ever reaches the f32.
#[inline(always)]
pub(super) fn decimal(digits: u32, places: u32) -> f32 {
    let wide = f64::from(digits) / power_of_ten(places);
    if places > EXACT_PLACES {
        (wide / power_of_ten(places - EXACT_PLACES)) as f32
    } else {
        wide as f32
    }
}

/// Adds units in the last place: `residuals` are base-3 numbers of [`RESIDUALS`] digits, lowest
/// first; 0, 1 and 2 stand for 0, 1 and -1.
pub(super) fn add_residuals(residuals: &[u16], row: &mut [f32]) {
    for (values, symbol) in row.chunks_mut(RESIDUALS).zip(residuals) {
        let mut rest = *symbol;
        for value in values {
            let unit = [0u32, 1, u32::MAX][usize::from(rest % 3)];
            *value = f32::from_bits(value.to_bits().wrapping_add(unit));
            rest /= 3;
        }
    }
}
