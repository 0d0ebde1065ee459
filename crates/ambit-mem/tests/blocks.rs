//! Block pools against a naive model, under threads, with little budget.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::mpsc;

use ambit_mem::block::{
    ALIGNMENT, Batch, BlockConfig, BlockError, BlockPool, LARGEST_BLOCK, PooledBlock,
};
use ambit_mem::process::Resident;
use ambit_mem::{Account, Budget, Bytes, Priority};
use proptest::prelude::*;

fn account(limit: Bytes) -> (Budget, Account) {
    let budget = Budget::new(limit);
    let account = budget.account("blocks", Priority::Write);
    (budget, account)
}

fn pool(account: &Account) -> BlockPool {
    BlockPool::new(account, BlockConfig::default()).unwrap()
}

#[test]
fn a_block_is_aligned_empty_and_as_large_as_asked() {
    let (_budget, account) = account(Bytes::mib(64));
    let pool = pool(&account);
    for len in [0, 1, 63, 64, 65, 1536, 4095, 4096, 4097, 12_288, LARGEST_BLOCK - 1, LARGEST_BLOCK]
    {
        let mut block = pool.acquire(len).unwrap();
        assert_eq!(block.as_ptr().addr() % ALIGNMENT, 0, "{len}");
        assert!(block.is_empty() && block.capacity() >= len, "{len}");
        block.extend_from_slice(&vec![7; len]).unwrap();
        assert_eq!(block.len(), len);
    }
    let refusal = pool.acquire(LARGEST_BLOCK + 1).unwrap_err();
    assert!(matches!(refusal, BlockError::TooLarge { .. }), "{refusal}");
    assert!(!refusal.is_over_budget());
}

#[test]
fn nobody_sees_what_another_owner_wrote() {
    let (_budget, account) = account(Bytes::mib(1));
    let pool = pool(&account);
    let secret = pool.acquire_copied(&[0xAA; 512]).unwrap();
    let address = secret.as_ptr();
    drop(secret);
    let fresh = pool.acquire(512).unwrap();
    assert_eq!(fresh.as_ptr(), address, "recycled");
    assert_eq!(fresh.as_slice(), &[] as &[u8]);
    drop(fresh);
    let zeroed = pool.acquire_zeroed(512).unwrap();
    assert_eq!(zeroed.as_ptr(), address, "recycled");
    assert_eq!(zeroed.as_slice(), &[0; 512]);
}

#[test]
fn a_block_is_full_at_its_capacity_and_not_before() {
    let (_budget, account) = account(Bytes::mib(1));
    let mut block = pool(&account).acquire(100).unwrap();
    let capacity = block.capacity();
    block.resize(capacity - 1, 1).unwrap();
    let full = block.extend_from_slice(&[2, 3]).unwrap_err();
    assert_eq!((full.bytes, full.room), (Bytes::new(2), Bytes::new(1)));
    assert_eq!(block.len(), capacity - 1);
    block.extend_from_slice(&[2]).unwrap();
    assert!(block.resize(capacity + 1, 0).is_err());
    assert!(block.extend_from_f32s(&[1.0]).is_err());
    assert_eq!(std::io::Write::write(&mut block, &[1]).unwrap(), 0);
    assert_eq!((block.len(), block[capacity - 1]), (capacity, 2));
    assert!(block.spare_capacity_mut().is_empty());
}

#[test]
fn floats_come_back_bit_for_bit() {
    let (_budget, account) = account(Bytes::mib(1));
    let values = [0.0, -0.0, f32::NAN, f32::MIN_POSITIVE / 2.0, f32::INFINITY, 1.5];
    let mut block = pool(&account).acquire_f32s(&values).unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(block.as_f32s()), bits(&values));
    block.as_f32s_mut()[0] = 2.0;
    assert_eq!(block[..4], 2.0f32.to_ne_bytes());
    block.truncate(7);
    assert_eq!(block.as_f32s().len(), 1);
    block.clear();
    assert!(block.as_f32s().is_empty());
}

#[test]
fn memory_that_the_owner_fills_himself_is_readable_once_he_says_so() {
    let (_budget, account) = account(Bytes::mib(1));
    let mut block = pool(&account).acquire(256).unwrap();
    for (index, byte) in block.spare_capacity_mut()[..200].iter_mut().enumerate() {
        byte.write(index as u8);
    }
    // SAFETY: the first 200 bytes were written just now.
    unsafe { block.set_len(200) };
    assert!(block.iter().enumerate().all(|(index, &byte)| byte == index as u8));
}

