//! T1 at the gate's count.

use ambit_store::bugs::Bugs;
use ambit_torture::crash::{Tally, torture};

#[test]
fn an_acknowledged_state_survives_a_power_cut_at_any_call() {
    let (tally, failed) = torture(1, 50_000, Bugs::NONE);
    let Tally { workloads, calls, images, second, third } = tally;
    println!(
        "T1: {images} images at {calls} calls of {workloads} workloads from seed 1, \
         {second} crashed twice, {third} three times"
    );
    if let Some(failure) = failed {
        panic!("workload {}: {}", failure.run, failure.what);
    }
    assert!(images >= 50_000);
    assert!(second >= images / 5 && third >= images / 30);
}
