//! The accountable promise: a minute of indexing and searching, every byte named.

use std::path::Path;

use ambit_mem::Bytes;
use ambit_torture::accounted::{Run, measure};

#[test]
fn a_minute_of_indexing_and_searching_leaves_little_unexplained() {
    let directory = tempfile::tempdir().unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_ambit-torture"));
    let run = Run { budget: Bytes::mib(24), seconds: 60 };
    let measured = measure(binary, &directory.path().join("store"), run);
    let measured = measured.unwrap_or_else(|what| panic!("{what}"));
    println!("accounted: {measured:?}");
    assert!(measured.looks >= 50 && measured.written > 0 && measured.searched > 0);
}
