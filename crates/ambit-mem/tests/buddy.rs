//! Buddy pools against a naive model, with little budget, and beyond their own life.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use ambit_mem::block::{ALIGNMENT, BlockError, BuddyConfig, BuddyPool, PooledBlock};
use ambit_mem::{Account, Budget, Bytes, Priority};
use proptest::prelude::*;

const LEAF: usize = 4 << 10;
const SMALL: BuddyConfig =
    BuddyConfig { leaf: Bytes::kib(4), region: Bytes::kib(64), max_retained: Bytes::kib(64) };

fn account(limit: Bytes) -> (Budget, Account) {
    let budget = Budget::new(limit);
    let account = budget.account("buddy", Priority::Write);
    (budget, account)
}

#[test]
fn a_block_has_the_leaves_it_needs_and_no_more() {
    let (_budget, account) = account(Bytes::mib(64));
    let pool = BuddyPool::new(&account, SMALL).unwrap();
    for (len, capacity) in [(0, 1), (1, 1), (LEAF - 1, 1), (LEAF, 1), (LEAF + 1, 2), (5 * LEAF, 5)]
    {
        let mut block = pool.acquire(len).unwrap();
        assert_eq!(block.capacity(), capacity * LEAF, "{len}");
        assert_eq!(block.as_ptr().addr() % ALIGNMENT, 0);
        block.resize(len, 3).unwrap();
        assert!(block.iter().all(|&byte| byte == 3));
        assert!(block.resize(block.capacity() + 1, 0).is_err());
    }
    assert_eq!(pool.stats().regions, 1);
}

#[test]
fn a_block_larger_than_a_region_has_one_of_its_own_size() {
    let (_budget, account) = account(Bytes::mib(64));
    let pool = BuddyPool::new(&account, SMALL).unwrap();
    for (len, bytes) in [(64 << 10, 64 << 10), ((64 << 10) + 1, 68 << 10), (1 << 20, 1 << 20)] {
        let block = pool.acquire_zeroed(len).unwrap();
        assert_eq!(pool.stats().region_bytes, Bytes::new(bytes), "{len}");
        assert_eq!(block.len(), len);
        drop(block);
        pool.compact();
    }
    // A large region that is kept is not wasted on a small block.
    drop(pool.acquire(60 << 10).unwrap());
    let huge = pool.acquire(1 << 20).unwrap();
    drop(huge);
    assert_eq!(pool.acquire(100).unwrap().capacity(), LEAF);
    let refusal = pool.acquire(usize::MAX).unwrap_err();
    assert!(matches!(refusal, BlockError::TooLarge { .. }), "{refusal}");
}

