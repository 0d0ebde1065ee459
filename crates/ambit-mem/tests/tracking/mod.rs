//! What must hold of a process whose global allocator is tracked, whichever it wraps.
//!
//! Tests of a process run beside each other, so each looks at the figures of tags of its own.

use std::alloc::{GlobalAlloc, Layout, alloc, dealloc};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use ambit_mem::process::Resident;
use ambit_mem::{AllocatorStats, Bytes, Tag};

use crate::ALLOCATOR;

fn tag(name: &'static str) -> Tag {
    Tag::named(name).unwrap()
}

fn stats(tag: Tag) -> AllocatorStats {
    ALLOCATOR.tag(tag)
}

#[test]
fn a_vector_that_grows_and_shrinks_counts_as_what_it_holds() {
    let tag = tag("vector");
    let mut bytes = Vec::new();
    let scope = tag.enter();
    for len in [1, 8, 9, 100, 65_535, 65_536, 65_537, 10_000_000, 65_536, 65_535, 40, 3] {
        if len > bytes.capacity() {
            bytes.reserve_exact(len - bytes.len());
            let filled = bytes.len();
            bytes.extend((filled..len).map(|index| index as u8));
        } else {
            bytes.truncate(len);
            bytes.shrink_to_fit();
        }
        assert_eq!(stats(tag).current, Bytes::of(bytes.capacity()));
        assert!(bytes.iter().enumerate().all(|(index, byte)| *byte == index as u8));
    }
    drop(scope);
    drop(bytes);
    let stats = stats(tag);
    assert_eq!((stats.current, stats.allocated), (Bytes::ZERO, stats.freed));
    assert!(stats.peak >= Bytes::new(10_000_000), "{stats:?}");
}

#[test]
fn maps_and_overaligned_values_are_counted_under_their_tag_wherever_they_are_freed() {
    #[repr(align(64))]
    struct Line([u8; 64]);
    #[repr(align(4096))]
    struct Page([u8; 4096]);
    let tag = tag("aligned");
    let kept = tag.wrap(|| {
        let map: HashMap<u64, String> = (0..1_000).map(|key| (key, key.to_string())).collect();
        let lines: Vec<Box<Line>> = (0..100).map(|fill| Box::new(Line([fill; 64]))).collect();
        let pages: Vec<Box<Page>> = (0..20).map(|fill| Box::new(Page([fill; 4096]))).collect();
        (map, lines, pages)
    })();
    assert!(stats(tag).current >= Bytes::new(100 * 64 + 20 * 4096 + 1_000 * 32));
    std::thread::spawn(move || {
        let (map, lines, pages) = kept;
        assert!(map.iter().all(|(key, text)| text.parse() == Ok(*key)));
        assert!(lines.iter().zip(0..).all(|(line, fill)| line.0 == [fill; 64]));
        assert!(pages.iter().zip(0..).all(|(page, fill)| page.0 == [fill; 4096]));
    })
    .join()
    .unwrap();
    let stats = stats(tag);
    assert_eq!((stats.current, stats.allocations), (Bytes::ZERO, stats.frees));
    assert_eq!(ALLOCATOR.lost_marks(), 0);
}

#[test]
fn zeroed_memory_is_not_touched_by_counting_it() {
    const SIZE: usize = 256 << 20;
    if !crate::ZEROES_LAZILY {
        return;
    }
    let layout = Layout::array::<u8>(SIZE).unwrap();
    let resident = || Resident::read().map_or(Bytes::ZERO, |resident| resident.rss);
    let grown = |allocator: &dyn GlobalAlloc| {
        let before = resident();
        // SAFETY: the layout is not empty, and the block is freed once, with it.
        unsafe {
            let zeroed = allocator.alloc_zeroed(layout);
            assert_eq!(*zeroed.add(SIZE / 2), 0);
            let grown = resident().saturating_sub(before);
            allocator.dealloc(zeroed, layout);
            grown
        }
    };
    let bare = grown(ALLOCATOR.inner());
    for tag in [tag("zeroed"), Tag::UNTAGGED] {
        let tracked = tag.wrap(|| grown(&ALLOCATOR))();
        let more = tracked.saturating_sub(bare);
        assert!(more < Bytes::of(SIZE / 4), "{tracked} are resident, and {bare} without counting");
    }
}

