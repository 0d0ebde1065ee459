//! How tight is the budget?

use crate::Bytes;

/// How tight a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pressure {
    /// Less than seven eighths of the limit are taken.
    None,
    /// At least seven eighths are: a good moment to tidy up.
    Soft,
    /// A request did not fit without reclaiming.
    Hard,
}

impl Pressure {
    /// The pressure of `used` bytes under `limit`, when nothing was refused.
    pub const fn of(used: Bytes, limit: Bytes) -> Self {
        if used.get() >= limit.get() - limit.get() / 8 { Self::Soft } else { Self::None }
    }

    pub(crate) const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::None,
            1 => Self::Soft,
            _ => Self::Hard,
        }
    }
}
