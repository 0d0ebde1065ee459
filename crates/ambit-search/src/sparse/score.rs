//! What one term adds to the score of one row.
//!
//! BM25 as Robertson and Zaragoza give it (The Probabilistic Relevance Framework: BM25 and Beyond,
//! 2009), with the idf that Lucene uses, which is never negative:
//!
//! ```text
//! idf  = ln(1 + (N - n + 0.5) / (n + 0.5))        N rows with words, n of them with the term
//! gain = idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length))
//! ```

/// How soon more of the same word stops counting (k1 of BM25).
pub const K1: f64 = 1.2;
/// How far long rows are held back (b of BM25), in [0, 1].
pub const B: f64 = 0.75;

/// What a score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scoring {
    /// The sum of products of weights; values are [`super::Values::Weights`].
    Inner,
    /// BM25; values are [`super::Values::Counts`]; a query's weight is how often the term occurs in it.
    Bm25,
}

/// What one term of a query adds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Score {
    scoring: Scoring,
    factor: f64,
    /// k1 * (1 - b), and k1 * b / mean length.
    flat: f64,
    slope: f64,
}

impl Score {
    /// `factor`: the query's weight, times idf under BM25. `mean`: the mean length of the rows.
    pub(super) fn new(scoring: Scoring, factor: f64, mean: f64) -> Self {
        Self { scoring, factor, flat: K1 * (1.0 - B), slope: K1 * B / mean.max(1.0) }
    }

    /// What a row of this `length` gains by a posting of this value.
    pub(super) fn of(&self, value: u32, length: u32) -> f64 {
        match self.scoring {
            Scoring::Inner => self.factor * f64::from(f32::from_bits(value)),
            Scoring::Bm25 => {
                let count = f64::from(value);
                let held = self.flat + self.slope * f64::from(length);
                self.factor * (count * (K1 + 1.0) / (count + held))
            }
        }
    }
}

/// How much a term tells that `with` of `rows` rows have.
pub(super) fn idf(rows: u64, with: u64) -> f64 {
    let (rows, with) = (rows as f64, with as f64);
    (1.0 + (rows - with + 0.5).max(0.0) / (with + 0.5)).ln()
}
