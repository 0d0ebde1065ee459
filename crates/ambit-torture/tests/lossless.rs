//! Lossless vectors at the gate's count.

use ambit_torture::lossless::{BLOCKS, torture};

#[test]
fn every_float_of_some_blocks_comes_back_through_the_lossless_codec() {
    let (tally, failed) = torture(1, 4);
    println!("{} of {BLOCKS} blocks came back, {} bytes", tally.blocks, tally.bytes);
    if let Some(failure) = failed {
        panic!("run {}: {}", failure.run, failure.what);
    }
    assert!(tally.blocks >= 4);
}
