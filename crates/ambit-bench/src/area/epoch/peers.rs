//! Each peer holds a pointer to one kilobyte, in the way that its crate is meant to be used.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use arc_swap::ArcSwap;
use seize::Guard as _;

use super::{Kilobyte, REPEATS, Way, held, way};

/// A pointer that one thread reads, and replaces.
trait Peer: Sync + Sized {
    const NAME: &'static str;

    fn new() -> Self;
    /// Reads one byte of the object.
    fn load(&self) -> u8;
    fn replace(&self, seed: u64);
    /// Runs `work` while this thread holds on to the object.
    fn stall<R>(&self, work: impl FnOnce() -> R) -> R;
}

struct Crossbeam(crossbeam_epoch::Atomic<Kilobyte>);
struct Seize(seize::Collector, AtomicPtr<Kilobyte>);
struct Haphazard(haphazard::AtomicPtr<Kilobyte>);
struct Swap(ArcSwap<Kilobyte>);
struct Sdd(sdd::AtomicOwned<Kilobyte>);

impl Peer for Crossbeam {
    const NAME: &'static str = "crossbeam-epoch";

    fn new() -> Self {
        Self(crossbeam_epoch::Atomic::new(Kilobyte::new(0)))
    }

    fn load(&self) -> u8 {
        let guard = crossbeam_epoch::pin();
        let object = self.0.load(Ordering::Acquire, &guard);
        // SAFETY: never null, and retired by `defer_destroy` only.
        unsafe { object.deref().bytes[0] }
    }

    fn replace(&self, seed: u64) {
        let guard = crossbeam_epoch::pin();
        let new = crossbeam_epoch::Owned::new(Kilobyte::new(seed));
        let old = self.0.swap(new, Ordering::AcqRel, &guard);
        // SAFETY: it was unlinked by the swap, once.
        unsafe { guard.defer_destroy(old) };
    }

    fn stall<R>(&self, work: impl FnOnce() -> R) -> R {
        let guard = crossbeam_epoch::pin();
        black_box(self.0.load(Ordering::Acquire, &guard));
        let result = work();
        drop(guard);
        result
    }
}

impl Peer for Seize {
    const NAME: &'static str = "seize";

    fn new() -> Self {
        Self(seize::Collector::new(), AtomicPtr::new(Box::into_raw(Box::new(Kilobyte::new(0)))))
    }

    fn load(&self) -> u8 {
        let guard = self.0.enter();
        let object = guard.protect(&self.1, Ordering::Acquire);
        // SAFETY: never null, and retired by `defer_retire` only.
        unsafe { (*object).bytes[0] }
    }

    fn replace(&self, seed: u64) {
        let guard = self.0.enter();
        let new = Box::into_raw(Box::new(Kilobyte::new(seed)));
        let old = guard.swap(&self.1, new, Ordering::AcqRel);
        // SAFETY: it came from a box, and was unlinked by the swap, once.
        unsafe { guard.defer_retire(old, seize::reclaim::boxed) };
    }

    fn stall<R>(&self, work: impl FnOnce() -> R) -> R {
        let guard = self.0.enter();
        black_box(guard.protect(&self.1, Ordering::Acquire));
        let result = work();
        drop(guard);
        result
    }
}

impl Peer for Haphazard {
    const NAME: &'static str = "haphazard";

    fn new() -> Self {
        Self(haphazard::AtomicPtr::from(Box::new(Kilobyte::new(0))))
    }

    fn load(&self) -> u8 {
        let mut hazard = haphazard::HazardPointer::new();
        self.0.safe_load(&mut hazard).map_or(0, |object| object.bytes[0])
    }

    fn replace(&self, seed: u64) {
        if let Some(old) = self.0.swap(Box::new(Kilobyte::new(seed))) {
            // SAFETY: it was unlinked by the swap, once, and is of the global domain.
            unsafe { old.retire() };
        }
    }

    fn stall<R>(&self, work: impl FnOnce() -> R) -> R {
        let mut hazard = haphazard::HazardPointer::new();
        let object = self.0.safe_load(&mut hazard);
        let result = work();
        black_box(object.is_some());
        result
    }
}

impl Peer for Swap {
    const NAME: &'static str = "arc-swap";

    fn new() -> Self {
        Self(ArcSwap::from_pointee(Kilobyte::new(0)))
    }

    fn load(&self) -> u8 {
        self.0.load().bytes[0]
    }

    fn replace(&self, seed: u64) {
        self.0.store(Arc::new(Kilobyte::new(seed)));
    }

    fn stall<R>(&self, work: impl FnOnce() -> R) -> R {
        let object = self.0.load();
        let result = work();
        drop(object);
        result
    }
}

impl Peer for Sdd {
    const NAME: &'static str = "sdd";

    fn new() -> Self {
        Self(sdd::AtomicOwned::new(Kilobyte::new(0)))
    }

    fn load(&self) -> u8 {
        let guard = sdd::Guard::new();
        self.0.load(Ordering::Acquire, &guard).as_ref().map_or(0, |object| object.bytes[0])
    }

    fn replace(&self, seed: u64) {
        let new = sdd::Owned::new(Kilobyte::new(seed));
        drop(self.0.swap((Some(new), sdd::Tag::None), Ordering::AcqRel));
    }

    fn stall<R>(&self, work: impl FnOnce() -> R) -> R {
        let guard = sdd::Guard::new();
        black_box(self.0.load(Ordering::Acquire, &guard).is_null());
        let result = work();
        drop(guard);
        result
    }
}

/// Pin and unpin, where the peer has such a thing.
pub fn pins() -> Vec<Way<'static>> {
    let collector = seize::Collector::new();
    vec![
        way("crossbeam-epoch", REPEATS, |_| drop(black_box(crossbeam_epoch::pin()))),
        way("seize", REPEATS, move |_| drop(black_box(collector.enter()))),
        way("sdd", REPEATS, |_| drop(black_box(sdd::Guard::new()))),
    ]
}

/// Read one byte of the object.
pub fn loads() -> Vec<Way<'static>> {
    fn load<P: Peer + 'static>() -> Way<'static> {
        let peer = P::new();
        way(P::NAME, REPEATS, move |_| _ = black_box(peer.load()))
    }
    vec![load::<Crossbeam>(), load::<Seize>(), load::<Sdd>(), load::<Haphazard>(), load::<Swap>()]
}

/// Put another object into the place of one, and retire that.
pub fn replacements() -> Vec<Way<'static>> {
    fn replace<P: Peer + 'static>() -> Way<'static> {
        let peer = P::new();
        way(P::NAME, REPEATS / 10, move |call| peer.replace(u64::from(call)))
    }
    vec![
        replace::<Crossbeam>(),
        replace::<Seize>(),
        replace::<Sdd>(),
        replace::<Haphazard>(),
        replace::<Swap>(),
    ]
}

/// MB that are held after 100 MB were retired beside a thread that holds on to one kilobyte.
pub fn stalled() -> Vec<(&'static str, f64)> {
    fn stall<P: Peer>() -> (&'static str, f64) {
        let peer = P::new();
        (P::NAME, peer.stall(|| held(|seed| peer.replace(seed))))
    }
    vec![
        stall::<Crossbeam>(),
        stall::<Seize>(),
        stall::<Sdd>(),
        stall::<Haphazard>(),
        stall::<Swap>(),
    ]
}