#[test]
fn a_slab_is_granted_at_its_exact_bytes_and_refused_with_one_less() {
    // What a pool with one block of this size takes from the budget.
    let (_budget, wide) = account(Bytes::mib(64));
    let first = pool(&wide);
    let block = first.acquire(1536).unwrap();
    let needed = wide.used();
    assert_eq!(needed, first.stats().footprint());
    drop(block);
    for (limit, fits) in [(needed.get() - 1, false), (needed.get(), true), (needed.get() + 1, true)]
    {
        let (budget, account) = account(Bytes::new(limit));
        let pool = pool(&account);
        let got = pool.acquire(1536);
        assert_eq!(got.is_ok(), fits, "{limit}");
        drop(got);
        drop(pool);
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn what_is_refused_can_be_had_once_other_blocks_are_back() {
    let (_budget, account) = account(Bytes::mib(2));
    let pool = pool(&account);
    let mut blocks = Vec::new();
    let refusal = loop {
        match pool.acquire(4096) {
            Ok(block) => blocks.push(block),
            Err(refusal) => break refusal,
        }
    };
    assert!(refusal.is_over_budget());
    assert!(blocks.len() > 400, "{}", blocks.len());
    // Another class needs a slab of its own, so those of this one have to go back first; the
    // ledger asks for them.
    blocks.clear();
    for _ in 0..100 {
        blocks.push(pool.acquire(12_288).unwrap());
    }
    assert!(pool.stats().slabs_returned > 0);
}

#[test]
fn another_account_gets_the_bytes_of_empty_slabs() {
    let (budget, account) = account(Bytes::mib(8));
    let config = BlockConfig { max_retained: Bytes::MAX };
    let pool = BlockPool::new(&account, config).unwrap();
    drop(pool.acquire_batch(Batch { len: 4096, count: 1500 }).unwrap());
    assert!(pool.stats().slab_bytes >= Bytes::new(1500 * 4096));
    let other = budget.account("other", Priority::Write);
    assert!(other.reserve(Bytes::mib(7)).is_ok());
}

#[test]
fn no_more_empty_slabs_are_kept_than_allowed() {
    for (limit, most) in [(0, 0), (64, 64), (1024, 1024)] {
        let (_budget, account) = account(Bytes::mib(64));
        let config = BlockConfig { max_retained: Bytes::kib(limit) };
        let pool = BlockPool::new(&account, config).unwrap();
        let blocks: Vec<_> = (0..2000).map(|_| pool.acquire(4096).unwrap()).collect();
        drop(blocks);
        let stats = pool.stats();
        assert!(stats.empty_bytes <= Bytes::kib(most), "{limit}: {stats:?}");
        // What the thread keeps at hand holds some slabs.
        assert!(stats.slab_bytes <= Bytes::kib(most + 4 * 128), "{limit}: {stats:?}");
        assert_eq!(stats.live_blocks, 0);
    }
}

#[test]
fn compact_gives_all_but_the_slabs_of_live_blocks_back_to_the_system() {
    let (_budget, account) = account(Bytes::mib(256));
    let config = BlockConfig { max_retained: Bytes::MAX };
    let pool = BlockPool::new(&account, config).unwrap();
    let resident = || Resident::read().map_or(0, |resident| resident.rss_anon.get());
    let blocks: Vec<PooledBlock> =
        (0..30_000).map(|_| pool.acquire_zeroed(4096).unwrap()).collect();
    let mut blocks = blocks;
    let kept = blocks.swap_remove(15_000);
    let before = resident();
    drop(blocks);
    let returned = pool.compact();
    let after = resident();
    let stats = pool.stats();
    assert_eq!((stats.slabs, stats.live_blocks, stats.slab_bytes), (1, 1, Bytes::kib(128)));
    assert!(returned > Bytes::new(29_000 * 4096));
    if before > 0 {
        let gone = before.saturating_sub(after);
        assert!(gone > 64 << 20, "{gone} bytes less of {before}");
    }
    assert_eq!(kept.as_slice(), &[0; 4096]);
}

#[test]
fn stats_add_up() {
    let (_budget, account) = account(Bytes::mib(64));
    let pool = pool(&account);
    let blocks = pool.acquire_batch(Batch { len: 1000, count: 5000 }).unwrap();
    let stats = pool.stats();
    assert_eq!(stats.live_blocks, 5000);
    assert_eq!(stats.requested, Bytes::new(5_000_000));
    assert_eq!(stats.block_bytes, Bytes::new(5000 * 1024));
    assert_eq!(stats.footprint(), account.used());
    assert!((stats.internal_fragmentation() - 24.0 / 1024.0).abs() < 1e-9);
    assert!(stats.external_fragmentation() < 0.03, "{stats:?}");
    assert!(stats.metadata_share() < 0.01, "{stats:?}");
    drop(blocks);
    let stats = pool.stats();
    assert_eq!((stats.live_blocks, stats.requested), (0, Bytes::ZERO));
    assert_eq!(stats.footprint(), account.used());
}

#[test]
fn a_batch_is_all_or_nothing() {
    let (_budget, account) = account(Bytes::mib(2));
    let pool = pool(&account);
    assert!(pool.acquire_batch(Batch { len: 4096, count: 1000 }).unwrap_err().is_over_budget());
    assert_eq!(pool.stats().live_blocks, 0);
    assert_eq!(pool.acquire_batch(Batch { len: 4096, count: 400 }).unwrap().len(), 400);
    assert!(pool.acquire_batch(Batch { len: 1, count: 0 }).unwrap().is_empty());
    assert!(pool.acquire_batch(Batch { len: 1, count: usize::MAX }).is_err());
}

#[test]
fn blocks_outlive_their_pool_and_then_take_it_with_them() {
    let (budget, account) = account(Bytes::mib(64));
    let pool = pool(&account);
    let mut blocks: Vec<_> = (0..100).map(|_| pool.acquire_copied(&[9; 1536]).unwrap()).collect();
    drop(pool.clone());
    drop(pool);
    assert!(blocks.iter().all(|block| block.as_slice() == [9; 1536]));
    let last = blocks.pop();
    drop(blocks);
    assert!(account.used() > Bytes::ZERO);
    // The last one goes on another thread.
    std::thread::spawn(move || drop(last)).join().unwrap();
    assert_eq!(account.used(), Bytes::ZERO);
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn blocks_dropped_by_an_ending_thread_come_back() {
    thread_local! {
        static LATE: std::cell::RefCell<Vec<PooledBlock>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let (_budget, account) = account(Bytes::mib(64));
    let pool = pool(&account);
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                LATE.with_borrow_mut(|late| {
                    late.extend((0..50).map(|_| pool.acquire(1536).unwrap()));
                });
            })
            .join()
            .unwrap();
    });
    assert_eq!(pool.stats().live_blocks, 0);
    assert_eq!(pool.stats().requested, Bytes::ZERO);
}

