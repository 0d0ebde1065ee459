//! What does a pooled object cost, and what does it save?
//!
//! The object is a buffer of 1 KiB that is cleared when it comes back. Every pool runs the same
//! loop: get an object, look at it, give it back. Processor time of the slower thread.
//!
//! A context is a map of eight text fields, as a step of a query fills and drops it. Fresh, it
//! allocates keys, values and its table each time; pooled and cleared, keys and values; pooled
//! with its keys and the capacity of its values, nothing. What then remains is hashing the keys,
//! which properties with interned keys do not.

use std::collections::HashMap;
use std::hint::black_box;

use ambit_mem::{
    Budget, Bytes, InternedProperties, Lifecycle, ObjectPool, PoolConfig, Priority, Symbol,
};

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::nanoseconds;

const REPEATS: u32 = 1_000_000;
const CONTEXTS: u32 = 100_000;
const ROUNDS: usize = 9;
const CAPACITY: usize = 1024;

type Context = HashMap<String, String>;

const FIELDS: [(&str, &str); 8] = [
    ("request", "5f0c1a52-8a3e-4b1f"),
    ("collection", "documents"),
    ("space", "minilm-l6-v2"),
    ("filter", "kind = 'n' and year > 1990"),
    ("language", "en"),
    ("user", "user-184467440737"),
    ("model", "all-MiniLM-L6-v2"),
    ("trace", "00-4bf92f3577b34da6a3ce929d0e0e4736"),
];

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::mib(64));
    buffers(&budget, table)?;
    contexts(&budget, table)
}

fn pool<T: Send>(
    budget: &Budget,
    name: &str,
    lifecycle: Lifecycle<T>,
) -> Result<ObjectPool<T>, BenchError> {
    let account = budget.account(name, Priority::Cache);
    ObjectPool::new(PoolConfig::default(), &account, lifecycle)
        .map_err(|error| BenchError::new(error.to_string()))
}

/// A name, the loop's body, and the least nanoseconds seen on one thread and on two.
struct Contender<'a> {
    name: &'static str,
    call: Box<dyn Fn(usize, u32) + Sync + 'a>,
    /// Is it shared by threads?
    shared: bool,
    least: [f64; 2],
}

impl<'a> Contender<'a> {
    /// The loop is inside, so that what is measured is not a call through a pointer.
    fn new(name: &'static str, call: impl Fn() + Sync + 'a) -> Self {
        let call = Box::new(move |_: usize, repeats: u32| (0..repeats).for_each(|_| call()));
        Self { name, call, shared: true, least: [f64::INFINITY; 2] }
    }
}

