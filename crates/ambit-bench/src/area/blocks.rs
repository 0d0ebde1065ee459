//! What does a block of a pool cost, in time and in bytes?
//!
//! Time is processor time, the least of interleaved rounds. On one thread and on two, a block is
//! taken and given back at once, by us and by each peer. For a block that is given back on another thread, one thread takes 512 and another gives them back,
//! over and over; what counts is the time of both, per block, without the waiting. Peers that
//! are allocators are called through `GlobalAlloc`; peers that are pools lend boxed buffers.

use std::hint::black_box;
use std::sync::mpsc;

use ambit_mem::block::{Batch, BlockConfig, BlockPool, BuddyConfig, BuddyPool, PooledBlock};
use ambit_mem::{Account, Budget, Bytes, Priority};

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::{nanoseconds, time};

const SIZES: [usize; 2] = [1536, 4096];
const REPEATS: u32 = 1_000_000;
const ROUNDS: usize = 7;
/// Blocks that change hands at once, and how often.
const PASSED: usize = 512;
const PASSES: usize = 400;
/// Dims that models of today have.
const DIMS: [usize; 18] = [
    128, 256, 384, 512, 640, 768, 896, 960, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2560,
    3072,
];

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::gib(1));
    let account = budget.account("bench/blocks", Priority::Write);
    let pool = BlockPool::new(&account, BlockConfig::default()).map_err(failed)?;
    for size in SIZES {
        hot(&pool, size, table)?;
        passed(&pool, size, table)?;
    }
    kinds(&pool, table)?;
    drop(pool);
    batches(&account, table)?;
    shares(&account, table)?;
    drop(account);
    let account = budget.account("bench/buddy", Priority::Write);
    large(&account, table)
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(error.to_string())
}

/// Takes a block and gives it back.
#[inline(always)]
fn take_and_give(pool: &BlockPool, size: usize) {
    if let Ok(block) = pool.acquire(black_box(size)) {
        black_box(block.as_ptr());
    }
}

/// A figure of each of several contestants, the least of all rounds.
struct Best {
    names: Vec<&'static str>,
    values: Vec<f64>,
}

impl Best {
    fn new(names: Vec<&'static str>) -> Self {
        let values = vec![f64::INFINITY; names.len()];
        Self { names, values }
    }

    fn note(&mut self, contestant: usize, value: f64) {
        self.values[contestant] = self.values[contestant].min(value);
    }

    /// Our row (the first contestant) with the best peer, and all peers in the note.
    fn row(&self, case: &str, what: &str) -> Row {
        let row = Row::new(case, what, self.values[0], "ns");
        let peers = self.names.iter().zip(&self.values).skip(1);
        let Some((name, best)) = peers.clone().min_by(|a, b| a.1.total_cmp(b.1)) else {
            return row;
        };
        let all: Vec<String> = peers.map(|(name, value)| format!("{name} {value:.1}")).collect();
        row.peer(name, *best).note(all.join(", "))
    }
}

fn hot(pool: &BlockPool, size: usize, table: &mut Table) -> Result<(), BenchError> {
    let peers = peers::hot(size);
    let names = || std::iter::once("ambit").chain(peers.iter().map(|peer| peer.name)).collect();
    let mut best = [Best::new(names()), Best::new(names())];
    for _ in 0..ROUNDS {
        for (threads, best) in [1, 2].into_iter().zip(&mut best) {
            best.note(0, nanoseconds(threads, REPEATS, &|_| take_and_give(pool, size))?);
            for (index, peer) in peers.iter().enumerate() {
                best.note(index + 1, (peer.measure)(threads)?);
            }
        }
    }
    for (threads, best) in [1, 2].into_iter().zip(&best) {
        let case =
            format!("{size} B blocks, {threads} thread{}", if threads > 1 { "s" } else { "" });
        table.add(best.row(&case, "take + give back").target(Target::AtMost(2.5)))?;
    }
    Ok(())
}

