//! The allocator against a naive model, over allocators that give no more than they are asked for.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::hook::{self, Hook, Sample};
use super::{AllocatorStats, Tag, Tracking, TrackingAllocator};
use crate::Bytes;
use crate::sync::lock;

/// Aligns to what is asked for and no better, checks that layouts come back as they were asked
/// for, and fails on request.
#[derive(Debug)]
struct Strict {
    fails: AtomicBool,
    live: AtomicU64,
}

impl Strict {
    const fn new() -> Self {
        Self { fails: AtomicBool::new(false), live: AtomicU64::new(0) }
    }

    /// Room for the layout behind a header, and where the block begins in it.
    fn around(layout: Layout) -> (Layout, usize) {
        let align = layout.align().max(16);
        // A multiple of `layout.align()`, and of no larger power of two.
        let offset = align * 2 + layout.align();
        (Layout::from_size_align(offset + layout.size(), align * 2).unwrap(), offset)
    }
}

// SAFETY: blocks come from the system's allocator and go back to it with the same layout.
unsafe impl GlobalAlloc for Strict {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if self.fails.load(Ordering::Relaxed) {
            return std::ptr::null_mut();
        }
        let (around, offset) = Self::around(layout);
        // SAFETY: not empty; the header is inside the block.
        unsafe {
            let base = System.alloc(around);
            assert!(!base.is_null());
            base.cast::<[usize; 2]>().write([layout.size(), layout.align()]);
            let block = base.add(offset);
            block.write_bytes(0xa5, layout.size());
            self.live.fetch_add(1, Ordering::Relaxed);
            block
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let (around, offset) = Self::around(layout);
        // SAFETY: made by `alloc` with this layout, which is checked.
        unsafe {
            let base = pointer.sub(offset);
            assert_eq!(base.cast::<[usize; 2]>().read(), [layout.size(), layout.align()]);
            pointer.write_bytes(0xa5, layout.size());
            System.dealloc(base, around);
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

const SIZES: [usize; 14] =
    [1, 7, 8, 9, 15, 16, 17, 24, 100, 4096, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 200_000];
const ALIGNS: [usize; 7] = [1, 4, 8, 16, 32, 64, 4096];

#[derive(Debug, Clone)]
enum Call {
    Alloc { size: usize, align: usize, is_zeroed: bool, tag: usize },
    Realloc { block: usize, size: usize, tag: usize },
    Free { block: usize },
    Fail { size: usize, align: usize, tag: usize },
    FailToRealloc { block: usize, size: usize },
    Switch,
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..2_000_usize, 1 => proptest::sample::select(&SIZES[..])]
}

fn align() -> impl Strategy<Value = usize> {
    prop_oneof![2 => Just(1_usize), 2 => Just(8), 1 => proptest::sample::select(&ALIGNS[..])]
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        6 => (size(), align(), any::<bool>(), 0..3_usize)
            .prop_map(|(size, align, is_zeroed, tag)| Call::Alloc { size, align, is_zeroed, tag }),
        4 => (any::<usize>(), size(), 0..3_usize)
            .prop_map(|(block, size, tag)| Call::Realloc { block, size, tag }),
        4 => any::<usize>().prop_map(|block| Call::Free { block }),
        1 => (size(), align(), 0..3_usize)
            .prop_map(|(size, align, tag)| Call::Fail { size, align, tag }),
        1 => (any::<usize>(), size())
            .prop_map(|(block, size)| Call::FailToRealloc { block, size }),
        1 => Just(Call::Switch),
    ]
}

struct Kept {
    pointer: *mut u8,
    layout: Layout,
    tag: Tag,
    fill: u8,
    /// Whether its free will be counted while the allocator is off.
    is_tagged: bool,
}

/// What the figures must say.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Expected {
    allocations: u64,
    frees: u64,
    allocated: u64,
    freed: u64,
}

impl Expected {
    fn alloc(&mut self, size: usize) {
        self.allocations += 1;
        self.allocated += size as u64;
    }

    fn free(&mut self, size: usize) {
        self.frees += 1;
        self.freed += size as u64;
    }

    fn of(stats: AllocatorStats, before: AllocatorStats) -> Self {
        Self {
            allocations: stats.allocations - before.allocations,
            frees: stats.frees - before.frees,
            allocated: stats.allocated.get() - before.allocated.get(),
            freed: stats.freed.get() - before.freed.get(),
        }
    }
}

/// The allocator under test and what is known of it.
struct Model {
    allocator: &'static TrackingAllocator<Strict>,
    tags: [Tag; 3],
    /// Of everything, and of the two tags.
    expected: [Expected; 3],
    kept: Vec<Kept>,
    fill: u8,
}

impl Model {
    fn is_on(&self) -> bool {
        self.allocator.tracking() == Tracking::On
    }

