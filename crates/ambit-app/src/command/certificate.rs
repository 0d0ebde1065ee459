//! How sure is an answer? What commands print of it.

use ambitdb::Exactness;
use serde::Serialize;

/// The certificate of one answer, or of several together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Certificate {
    /// Rows that were looked at, by their codes or exactly, or left out with the row that they follow.
    pub scanned: u64,
    /// Of them, those that were left out with the row that they follow.
    pub skipped: u64,
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
    /// What an approximate answer looked at; null where all answers are exact.
    pub approximate: Option<Approximate>,
}

/// What approximate answers looked at.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Approximate {
    /// Lists that were probed, of all answers together.
    pub probes: u64,
    /// Lists that there are, once for each answer.
    pub lists: u64,
    /// The share of true neighbours that so many probes found for held-out rows, the least of all answers.
    pub recall: f64,
    /// Rows that were held out.
    pub held_out: u64,
}

impl Certificate {
    /// Of no answer.
    pub const NONE: Self = Self {
        scanned: 0,
        skipped: 0,
        uncoded: 0,
        refined: 0,
        rescored: 0,
        margin: None,
        fell_back: false,
        approximate: None,
    };

    /// Of an answer; nothing where it does not say.
    pub fn of(exactness: Exactness) -> Self {
        match exactness {
            Exactness::Certified {
                scanned,
                skipped,
                uncoded,
                refined,
                rescored,
                margin,
                fell_back,
            } => {
                let margin = margin.is_finite().then_some(margin);
                let approximate = None;
                Self {
                    scanned,
                    skipped,
                    uncoded,
                    refined,
                    rescored,
                    margin,
                    fell_back,
                    approximate,
                }
            }
            Exactness::Approximate { probes, lists, recall, queries, scanned, rescored } => {
                let approximate = Some(Approximate { probes, lists, recall, held_out: queries });
                Self { scanned, rescored, approximate, ..Self::NONE }
            }
            _ => Self::NONE,
        }
    }

    /// Adds that of another answer.
    pub fn add(&mut self, other: Self) {
        self.scanned += other.scanned;
        self.skipped += other.skipped;
        self.uncoded += other.uncoded;
        self.refined += other.refined;
        self.rescored += other.rescored;
        self.margin = match (self.margin, other.margin) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.fell_back |= other.fell_back;
        self.approximate = match (self.approximate, other.approximate) {
            (Some(one), Some(other)) => Some(Approximate {
                probes: one.probes + other.probes,
                lists: one.lists + other.lists,
                recall: one.recall.min(other.recall),
                held_out: one.held_out.min(other.held_out),
            }),
            (one, other) => one.or(other),
        };
    }
}
