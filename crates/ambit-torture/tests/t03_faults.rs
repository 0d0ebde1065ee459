//! T3 at the gate's count.

use ambit_store::bugs::Bugs;
use ambit_torture::fault::{Tally, torture};

#[test]
fn a_failing_disk_is_an_error_and_costs_nothing_that_was_acknowledged() {
    let (tally, failed) = torture(1, 16_000, Bugs::NONE);
    let Tally { workloads, runs, failed: noticed } = tally;
    println!(
        "T3: {runs} faults at every call of {workloads} workloads from seed 1, \
         {noticed} were reported as errors"
    );
    if let Some(failure) = failed {
        panic!("workload {}: {}", failure.run, failure.what);
    }
    assert!(runs >= 16_000);
    assert!(noticed >= runs / 4);
}
