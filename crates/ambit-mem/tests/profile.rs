//! The profiler on a real allocator: exact where it looks at everything, unbiased where it does
//! not, right about planted leaks, safe to stop at any time, and within its budget.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod planted;

use std::alloc::System;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ambit_mem::profile::{
    AllocationTracker, FormatOptions, LeakReport, MemoryProfiler, Metric, ProfileConfig,
    ProfileError, Site, SiteUse, Snapshot, TrackerReport,
};
use ambit_mem::{Account, Budget, Bytes, Priority, TrackingAllocator};
use planted::{Heap, LEAKS, Program, SITES};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// A process has one profiler, so one test has it at a time.
static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn account() -> Account {
    Budget::new(Bytes::mib(64)).account("profile", Priority::Write)
}

fn every(interval: Bytes) -> ProfileConfig {
    ProfileConfig { interval, ..ProfileConfig::default() }
}

/// Everything is a sample.
fn all() -> ProfileConfig {
    every(Bytes::new(1))
}

fn is_in(site: &Site, function: &str) -> bool {
    site.stack().iter().any(|frame| frame.function.contains(function))
}

fn of<'a>(snapshot: &'a Snapshot, function: &str) -> Vec<&'a SiteUse> {
    snapshot.sites().iter().filter(|site| is_in(&site.site, function)).collect()
}

#[inline(never)]
fn allocate_here(count: usize, size: usize) -> Vec<Vec<u8>> {
    let mut kept = Vec::new();
    for _ in 0..count {
        kept.push(black_box(Vec::with_capacity(size)));
    }
    kept
}

#[test]
fn an_interval_of_one_byte_counts_every_allocation_and_free_exactly() {
    let _turn = turn();
    let profiler = MemoryProfiler::start(&account(), all()).unwrap();
    let mut kept = allocate_here(100, 1000);
    kept.truncate(30);
    let snapshot = profiler.snapshot().unwrap();
    let sites = of(&snapshot, "allocate_here");
    let blocks = sites.iter().find(|site| site.allocated.count == 100).unwrap();
    assert_eq!((blocks.allocated.bytes, blocks.freed.count), (Bytes::new(100_000), 70));
    assert_eq!((blocks.live.count, blocks.live.bytes), (30, Bytes::new(30_000)));
    assert!(blocks.oldest <= snapshot.at() && blocks.oldest.as_nanos() > 0);
    assert_eq!(snapshot.lost(), 0);
    assert_eq!(snapshot.ages().total(), snapshot.live().bytes);
    let hottest = snapshot.hot_sites(Metric::AllocatedBytes, 1)[0];
    assert_eq!(hottest.site, blocks.site);
    drop(kept);
    let later = profiler.snapshot().unwrap();
    let diff = later.diff(&snapshot).unwrap();
    let change = diff.sites().iter().find(|change| change.site == blocks.site).unwrap();
    assert_eq!((change.growth(), change.freed.count, change.allocated.count), (-30_000, 30, 0));
    assert!(diff.growth() < -30_000);
}

#[test]
fn totals_over_seeds_are_those_of_the_allocator() {
    let _turn = turn();
    let (mut ratios, account) = (Vec::new(), account());
    for seed in 0..60 {
        let config = ProfileConfig { seed, ..every(Bytes::kib(16)) };
        let profiler = MemoryProfiler::start(&account, config).unwrap();
        let kept = allocate_here(200, 10_000);
        let snapshot = profiler.snapshot().unwrap();
        let estimate: u64 = of(&snapshot, "allocate_here")
            .iter()
            .filter(|site| is_in(&site.site, "with_capacity"))
            .map(|site| site.live.bytes.get())
            .sum();
        ratios.push(estimate as f64 / 2e6);
        drop(kept);
    }
    // One estimate has a standard error of sqrt((1/p - 1) / 200), with p = 1 - exp(-10000/16384).
    let p = 1.0 - (-10_000.0_f64 / 16_384.0).exp();
    let error = ((1.0 / p - 1.0) / 200.0 / 60.0).sqrt();
    let mean = ratios.iter().sum::<f64>() / 60.0;
    assert!((mean - 1.0).abs() < 4.0 * error, "{mean} with a standard error of {error}");
}