#[test]
fn what_a_dead_thread_kept_is_used_by_the_next_one_and_goes_back_on_compact() {
    let (_budget, account) = account(Bytes::mib(64));
    let pool = pool(&account);
    let address = std::thread::scope(|scope| {
        let thread = scope.spawn(|| pool.acquire(64 << 10).unwrap().as_ptr().addr());
        thread.join().unwrap()
    });
    assert!(pool.stats().cached_bytes > Bytes::ZERO);
    pool.compact();
    let stats = pool.stats();
    assert_eq!((stats.cached_bytes, stats.slab_bytes), (Bytes::ZERO, Bytes::ZERO));
    assert_ne!(address, 0);
}

/// Threads that allocate, check, pass on and free, beside one that compacts all the time.
#[test]
fn threads_that_pass_blocks_around_while_somebody_compacts_lose_and_share_none() {
    const THREADS: usize = 3;
    let rounds: usize = if cfg!(miri) { 60 } else { 20_000 };
    let (budget, account) = account(Bytes::mib(64));
    let pool = pool(&account);
    std::thread::scope(|scope| {
        let (senders, receivers): (Vec<_>, Vec<_>) =
            (0..THREADS).map(|_| mpsc::sync_channel::<(u8, PooledBlock)>(64)).unzip();
        for (me, receiver) in receivers.into_iter().enumerate() {
            let next = senders[(me + 1) % THREADS].clone();
            let pool = pool.clone();
            scope.spawn(move || {
                let mut own = Vec::new();
                for round in 0..rounds {
                    let (tag, len) = ((round + me) as u8, 64 + (round * 37) % 3000);
                    let mut block = pool.acquire(len).unwrap();
                    block.resize(len, tag).unwrap();
                    match round % 3 {
                        0 => own.push((tag, block)),
                        // Where the other is slow or gone, the block is freed here.
                        1 => drop(next.try_send((tag, block))),
                        _ => drop(block),
                    }
                    if own.len() > 100 {
                        let (tag, block) = own.swap_remove(round % 100);
                        assert!(block.iter().all(|&byte| byte == tag));
                    }
                    while let Ok((tag, block)) = receiver.try_recv() {
                        assert!(block.iter().all(|&byte| byte == tag));
                    }
                }
            });
        }
        let pool = pool.clone();
        scope.spawn(move || {
            for _ in 0..rounds / 20 {
                pool.compact();
            }
        });
    });
    pool.compact();
    let stats = pool.stats();
    assert_eq!((stats.live_blocks, stats.slabs, stats.requested), (0, 0, Bytes::ZERO));
    drop(pool);
    assert_eq!(budget.used(), Bytes::ZERO);
}

