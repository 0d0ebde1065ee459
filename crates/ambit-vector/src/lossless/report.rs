//! What are the rows made of, and how many bytes do they take?

use std::fmt;

use super::decode::{CONSTANT, DIFFERENCE, STORED};
use super::error::{LosslessError, corrupt};
use super::form::Form;
use super::model::Model;
use super::numbers;
use super::numbers::Digits;

/// Where the floats of a row come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// All values are the same.
    Constant,
    /// Floats with this many significand bits behind the leading one: 7 are bfloat16, 10 are
    /// float16, 23 float32.
    Float {
        /// The bits.
        kept: u8,
    },
    /// Such floats times one scalar.
    ScaledFloat {
        /// The bits.
        kept: u8,
    },
    /// Such floats times one scalar, and off by up to one unit in the last place.
    ScaledTwice {
        /// The bits.
        kept: u8,
    },
    /// Integers of so many bits times one scalar.
    ScaledInteger {
        /// The bits, the sign included.
        bits: u8,
    },
    /// Decimals with so many significant digits.
    SignificantDigits {
        /// The digits.
        digits: u8,
    },
    /// Decimals with so many places.
    DecimalPlaces {
        /// The places.
        places: u8,
    },
    /// Stored as it is.
    Stored,
    /// A difference to another vector.
    Difference,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let float = |f: &mut fmt::Formatter<'_>, kept: u8| match kept {
            7 => write!(f, "bf16"),
            10 => write!(f, "fp16"),
            23 => write!(f, "fp32"),
            _ => write!(f, "{}-bit float", kept + 9),
        };
        match *self {
            Self::Constant => write!(f, "constant"),
            Self::Float { kept } => float(f, kept),
            Self::ScaledFloat { kept } => {
                float(f, kept)?;
                write!(f, " x scalar")
            }
            Self::ScaledTwice { kept } => {
                float(f, kept)?;
                write!(f, " x scalar +- ulp")
            }
            Self::ScaledInteger { bits } => write!(f, "int{bits} x scalar"),
            Self::SignificantDigits { digits } => write!(f, "{digits} significant digits"),
            Self::DecimalPlaces { places } => write!(f, "{places} decimal places"),
            Self::Stored => write!(f, "stored"),
            Self::Difference => write!(f, "difference"),
        }
    }
}

impl From<numbers::Origin> for Origin {
    fn from(origin: numbers::Origin) -> Self {
        match origin.form {
            Form::Float { kept } => Self::Float { kept },
            Form::Scaled { kept } => Self::ScaledFloat { kept },
            Form::Residual { kept } => Self::ScaledTwice { kept },
            Form::Integer { bits } => Self::ScaledInteger { bits },
            Form::Decimal { .. } => match origin.digits {
                Some(Digits::Places(places)) => Self::DecimalPlaces { places },
                Some(Digits::Significant(digits)) => Self::SignificantDigits { digits },
                None => Self::Stored,
            },
        }
    }
}

/// Rows of one origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginShare {
    /// The origin.
    pub origin: Origin,
    /// Rows that have it.
    pub rows: usize,
    /// Bytes of their records.
    pub bytes: usize,
}

/// What a segment is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Rows.
    pub rows: usize,
    /// Numbers of a row.
    pub dim: usize,
    /// Origins, those with most rows first.
    pub origins: Vec<OriginShare>,
    /// Bytes of the whole segment.
    pub bytes: usize,
    /// Bytes of its model.
    pub model_bytes: usize,
}

impl Report {
    /// Bits of the segment for each value, everything included; 0 without values.
    pub fn bits_per_value(&self) -> f64 {
        8.0 * self.bytes as f64 / ((self.rows * self.dim) as f64).max(1.0)
    }
}

/// Counts records.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: usize,
    origins: Vec<OriginShare>,
}

impl Tally {
    pub(super) fn count(&mut self, model: &Model, record: &[u8]) -> Result<(), LosslessError> {
        let head = *record.first().ok_or(corrupt("empty record"))?;
        let origin = match head {
            CONSTANT => Origin::Constant,
            STORED => Origin::Stored,
            DIFFERENCE => Origin::Difference,
            _ => {
                let mode = model.modes.get(usize::from(head & 15));
                mode.ok_or(corrupt("mode of a row"))?.mode.origin.into()
            }
        };
        self.rows += 1;
        match self.origins.iter_mut().find(|share| share.origin == origin) {
            Some(share) => {
                share.rows += 1;
                share.bytes += record.len();
            }
            None => self.origins.push(OriginShare { origin, rows: 1, bytes: record.len() }),
        }
        Ok(())
    }

    pub(super) fn finish(mut self, dim: usize, bytes: usize, model_bytes: usize) -> Report {
        self.origins.sort_by(|a, b| b.rows.cmp(&a.rows).then(a.origin.cmp(&b.origin)));
        Report { rows: self.rows, dim, origins: self.origins, bytes, model_bytes }
    }
}