    fn next_fill(&mut self) -> u8 {
        self.fill = self.fill.wrapping_add(1);
        self.fill
    }

    fn count(&mut self, tag: Tag, count: impl Fn(&mut Expected)) {
        count(&mut self.expected[0]);
        if let Some(index @ 1..) = self.tags.iter().position(|known| *known == tag) {
            count(&mut self.expected[index]);
        }
    }

    fn alloc(&mut self, layout: Layout, is_zeroed: bool, tag: Tag) {
        let _scope = tag.enter();
        // SAFETY: the layout is not empty.
        let pointer = unsafe {
            if is_zeroed {
                self.allocator.alloc_zeroed(layout)
            } else {
                self.allocator.alloc(layout)
            }
        };
        assert!(!pointer.is_null());
        assert_eq!(pointer.addr() % layout.align(), 0);
        if is_zeroed {
            // SAFETY: `alloc_zeroed` wrote it.
            let bytes = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
        let is_on = self.is_on();
        if is_on {
            self.count(tag, |expected| expected.alloc(layout.size()));
        }
        let fill = self.next_fill();
        // SAFETY: the block is this long.
        unsafe { pointer.write_bytes(fill, layout.size()) };
        let tag = if is_on { tag } else { Tag::UNTAGGED };
        let is_tagged = tag != Tag::UNTAGGED;
        self.kept.push(Kept { pointer, layout, tag, fill, is_tagged });
    }

    fn check(kept: &Kept, len: usize) {
        // SAFETY: written when it was allocated.
        let bytes = unsafe { std::slice::from_raw_parts(kept.pointer, len) };
        assert!(bytes.iter().all(|byte| *byte == kept.fill));
    }

    fn free(&mut self, kept: Kept) {
        Self::check(&kept, kept.layout.size());
        // SAFETY: allocated with this layout, and forgotten.
        unsafe { self.allocator.dealloc(kept.pointer, kept.layout) };
        if self.is_on() || kept.is_tagged {
            self.count(kept.tag, |expected| expected.free(kept.layout.size()));
        }
    }

    fn realloc(&mut self, mut kept: Kept, size: usize, tag: Tag) {
        let old = kept.layout.size();
        // A block keeps its tag, whoever makes it larger.
        let _scope = tag.enter();
        // SAFETY: allocated with this layout; the new size is not zero.
        kept.pointer = unsafe { self.allocator.realloc(kept.pointer, kept.layout, size) };
        assert!(!kept.pointer.is_null());
        assert_eq!(kept.pointer.addr() % kept.layout.align(), 0);
        kept.layout = Layout::from_size_align(size, kept.layout.align()).unwrap();
        Self::check(&kept, old.min(size));
        if self.is_on() || kept.is_tagged {
            self.count(kept.tag, |expected| expected.alloc(size));
            self.count(kept.tag, |expected| expected.free(old));
        }
        kept.fill = self.next_fill();
        // SAFETY: the block is this long.
        unsafe { kept.pointer.write_bytes(kept.fill, size) };
        self.kept.push(kept);
    }

    fn take(&mut self, block: usize) -> Option<Kept> {
        (!self.kept.is_empty()).then(|| self.kept.swap_remove(block % self.kept.len()))
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Alloc { size, align, is_zeroed, tag } => {
                let layout = Layout::from_size_align(size, align).unwrap();
                self.alloc(layout, is_zeroed, self.tags[tag]);
            }
            Call::Realloc { block, size, tag } => {
                if let Some(kept) = self.take(block) {
                    self.realloc(kept, size, self.tags[tag]);
                }
            }
            Call::Free { block } => {
                if let Some(kept) = self.take(block) {
                    self.free(kept);
                }
            }
            Call::Fail { size, align, tag } => {
                let _scope = self.tags[tag].enter();
                let layout = Layout::from_size_align(size, align).unwrap();
                self.allocator.inner().fails.store(true, Ordering::Relaxed);
                // SAFETY: the layout is not empty.
                assert!(unsafe { self.allocator.alloc(layout) }.is_null());
                // SAFETY: the layout is not empty.
                assert!(unsafe { self.allocator.alloc_zeroed(layout) }.is_null());
                self.allocator.inner().fails.store(false, Ordering::Relaxed);
            }
            Call::FailToRealloc { block, size } => {
                if let Some(kept) = self.take(block) {
                    self.allocator.inner().fails.store(true, Ordering::Relaxed);
                    // SAFETY: allocated with this layout; the new size is not zero.
                    let none = unsafe { self.allocator.realloc(kept.pointer, kept.layout, size) };
                    self.allocator.inner().fails.store(false, Ordering::Relaxed);
                    assert!(none.is_null());
                    Self::check(&kept, kept.layout.size());
                    self.kept.push(kept);
                }
            }
            Call::Switch => {
                self.allocator.set(if self.is_on() { Tracking::Off } else { Tracking::On });
            }
        }
    }

