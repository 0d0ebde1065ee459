//! T14: ten times the budget of data, by the kernel's own count.

use std::path::Path;

use ambit_mem::Bytes;
use ambit_torture::bounded::{Measured, measure};

#[test]
fn the_kernel_s_peak_stays_within_the_budget_and_a_fixed_base() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_ambit-torture"));
    let budget = Bytes::mib(24);
    let measured = measure(binary, &directory.path().join("store"), budget);
    let Measured { start, peak, data, scanned } = measured.unwrap_or_else(|what| panic!("{what}"));
    println!(
        "T14: peak {peak} with a budget of {budget}, {data} written, {scanned} cells scanned; began with {start}"
    );
    assert!(data.get() * 100 >= budget.get() * 999);
}
