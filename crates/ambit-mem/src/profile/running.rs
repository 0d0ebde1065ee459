//! The one profiler of the process, and what the allocator tells it.
//!
//! A run is published by storing its address in a static. The allocator's calls come from any
//! thread at any time, so a run may end while calls are under way: each call first adds itself
//! to a count and then reads the address; who ends a run first takes the address away and then
//! waits until the count is zero. Both orders are sequentially consistent, so either the call
//! sees no run, or the end sees the call. A call takes as long as a stack capture, so the wait
//! is short.

use std::cell::Cell;
use std::time::Instant;

use super::capture;
use super::recorder::{Allocation, Recorder};
use super::sampling::{SplitMix, mix};
use crate::sync::{Arc, AtomicPtr, AtomicU64, Ordering};
use crate::tracking::hook::{self, Hook, Sample};

static HOOK: Hook = Hook { interval, sampled, freed };
static CURRENT: AtomicPtr<Run> = AtomicPtr::new(std::ptr::null_mut());
/// Calls that may be using the current run.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// Runs that were begun, in this process.
static RUNS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    // A constant start value and no destructor: good at any time in a thread's life.
    static THREAD: Cell<Thread> =
        const { Cell::new(Thread { run: 0, number: 0, random: SplitMix::new(0) }) };
}

/// What a run knows of the thread it is called on.
#[derive(Clone, Copy)]
struct Thread {
    run: u64,
    number: u16,
    random: SplitMix,
}

/// A run of the profiler.
#[derive(Debug)]
pub(crate) struct Run {
    pub recorder: Recorder,
    start: Instant,
    number: u64,
    seed: u64,
    depth: usize,
    threads: AtomicU64,
    /// Intervals that were asked for: the allocator is there.
    asked: AtomicU64,
}

/// How samples are drawn and taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub seed: u64,
    pub depth: usize,
}

impl Run {
    pub(crate) fn new(recorder: Recorder, settings: Settings) -> Self {
        Self {
            recorder,
            start: Instant::now(),
            number: RUNS.fetch_add(1, Ordering::Relaxed) + 1,
            seed: settings.seed,
            depth: settings.depth,
            threads: AtomicU64::new(0),
            asked: AtomicU64::new(0),
        }
    }

    /// Microseconds since the start.
    pub(crate) fn now_us(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// Which run of the process this is, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Frames of a stack, at most.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Has the allocator asked for an interval?
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0
    }

    /// This thread, as this run knows it.
    fn thread(&self) -> Thread {
        let known = THREAD.get();
        if known.run == self.number {
            return known;
        }
        let number = self.threads.fetch_add(1, Ordering::Relaxed);
        let random = SplitMix::new(mix(self.seed).wrapping_add(mix(number + 1)));
        let thread = Thread { run: self.number, number: number as u16, random };
        THREAD.set(thread);
        thread
    }
}

/// Has the allocator report to `run`; gives it back if there is another one.
pub(crate) fn begin(run: Arc<Run>) -> Result<Arc<Run>, Arc<Run>> {
    let pointer = Arc::as_ptr(&run).cast_mut();
    let null = std::ptr::null_mut();
    match CURRENT.compare_exchange(null, pointer, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => {
            hook::install(&HOOK);
            Ok(run)
        }
        Err(_) => Err(run),
    }
}

/// Ends `run`, if it is the current one. When this returns nobody uses it any more.
pub(crate) fn end(run: &Arc<Run>) {
    let pointer = Arc::as_ptr(run).cast_mut();
    if CURRENT.load(Ordering::Relaxed) != pointer {
        return;
    }
    // The hook goes first: after the address is taken away another run may begin and install it.
    hook::remove();
    CURRENT.store(std::ptr::null_mut(), Ordering::SeqCst);
    while CALLS.load(Ordering::SeqCst) > 0 {
        std::thread::yield_now();
    }
}

/// Counts a call while it lasts.
struct Call;

impl Call {
    fn begin() -> Self {
        CALLS.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        CALLS.fetch_sub(1, Ordering::SeqCst);
    }
}

fn with<R>(work: impl FnOnce(&Run) -> R) -> Option<R> {
    let _call = Call::begin();
    // SAFETY: the pointer is null or that of an `Arc` that `begin` was given. Its owner keeps
    // it until `end` returned; that takes the pointer away and then waits for a count of zero,
    // and this call counted itself before it read the pointer, so the run outlives the call.
    let run = unsafe { CURRENT.load(Ordering::SeqCst).as_ref() };
    run.map(work)
}

fn interval() -> u64 {
    let drawn = with(|run| {
        run.asked.fetch_add(1, Ordering::Relaxed);
        let mut thread = run.thread();
        let interval = run.recorder.rate.draw(&mut thread.random);
        THREAD.set(thread);
        interval
    });
    drawn.unwrap_or(u64::MAX >> 1)
}

fn sampled(sample: &Sample) -> bool {
    let taken = with(|run| {
        let mut frames = [0; capture::MOST];
        let depth = capture::capture(&mut frames[..run.depth]);
        run.recorder.allocate(&Allocation {
            address: sample.address,
            size: sample.size,
            at_us: run.now_us(),
            tag: sample.tag.number(),
            thread: run.thread().number,
            frames: &frames[..depth],
        })
    });
    taken.unwrap_or(false)
}

fn freed(address: usize) {
    with(|run| run.recorder.free(address));
}