    fn figures(&self) -> [AllocatorStats; 3] {
        let of = |tag| {
            let stats = self.allocator.tag(tag);
            let listed = self.allocator.tags().into_iter().find(|stats| stats.tag == tag);
            let unaged = |stats| AllocatorStats { age_us: 0, ..stats };
            assert_eq!(listed.map(|listed| unaged(listed.stats)), Some(unaged(stats)));
            stats
        };
        [self.allocator.stats(), of(self.tags[1]), of(self.tags[2])]
    }
}

fn run(allocator: &'static TrackingAllocator<Strict>, calls: Vec<Call>) {
    let tags = [
        Tag::UNTAGGED,
        Tag::named("tests/model/one").unwrap(),
        Tag::named("tests/model/two").unwrap(),
    ];
    let mut model =
        Model { allocator, tags, expected: Default::default(), kept: Vec::new(), fill: 0 };
    let before = model.figures();
    for call in calls {
        model.call(call);
        let now = model.figures();
        let seen = [0, 1, 2].map(|index| Expected::of(now[index], before[index]));
        assert_eq!(seen, model.expected);
    }
    while let Some(kept) = model.take(0) {
        model.free(kept);
    }
    allocator.set(Tracking::On);
    let after = model.figures();
    for (index, figure) in after.iter().enumerate().skip(1) {
        assert_eq!(figure.current, before[index].current, "tags are exact");
    }
    assert_eq!(allocator.inner().live.load(Ordering::Relaxed), 0);
    assert_eq!(allocator.lost_marks(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 200 }))]

    #[test]
    fn every_call_keeps_contents_layouts_and_figures(
        calls in proptest::collection::vec(call(), 1..if cfg!(miri) { 30 } else { 120 }),
    ) {
        let _alone = lock(&hook::ALONE);
        static ALLOCATOR: TrackingAllocator<Strict> = TrackingAllocator::new(Strict::new());
        run(&ALLOCATOR, calls);
    }

    /// The same while every second allocation or so is sampled, kept or not.
    #[test]
    fn samples_end_once_each_and_change_nothing_else(
        calls in proptest::collection::vec(call(), 1..if cfg!(miri) { 30 } else { 120 }),
    ) {
        let _alone = lock(&hook::ALONE);
        static ALLOCATOR: TrackingAllocator<Strict> = TrackingAllocator::new(Strict::new());
        static LIVE: Mutex<Vec<usize>> = Mutex::new(Vec::new());
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        fn sampled(sample: &Sample) -> bool {
            assert!(sample.size > 0 && sample.address != 0);
            let is_kept = DRAWN.load(Ordering::Relaxed).is_multiple_of(3);
            if is_kept {
                assert!(!lock(&LIVE).contains(&sample.address));
                lock(&LIVE).push(sample.address);
            }
            is_kept
        }
        fn freed(address: usize) {
            let mut live = lock(&LIVE);
            let place = live.iter().position(|live| *live == address).expect("kept before");
            live.swap_remove(place);
        }
        static HOOK: Hook = Hook {
            interval: || 1 + DRAWN.fetch_add(1, Ordering::Relaxed) % 5 * 300,
            sampled,
            freed,
        };
        hook::install(&HOOK);
        run(&ALLOCATOR, calls);
        hook::remove();
        prop_assert_eq!(lock(&LIVE).len(), 0);
    }
}

#[test]
fn threads_that_free_for_each_other_balance_out_under_their_tags() {
    let _alone = lock(&hook::ALONE);
    static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
    const BLOCKS: usize = if cfg!(miri) { 20 } else { 1_000 };
    let tag = Tag::named("tests/threads").unwrap();
    let layout = Layout::from_size_align(4096, 8).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let entered = tag.enter();
            // SAFETY: the layout is not empty, and the pointer is freed once, with it.
            let pointers: Vec<usize> = (0..BLOCKS)
                .map(|_| unsafe { ALLOCATOR.alloc(layout) }.expose_provenance())
                .collect();
            drop(entered);
            scope.spawn(move || {
                for pointer in pointers {
                    let pointer = std::ptr::with_exposed_provenance_mut(pointer);
                    // SAFETY: as above.
                    unsafe { ALLOCATOR.dealloc(pointer, layout) };
                }
            });
        }
    });
    let stats = ALLOCATOR.stats();
    assert_eq!((stats.current, stats.frees), (Bytes::ZERO, 4 * BLOCKS as u64));
    let tagged = ALLOCATOR.tags().into_iter().find(|tagged| tagged.tag == tag).unwrap().stats;
    assert_eq!(tagged.current, Bytes::ZERO);
    assert_eq!(tagged.allocated, Bytes::of(4 * BLOCKS * 4096));
    assert_eq!(tagged.freed, tagged.allocated);
}