/// One thread takes, the other gives back: time of both per block, without the waiting.
fn pass<T: Send>(
    take: &(impl Fn() -> T + Sync),
    give: &(impl Fn(T) + Sync),
) -> Result<f64, BenchError> {
    let (full_sender, full) = mpsc::sync_channel::<Vec<T>>(2);
    let (empty_sender, empty) = mpsc::sync_channel::<Vec<T>>(4);
    for _ in 0..2 {
        empty_sender.send(Vec::with_capacity(PASSED)).map_err(failed)?;
    }
    let (took, gave) = std::thread::scope(|scope| {
        let giver = scope.spawn(move || {
            let mut cpu = 0.0;
            for mut batch in full {
                let ((), took) = time(|| batch.drain(..).for_each(give))?;
                cpu += took.cpu;
                // The taker may be done.
                let _ = empty_sender.send(batch);
            }
            Ok::<f64, BenchError>(cpu)
        });
        let mut cpu = 0.0;
        for _ in 0..PASSES {
            let mut batch = empty.recv().map_err(failed)?;
            let ((), took) = time(|| batch.extend(std::iter::repeat_with(take).take(PASSED)))?;
            cpu += took.cpu;
            full_sender.send(batch).map_err(failed)?;
        }
        drop(full_sender);
        let gave = giver.join().map_err(|_| BenchError::new("the giving thread panicked"))??;
        Ok::<_, BenchError>((cpu, gave))
    })?;
    Ok((took + gave) * 1e9 / (PASSES * PASSED) as f64)
}

fn passed(pool: &BlockPool, size: usize, table: &mut Table) -> Result<(), BenchError> {
    let peers = peers::passed(size);
    let names = std::iter::once("ambit").chain(peers.iter().map(|peer| peer.name)).collect();
    let mut best = Best::new(names);
    let take = || pool.acquire(black_box(size)).ok();
    let give = |block: Option<PooledBlock>| drop(block);
    for _ in 0..ROUNDS {
        best.note(0, pass(&take, &give)?);
        for (index, peer) in peers.iter().enumerate() {
            best.note(index + 1, (peer.measure)(2)?);
        }
    }
    let case = format!("{size} B blocks, passed on");
    table.add(best.row(&case, "take + give back elsewhere").target(Target::AtMost(20.0)))
}

/// What the other ways to take a block cost.
fn kinds(pool: &BlockPool, table: &mut Table) -> Result<(), BenchError> {
    let (size, source) = (1536, vec![0.5f32; 384]);
    let mut best = Best::new(vec!["copied", "zeroed", "vec", "known"]);
    for _ in 0..ROUNDS {
        let known = |_| {
            if let Ok(block) = pool.acquire(1536) {
                black_box(block.as_ptr());
            }
        };
        best.note(3, nanoseconds(1, REPEATS, &known)?);
        let copied = |_| drop(black_box(pool.acquire_f32s(black_box(&source))));
        best.note(0, nanoseconds(1, REPEATS / 4, &copied)?);
        let zeroed = |_| drop(black_box(pool.acquire_zeroed(black_box(size))));
        best.note(1, nanoseconds(1, REPEATS / 4, &zeroed)?);
        let vec = |_| drop(black_box(black_box(&source).to_vec()));
        best.note(2, nanoseconds(1, REPEATS / 4, &vec)?);
    }
    let [copied, zeroed, vec] = [best.values[0], best.values[1], best.values[2]];
    let case = "1536 B blocks, 1 thread";
    table.add(
        Row::new(case, "take + give back, size known to the compiler", best.values[3], "ns")
            .target(Target::AtMost(2.5)),
    )?;
    table.add(Row::new(case, "take + copy + give back", copied, "ns").peer("Vec<f32>", vec))?;
    table.add(Row::new(case, "take + zero + give back", zeroed, "ns"))
}

/// Many at once, from slabs that are there.
fn batches(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let config = BlockConfig { max_retained: Bytes::mib(64) };
    let pool = BlockPool::new(account, config).map_err(failed)?;
    let batch = Batch { len: 1536, count: 4096 };
    let (mut together, mut singly) = (f64::INFINITY, f64::INFINITY);
    let one = || pool.acquire(black_box(batch.len)).ok();
    drop(pool.acquire_batch(batch).map_err(failed)?);
    for _ in 0..5 * ROUNDS {
        let (blocks, took) = time(|| pool.acquire_batch(batch))?;
        together = together.min(took.cpu * 1e9 / batch.count as f64);
        drop(blocks);
        let (blocks, took) =
            time(|| std::iter::repeat_with(one).take(batch.count).collect::<Vec<_>>())?;
        singly = singly.min(took.cpu * 1e9 / batch.count as f64);
        drop(blocks);
    }
    table.add(
        Row::new("1536 B blocks, 4096 at once", "take", together, "ns").peer("one by one", singly),
    )
}

