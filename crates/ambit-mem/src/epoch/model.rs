//! Every interleaving of readers and a writer, as far as the model checker sees them.
//!
//! The values have a cell that readers read and their destructor writes: the checker reports any
//! run in which the two are not ordered, which is what the protocol is for. `membarrier` cannot
//! be modelled; here both sides run a full fence.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p ambit-mem --release --lib epoch`

use loom::cell::UnsafeCell;
use loom::model::Builder;
use loom::thread::spawn;

use super::{Collector, CollectorOptions, Owned, Reader, Shared, thread};
use crate::sync::Arc;
use crate::{Budget, Bytes, Priority};

/// A value that tells when it is freed while somebody reads it.
struct Canary(UnsafeCell<u32>);

// SAFETY: what is not ordered is what the model checker looks for.
unsafe impl Sync for Canary {}

impl Canary {
    fn read(&self) -> u32 {
        // SAFETY: the checker fails the run if this is not ordered against the destructor.
        self.0.with(|value| unsafe { *value })
    }
}

impl Drop for Canary {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.0.with_mut(|value| unsafe { *value = u32::MAX });
    }
}

struct House {
    _budget: Budget,
    collector: Collector,
    reader: Reader,
    account: crate::Account,
    cells: [Shared<Canary>; 2],
}

impl House {
    /// A collector that collects at every retirement, and a thread's first pin done.
    fn new() -> Arc<Self> {
        let budget = Budget::new(Bytes::mib(1));
        let account = budget.account("model", Priority::Write);
        let collector = Collector::new(&account, CollectorOptions::new(Bytes::new(1000))).unwrap();
        let cells = [0, 10].map(|value| Shared::new(&collector, owned(&account, value)).unwrap());
        let reader = collector.reader("model").unwrap();
        thread::set(0);
        drop(reader.pin().unwrap());
        Arc::new(Self { _budget: budget, collector, reader, account, cells })
    }

    fn put(&self, cell: usize, value: u32) {
        let owned = owned(&self.account, value);
        self.cells[cell].replace(&self.collector, owned).unwrap();
    }
}

fn owned(account: &crate::Account, value: u32) -> Owned<Canary> {
    Owned::new(account, Canary(UnsafeCell::new(value)), Bytes::ZERO).unwrap()
}

fn check(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

#[test]
fn what_a_reader_loaded_is_not_freed_before_it_unpins() {
    check(3, || {
        let house = House::new();
        let reading = Arc::clone(&house);
        let reader = spawn(move || {
            thread::set(0);
            let guard = reading.reader.pin().unwrap();
            let first = reading.cells[0].load(&guard);
            let second = reading.cells[0].load(&guard);
            assert!(first.read() <= second.read());
        });
        house.put(0, 1);
        house.put(0, 2);
        reader.join().unwrap();
        house.collector.flush();
        assert_eq!(house.collector.stats().held, Bytes::ZERO);
    });
}

/// The second object is born after the era of the pin, and goes with the third replacement: only
/// the second look at the era keeps it.
#[test]
fn what_was_born_after_the_pin_is_not_freed_either() {
    check(3, || {
        let house = House::new();
        let reading = Arc::clone(&house);
        let reader = spawn(move || {
            thread::set(0);
            let guard = reading.reader.pin().unwrap();
            reading.cells[0].load(&guard).read();
        });
        (1..=3).for_each(|value| house.put(0, value));
        reader.join().unwrap();
        house.collector.flush();
        assert_eq!(house.collector.stats().held, Bytes::ZERO);
    });
}

#[test]
fn a_later_pin_of_the_same_thread_is_not_taken_for_an_earlier_one() {
    check(3, || {
        let house = House::new();
        let reading = Arc::clone(&house);
        let reader = spawn(move || {
            thread::set(0);
            for _ in 0..2 {
                let mut guard = reading.reader.pin().unwrap();
                reading.cells[0].load(&guard).read();
                guard.repin();
                reading.cells[1].load(&guard).read();
            }
        });
        house.put(0, 1);
        house.put(1, 11);
        reader.join().unwrap();
        house.collector.flush();
        assert_eq!(house.collector.stats().held, Bytes::ZERO);
    });
}

#[test]
fn two_readers_and_a_writer_agree() {
    check(2, || {
        let house = House::new();
        let readers = [0, 1].map(|number| {
            let reading = Arc::clone(&house);
            spawn(move || {
                thread::set(number);
                let guard = reading.reader.pin().unwrap();
                reading.cells[0].load(&guard).read();
            })
        });
        house.put(0, 1);
        house.put(0, 2);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        house.collector.flush();
        assert_eq!(house.collector.stats().held, Bytes::ZERO);
    });
}
