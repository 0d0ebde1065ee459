//! How did the process's memory go, from the start until now, in a fixed number of points?
//!
//! When the ring of points is full it keeps every second one and from then on takes points half
//! as often: the whole run stays visible, at a resolution that halves each time the run gets
//! twice as long. Who has news (a sample, a snapshot) offers a point; one that comes too soon
//! after the last is dropped. Offering never waits: the thread that finds another one at work
//! goes away.

use super::words::Words;
use crate::Bytes;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// Words of a point.
const STRIDE: usize = 3;
/// Time between points at first.
const SPACING_US: u64 = 1000;

/// What the program had allocated at one time, estimated from samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "json", derive(serde::Serialize))]
pub struct Point {
    /// Microseconds since the profiler started.
    pub at_us: u64,
    /// Bytes allocated since the profiler started.
    pub allocated_bytes: u64,
    /// Bytes of these that were freed.
    pub freed_bytes: u64,
}

impl Point {
    /// Bytes allocated since the start and not freed.
    pub fn live(&self) -> Bytes {
        Bytes::new(self.allocated_bytes.saturating_sub(self.freed_bytes))
    }
}

/// A fixed number of points over the whole run.
#[derive(Debug)]
pub(crate) struct Series {
    points: Words,
    len: AtomicU64,
    spacing_us: AtomicU64,
    /// When the next point is welcome.
    due_us: AtomicU64,
    /// Somebody reads or writes.
    busy: AtomicBool,
}

/// The right to read and write the points, until dropped.
struct Turn<'a>(&'a AtomicBool);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Series {
    /// Room for `most` points, at least 2; `None` where the system has no memory left.
    pub(crate) fn new(most: usize) -> Option<Self> {
        Some(Self {
            points: Words::new(most.max(2) * STRIDE)?,
            len: AtomicU64::new(0),
            spacing_us: AtomicU64::new(SPACING_US),
            due_us: AtomicU64::new(0),
            busy: AtomicBool::new(false),
        })
    }

    /// What room for `most` points takes.
    pub(crate) fn footprint(most: usize) -> Bytes {
        Words::footprint(most.max(2) * STRIDE)
    }

    /// Takes a point if one is due and nobody else is here.
    pub(crate) fn offer(&self, point: Point) {
        if point.at_us < self.due_us.load(Ordering::Relaxed) {
            return;
        }
        let Some(_turn) = self.turn() else { return };
        if point.at_us < self.due_us.load(Ordering::Relaxed) {
            return;
        }
        let mut len = self.len.load(Ordering::Relaxed) as usize;
        if (len + 1) * STRIDE > self.points.len() {
            len = self.thin_out(len);
        }
        self.put(len, point);
        self.len.store(len as u64 + 1, Ordering::Relaxed);
        let next = point.at_us + self.spacing_us.load(Ordering::Relaxed);
        self.due_us.store(next, Ordering::Relaxed);
    }

    /// The most points there can be.
    pub(crate) fn most(&self) -> usize {
        self.points.len() / STRIDE
    }

    /// The points, oldest first.
    pub(crate) fn read(&self) -> Vec<Point> {
        // Room first: nothing may be allocated while it is this thread's turn.
        let mut points = Vec::with_capacity(self.most());
        let _turn = loop {
            match self.turn() {
                Some(turn) => break turn,
                None => std::thread::yield_now(),
            }
        };
        let len = self.len.load(Ordering::Relaxed) as usize;
        points.extend((0..len).map(|at| self.get(at)));
        points
    }

    fn turn(&self) -> Option<Turn<'_>> {
        let taken = self.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(Turn(&self.busy))
    }

    /// Keeps the first of each two points; returns how many are left.
    fn thin_out(&self, len: usize) -> usize {
        let left = len.div_ceil(2);
        (1..left).for_each(|at| self.put(at, self.get(at * 2)));
        let spacing = self.spacing_us.load(Ordering::Relaxed);
        self.spacing_us.store(spacing * 2, Ordering::Relaxed);
        left
    }

    fn get(&self, at: usize) -> Point {
        let word = |word: usize| self.points[at * STRIDE + word].load(Ordering::Relaxed);
        Point { at_us: word(0), allocated_bytes: word(1), freed_bytes: word(2) }
    }

    fn put(&self, at: usize, point: Point) {
        let words = [point.at_us, point.allocated_bytes, point.freed_bytes];
        for (slot, word) in self.points[at * STRIDE..].iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at_us: u64) -> Point {
        Point { at_us, allocated_bytes: at_us * 10, freed_bytes: at_us * 4 }
    }

    #[test]
    fn points_closer_than_the_spacing_are_dropped() {
        let series = Series::new(8).unwrap();
        for at in [0, SPACING_US - 1, SPACING_US, SPACING_US + 1] {
            series.offer(point(at));
        }
        assert_eq!(series.read(), [point(0), point(SPACING_US)]);
        assert_eq!(series.read()[1].live(), Bytes::new(SPACING_US * 6));
    }

    #[test]
    fn a_full_ring_keeps_the_whole_run_at_half_the_resolution() {
        for most in [2, 7, 8] {
            for offered in [most - 1, most, most + 1, most * 40] {
                let series = Series::new(most).unwrap();
                (0..offered as u64).for_each(|n| series.offer(point(n * SPACING_US)));
                let points = series.read();
                assert!(points.len() <= most);
                assert_eq!(points.len() == offered, offered <= most, "{offered} in {most}");
                assert_eq!(points[0].at_us, 0);
                let gaps: Vec<u64> =
                    points.windows(2).map(|pair| pair[1].at_us - pair[0].at_us).collect();
                let spacing = series.spacing_us.load(Ordering::Relaxed);
                assert!(gaps.iter().all(|gap| *gap >= spacing / 2 && *gap <= spacing * 2));
                let last = points[points.len() - 1];
                assert!(offered as u64 * SPACING_US - last.at_us <= spacing + SPACING_US);
            }
        }
    }
}