#[test]
fn threads_that_hand_blocks_around_leave_nothing() {
    const THREADS: usize = 4;
    const BLOCKS: usize = 4_000;
    let tag = tag("handed around");
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..THREADS).map(|_| mpsc::channel::<Vec<u8>>()).unzip();
    std::thread::scope(|scope| {
        for (thread, blocks) in receivers.into_iter().enumerate() {
            let next = senders[(thread + 1) % THREADS].clone();
            scope.spawn(move || {
                for index in 0..BLOCKS {
                    let size = 1 + index * 7919 % if index % 50 == 0 { 200_000 } else { 900 };
                    next.send(tag.wrap(|| vec![thread as u8; size])()).unwrap();
                    if index % 3 == 0 {
                        drop(blocks.recv().unwrap());
                    }
                }
                drop(next);
                blocks.iter().for_each(|block| assert!(block[0] < THREADS as u8));
            });
        }
        drop(senders);
    });
    let stats = stats(tag);
    assert_eq!(stats.allocations, (THREADS * BLOCKS) as u64);
    assert_eq!((stats.current, stats.frees), (Bytes::ZERO, stats.allocations));
}

/// Allocates when its thread ends.
struct AtEnd(Tag);

impl Drop for AtEnd {
    fn drop(&mut self) {
        let _scope = self.0.enter();
        drop(vec![1_u8; 1_000]);
    }
}

thread_local! {
    static AT_END: RefCell<Option<AtEnd>> = const { RefCell::new(None) };
}

#[test]
fn destructors_of_a_thread_that_ends_are_counted() {
    const THREADS: u64 = 300;
    let tag = tag("thread local");
    for _ in 0..THREADS {
        std::thread::spawn(move || AT_END.set(Some(AtEnd(tag)))).join().unwrap();
    }
    let stats = stats(tag);
    assert_eq!((stats.allocations, stats.frees), (THREADS, THREADS));
    assert_eq!((stats.allocated, stats.current), (Bytes::new(1_000 * THREADS), Bytes::ZERO));
}

/// Destructors of pthread keys run in any order and, while they set themselves again, in several
/// rounds: so this one runs after the allocator's own.
#[test]
fn what_is_allocated_after_the_allocators_own_destructor_is_counted() {
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    static KEY: AtomicUsize = AtomicUsize::new(0);
    const LAYOUT: Layout = Layout::new::<[u64; 40]>();

    unsafe extern "C" fn end(block: *mut libc::c_void) {
        let _scope = tag("pthread key").enter();
        RUNS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: each round frees the block of the round before and makes a new one; the key is
        // never deleted. What the last round leaves is freed by nobody.
        unsafe {
            dealloc(block.cast(), LAYOUT);
            let next = alloc(LAYOUT);
            let key = KEY.load(Ordering::Relaxed) as libc::pthread_key_t;
            assert_eq!(libc::pthread_setspecific(key, next.cast()), 0);
        }
    }

    let tag = tag("pthread key");
    let mut key = 0;
    // SAFETY: `key` is valid for the write, and `end` takes what is set for it below.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(end)) }, 0);
    KEY.store(key as usize, Ordering::Relaxed);
    const THREADS: usize = 200;
    for _ in 0..THREADS {
        std::thread::spawn(move || {
            let _scope = tag.enter();
            // SAFETY: the layout is not empty; `end` takes the block over.
            unsafe {
                let block = alloc(LAYOUT);
                assert_eq!(libc::pthread_setspecific(key, block.cast()), 0);
            }
        })
        .join()
        .unwrap();
    }
    let runs = RUNS.load(Ordering::Relaxed);
    assert!(runs >= 2 * THREADS, "{runs} rounds");
    let stats = stats(tag);
    assert_eq!(stats.allocations as usize, THREADS + runs);
    assert_eq!(stats.frees as usize, runs);
    assert_eq!(stats.current, Bytes::of(THREADS * LAYOUT.size()));
}
