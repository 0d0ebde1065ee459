//! What does a cache hit, what does a hit cost, and does the cap hold?
//!
//! With `--traces DIR` only the hit ratios of the traces in that folder are measured, a line for
//! each trace, size and policy; without it, those of the real data are summed up in rows with
//! targets, beside everything else.

mod ratios;
mod simulators;
mod speed;
mod traces;
mod yardsticks;

#[cfg(feature = "peers")]
mod peers;

use super::Bench;
use crate::error::BenchError;
use crate::row::Table;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    if let Some(directory) = bench.traces.clone() {
        return ratios::print(&directory, table.is_json());
    }
    speed::run(table)?;
    ratios::rows(&bench.data.traces(), table)
}
