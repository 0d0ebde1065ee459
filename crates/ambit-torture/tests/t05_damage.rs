//! T5 at the gate's count.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "a test prints its counts and fails by panicking"
)]

use ambit_store::bugs::Bugs;
use ambit_torture::damage::{Tally, exhaust, sample, sample_real};
use ambit_torture::fleet::Outcome;

fn report(what: &str, (tally, failed): Outcome<Tally>) -> Tally {
    let Tally { stores, damages, refused, identical } = tally;
    println!(
        "T5: {damages} {what} on {stores} stores from seed 1: {refused} refused, \
         {identical} without effect"
    );
    if let Some(failure) = failed {
        panic!("run {}: {}", failure.run, failure.what);
    }
    assert_eq!(refused + identical, damages);
    tally
}

#[test]
fn damage_is_found_or_changes_no_answer() {
    let tally = report("damages", sample(1, 20_000, Bugs::NONE));
    assert!(tally.damages >= 20_000);
    assert!(tally.refused >= tally.damages / 4);
}

#[test]
fn every_length_and_a_flip_in_every_byte_of_each_kind_of_file_is_found_or_changes_no_answer() {
    let tally = report("cuts and flips, one of each per byte,", exhaust(1, Bugs::NONE));
    assert!(tally.refused >= tally.damages / 4);
}

#[test]
fn damage_of_mapped_files_is_an_error_and_no_signal() {
    let directory = tempfile::tempdir().unwrap();
    let tally = sample_real(1, 1000, directory.path()).unwrap_or_else(|what| panic!("{what}"));
    let tally = report("damages of real files", (tally, None));
    assert!(tally.refused >= tally.damages / 4);
}
