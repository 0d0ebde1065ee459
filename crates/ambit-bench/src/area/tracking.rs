//! What does counting every allocation cost?
//!
//! One program (`program`) is run over each allocator in turn, in rounds, and each round's
//! processor time is held against the bare allocator's of the same round; the middle of these is
//! the figure. Every second round goes backwards. So what else the machine does falls on all sides.

#[allow(unsafe_code)]
mod program;

use std::alloc::{GlobalAlloc, System};
use std::hint::black_box;

use ambit_mem::{MonitoredAllocator, Tag, Tracking, TrackingAllocator};

use self::program::{SharedAtomic, Size};
use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::{median, nanoseconds, time};

const SIZE: Size = Size { documents: 400, words: 100 };
const ROUNDS: usize = 101;
const REPEATS: u32 = 300_000;

static TRACKED: TrackingAllocator<System> = TrackingAllocator::new(System);
static OFF: TrackingAllocator<System> = TrackingAllocator::new(System);
static SHARED: SharedAtomic<System> = SharedAtomic::new(System);
static MONITORED: MonitoredAllocator<System> = MonitoredAllocator::new(System);

/// An allocator that the program is run over.
struct Runner {
    name: &'static str,
    run: Box<dyn Fn()>,
    seconds: Vec<f64>,
}

fn runner<G: GlobalAlloc + 'static>(name: &'static str, allocator: &'static G) -> Runner {
    let run = Box::new(move || {
        black_box(program::run(allocator, SIZE));
    });
    Runner { name, run, seconds: Vec::new() }
}

/// Percent that each of the others takes more than the first; the seconds of the first.
fn overheads(runners: &mut [Runner]) -> Result<(Vec<f64>, f64), BenchError> {
    for round in 0..=ROUNDS {
        let count = runners.len();
        for place in 0..count {
            let index = if round % 2 == 0 { place } else { count - 1 - place };
            let runner = &mut runners[index];
            let ((), took) = time(&runner.run)?;
            // The first round touches memory for the first time.
            if round > 0 {
                runner.seconds.push(took.cpu);
            }
        }
    }
    let bare = &runners[0].seconds;
    let overhead = |runner: &Runner| {
        let ratios = runner.seconds.iter().zip(bare).map(|(own, bare)| own / bare);
        (median(ratios) - 1.0) * 100.0
    };
    Ok((runners[1..].iter().map(overhead).collect(), median(bare.iter().copied())))
}

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    OFF.set(Tracking::Off);
    allocation_heavy(table)?;
    pairs(table)?;
    #[cfg(feature = "peers")]
    peers::run(table)?;
    Ok(())
}

fn allocation_heavy(table: &mut Table) -> Result<(), BenchError> {
    let before = TRACKED.stats();
    (runner("", &TRACKED).run)();
    let counted = TRACKED.stats();
    let tag = Tag::named("bench").map_err(|error| BenchError::new(error.to_string()))?;
    let tagged = Box::new(move || {
        let _scope = tag.enter();
        black_box(program::run(&TRACKED, SIZE));
    });
    let mut runners = vec![
        runner("system", &System),
        runner("tracked", &TRACKED),
        Runner { name: "under a tag", run: tagged, seconds: Vec::new() },
        runner("off", &OFF),
        runner("one shared atomic", &SHARED),
        #[cfg(feature = "peers")]
        runner("cap", &peers::CAP),
    ];
    let (percent, seconds) = overheads(&mut runners)?;
    let calls = counted.allocations - before.allocations;
    table.add(Row::new(
        "tracking, allocation-heavy",
        "allocations per second, bare",
        calls as f64 / seconds / 1e6,
        "M/s",
    ))?;
    let case = "tracking, allocation-heavy";
    for (runner, peer) in runners[4..].iter().zip(&percent[3..]) {
        table.add(
            Row::new(case, "overhead", percent[0], "%")
                .peer(runner.name, *peer)
                .target(Target::AtMost(2.0))
                .note("44 instructions for a pair of calls, of 579 between two; see decision 0055"),
        )?;
    }
    table
        .add(Row::new(case, "overhead under a tag", percent[1], "%").peer("without", percent[0]))?;
    table.add(Row::new(case, "overhead when off", percent[2], "%").peer("on", percent[0]))
}