/// Runs all of them in turn, round by round, so that noise hits all alike.
fn race(contenders: &mut [Contender<'_>], repeats: u32) -> Result<(), BenchError> {
    for _ in 0..ROUNDS {
        for contender in &mut *contenders {
            for threads in [1, 2] {
                if threads == 1 || contender.shared {
                    let call = |thread| (contender.call)(thread, repeats);
                    let took = nanoseconds(threads, 1, &call)? / f64::from(repeats);
                    let least = &mut contender.least[threads - 1];
                    *least = least.min(took);
                }
            }
        }
    }
    Ok(())
}

/// What is done with a buffer: next to nothing.
fn look(buffer: &mut Vec<u8>) {
    black_box(buffer);
}

fn buffers(budget: &Budget, table: &mut Table) -> Result<(), BenchError> {
    let lifecycle = Lifecycle::new(
        || Vec::<u8>::with_capacity(CAPACITY),
        |buffer| Bytes::new(buffer.capacity() as u64),
    );
    let ours = pool(budget, "bench/buffers", lifecycle.reset(Vec::clear))?;
    #[cfg(feature = "peers")]
    let peers = peers::Pools::new();
    let mut contenders = vec![
        Contender::new("ours", || look(&mut ours.acquire())),
        Contender::new("allocated each time", || {
            look(&mut Vec::with_capacity(CAPACITY));
        }),
    ];
    #[cfg(feature = "peers")]
    contenders.extend(peers.contenders());
    race(&mut contenders, REPEATS)?;
    let (ours, others) = contenders.split_at(1);
    for (threads, case) in ["pool, 1 thread", "pool, 2 threads"].into_iter().enumerate() {
        let value = ours[0].least[threads];
        for (index, other) in
            others.iter().filter(|other| other.least[threads].is_finite()).enumerate()
        {
            let mut row = Row::new(case, "acquire + release", value, "ns")
                .peer(other.name, other.least[threads]);
            if index == 0 {
                row = row.target(Target::AtMost(6.0));
            }
            table.add(row)?;
        }
    }
    Ok(())
}

fn fresh() {
    let mut context = Context::new();
    for (key, value) in black_box(FIELDS) {
        context.insert(key.to_owned(), value.to_owned());
    }
    black_box(&context);
}

fn context_bytes(context: &Context) -> Bytes {
    let text = context.iter().map(|(key, value)| key.capacity() + value.capacity()).sum::<usize>();
    Bytes::new((text + context.capacity() * size_of::<(String, String)>()) as u64)
}

fn contexts(budget: &Budget, table: &mut Table) -> Result<(), BenchError> {
    let make = || Lifecycle::new(Context::new, context_bytes);
    let cleared = pool(budget, "bench/cleared", make().reset(Context::clear))?;
    let keep = |context: &mut Context| context.values_mut().for_each(String::clear);
    let kept = pool(budget, "bench/kept", make().reset(keep))?;
    let properties = Lifecycle::new(InternedProperties::new, InternedProperties::heap_bytes);
    let properties = pool(budget, "bench/properties", properties.reset(InternedProperties::clear))?;
    let mut contenders = [
        Contender::new("fresh each time", fresh),
        Contender::new("pooled, cleared", || {
            let mut context = cleared.acquire();
            for (key, value) in black_box(FIELDS) {
                context.insert(key.to_owned(), value.to_owned());
            }
        }),
        Contender::new("pooled, refilled in place", || {
            let mut context = kept.acquire();
            for (key, value) in black_box(FIELDS) {
                match context.get_mut(key) {
                    Some(field) => field.push_str(value),
                    None => drop(context.insert(key.to_owned(), value.to_owned())),
                }
            }
        }),
        Contender::new("pooled properties", || {
            let mut context = properties.acquire();
            for (number, (_, value)) in (0..).zip(black_box(FIELDS)) {
                context.insert_text(Symbol::new(number), value);
            }
        }),
    ];
    race(&mut contenders, CONTEXTS)?;
    for (threads, case) in ["context, 1 thread", "context, 2 threads"].into_iter().enumerate() {
        let [fresh, cleared, kept, properties] =
            [0, 1, 2, 3].map(|index: usize| contenders[index].least[threads]);
        table.add(Row::new(case, "a run, map cleared", cleared, "ns").peer("fresh map", fresh))?;
        for (name, took) in [("map", kept), ("properties", properties)] {
            table.add(
                Row::new(case, &format!("a run, {name} refilled in place"), took, "ns")
                    .peer("fresh map", fresh)
                    .ratio_target(Target::AtMost(0.25)),
            )?;
        }
    }
    Ok(())
}

#[cfg(feature = "peers")]
mod peers {
    use super::{CAPACITY, Contender, look};

    struct Buffers;

    impl opool::PoolAllocator<Vec<u8>> for Buffers {
        fn allocate(&self) -> Vec<u8> {
            Vec::with_capacity(CAPACITY)
        }

        fn reset(&self, buffer: &mut Vec<u8>) {
            buffer.clear();
        }
    }

    pub(super) struct Pools {
        opool: opool::Pool<Buffers, Vec<u8>>,
        lockfree: lockfree_object_pool::LinearObjectPool<Vec<u8>>,
        mutex: object_pool::Pool<Vec<u8>>,
    }

    impl Pools {
        pub(super) fn new() -> Self {
            let buffer = || Vec::with_capacity(CAPACITY);
            Self {
                opool: opool::Pool::new_prefilled(64, Buffers),
                lockfree: lockfree_object_pool::LinearObjectPool::new(buffer, Vec::clear),
                mutex: object_pool::Pool::new(64, buffer),
            }
        }

        pub(super) fn contenders(&self) -> Vec<Contender<'_>> {
            // One thread only: it is built and used by the thread that runs the loop.
            let local = Box::new(|_: usize, repeats: u32| {
                let local = opool::LocalPool::new_prefilled(64, Buffers);
                (0..repeats).for_each(|_| look(&mut local.get()));
            });
            let (name, least) = ("opool 0.2, LocalPool", [f64::INFINITY; 2]);
            vec![
                Contender::new("opool 0.2", || look(&mut self.opool.get())),
                Contender { name, call: local, shared: false, least },
                Contender::new("lockfree-object-pool 0.1", || look(&mut self.lockfree.pull())),
                Contender::new("object-pool 0.6", || {
                    let mut buffer = self.mutex.pull(|| Vec::with_capacity(CAPACITY));
                    look(&mut buffer);
                    buffer.clear();
                }),
            ]
        }
    }
}
