//! Which rows are the best so far? A bounded heap of scores.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The k rows with the largest scores, of all that were offered.
///
/// Of equal scores the lower row wins. A score that is NaN is never taken.
///
/// ```
/// use ambit_vector::TopK;
///
/// let mut top = TopK::new(2);
/// for (row, score) in [0.5, 0.9, 0.1, 0.7].into_iter().enumerate() {
///     top.offer(row as u32, score);
/// }
/// assert_eq!(top.threshold(), 0.7);
/// assert_eq!(top.into_sorted(), [(1, 0.9), (3, 0.7)]);
/// ```
#[derive(Debug, Clone)]
pub struct TopK {
    k: usize,
    /// The worst one is on top.
    heap: BinaryHeap<Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    row: u32,
    score: f32,
}

impl Ord for Entry {
    /// Worse is greater.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl TopK {
    /// Room for `k` rows; holds [`TopK::bytes`].
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k) }
    }

    /// Bytes that room for `k` rows holds.
    pub const fn bytes(k: usize) -> usize {
        k * size_of::<Entry>()
    }

    /// The score that a row must exceed, or equal with a lower number: that of the k-th best, or
    /// -inf while there are fewer.
    pub fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(worst) if self.heap.len() == self.k => worst.score,
            Some(_) => f32::NEG_INFINITY,
            None if self.k == 0 => f32::INFINITY,
            None => f32::NEG_INFINITY,
        }
    }

    /// Takes a row in, if it is among the k best.
    pub fn offer(&mut self, row: u32, score: f32) {
        // One zero: -0.0 and 0.0 are equal scores.
        let entry = Entry { row, score: score + 0.0 };
        if score.is_nan() || self.k == 0 {
            return;
        }
        if self.heap.len() < self.k {
            self.heap.push(entry);
        } else if let Some(mut worst) = self.heap.peek_mut()
            && entry < *worst
        {
            *worst = entry;
        }
    }

    /// Rows and scores, the best first.
    pub fn into_sorted(self) -> Vec<(u32, f32)> {
        let sorted = self.heap.into_sorted_vec();
        sorted.into_iter().map(|entry| (entry.row, entry.score)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TopK;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 128 }))]

        #[test]
        fn the_heap_keeps_what_sorting_everything_would(
            scores in prop::collection::vec(-3i8..3, 0..60), k in 0usize..20,
        ) {
            let mut all: Vec<(u32, f32)> =
                scores.iter().enumerate().map(|(row, s)| (row as u32, f32::from(*s))).collect();
            let mut top = TopK::new(k);
            for (row, score) in all.iter().rev() {
                top.offer(*row, *score);
                top.offer(*row, f32::NAN);
            }
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            all.truncate(k);
            if all.len() == k && k > 0 {
                prop_assert_eq!(top.threshold(), all[k - 1].1);
            }
            prop_assert_eq!(top.into_sorted(), all);
        }
    }
}