/// A block of 64 bytes allocated and freed at once: nothing but the allocator.
fn pairs(table: &mut Table) -> Result<(), BenchError> {
    for threads in [1, 2] {
        let mut least = [f64::INFINITY; 4];
        for _ in 0..ROUNDS / 10 {
            let calls: [&(dyn Fn(usize) + Sync); 4] = [
                &|_| program::pair(&System),
                &|_| program::pair(&TRACKED),
                &|_| program::pair(&SHARED),
                &|_| program::pair(&MONITORED),
            ];
            for (least, call) in least.iter_mut().zip(calls) {
                *least = least.min(nanoseconds(threads, REPEATS, &call)?);
            }
        }
        let [bare, tracked, shared, monitored] = least;
        let case = if threads == 1 { "tracking, 1 thread" } else { "tracking, 2 threads" };
        let metric = "allocate + free 64 B, beyond bare";
        table.add(
            Row::new(case, metric, tracked - bare, "ns").peer("one shared atomic", shared - bare),
        )?;
        table.add(
            Row::new(case, "the same, monitored", monitored - bare, "ns").peer("bare", bare),
        )?;
    }
    Ok(())
}

#[cfg(feature = "peers")]
mod peers {
    //! Over other allocators, and against a profiler of every call.

    use cap::Cap;
    use mimalloc::MiMalloc;
    use tikv_jemallocator::Jemalloc;

    use super::*;

    pub static CAP: Cap<System> = Cap::new(System, usize::MAX);
    static MIMALLOC: MiMalloc = MiMalloc;
    static JEMALLOC: Jemalloc = Jemalloc;
    static TRACKED_MIMALLOC: TrackingAllocator<MiMalloc> = TrackingAllocator::new(MiMalloc);
    static TRACKED_JEMALLOC: TrackingAllocator<Jemalloc> = TrackingAllocator::new(Jemalloc);
    static CAP_MIMALLOC: Cap<MiMalloc> = Cap::new(MiMalloc, usize::MAX);
    static CAP_JEMALLOC: Cap<Jemalloc> = Cap::new(Jemalloc, usize::MAX);
    static DHAT: dhat::Alloc = dhat::Alloc;

    pub fn run(table: &mut Table) -> Result<(), BenchError> {
        let of_mimalloc = [
            runner("mimalloc", &MIMALLOC),
            runner("tracked", &TRACKED_MIMALLOC),
            runner("cap", &CAP_MIMALLOC),
        ];
        let of_jemalloc = [
            runner("jemalloc", &JEMALLOC),
            runner("tracked", &TRACKED_JEMALLOC),
            runner("cap", &CAP_JEMALLOC),
        ];
        for mut runners in [of_mimalloc, of_jemalloc] {
            let (percent, _) = overheads(&mut runners)?;
            let case = format!("tracking over {}, allocation-heavy", runners[0].name);
            table.add(
                Row::new(&case, "overhead", percent[0], "%")
                    .peer("cap", percent[1])
                    .target(Target::AtMost(2.0)),
            )?;
        }
        dhat(table)
    }

    fn dhat(table: &mut Table) -> Result<(), BenchError> {
        let (_, bare) = time(|| program::run(&System, SIZE))?;
        let (_, tracked) = time(|| program::run(&TRACKED, SIZE))?;
        let profiler = dhat::Profiler::builder().testing().build();
        let (_, dhat) = time(|| program::run(&DHAT, SIZE))?;
        drop(profiler);
        table.add(
            Row::new("tracking, allocation-heavy", "time, once", tracked.cpu / bare.cpu, "x bare")
                .peer("dhat", dhat.cpu / bare.cpu),
        )
    }
}
