//! What does a reservation cost, and does it scale to two threads?
//!
//! Reserve and release of 4 KiB under a limit of 64 MiB: on one thread, on two threads with one
//! account, on two threads with an account each. Beside them the yardsticks: one atomic addition
//! nobody else touches, and a counter that two threads share. Each case runs many short windows
//! of time and the best one counts. A window counts only if its threads began together and none
//! was kept from running meanwhile (a gap between two looks at the clock); how many did is
//! printed. On a busy machine threads take turns on a core, and a window like that would show
//! perfect scaling of anything, the shared counter included. A timing library cannot tell.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ambit_mem::{Account, Budget, Bytes, Priority};

const WINDOWS: usize = 2_000;
const WINDOW: Duration = Duration::from_micros(200);
/// Largest difference between the beginnings of two threads.
const SKEW: Duration = Duration::from_micros(10);
/// Longest time between two looks at the clock of a thread that runs: a scheduler's turn takes
/// far longer.
const GAP: Duration = Duration::from_micros(50);
/// Steps between two looks at the clock.
const STEPS: u32 = 64;
const SIZE: Bytes = Bytes::kib(4);
/// What a reservation and its release may cost on one thread.
const TARGET_NS: f64 = 25.0;

/// What one thread did in one window.
struct Run {
    start: Instant,
    ns_per_step: f64,
    undisturbed: bool,
}

fn run(step: &impl Fn()) -> Run {
    let start = Instant::now();
    let (mut steps, mut last, mut undisturbed) = (0u32, start, true);
    while last - start < WINDOW {
        for _ in 0..STEPS {
            step();
        }
        steps += STEPS;
        let now = Instant::now();
        undisturbed &= now - last < GAP;
        last = now;
    }
    let ns_per_step = (last - start).as_secs_f64() * 1e9 / f64::from(steps);
    Run { start, ns_per_step, undisturbed }
}

/// Nanoseconds for each step of the best window, and the windows that counted.
fn alone(step: impl Fn()) -> (f64, usize) {
    let runs = (0..WINDOWS).map(|_| run(&step)).filter(|run| run.undisturbed);
    best(runs.map(|run| run.ns_per_step))
}

/// The same for two threads that run at once: the mean of both.
fn together(a: impl Fn() + Sync, b: impl Fn() + Sync) -> (f64, usize) {
    let ready = AtomicUsize::new(0);
    let meet_and_run = |window: usize, step: &dyn Fn()| {
        ready.fetch_add(1, Ordering::AcqRel);
        while ready.load(Ordering::Acquire) < 2 * (window + 1) {
            std::thread::yield_now();
        }
        run(&step)
    };
    let (mine, theirs) = std::thread::scope(|scope| {
        let other = scope.spawn(|| -> Vec<Run> {
            (0..WINDOWS).map(|window| meet_and_run(window, &b)).collect()
        });
        let mine: Vec<Run> = (0..WINDOWS).map(|window| meet_and_run(window, &a)).collect();
        (mine, other.join().unwrap_or_default())
    });
    let both = mine.iter().zip(&theirs).filter(|(a, b)| {
        let skew = a.start.max(b.start) - a.start.min(b.start);
        a.undisturbed && b.undisturbed && skew < SKEW
    });
    // Harmonic: the rate of both is the sum of their rates.
    best(both.map(|(a, b)| 2.0 / (1.0 / a.ns_per_step + 1.0 / b.ns_per_step)))
}

fn best(ns: impl Iterator<Item = f64>) -> (f64, usize) {
    ns.fold((f64::INFINITY, 0), |(best, count), ns| (best.min(ns), count + 1))
}

fn pair(account: &Account) {
    drop(black_box(account.reserve(black_box(SIZE))));
}

fn add(counter: &AtomicU64) {
    black_box(counter.fetch_add(1, Ordering::Relaxed));
}

fn main() {
    let budget = Budget::new(Bytes::mib(64));
    let first = budget.account("bench/first", Priority::Write);
    let second = budget.account("bench/second", Priority::Write);
    let counter = AtomicU64::new(0);

    let atomic = alone(|| add(&counter));
    let one = alone(|| pair(&first));
    let contended = together(|| add(&counter), || add(&counter));
    let same = together(|| pair(&first), || pair(&first));
    let apart = together(|| pair(&first), || pair(&second));

    let row = |case: &str, (ns, windows): (f64, usize), note: String| {
        if windows == 0 {
            println!("{case:36} not measured: the threads never ran undisturbed");
        } else {
            println!("{case:36} {ns:7.1} ns  {windows:5} windows  {note}");
        }
    };
    let verdict = if one.0 <= TARGET_NS { "met" } else { "not met" };
    let note = format!("{:.1} additions; target {TARGET_NS} ns {verdict}", one.0 / atomic.0);
    let scaled =
        |alone: f64, ns: f64| format!("{:.2} of one thread's rate in all", 2.0 * alone / ns);
    row("atomic addition, one thread", atomic, "yardstick".into());
    row("atomic addition, two, one counter", contended, scaled(atomic.0, contended.0));
    row("reserve + release, one thread", one, note);
    row("reserve + release, two, one account", same, scaled(one.0, same.0));
    row("reserve + release, two, two accounts", apart, scaled(one.0, apart.0));
}
