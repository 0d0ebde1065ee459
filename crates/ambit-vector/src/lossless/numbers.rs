//! From floats to the numbers that they come from, or the statement that a float has none.
//!
//! A number is 32 bits: of a form of floats the float itself; of integers the code q + 2^(bits-1),
//! and 2^bits for -0.0; of decimals the sign (bit 31), the places (bits 25 to 30) and the digits.
//! Each number is put back at once and compared with the float bit for bit; where they differ the
//! float is [`ABSENT`] and will be sent in full. So what a form sends is exact by construction.

use super::form::{
    Form, MAX_PLACES, PLACES_SHIFT, RESIDUAL_SYMBOLS, RESIDUALS, decimal, power_of_ten, times,
};
use super::scalar::{self, Interval, Scale, round_float};

/// A float that is none of the form's numbers.
pub(super) const ABSENT: u64 = u64::MAX;
/// Values looked at before a whole row is tried, and those of them that may fail.
const PROBES: usize = 16;
const PROBES_MAY_FAIL: usize = 2;

/// How decimals were rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Digits {
    /// To this many significant digits.
    Significant(u8),
    /// To this many decimal places.
    Places(u8),
}

/// A form, and what finding its numbers needs beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) form: Form,
    /// Of decimals.
    pub(super) digits: Option<Digits>,
    /// Bytes of the scalar's fraction.
    pub(super) scale_bytes: u8,
}

/// The numbers of a row.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// One for each float, or [`ABSENT`].
    pub(super) numbers: Vec<u64>,
    /// Symbols of the residuals, if the form has any.
    pub(super) residuals: Vec<u16>,
    /// The scalar, and its value; 1 if the form has none.
    pub(super) scale: Option<Scale>,
    pub(super) scale_value: f64,
    /// How many are absent.
    pub(super) absent: usize,
}

impl Numbers {
    /// Finds the numbers of `row`; false, and nothing found, where a look at some values says
    /// that the row has another origin.
    pub(super) fn find(&mut self, origin: Origin, row: &[f32]) -> bool {
        (self.scale, self.scale_value) = (None, 1.0);
        self.residuals.clear();
        self.numbers.clear();
        match origin.form {
            Form::Float { kept } => {
                let below = (1u32 << (23 - kept)) - 1;
                let number = |v: f32| {
                    if v.to_bits() & below == 0 { u64::from(v.to_bits()) } else { ABSENT }
                };
                self.fill(row, number)
            }
            Form::Scaled { kept } => self.scaled(origin, kept, row),
            Form::Residual { kept } => self.with_residuals(origin, kept, row),
            Form::Integer { bits } => self.integers(origin, bits, row),
            Form::Decimal { low } => {
                let Some(digits) = origin.digits else { return false };
                self.fill(row, |v| decimal_number(v, digits, low))
            }
        }
    }

    /// Applies `number` to all values, if it has one for most of those that are probed.
    fn fill(&mut self, row: &[f32], number: impl Fn(f32) -> u64) -> bool {
        let step = (row.len() / PROBES).max(1);
        let probes = row.iter().step_by(step);
        if probes.filter(|v| number(**v) == ABSENT).count() > PROBES_MAY_FAIL {
            return false;
        }
        self.numbers.extend(row.iter().map(|v| number(*v)));
        self.count_absent();
        true
    }

    fn count_absent(&mut self) {
        self.absent = self.numbers.iter().filter(|number| **number == ABSENT).count();
    }

    fn set_scale(&mut self, origin: Origin, interval: Interval) -> bool {
        let bytes = u32::from(origin.scale_bytes);
        let Some(mut scale) = Scale::within(interval, bytes) else { return false };
        if origin.form.kept().is_some() {
            // The power of two is the floats' matter.
            scale.exponent = 0;
        }
        (self.scale, self.scale_value) = (Some(scale), scale.value(bytes));
        true
    }

    fn scaled(&mut self, origin: Origin, kept: u8, row: &[f32]) -> bool {
        let Some(interval) = interval(origin.form, row) else { return false };
        if !self.set_scale(origin, interval) {
            return false;
        }
        let (scale, inverse) = (self.scale_value, 1.0 / self.scale_value);
        self.numbers.extend(row.iter().map(|v| {
            let y = round_float(f64::from(*v) * inverse, u32::from(kept)) as f32;
            let same = v.is_finite() && times(y, scale).to_bits() == v.to_bits();
            if same && fits(y, kept) { u64::from(y.to_bits()) } else { ABSENT }
        }));
        self.count_absent();
        self.absent * 4 <= row.len()
    }

