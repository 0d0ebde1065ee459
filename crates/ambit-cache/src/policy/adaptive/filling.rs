//! What is seen while a cache fills, before anybody had to go.
//!
//! Two questions are answered by then. Do entries come back from far down the queue, where LRU
//! and LIRS differ? Where they hardly do, recency has nothing to lose, and keeping what came
//! first is the better start: loops pay for nothing else. And do weights differ, so that hits
//! by byte are worth looking at?

/// Weights differ where their deviation is this part of their mean, squared.
const DIFFERENT: f64 = 0.01;
/// Recency matters where one in so many requests came from far down.
const MATTERS: u64 = 30;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Filling {
    /// From far down, and all; the second half of each is of the entries since the last doubling.
    far: [u64; 2],
    asked: [u64; 2],
    doubled: u32,
    weights: f64,
    squares: f64,
    inserted: f64,
}

impl Filling {
    /// An entry was hit.
    pub fn hit(&mut self, is_far: bool) {
        self.asked[1] += 1;
        self.far[1] += u64::from(is_far);
    }

    /// An entry came in; there are `len` now.
    pub fn insert(&mut self, len: u32, weight: u32) {
        if len >= self.doubled.saturating_mul(2) {
            self.doubled = len;
            self.far = [self.far[1], 0];
            self.asked = [self.asked[1], 0];
        }
        self.asked[1] += 1;
        self.inserted += 1.0;
        self.weights += f64::from(weight);
        self.squares += f64::from(weight).powi(2);
    }

    /// Do entries come back from far down?
    pub fn recency_matters(&self) -> bool {
        let (far, asked) = (self.far.iter().sum::<u64>(), self.asked.iter().sum::<u64>());
        far * MATTERS > asked
    }

    /// Do weights differ?
    pub fn weights_differ(&self) -> bool {
        let mean = self.weights / self.inserted.max(1.0);
        let variance = self.squares / self.inserted.max(1.0) - mean * mean;
        variance > DIFFERENT * mean * mean
    }
}