#[test]
fn a_region_is_granted_at_its_exact_bytes_and_refused_with_one_less() {
    let (_budget, wide) = account(Bytes::mib(64));
    let pool = BuddyPool::new(&wide, SMALL).unwrap();
    let block = pool.acquire(LEAF).unwrap();
    let needed = wide.used();
    assert_eq!(needed, pool.stats().footprint());
    drop(block);
    for (limit, fits) in [(needed.get() - 1, false), (needed.get(), true), (needed.get() + 1, true)]
    {
        let (budget, account) = account(Bytes::new(limit));
        let pool = BuddyPool::new(&account, SMALL).unwrap();
        match pool.acquire(LEAF) {
            Ok(_) => assert!(fits, "{limit}"),
            Err(refusal) => assert!(refusal.is_over_budget() && !fits, "{limit}: {refusal}"),
        }
        drop(pool);
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn empty_regions_go_back_beyond_those_that_are_kept_and_all_of_them_on_pressure() {
    let (budget, account) = account(Bytes::mib(2));
    let pool = BuddyPool::new(&account, SMALL).unwrap();
    let blocks: Vec<_> = (0..16).map(|_| pool.acquire(64 << 10).unwrap()).collect();
    assert_eq!(pool.stats().region_bytes, Bytes::mib(1));
    drop(blocks);
    let stats = pool.stats();
    assert_eq!((stats.region_bytes, stats.empty_bytes), (Bytes::kib(64), Bytes::kib(64)));
    let most = Bytes::mib(2).saturating_sub(Bytes::kib(4));
    assert!(budget.account("other", Priority::Write).reserve(most).is_ok());
    assert_eq!(pool.stats().regions, 0);
    drop(pool.acquire(1).unwrap());
    assert_eq!(pool.compact(), Bytes::kib(64));
    assert_eq!(pool.compact(), Bytes::ZERO);
}

#[test]
fn blocks_outlive_their_pool_and_the_last_one_takes_it_along_on_any_thread() {
    let (budget, account) = account(Bytes::mib(64));
    let pool = BuddyPool::new(&account, SMALL).unwrap();
    let first = pool.acquire_zeroed(3 * LEAF).unwrap();
    let second = pool.acquire_zeroed(1 << 20).unwrap();
    drop(pool.clone());
    drop(pool);
    assert!(first.iter().chain(second.iter()).all(|&byte| byte == 0));
    drop(first);
    std::thread::spawn(move || drop(second)).join().unwrap();
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn threads_take_and_give_back_without_losing_a_leaf() {
    let (_budget, account) = account(Bytes::mib(64));
    let pool = BuddyPool::new(&account, SMALL).unwrap();
    let rounds = if cfg!(miri) { 10 } else { 2000 };
    std::thread::scope(|scope| {
        for me in 1..4u8 {
            let pool = &pool;
            scope.spawn(move || {
                let mut own: Vec<PooledBlock> = Vec::new();
                for round in 0..rounds {
                    let mut block = pool.acquire(LEAF * (1 + round % 7)).unwrap();
                    block.resize(100, me).unwrap();
                    own.push(block);
                    if own.len() > 9 {
                        let block = own.swap_remove(round % 9);
                        assert!(block.iter().all(|&byte| byte == me));
                    }
                }
            });
        }
    });
    let stats = pool.stats();
    assert_eq!((stats.live_blocks, stats.block_bytes), (0, Bytes::ZERO));
    pool.compact();
    assert_eq!(pool.stats().regions, 0);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The model: live blocks by address, with what they hold.
    #[test]
    fn blocks_never_overlap_and_keep_their_bytes(
        steps in prop::collection::vec((0_usize..4, 0_usize..100_000, any::<usize>()), 0..80),
    ) {
        let (budget, account) = account(Bytes::mib(512));
        let pool = BuddyPool::new(&account, SMALL).unwrap();
        let mut live: BTreeMap<usize, (u8, usize, PooledBlock)> = BTreeMap::new();
        for (number, (kind, len, which)) in steps.into_iter().enumerate() {
            match kind {
                0 | 1 => {
                    let mut block = pool.acquire(len).unwrap();
                    let (start, capacity) = (block.as_ptr().addr(), block.capacity());
                    prop_assert!(capacity >= len && capacity < len + LEAF + 1);
                    let before = live.range(..=start).next_back();
                    prop_assert!(before.is_none_or(|(at, (.., old))| at + old.capacity() <= start));
                    let after = live.range(start..).next();
                    prop_assert!(after.is_none_or(|(at, _)| start + capacity <= *at));
                    block.resize(capacity, number as u8).unwrap();
                    live.insert(start, (number as u8, len, block));
                }
                2 => {
                    let key = live.keys().nth(which % live.len().max(1)).copied();
                    if let Some((tag, _, block)) = key.and_then(|key| live.remove(&key)) {
                        prop_assert!(block.iter().all(|&byte| byte == tag));
                    }
                }
                _ => {
                    pool.compact();
                }
            }
            let stats = pool.stats();
            let bytes: usize = live.values().map(|(.., block)| block.capacity()).sum();
            let requested: usize = live.values().map(|(_, len, _)| len).sum();
            prop_assert_eq!(stats.live_blocks, live.len());
            prop_assert_eq!(stats.block_bytes, Bytes::of(bytes));
            prop_assert_eq!(stats.requested, Bytes::of(requested));
            prop_assert_eq!(stats.footprint(), account.used());
        }
        drop(pool);
        for (tag, _, block) in live.into_values() {
            prop_assert!(block.iter().all(|&byte| byte == tag));
        }
        prop_assert_eq!(budget.used(), Bytes::ZERO);
    }
}