/// What is lost around the bytes that were asked for.
fn shares(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let pool = BlockPool::new(account, BlockConfig::default()).map_err(failed)?;
    let mut worst = 0.0f64;
    for len in DIMS.into_iter().flat_map(|dim| [dim, 2 * dim, 4 * dim]) {
        let _block = pool.acquire(len).map_err(failed)?;
        worst = worst.max(pool.stats().internal_fragmentation());
    }
    table.add(
        Row::new(
            "blocks of real dims x 1, 2, 4 bytes",
            "internal fragmentation",
            100.0 * worst,
            "%",
        )
        .note("the worst of 54 sizes")
        .target(Target::AtMost(5.0)),
    )?;
    let sizes = (128..=3072).flat_map(|dim| [dim, 2 * dim, 4 * dim]);
    let blocks: Result<Vec<_>, _> = sizes.map(|len| pool.acquire(len)).collect();
    let blocks = blocks.map_err(failed)?;
    table.add(
        Row::new(
            "blocks of every dim from 128 to 3072 x 1, 2, 4 bytes",
            "internal fragmentation",
            100.0 * pool.stats().internal_fragmentation(),
            "%",
        )
        .note("of all 8,835 together")
        .target(Target::AtMost(5.0)),
    )?;
    drop(blocks);
    pool.compact();
    for size in SIZES {
        let batch = Batch { len: size, count: (32 << 20) / size };
        let blocks = pool.acquire_batch(batch).map_err(failed)?;
        let stats = pool.stats();
        let case = format!("32 MiB of {size} B blocks");
        table.add(
            Row::new(&case, "metadata share", 100.0 * stats.metadata_share(), "%")
                .target(Target::AtMost(1.0)),
        )?;
        let external = 100.0 * stats.external_fragmentation();
        table.add(Row::new(&case, "external fragmentation", external, "%"))?;
        drop(blocks);
        pool.compact();
        let left = pool.stats().slab_bytes.get() as f64;
        table.add(
            Row::new(&case, "slab bytes after giving all back and compact", left, "B")
                .target(Target::AtMost(0.0)),
        )?;
    }
    Ok(())
}

/// Large blocks: what one costs, and what is lost around many that come and go.
fn large(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let pool = BuddyPool::new(account, BuddyConfig::default()).map_err(failed)?;
    let size = 1 << 20;
    let peers = peers::allocators(size);
    let names = std::iter::once("ambit").chain(peers.iter().map(|peer| peer.name)).collect();
    let mut best = Best::new(names);
    for _ in 0..ROUNDS {
        let call = |_| {
            if let Ok(block) = pool.acquire(black_box(size)) {
                black_box(block.as_ptr());
            }
        };
        best.note(0, nanoseconds(1, REPEATS / 10, &call)?);
        for (index, peer) in peers.iter().enumerate() {
            best.note(index + 1, (peer.measure)(1)?);
        }
    }
    table.add(best.row("1 MiB blocks, 1 thread", "take + give back"))?;

    // Batches of 1 to 1,500 vectors of 1,024 floats, 40 of them alive at a time.
    let mut live = Vec::new();
    let mut state = 1u32;
    for _ in 0..4000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let rows = 1 + (state >> 8) as usize % 1500;
        live.push(pool.acquire(rows * 4096).map_err(failed)?);
        if live.len() > 40 {
            live.swap_remove((state >> 4) as usize % live.len());
        }
    }
    let stats = pool.stats();
    let case = "40 large blocks after 4,000";
    let internal = 100.0 * stats.internal_fragmentation();
    table.add(Row::new(case, "internal fragmentation", internal, "%"))?;
    let external = 100.0 * stats.external_fragmentation();
    table.add(Row::new(case, "external fragmentation", external, "%"))?;
    let metadata = 100.0 * stats.metadata_share();
    table.add(Row::new(case, "metadata share", metadata, "%").target(Target::AtMost(1.0)))
}

/// A contestant, and nanoseconds per block on so many threads.
struct Peer {
    name: &'static str,
    measure: Box<dyn Fn(usize) -> Result<f64, BenchError>>,
}

#[cfg(feature = "peers")]
#[allow(unsafe_code)]
mod peers;

#[cfg(not(feature = "peers"))]
mod peers {
    use super::Peer;

    pub fn hot(_: usize) -> Vec<Peer> {
        Vec::new()
    }

    pub fn allocators(_: usize) -> Vec<Peer> {
        Vec::new()
    }

    pub fn passed(_: usize) -> Vec<Peer> {
        Vec::new()
    }
}
