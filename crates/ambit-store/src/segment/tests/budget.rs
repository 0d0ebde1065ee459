//! Windows stay inside the budget, and reads go on with little of it.

use std::sync::Barrier;

use ambit_mem::{Bytes, Reclaimer as _};

use super::{BOTH, Bench, noise, read_all};
use crate::error::ErrorKind;
use crate::geometry::Geometry;
use crate::segment::{Io, Windows};

const WINDOW: u64 = Geometry::SMALL.window as u64;

#[test]
fn a_budget_of_two_windows_reads_a_segment_of_forty() {
    let content = noise(40 * WINDOW as usize, 1);
    let writing = Bench::roomy();
    let meta = writing.write(1, &[("a", 0, &content)]);
    let tables = {
        let segment = writing.open(&meta, Io::Map).unwrap();
        let used = writing.budget.used();
        drop(segment);
        used
    };
    let bench = Bench::new(Bytes::new(tables.get() + 3 * WINDOW));
    bench.plant(&meta, &writing.bytes(&meta));
    let segment = bench.open(&meta, Io::Map).unwrap();
    for _ in 0..3 {
        assert_eq!(read_all(&segment).unwrap()[0].1, content);
        assert!(bench.budget.used() <= bench.budget.limit());
        assert!(bench.windows.charged() <= Bytes::new(3 * WINDOW));
    }
}

#[test]
fn a_view_that_cannot_fit_is_over_budget_and_the_next_one_works() {
    let content = noise(20 * WINDOW as usize, 1);
    for io in BOTH {
        let bench = Bench::new(Bytes::new(6 * WINDOW));
        let meta = bench.write(1, &[("a", 0, &content)]);
        let segment = bench.open(&meta, io).unwrap();
        let section = segment.section("a").unwrap();
        let error = segment.read(section, 0..section.len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OverBudget, "{io:?}: {error}");
        assert!(error.over_budget().is_some());
        let part = segment.read(section, 100..WINDOW).unwrap();
        assert_eq!(&*part, &content[100..WINDOW as usize]);
    }
}

#[test]
fn a_pinned_window_is_not_given_back() {
    let bench = Bench::roomy();
    let content = noise(8 * WINDOW as usize, 1);
    let meta = bench.write(1, &[("a", 0, &content)]);
    let segment = bench.open(&meta, Io::Map).unwrap();
    let section = segment.section("a").unwrap();
    let view = segment.read(section, 0..100).unwrap();
    drop(segment.read(section, 3 * WINDOW..3 * WINDOW + 1).unwrap());
    assert_eq!(bench.windows.charged(), Bytes::new(2 * WINDOW));
    assert_eq!(bench.windows.reclaimable(), Bytes::new(WINDOW));
    assert_eq!(bench.windows.shed(Bytes::new(1)), Bytes::new(WINDOW));
    assert_eq!(bench.windows.shed(Bytes::mib(1)), Bytes::ZERO);
    assert_eq!(bench.windows.charged(), Bytes::new(WINDOW));
    assert_eq!(&*view, &content[..100]);
    drop(view);
    assert_eq!(bench.windows.shed(Bytes::mib(1)), Bytes::new(WINDOW));
    assert_eq!(bench.windows.charged(), Bytes::ZERO);
}

#[test]
fn a_dropped_segment_gives_its_windows_back_and_leaves_those_of_others() {
    let bench = Bench::roomy();
    let content = noise(8 * WINDOW as usize, 1);
    let (one, two) = (bench.write(1, &[("a", 0, &content)]), bench.write(2, &[("a", 0, &content)]));
    let (one, two) = (bench.open(&one, Io::Map).unwrap(), bench.open(&two, Io::Map).unwrap());
    read_all(&one).unwrap();
    read_all(&two).unwrap();
    let both = bench.windows.charged();
    drop(one);
    assert_eq!(bench.windows.charged().get() * 2, both.get());
    assert_eq!(read_all(&two).unwrap()[0].1, content);
    drop(two);
    assert_eq!(bench.windows.charged(), Bytes::ZERO);
    assert_eq!(bench.budget.used(), Bytes::ZERO);
}