    fn with_residuals(&mut self, origin: Origin, kept: u8, row: &[f32]) -> bool {
        let Some(interval) = interval(origin.form, row) else { return false };
        if !self.set_scale(origin, interval) {
            return false;
        }
        let (scale, inverse) = (self.scale_value, 1.0 / self.scale_value);
        for values in row.chunks(RESIDUALS) {
            let (mut residuals, mut place) = (0, 1);
            for v in values {
                let y = round_float(f64::from(*v) * inverse, u32::from(kept)) as f32;
                let units = v.to_bits().wrapping_sub(times(y, scale).to_bits());
                let near = matches!(units, 0 | 1 | u32::MAX) && v.is_finite() && fits(y, kept);
                self.numbers.push(if near { u64::from(y.to_bits()) } else { ABSENT });
                if near {
                    residuals += place * if units == u32::MAX { 2 } else { units as u16 };
                }
                place *= 3;
            }
            debug_assert!(usize::from(residuals) < RESIDUAL_SYMBOLS);
            self.residuals.push(residuals);
        }
        self.count_absent();
        self.absent * 4 <= row.len()
    }

    fn integers(&mut self, origin: Origin, bits: u8, row: &[f32]) -> bool {
        let Some(interval) = interval(origin.form, row) else { return false };
        if !self.set_scale(origin, interval) {
            return false;
        }
        let (scale, inverse) = (self.scale_value, 1.0 / self.scale_value);
        let zero = 1i64 << (bits - 1);
        self.numbers.extend(row.iter().map(|v| {
            let q = (f64::from(*v) * inverse).round();
            let back = (q * scale) as f32;
            let same = v.is_finite() && back.to_bits() == v.to_bits();
            let code = (q as i64).saturating_add(zero);
            let minus_zero = v.to_bits() == 1 << 31;
            if minus_zero {
                2 * zero as u64
            } else if same && q != 0.0 && (0..2 * zero).contains(&code) {
                code as u64
            } else if v.to_bits() == 0 {
                zero as u64
            } else {
                ABSENT
            }
        }));
        self.count_absent();
        self.absent * 4 <= row.len()
    }
}

/// Whether a float has no more than `kept` significand bits.
fn fits(y: f32, kept: u8) -> bool {
    y.to_bits() & ((1 << (23 - kept)) - 1) == 0
}

/// Where the scalar of a form lies for a row.
pub(super) fn interval(form: Form, row: &[f32]) -> Option<Interval> {
    match form {
        Form::Scaled { kept } | Form::Residual { kept } => {
            let kept = u32::from(kept);
            let rough = scalar::of_floats(row, kept)?;
            scalar::refine(row, rough, |x| round_float(x, kept))
        }
        Form::Integer { bits } => {
            let rough = scalar::of_integers(row, 1 << (bits - 1))?;
            scalar::refine(row, rough, f64::round)
        }
        Form::Float { .. } | Form::Decimal { .. } => None,
    }
}

/// The decimal that `v` is, or [`ABSENT`].
pub(super) fn decimal_number(v: f32, digits: Digits, low: u8) -> u64 {
    let (size, sign) = (v.abs(), u64::from(v.to_bits() >> 31));
    let number = |digits: u32, places: u32| {
        let fits = u64::from(digits) < 128 << low && digits >> PLACES_SHIFT == 0;
        let fits = fits && places <= MAX_PLACES;
        let same = fits && decimal(digits, places).to_bits() == size.to_bits();
        same.then_some(sign << 31 | u64::from(places) << PLACES_SHIFT | u64::from(digits))
    };
    let nearest = |places: u32| {
        let rest = power_of_ten(places.saturating_sub(MAX_PLACES / 2));
        (f64::from(size) * power_of_ten(places) * rest).round()
    };
    let found = match digits {
        _ if !size.is_finite() => None,
        Digits::Places(places) => number(nearest(u32::from(places)) as u32, u32::from(places)),
        _ if size == 0.0 => number(0, 0),
        Digits::Significant(digits) => {
            let limit = power_of_ten(u32::from(digits));
            let magnitude = f64::from(size).log10().floor() as i32;
            let places = i32::from(digits) - 1 - magnitude;
            // The logarithm may be off by one near a power of ten, and rounding may reach it.
            let places = (places - 1..=places + 1).rev().filter_map(|p| u32::try_from(p).ok());
            let mut fitting = places.filter(|p| *p <= MAX_PLACES && nearest(*p) < limit);
            fitting.find_map(|places| number(nearest(places) as u32, places))
        }
    };
    found.unwrap_or(ABSENT)
}
