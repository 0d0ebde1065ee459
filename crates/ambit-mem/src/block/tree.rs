//! Which parts of a region are free, by powers of two?
//!
//! Binary buddies (Knowlton, 1965) as a complete binary tree over the leaves of a region, one byte
//! per node: the order of the largest free block below it, plus one; zero where there is none.
//! So a block is found by walking down and given back by walking up, where two free halves become
//! one whole again. A block of any number of leaves takes the powers of two that add up to it,
//! largest first, from the front of the next larger power of two; the rest stays free.
//!
//! A node that is free as a whole has descendants that are, too. No memory is touched here.

/// The free parts of a region.
#[derive(Debug)]
pub(super) struct BuddyTree {
    /// The root is node 1; the children of node `n` are `2 n` and `2 n + 1`.
    largest: Box<[u8]>,
    order: u32,
    free: usize,
}

/// Leaves that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first leaf.
    pub start: usize,
    /// Number of leaves, at least one.
    pub leaves: usize,
}

impl BuddyTree {
    /// A region of 2^`order` free leaves.
    pub(super) fn new(order: u32) -> Self {
        let mut largest = vec![0; Self::bytes(order)].into_boxed_slice();
        for (node, largest) in largest.iter_mut().enumerate().skip(1) {
            *largest = (order - node.ilog2()) as u8 + 1;
        }
        Self { largest, order, free: 1 << order }
    }

    /// Bytes of a tree.
    pub(super) const fn bytes(order: u32) -> usize {
        2 << order
    }

    /// The most leaves that one block could have now; a power of two, or 0.
    pub(super) fn most(&self) -> usize {
        (1 << self.largest[1]) >> 1
    }

    /// Leaves that are free.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Whether everything is free.
    #[cfg(test)]
    fn is_empty(&self) -> bool {
        u32::from(self.largest[1]) == self.order + 1
    }

    /// Takes so many leaves (at least one), which begin at a multiple of the next power of two;
    /// `None` where there are none together. Of several places it takes one in the smallest free
    /// part that is large enough at each turn.
    pub(super) fn take(&mut self, leaves: usize) -> Option<Span> {
        let order = leaves.checked_next_power_of_two()?.ilog2();
        let needed = u8::try_from(order + 1).ok()?;
        if self.largest[1] < needed {
            return None;
        }
        let mut node = 1;
        for _ in order..self.order {
            let (left, right) = (self.largest[2 * node], self.largest[2 * node + 1]);
            let goes_right = left < needed || (right >= needed && right < left);
            node = 2 * node + usize::from(goes_right);
        }
        let start = (node << order) - (1 << self.order);
        let span = Span { start, leaves };
        for (start, order) in parts(span) {
            self.set(start, order, 0);
        }
        self.free -= leaves;
        Some(span)
    }

    /// Takes back what `take` gave.
    pub(super) fn put(&mut self, span: Span) {
        for (start, order) in parts(span) {
            debug_assert_eq!(self.largest[self.node(start, order)], 0, "a block came back twice");
            self.set(start, order, order as u8 + 1);
        }
        self.free += span.leaves;
    }

    /// The node of the 2^`order` leaves from `start`.
    fn node(&self, start: usize, order: u32) -> usize {
        ((1 << self.order) + start) >> order
    }

    /// Sets a node and, with it, what those above it say.
    fn set(&mut self, start: usize, order: u32, value: u8) {
        let mut node = self.node(start, order);
        self.largest[node] = value;
        for child_order in order..self.order {
            node /= 2;
            let (left, right) = (self.largest[2 * node], self.largest[2 * node + 1]);
            let full = child_order as u8 + 1;
            let are_both_free = left == full && right == full;
            self.largest[node] = if are_both_free { full + 1 } else { left.max(right) };
        }
    }
}

/// The powers of two that make a span, each with its first leaf. As a span begins at a multiple of
/// the next power of two, each part begins at a multiple of its own.
fn parts(span: Span) -> impl Iterator<Item = (usize, u32)> {
    let mut rest = span.leaves;
    let mut start = span.start;
    std::iter::from_fn(move || {
        let order = rest.checked_ilog2()?;
        let part = (start, order);
        start += 1 << order;
        rest -= 1 << order;
        Some(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: if cfg!(miri) { 5 } else { 256 },
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// The oracle: a flag for each leaf.
        #[test]
        fn spans_are_aligned_never_overlap_and_merge_back_to_one(
            order in 0_u32..8,
            steps in prop::collection::vec((any::<bool>(), 1_usize..40, any::<usize>()), 0..120),
        ) {
            let mut tree = BuddyTree::new(order);
            let mut used = vec![false; 1 << order];
            let mut live: Vec<Span> = Vec::new();
            for (takes, leaves, which) in steps {
                if takes {
                    let wanted = leaves.next_power_of_two();
                    let is_there = used
                        .chunks(wanted)
                        .any(|part| part.len() == wanted && part.iter().all(|used| !used));
                    let span = tree.take(leaves);
                    prop_assert_eq!(span.is_some(), is_there);
                    if let Some(span) = span {
                        prop_assert_eq!(span.leaves, leaves);
                        prop_assert_eq!(span.start % wanted, 0);
                        for used in &mut used[span.start..span.start + leaves] {
                            prop_assert!(!*used);
                            *used = true;
                        }
                        live.push(span);
                    }
                } else if !live.is_empty() {
                    let span = live.swap_remove(which % live.len());
                    tree.put(span);
                    used[span.start..span.start + span.leaves].fill(false);
                }
                let most = (0..=order).rev().map(|order| 1 << order).find(|&size| {
                    used.chunks(size).any(|part| part.iter().all(|used| !used))
                });
                prop_assert_eq!(tree.most(), most.unwrap_or(0));
                prop_assert_eq!(tree.free(), used.iter().filter(|used| !**used).count());
                prop_assert_eq!(tree.is_empty(), used.iter().all(|used| !used));
            }
            live.into_iter().for_each(|span| tree.put(span));
            prop_assert!(tree.is_empty());
            prop_assert_eq!(tree.take(1 << order), Some(Span { start: 0, leaves: 1 << order }));
        }
    }

    #[test]
    fn a_request_is_granted_at_the_size_of_the_region_and_refused_beyond() {
        for (leaves, fits) in [(15, true), (16, true), (17, false), (usize::MAX, false)] {
            assert_eq!(BuddyTree::new(4).take(leaves).is_some(), fits, "{leaves}");
        }
    }
}
