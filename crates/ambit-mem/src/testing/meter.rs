//! Whatever counts bytes, and the peak of an expression.

use crate::{Account, Budget, Bytes, MonitoredAllocator, TrackingAllocator};

/// Counts bytes that are in use.
pub trait Meter {
    /// Bytes in use now.
    fn current(&self) -> Bytes;
}

/// Counts the most that was in use, too.
pub trait PeakMeter: Meter {
    /// Forgets the peak so far.
    fn reset_peak(&self);

    /// The most that was in use since the last reset.
    fn peak(&self) -> Bytes;
}

impl Meter for Budget {
    fn current(&self) -> Bytes {
        self.used()
    }
}

impl Meter for Account {
    fn current(&self) -> Bytes {
        self.used()
    }
}

impl<A> Meter for TrackingAllocator<A> {
    fn current(&self) -> Bytes {
        self.stats().current
    }
}

impl<A> PeakMeter for TrackingAllocator<A> {
    fn reset_peak(&self) {
        self.reset_peak();
    }

    fn peak(&self) -> Bytes {
        self.stats().peak
    }
}

impl<A> Meter for MonitoredAllocator<A> {
    fn current(&self) -> Bytes {
        self.stats().current
    }
}

impl<A> PeakMeter for MonitoredAllocator<A> {
    fn reset_peak(&self) {
        self.reset_peak();
    }

    fn peak(&self) -> Bytes {
        self.stats().peak
    }
}

impl<M: Meter + ?Sized> Meter for &M {
    fn current(&self) -> Bytes {
        (**self).current()
    }
}

impl<M: PeakMeter + ?Sized> PeakMeter for &M {
    fn reset_peak(&self) {
        (**self).reset_peak();
    }

    fn peak(&self) -> Bytes {
        (**self).peak()
    }
}

/// Evaluates an expression and panics if it ever held more bytes than it may, beyond what was in
/// use before. The first argument is a [`PeakMeter`], as exact as that is, and counts all threads.
///
/// ```
/// use ambit_mem::{Bytes, TrackingAllocator, assert_within_budget};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);
///
/// let sum: u64 = assert_within_budget!(&ALLOCATOR, Bytes::mib(9), {
///     let numbers: Vec<u64> = (0..1 << 20).collect();
///     numbers.iter().sum()
/// });
/// assert_eq!(sum, ((1 << 20) - 1) * (1 << 19));
/// ```
#[macro_export]
macro_rules! assert_within_budget {
    ($meter:expr, $bytes:expr, $work:expr $(,)?) => {{
        let meter = $meter;
        let may: $crate::Bytes = $bytes;
        let before = $crate::testing::Meter::current(&meter);
        $crate::testing::PeakMeter::reset_peak(&meter);
        let result = $work;
        let took = $crate::testing::PeakMeter::peak(&meter).saturating_sub(before);
        assert!(took <= may, "{} held {took} at its peak; it may hold {may}", stringify!($work));
        result
    }};
}
