//! What does a reservation cost, on one thread and on two?
//!
//! Processor time of the slower thread: it counts the waiting for each other's cache lines, and
//! not the waiting for a processor that something else runs on.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use ambit_mem::{Budget, Bytes, Priority};

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::nanoseconds;

const REPEATS: u32 = 2_000_000;
const ROUNDS: usize = 7;

pub fn run(_: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::mib(64));
    let counter = AtomicU64::new(0);
    let atomic = |_| {
        counter.fetch_add(1536, Ordering::AcqRel);
        counter.fetch_sub(1536, Ordering::AcqRel);
    };
    let accounts = ["bench/one", "bench/two"].map(|path| budget.account(path, Priority::Query));
    let reserve = |thread: usize| {
        black_box(accounts[thread].reserve(Bytes::new(1536)).is_ok());
    };
    let (mut one, mut two, mut floor) = (f64::INFINITY, f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        one = one.min(nanoseconds(1, REPEATS, &reserve)?);
        two = two.min(nanoseconds(2, REPEATS, &reserve)?);
        floor = floor.min(nanoseconds(1, REPEATS, &atomic)?);
    }
    table.add(
        Row::new("ledger, 1 thread", "reserve + release", one, "ns")
            .peer("two atomic additions", floor)
            .target(Target::AtMost(25.0)),
    )?;
    table
        .add(Row::new("ledger, 2 threads", "reserve + release", two, "ns").peer("1 thread", one))?;
    table.add(
        Row::new("ledger, 2 threads", "reservations per second", 2e3 / two, "M/s")
            .peer("1 thread", 1e3 / one)
            .ratio_target(Target::AtLeast(1.5)),
    )
}
