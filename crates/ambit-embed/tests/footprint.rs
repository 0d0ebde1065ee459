//! What the embedder says it keeps, held against what the allocator saw.

use std::alloc::System;

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::{Budget, Bytes, Priority, TrackingAllocator};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// The only test of this program, so that nothing else allocates beside it.
#[test]
fn the_footprint_is_within_5_percent_of_what_the_allocator_saw_beside_the_binarys_pages() {
    let pages = include_bytes!("../assets/static-embedder/model.safetensors").len()
        + include_bytes!("../assets/static-embedder/vocab.txt").len();
    let budget = Budget::new(Bytes::mib(16));
    let account = budget.account("embedder", Priority::Query);
    let before = ALLOCATOR.stats().current.get();
    let embedder = StaticEmbedder::built_in(&account).unwrap();
    let seen = ALLOCATOR.stats().current.get() - before;
    let said = embedder.footprint().get() - pages as u64;
    assert!(seen.abs_diff(said) * 20 <= seen, "said {said}, allocated {seen}");

    let text = "The quick brown fox, 東京 and Ünïcödé ".repeat(500);
    let mut vector = vec![0.0; embedder.dim()];
    let before = ALLOCATOR.stats().allocations;
    embedder.embed(&text, &mut vector).unwrap();
    assert_eq!(ALLOCATOR.stats().allocations, before, "a text is embedded without allocating");
}
