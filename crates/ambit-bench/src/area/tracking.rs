//! To be measured.

use super::Bench;
use crate::error::BenchError;
use crate::row::Table;

pub fn run(_: &mut Bench, _: &mut Table) -> Result<(), BenchError> {
    Ok(())
}
