//! T8 and T9 at the gate's count: real processes, killed, and the order of their real calls.

use std::path::Path;

use ambit_torture::binary;
use ambit_torture::kill::{Tally, torture};

#[test]
fn acknowledged_writes_survive_kill_9_and_every_call_came_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_ambit-torture"));
    let tally = torture(binary, directory.path(), 1, 100).unwrap_or_else(|what| panic!("{what}"));
    let Tally { kills, acknowledged, events } = tally;
    println!(
        "T8: {kills} kills from seed 1, {acknowledged} acknowledged batches, all there; \
         T9: {events} events, 0 violations"
    );
    assert_eq!(kills, 100);
    assert!(acknowledged >= 100);
}

#[test]
fn entities_that_ambit_add_acknowledged_survive_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let torture = Path::new(env!("CARGO_BIN_EXE_ambit-torture"));
    let ambit = binary::build(env!("CARGO"), torture).unwrap_or_else(|what| panic!("{what}"));
    let tally = binary::torture(&ambit, directory.path(), 1, 100);
    let Tally { kills, acknowledged, .. } = tally.unwrap_or_else(|what| panic!("{what}"));
    println!(
        "T8: {kills} kills of `ambit add --ack` from seed 1, {acknowledged} acknowledged \
         entities, all there"
    );
    assert_eq!(kills, 100);
    assert!(acknowledged >= 100);
}