/// The pool goes while its blocks are being freed on two threads: whoever is last takes it along.
#[test]
fn a_pool_that_is_dropped_while_others_free_its_blocks_leaves_nothing_behind() {
    let rounds = if cfg!(miri) { 10 } else { 1000 };
    for round in 0..rounds {
        let (budget, account) = account(Bytes::mib(64));
        let pool = pool(&account);
        let mut blocks: Vec<_> = (0..40 + round % 7).map(|_| pool.acquire(2048).unwrap()).collect();
        let half = blocks.split_off(blocks.len() / 2);
        let together = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for blocks in [blocks, half] {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    drop(blocks);
                });
            }
            together.wait();
            drop(pool);
        });
        assert_eq!(account.used(), Bytes::ZERO);
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Acquire(usize),
    Batch(usize, usize),
    Free(usize),
    Compact,
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![0_usize..200, 0_usize..5000, 0..=LARGEST_BLOCK];
    prop_oneof![
        6 => len.clone().prop_map(Step::Acquire),
        1 => (len, 0_usize..80).prop_map(|(len, count)| Step::Batch(len, count)),
        6 => any::<usize>().prop_map(Step::Free),
        1 => Just(Step::Compact),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 3 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// The model: live blocks by address, with what they hold.
    #[test]
    fn blocks_never_overlap_and_keep_their_bytes(steps in prop::collection::vec(step(), 0..200)) {
        let (budget, account) = account(Bytes::mib(512));
        let pool = BlockPool::new(&account, BlockConfig { max_retained: Bytes::kib(256) }).unwrap();
        let mut live: BTreeMap<usize, (u8, PooledBlock)> = BTreeMap::new();
        for (number, step) in steps.into_iter().enumerate() {
            let fresh = match step {
                Step::Acquire(len) => vec![(len, pool.acquire(len).unwrap())],
                Step::Batch(len, count) => {
                    let blocks = pool.acquire_batch(Batch { len, count }).unwrap();
                    blocks.into_iter().map(|block| (len, block)).collect()
                }
                Step::Free(which) => {
                    let key = live.keys().nth(which % live.len().max(1)).copied();
                    if let Some((tag, block)) = key.and_then(|key| live.remove(&key)) {
                        prop_assert!(block.iter().all(|&byte| byte == tag));
                    }
                    vec![]
                }
                Step::Compact => {
                    pool.compact();
                    vec![]
                }
            };
            for (len, mut block) in fresh {
                let (start, capacity) = (block.as_ptr().addr(), block.capacity());
                prop_assert_eq!(start % ALIGNMENT, 0);
                prop_assert!(capacity >= len);
                let before = live.range(..=start).next_back();
                prop_assert!(before.is_none_or(|(at, (_, old))| at + old.capacity() <= start));
                let after = live.range(start..).next();
                prop_assert!(after.is_none_or(|(at, _)| start + capacity <= *at));
                block.resize(capacity, number as u8).unwrap();
                live.insert(start, (number as u8, block));
            }
            let stats = pool.stats();
            let bytes: usize = live.values().map(|(_, block)| block.capacity()).sum();
            prop_assert_eq!(stats.live_blocks, live.len());
            prop_assert_eq!(stats.block_bytes, Bytes::of(bytes));
            prop_assert_eq!(stats.footprint(), account.used());
        }
        drop(pool);
        for (tag, block) in live.into_values() {
            prop_assert!(block.iter().all(|&byte| byte == tag));
        }
        prop_assert_eq!(budget.used(), Bytes::ZERO);
    }
}
