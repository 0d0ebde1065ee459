//! What does a slot of an arena cost, and what does a bump allocation?
//!
//! Each call works on a structure that is already as large as it gets, so that neither side
//! grows while it is timed; the growth is a figure of its own, in bytes.

use std::cell::Cell;
use std::hint::black_box;

use ambit_mem::{Account, Arena, ArenaError, Budget, Bytes, EntityKey, Priority, Slots};

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::time;

/// Many short rounds: some of them find the processor to themselves.
const ROUNDS: usize = 400;
const REPEATS: u32 = 50_000;
/// Entities in the structure that is worked on.
const ENTITIES: u64 = 1000;
/// Bump allocations between two resets.
const BATCH: u32 = 10_000;

/// A way to do it: its name, and what one call does with the number of the call.
struct Way<'a> {
    name: &'static str,
    call: Box<dyn FnMut(u32) -> f64 + 'a>,
}

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::mib(256));
    let account = budget.account("bench/arena", Priority::Query);
    slots(&account, table)?;
    bump(&account, table)?;
    growth(table)
}

/// Nanoseconds of each way: the least of rounds that take turns.
fn race(ways: &mut [Way<'_>]) -> Vec<f64> {
    let mut least = vec![f64::INFINITY; ways.len()];
    for _ in 0..ROUNDS {
        for (way, least) in ways.iter_mut().zip(&mut least) {
            *least = least.min((way.call)(REPEATS));
        }
    }
    least
}

/// A way whose call is timed in one loop, so that it is inlined there.
fn way<'a>(name: &'static str, mut call: impl FnMut(u32) + 'a) -> Way<'a> {
    let call = move |repeats: u32| {
        let timed = time(|| (0..repeats).for_each(&mut call));
        timed.map_or(f64::INFINITY, |((), took)| took.cpu * 1e9 / f64::from(repeats))
    };
    Way { name, call: Box::new(call) }
}

/// A row for each peer, ours in each.
fn rows(
    table: &mut Table,
    metric: &str,
    target: Option<Target>,
    mut ways: Vec<Way<'_>>,
) -> Result<(), BenchError> {
    let least = race(&mut ways);
    let row = |least: f64| {
        let row = Row::new("arena", metric, least, "ns");
        if let Some(target) = target { row.target(target) } else { row }
    };
    if ways.len() == 1 {
        return table.add(row(least[0]));
    }
    for (way, peer) in ways.iter().zip(&least).skip(1) {
        table.add(row(least[0]).peer(way.name, *peer))?;
    }
    Ok(())
}

fn slots(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let filled = || -> Result<(Slots<u64>, Vec<EntityKey>), ArenaError> {
        let mut slots = Slots::new(account)?;
        let keys = (0..ENTITIES).map(|n| slots.insert(n)).collect::<Result<_, _>>()?;
        Ok((slots, keys))
    };
    let (mut slots, _) = filled()?;
    let ways = vec![
        way("ours", move |call| {
            if let Ok(key) = slots.insert(u64::from(call)) {
                black_box(slots.remove(black_box(key)));
            }
        }),
        #[cfg(feature = "peers")]
        peers::slab(),
        #[cfg(feature = "peers")]
        peers::slotmap(),
        #[cfg(feature = "peers")]
        peers::sharded_slab(),
    ];
    rows(table, "slot insert + remove", Some(Target::AtMost(4.0)), ways)?;
    let (slots, keys) = filled()?;
    let ways = vec![
        way("ours", move |call| {
            black_box(slots.get(keys[call as usize % keys.len()]));
        }),
        #[cfg(feature = "peers")]
        peers::slab_get(),
        #[cfg(feature = "peers")]
        peers::slotmap_get(),
    ];
    rows(table, "slot get", None, ways)
}

fn bump(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let mut arena = Arena::new(account)?;
    let ways = vec![
        way("ours", move |call| {
            if call % BATCH == 0 {
                arena.reset();
            }
            black_box(arena.alloc(u64::from(call)).is_ok());
        }),
        #[cfg(feature = "peers")]
        peers::bumpalo(),
    ];
    rows(table, "bump alloc of 8 B", None, ways)?;
    let mut arena = Arena::new(account)?;
    let ways = vec![
        way("ours", move |call| {
            if call % BATCH == 0 {
                arena.reset();
            }
            black_box(arena.alloc_str(black_box("a name of 20 letters")).is_ok());
        }),
        #[cfg(feature = "peers")]
        peers::bumpalo_str(),
    ];
    rows(table, "bump alloc of 20 B of text", None, ways)?;
    let mut arena = Arena::new(account)?;
    let result = Cell::new(Ok::<_, ArenaError>(()));
    let ways = vec![way("ours", |call| {
        result.set(arena.scope(|scope| scope.alloc(call).map(|_| ())));
    })];
    rows(table, "scope with one alloc", None, ways)?;
    Ok(result.into_inner()?)
}

/// The most that is held while a million entities come, for each byte of them.
fn growth(table: &mut Table) -> Result<(), BenchError> {
    const MILLION: u64 = 1_000_000;
    let per_entity = |bytes: Bytes| bytes.get() as f64 / MILLION as f64;
    let (mut low, mut high) = (16 * MILLION, 48 * MILLION);
    let fits = |limit: u64| {
        let budget = Budget::new(Bytes::new(limit));
        let slots = Slots::new(&budget.account("growth", Priority::Write));
        slots.is_ok_and(|mut slots| (0..MILLION).all(|n| slots.insert(n).is_ok()))
    };
    while high - low > 1024 {
        let middle = low.midpoint(high);
        if fits(middle) { high = middle } else { low = middle }
    }
    // One `Vec` of 16-byte slots that doubles holds the old and the new one: 2^19 + 2^20 of them.
    let doubling = Bytes::new(16 * ((1 << 19) + (1 << 20)));
    table.add(
        Row::new("arena", "peak while 1 M entities of 8 B come", per_entity(Bytes::new(high)), "B")
            .peer("one Vec that doubles, by its formula", per_entity(doubling)),
    )
}

#[cfg(feature = "peers")]
mod peers {
    use std::hint::black_box;

    use super::{BATCH, ENTITIES, Way, way};

    pub fn slab() -> Way<'static> {
        let mut slab: slab::Slab<u64> = (0..ENTITIES).map(|n| (n as usize, n)).collect();
        way("slab", move |call| {
            let key = slab.insert(u64::from(call));
            black_box(slab.try_remove(black_box(key)));
        })
    }

    pub fn slotmap() -> Way<'static> {
        let mut map = slotmap::SlotMap::new();
        (0..ENTITIES).for_each(|n| _ = map.insert(n));
        way("slotmap", move |call| {
            let key = map.insert(u64::from(call));
            black_box(map.remove(black_box(key)));
        })
    }

    pub fn sharded_slab() -> Way<'static> {
        let slab = sharded_slab::Slab::new();
        (0..ENTITIES).for_each(|n| _ = slab.insert(n));
        way("sharded-slab", move |call| {
            if let Some(key) = slab.insert(u64::from(call)) {
                black_box(slab.take(black_box(key)));
            }
        })
    }

    pub fn slab_get() -> Way<'static> {
        let slab: slab::Slab<u64> = (0..ENTITIES).map(|n| (n as usize, n)).collect();
        way("slab", move |call| {
            black_box(slab.get(call as usize % ENTITIES as usize));
        })
    }

    pub fn slotmap_get() -> Way<'static> {
        let mut map = slotmap::SlotMap::new();
        let keys: Vec<_> = (0..ENTITIES).map(|n| map.insert(n)).collect();
        way("slotmap", move |call| {
            black_box(map.get(keys[call as usize % keys.len()]));
        })
    }

    pub fn bumpalo() -> Way<'static> {
        let mut bump = bumpalo::Bump::new();
        way("bumpalo", move |call| {
            if call % BATCH == 0 {
                bump.reset();
            }
            black_box(bump.try_alloc(u64::from(call)).is_ok());
        })
    }

    pub fn bumpalo_str() -> Way<'static> {
        let mut bump = bumpalo::Bump::new();
        way("bumpalo", move |call| {
            if call % BATCH == 0 {
                bump.reset();
            }
            black_box(bump.try_alloc_str(black_box("a name of 20 letters")).is_ok());
        })
    }
}