#[test]
fn the_share_is_kept_while_the_budget_has_room() {
    let bench = Bench::roomy();
    let account = bench.budget.account("few", ambit_mem::Priority::Cache);
    let windows = Windows::new(&account, &Geometry::SMALL, Bytes::new(4 * WINDOW));
    let bench = Bench { windows, ..bench };
    let content = noise(20 * WINDOW as usize, 1);
    let meta = bench.write(1, &[("a", 0, &content)]);
    let segment = bench.open(&meta, Io::Map).unwrap();
    let section = segment.section("a").unwrap();
    for from in 0..20 * WINDOW / 1000 {
        segment.read(section, from * 1000..from * 1000 + 1000).unwrap();
        assert!(bench.windows.charged() <= Bytes::new(4 * WINDOW));
    }
    // One view may take more: what a reader asks for at once is the reader's choice.
    let view = segment.read(section, 0..section.len).unwrap();
    assert_eq!(&*view, content);
    assert!(bench.windows.charged() >= Bytes::new(20 * WINDOW));
    drop(view);
    segment.read(section, 0..1).unwrap();
    bench.windows.shed(Bytes::ZERO);
    drop(segment);
    assert_eq!(bench.windows.charged(), Bytes::ZERO);
}

#[test]
fn a_budget_below_the_tables_refuses_to_open() {
    let bench = Bench::roomy();
    let meta = bench.write(1, &[("a", 0, &noise(100_000, 1))]);
    let poor = Bench::new(Bytes::new(200));
    poor.plant(&meta, &bench.bytes(&meta));
    for io in BOTH {
        assert_eq!(poor.open(&meta, io).unwrap_err().kind(), ErrorKind::OverBudget);
        assert_eq!(poor.budget.used(), Bytes::ZERO);
    }
}

#[test]
fn readers_on_many_threads_see_the_same_bytes_under_a_tight_budget() {
    let content = noise(30 * WINDOW as usize, 3);
    let writing = Bench::roomy();
    let meta = writing.write(1, &[("a", 0, &content)]);
    // Each thread pins two windows at most; one more lets them move.
    let bench = Bench::new(Bytes::new(10 * WINDOW));
    bench.plant(&meta, &writing.bytes(&meta));
    let segment = bench.open(&meta, Io::Map).unwrap();
    let section = segment.section("a").unwrap();
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (segment, content, start, bench) = (&segment, &content, &start, &bench);
            scope.spawn(move || {
                start.wait();
                let mut at = thread * 7919;
                for _ in 0..20_000 {
                    at = (at * 25_214_903_917 + 11) % (section.len - 5000);
                    let view = segment.read(section, at..at + 5000).unwrap();
                    assert_eq!(&*view, &content[at as usize..at as usize + 5000]);
                    assert!(bench.budget.used() <= bench.budget.limit());
                }
            });
        }
    });
    drop(segment);
    assert_eq!(bench.windows.charged(), Bytes::ZERO);
    assert_eq!(bench.budget.used(), Bytes::ZERO);
}

#[test]
fn windows_make_room_for_others_and_come_back() {
    let bench = Bench::new(Bytes::new(24 * WINDOW));
    let content = noise(16 * WINDOW as usize, 3);
    let meta = bench.write(1, &[("a", 0, &content)]);
    let segment = bench.open(&meta, Io::Map).unwrap();
    read_all(&segment).unwrap();
    let full = bench.windows.charged();
    assert!(full >= Bytes::new(16 * WINDOW));
    let other = bench.budget.account("other", ambit_mem::Priority::Write);
    let held = other.reserve(Bytes::new(20 * WINDOW)).unwrap();
    assert!(bench.windows.charged() <= Bytes::new(4 * WINDOW));
    assert_eq!(read_all(&segment).unwrap()[0].1, content);
    assert!(bench.budget.used() <= bench.budget.limit());
    drop(held);
    for _ in 0..200 {
        assert_eq!(read_all(&segment).unwrap()[0].1, content);
    }
    assert_eq!(bench.windows.charged(), full, "the share grows back");
}
