//! What arenas say they hold, against what the allocator saw.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::System;

use ambit_mem::{Budget, Bytes, GraphArena, Priority, Tag, TrackingAllocator};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

#[test]
fn the_footprint_is_what_the_allocator_saw_at_every_size() {
    let budget = Budget::new(Bytes::mib(256));
    let account = budget.account("graph", Priority::Write);
    // What the test's own harness allocates meanwhile is under no tag.
    let tag = Tag::named("graph").unwrap();
    let _scope = tag.enter();
    for entities in [1_000, 10_000, 300_000u64] {
        let mut graph = GraphArena::new(&account).unwrap();
        let before = ALLOCATOR.tag(tag).current.get();
        for entity in 0..entities {
            graph.entities.insert([entity; 5]).unwrap();
            graph.temporaries.alloc(entity).unwrap();
        }
        for check in 0..3 {
            let seen = ALLOCATOR.tag(tag).current.get() - before;
            let said = graph.footprint().get();
            assert_eq!(said, seen, "{entities} entities, check {check}");
            assert_eq!(budget.used(), graph.footprint());
            if check == 0 {
                graph.advance();
                graph.entities.retain(|_, value| value[0] < entities / 3);
                graph.trim();
            } else {
                graph.entities.insert([0; 5]).unwrap();
            }
        }
    }
}