#[test]
fn more_threads_than_slots_are_counted_all_the_same() {
    let _alone = lock(&hook::ALONE);
    static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
    const THREADS: usize = if cfg!(miri) { 6 } else { super::local::SLOTS + 30 };
    let layout = Layout::from_size_align(100, 4).unwrap();
    let all = std::sync::Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            std::thread::Builder::new()
                .stack_size(128 << 10)
                .spawn_scoped(scope, || {
                    // SAFETY: the layout is not empty, and the pointer is freed once, with it.
                    unsafe {
                        let pointer = ALLOCATOR.alloc(layout);
                        all.wait();
                        let pointer = ALLOCATOR.realloc(pointer, layout, 200);
                        all.wait();
                        ALLOCATOR.dealloc(pointer, Layout::from_size_align(200, 4).unwrap());
                    }
                })
                .unwrap();
        }
    });
    let stats = ALLOCATOR.stats();
    let threads = THREADS as u64;
    assert_eq!((stats.allocations, stats.frees), (2 * threads, 2 * threads));
    assert_eq!((stats.current, stats.allocated), (Bytes::ZERO, Bytes::new(300 * threads)));
}

#[test]
fn the_peak_is_what_was_in_use_at_most_since_it_was_reset() {
    let _alone = lock(&hook::ALONE);
    static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
    let layout = Layout::from_size_align(3 << 20, 64).unwrap();
    // SAFETY: the layout is not empty, and each pointer is freed once, with it.
    unsafe {
        let first = ALLOCATOR.alloc_zeroed(layout);
        ALLOCATOR.dealloc(ALLOCATOR.alloc(layout), layout);
        let stats = ALLOCATOR.stats();
        assert_eq!((stats.current, stats.peak), (Bytes::mib(3), Bytes::mib(6)));
        ALLOCATOR.reset_peak();
        assert_eq!(ALLOCATOR.stats().peak, Bytes::mib(3));
        ALLOCATOR.dealloc(first, layout);
        let stats = ALLOCATOR.stats();
        assert_eq!((stats.current, stats.peak), (Bytes::ZERO, Bytes::mib(3)));
    }
}

#[test]
fn figures_have_a_rate() {
    let _alone = lock(&hook::ALONE);
    static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
    assert_eq!(ALLOCATOR.stats(), AllocatorStats::default());
    let layout = Layout::from_size_align(1000, 8).unwrap();
    let mut stats = AllocatorStats::default();
    while stats.age_us == 0 {
        // SAFETY: the layout is not empty, and the pointer is freed once, with it.
        unsafe { ALLOCATOR.dealloc(ALLOCATOR.alloc(layout), layout) };
        stats = ALLOCATOR.stats();
    }
    let rate = stats.rate();
    assert!((rate.bytes / rate.allocations - 1000.0).abs() < 1e-6, "{rate:?}");
}

#[test]
fn a_sample_is_offered_when_the_bytes_of_the_interval_are_allocated_and_not_before() {
    let _alone = lock(&hook::ALONE);
    static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
    static SAMPLES: Mutex<Vec<(usize, &str)>> = Mutex::new(Vec::new());
    static HOOK: Hook = Hook {
        interval: || 1000,
        sampled: |sample| {
            // What a profiler allocates itself is neither sampled nor brings a sample nearer.
            let layout = Layout::from_size_align(5000, 8).unwrap();
            // SAFETY: the layout is not empty, and the pointer is freed once, with it.
            unsafe { ALLOCATOR.dealloc(ALLOCATOR.alloc(layout), layout) };
            lock(&SAMPLES).push((sample.size, sample.tag.name()));
            true
        },
        freed: |_| (),
    };
    let allocate = |size| {
        let layout = Layout::from_size_align(size, 8).unwrap();
        // SAFETY: the layout is not empty, and the pointer is freed once, with it.
        unsafe { ALLOCATOR.dealloc(ALLOCATOR.alloc(layout), layout) };
    };
    allocate(10);
    hook::install(&HOOK);
    // The hook is noticed within 64 KiB.
    allocate(64 << 10);
    assert_eq!(*lock(&SAMPLES), []);
    allocate(600);
    allocate(399);
    assert_eq!(*lock(&SAMPLES), [], "one byte is missing");
    allocate(1);
    assert_eq!(*lock(&SAMPLES), [(1, "untagged")]);
    let _scope = Tag::named("tests/sampled").unwrap().enter();
    allocate(999);
    allocate(2);
    allocate(100_000);
    hook::remove();
    allocate(100_000);
    assert_eq!(
        *lock(&SAMPLES),
        [(1, "untagged"), (2, "tests/sampled"), (100_000, "tests/sampled")]
    );
}
