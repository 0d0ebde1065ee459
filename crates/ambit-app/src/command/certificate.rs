//! How sure is an answer? What commands print of it.

use ambitdb::Exactness;
use serde::Serialize;

/// The certificate of one answer, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Certificate {
    /// Rows that were looked at, by their codes or exactly.
    pub scanned: u64,
    /// Of them, those without codes, which were read exactly.
    pub uncoded: u64,
    /// Rows whose fine codes were looked at.
    pub refined: u64,
    /// Rows that were scored in float64.
    pub rescored: u64,
    /// By how much the last hit is better than the bound of any row that codes excluded, the
    /// least of all answers; null where codes excluded none.
    pub margin: Option<f64>,
    /// Codes were damaged, and exact rows read instead.
    pub fell_back: bool,
}

impl Certificate {
    /// Of no answer.
    pub const NONE: Self =
        Self { scanned: 0, uncoded: 0, refined: 0, rescored: 0, margin: None, fell_back: false };

    /// Of an answer; nothing where it does not say.
    pub fn of(exactness: Exactness) -> Self {
        match exactness {
            Exactness::Certified { scanned, uncoded, refined, rescored, margin, fell_back } => {
                let margin = margin.is_finite().then_some(margin);
                Self { scanned, uncoded, refined, rescored, margin, fell_back }
            }
            _ => Self::NONE,
        }
    }

    /// Adds that of another answer.
    pub fn add(&mut self, other: Self) {
        self.scanned += other.scanned;
        self.uncoded += other.uncoded;
        self.refined += other.refined;
        self.rescored += other.rescored;
        self.margin = match (self.margin, other.margin) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.fell_back |= other.fell_back;
    }
}
