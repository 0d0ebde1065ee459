//! The test kit under an allocator that counts and fails.

use std::alloc::System;

use ambit_mem::testing::{FailingAllocator, assert_no_growth, each_failure, growth};
use ambit_mem::{Bytes, TrackingAllocator, assert_within_budget};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<FailingAllocator<System>> =
    TrackingAllocator::new(FailingAllocator::new(System));

/// Copies `words` without ending the process where memory is short.
fn copied(words: &[&str]) -> Option<Vec<String>> {
    let mut copies: Vec<String> = Vec::new();
    for word in words {
        let mut copy = String::new();
        copy.try_reserve_exact(word.len()).ok()?;
        copy.push_str(word);
        copies.try_reserve_exact(1).ok()?;
        copies.push(copy);
    }
    Some(copies)
}

/// One test, so that no other allocates meanwhile.
#[test]
fn growth_peaks_and_failures_are_seen_through_the_allocator() {
    let words = ["to", "be", "or", "not"];
    assert_no_growth(&ALLOCATOR, 30, || drop(copied(&words)));
    let mut kept = Vec::with_capacity(30);
    let found = growth(&ALLOCATOR, 30, || kept.push(vec![1_u8; 64]));
    assert!(found.is_some_and(|growth| growth.late.get() - growth.early.get() == 64 * 11));

    let len = assert_within_budget!(&ALLOCATOR, Bytes::mib(4), {
        let large = vec![1_u8; (4 << 20) - (256 << 10)];
        large.len()
    });
    assert_eq!(len, (4 << 20) - (256 << 10));
    let outcome = std::panic::catch_unwind(|| {
        assert_within_budget!(&ALLOCATOR, Bytes::mib(4), vec![1_u8; (4 << 20) + (256 << 10)].len())
    });
    let message = *outcome.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("it may hold 4.0 MiB"), "{message}");

    let before = ALLOCATOR.stats();
    let mut failed = [false; 9];
    let runs = each_failure(|nth| {
        let outcome = copied(&words);
        failed[nth as usize] = outcome.is_none();
        outcome.is_none()
    });
    assert_eq!(runs, 9, "four words, four growths, and a run without failure");
    assert_eq!(failed, [true, true, true, true, true, true, true, true, false]);
    assert_eq!(ALLOCATOR.stats().current, before.current, "nothing leaks where one fails");
}