#[test]
fn a_second_profiler_is_refused_until_the_first_has_stopped_and_gave_its_bytes_back() {
    let _turn = turn();
    let account = account();
    let config = all();
    let first = MemoryProfiler::start(&account, config).unwrap();
    assert!(account.used() >= config.footprint());
    let refused = MemoryProfiler::start(&account, config).unwrap_err();
    assert_eq!(refused, ProfileError::Running);
    let snapshot = first.snapshot().unwrap();
    first.stop();
    assert_eq!(account.used(), snapshot.footprint(), "a snapshot outlives its profiler");
    drop(snapshot);
    assert_eq!(account.used(), Bytes::ZERO);
    MemoryProfiler::start(&account, config).unwrap().stop();
    assert_eq!(account.used(), Bytes::ZERO);
}

#[test]
fn tables_that_do_not_fit_the_budget_are_refused_and_those_that_just_fit_are_not() {
    let _turn = turn();
    // The tables, and the times of twenty snapshots.
    let needed = all().footprint().get() + 320;
    for (limit, fits) in [(needed - 1, false), (needed, true), (needed + 1, true)] {
        let budget = Budget::new(Bytes::new(limit));
        let account = budget.account("profile", Priority::Write);
        match MemoryProfiler::start(&account, all()) {
            Ok(profiler) => {
                assert!(fits);
                assert!(profiler.snapshot().is_err(), "no room for a snapshot");
                drop(profiler);
            }
            Err(ProfileError::OverBudget(_)) => assert!(!fits),
            Err(other) => panic!("{other}"),
        }
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn samples_that_find_the_table_full_are_counted() {
    let _turn = turn();
    let config = ProfileConfig { live_samples: 64, ..all() };
    let profiler = MemoryProfiler::start(&account(), config).unwrap();
    let kept = allocate_here(100, 100);
    let snapshot = profiler.snapshot().unwrap();
    assert!(snapshot.lost() >= 100 - 64, "{}", snapshot.lost());
    assert!(snapshot.live().samples <= 64);
    drop(kept);
}

#[test]
fn what_was_sampled_before_a_stop_is_not_known_after_the_next_start() {
    let _turn = turn();
    let account = account();
    let first = MemoryProfiler::start(&account, all()).unwrap();
    let kept = allocate_here(50, 1000);
    let before = first.snapshot().unwrap();
    first.stop();
    let second = MemoryProfiler::start(&account, all()).unwrap();
    drop(kept);
    let after = second.snapshot().unwrap();
    assert!(after.sites().iter().all(|site| site.freed.count <= site.allocated.count));
    assert!(of(&after, "allocate_here").is_empty());
    let diff = after.diff(&before).unwrap();
    assert_eq!(diff.between(), after.at());
    assert!(diff.growth() >= 0, "an earlier run counts as empty");
}

#[test]
fn a_profiler_may_stop_and_start_while_threads_allocate_and_free() {
    let _turn = turn();
    let (account, stop) = (account(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..3usize {
            let stop = &stop;
            scope.spawn(move || {
                let mut kept: Vec<Vec<u8>> = Vec::new();
                let mut step = thread;
                while !stop.load(Ordering::Relaxed) {
                    step = step.wrapping_mul(25).wrapping_add(7);
                    if step % 3 < 2 && kept.len() < 200 {
                        kept.push(black_box(Vec::with_capacity(16 + step % 5000)));
                    } else if let Some(mut block) = kept.pop() {
                        block.reserve(step % 10_000);
                        drop(block);
                    }
                }
            });
        }
        for seed in 0..40 {
            let config =
                ProfileConfig { seed, live_samples: 1024, stacks: 64, ..every(Bytes::new(512)) };
            let profiler = MemoryProfiler::start(&account, config).unwrap();
            for _ in 0..5 {
                let snapshot = profiler.snapshot().unwrap();
                assert!(snapshot.live().samples <= 1024);
                black_box(profiler.leaks().unwrap());
            }
            profiler.stop();
            assert_eq!(account.used(), Bytes::ZERO);
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn what_the_profiler_allocates_for_itself_is_not_in_its_reports() {
    let _turn = turn();
    let profiler = MemoryProfiler::start(&account(), all()).unwrap();
    let kept: Vec<Snapshot> = (0..30).map(|_| profiler.snapshot().unwrap()).collect();
    let last = &kept[29];
    black_box((last.to_string(), profiler.leaks().unwrap().to_string()));
    let end = profiler.snapshot().unwrap();
    let own = end.sites().iter().filter(|site| is_in(&site.site, "resolve"));
    assert_eq!(own.count(), 0);
    assert!(end.live().bytes < Bytes::kib(64), "{}", end.live().bytes);
}

#[inline(never)]
fn load_in_scope() -> Vec<Vec<u8>> {
    let kept = allocate_here(10, 500);
    black_box(&kept);
    kept
}

#[test]
fn a_profiled_piece_of_work_is_told_from_everything_else() {
    let _turn = turn();
    let profiler = MemoryProfiler::start(&account(), all()).unwrap();
    let before = allocate_here(7, 500);
    let (kept, report) = profiler
        .profile("tests/load", || {
            let elsewhere = std::thread::spawn(|| allocate_here(13, 500));
            let kept = load_in_scope();
            drop(elsewhere.join().unwrap());
            kept
        })
        .unwrap();
    let after = allocate_here(7, 500);
    let blocks = report.sites().iter().find(|site| site.allocated.bytes == Bytes::new(5000));
    let blocks = blocks.unwrap();
    assert!(is_in(&blocks.site, "load_in_scope"));
    assert_eq!((blocks.site.tag.name(), blocks.allocated.count), ("tests/load", 10));
    assert!(report.allocated().bytes < Bytes::new(5000 + 4000), "{report}");
    let ((), second) = profiler.profile("tests/load", || drop(kept)).unwrap();
    assert!(second.allocated().count == 0 && second.freed().count >= 10, "{second}");
    assert!(second.to_string().starts_with("tests/load"));
    drop((before, after));
}

/// Polls two futures in turn until both are ready.
fn interleave<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> (A, B) {
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    let (mut a, mut b) = (None, None);
    let mut context = Context::from_waker(Waker::noop());
    while a.is_none() || b.is_none() {
        if a.is_none()
            && let Poll::Ready(value) = first.as_mut().poll(&mut context)
        {
            a = Some(value);
        }
        if b.is_none()
            && let Poll::Ready(value) = second.as_mut().poll(&mut context)
        {
            b = Some(value);
        }
    }
    a.zip(b).unwrap()
}

async fn yield_once() {
    let mut is_second = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut is_second, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_future_is_charged_for_what_is_allocated_while_it_is_polled() {
    let _turn = turn();
    let profiler = MemoryProfiler::start(&account(), all()).unwrap();
    let work = async |size: usize| {
        let mut kept = Vec::new();
        for _ in 0..5 {
            kept.extend(allocate_here(2, size));
            yield_once().await;
        }
        kept
    };
    let (small, large) = interleave(
        profiler.profile_async("tests/small", work(100)),
        profiler.profile_async("tests/large", work(10_000)),
    );
    let ((_, small), (_, large)) = (small.unwrap(), large.unwrap());
    let of = |report: &ambit_mem::profile::ProfileReport, bytes: u64| {
        report.sites().iter().any(|site| site.allocated.bytes == Bytes::new(bytes))
    };
    assert!(of(&small, 1000) && !of(&small, 100_000), "{small}");
    assert!(of(&large, 100_000) && !of(&large, 1000), "{large}");
}

static REPORTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

#[test]
fn a_tracker_counts_exactly_and_reports_when_it_is_dropped_or_stopped() {
    let _turn = turn();
    ALLOCATOR.reset_peak();
    let sink = |report: &TrackerReport<'_>| REPORTED.lock().unwrap().push(report.to_string());
    let tracker = AllocationTracker::new("loading", &ALLOCATOR).report_to(sink);
    let large = black_box(Vec::<u8>::with_capacity(50 << 20));
    drop(large);
    let kept = black_box(Vec::<u8>::with_capacity(10 << 20));
    let report = tracker.stop();
    assert!(REPORTED.lock().unwrap().is_empty());
    assert!(report.allocations >= 2 && report.frees >= 1);
    // Half a MiB for what the test harness does meanwhile.
    let mib = |bytes: i64| (bytes + (1 << 19)) >> 20;
    let of = |bytes: Bytes| mib(bytes.get().cast_signed());
    assert_eq!((of(report.allocated), of(report.freed), mib(report.net())), (60, 50, 10));
    assert_eq!(of(report.peak.unwrap()), 50);
    drop(AllocationTracker::new("nothing", &ALLOCATOR).report_to(sink));
    let told = REPORTED.lock().unwrap().clone();
    assert!(told.len() == 1 && told[0].starts_with("nothing: "), "{told:?}");
    let unclear = AllocationTracker::new("below the peak", &ALLOCATOR).stop();
    assert_eq!(unclear.peak, None);
    drop(kept);
}

/// Blocks of the program's own allocator.
struct RealHeap;

fn take(_: &RealHeap, size: usize) -> Vec<u8> {
    Vec::with_capacity(size)
}

planted::sites!(&RealHeap, Vec<u8>, take);

impl Heap for RealHeap {
    type Block = Vec<u8>;

    fn take(&mut self, site: usize, size: usize) -> Vec<u8> {
        assert_eq!(TAKE[site].0, SITES[site]);
        TAKE[site].1(self, size)
    }
}

#[test]
fn planted_leaks_of_a_real_program_are_found_and_its_caches_are_not_taken_for_them() {
    let _turn = turn();
    let (mut found, mut mistaken, programs, ticks) = (0, Vec::new(), 4, 400);
    for seed in 20_000..20_000 + programs {
        let account = account();
        let config = ProfileConfig { seed, ..every(Bytes::kib(16)) };
        let profiler = MemoryProfiler::start(&account, config).unwrap();
        let mut program = Program::new(seed, ticks, 1);
        for tick in 0..ticks {
            program.tick(&mut RealHeap);
            if tick % 20 == 19 {
                profiler.snapshot().unwrap();
            }
        }
        let report = profiler.leaks().unwrap();
        for suspect in report.likely() {
            assert!(suspect.confidence >= LeakReport::LIKELY && suspect.live.samples > 0);
            let planted = (0..LEAKS).any(|leak| is_in(&suspect.site, SITES[leak]));
            found += u32::from(planted);
            if !planted {
                mistaken.push(suspect.site.place());
            }
        }
        let text = report.format(FormatOptions { sites: 20, frames: 12 });
        assert!(text.contains("leak_fast") && text.contains("ongoing"), "{text}");
        drop(program);
    }
    let all = programs as u32 * LEAKS as u32;
    assert!(found * 100 >= all * 95, "{found} of {all}");
    assert!(mistaken.len() * 100 <= all as usize * 5, "{mistaken:?}");
}

#[test]
fn a_snapshot_is_written_as_text_json_flame_graph_and_pprof() {
    let _turn = turn();
    let profiler = MemoryProfiler::start(&account(), all()).unwrap();
    let (kept, _) = profiler.profile("tests/export", load_in_scope).unwrap();
    let snapshot = profiler.snapshot().unwrap();
    let text = snapshot.format(FormatOptions { sites: 3, frames: 4 });
    assert!(text.contains("[tests/export]") && text.contains("at "), "{text}");
    let mut json = Vec::new();
    snapshot.write_json(&mut json).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(value["live"]["count"], snapshot.live().count);
    assert_eq!(value["sites"].as_array().unwrap().len(), snapshot.sites().len());
    let mut leaks = Vec::new();
    profiler.leaks().unwrap().write_json(&mut leaks).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&leaks).unwrap();
    assert_eq!(value["snapshots"], 1);
    let folded = snapshot.folded(Metric::LiveBytes);
    let line = folded.iter().find(|line| line.ends_with(" 5000")).unwrap();
    assert!(line.starts_with("[tests/export];") && line.contains("load_in_scope;"), "{line}");
    let mut svg = Vec::new();
    snapshot.write_flame_graph(Metric::LiveBytes, &mut svg).unwrap();
    let svg = String::from_utf8(svg).unwrap();
    assert!(svg.contains("<svg") && svg.contains("load_in_scope"));
    let mut pprof = Vec::new();
    snapshot.write_pprof(&mut pprof).unwrap();
    for name in ["inuse_space", "load_in_scope", "tests/export"] {
        assert!(pprof.windows(name.len()).any(|window| window == name.as_bytes()), "{name}");
    }
    drop(kept);
}
