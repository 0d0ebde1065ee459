//! Any bytes opened as a lossless segment: rows or errors, no panic, no read out of bounds, and no
//! more memory than is published.
#![no_main]

use ambit_vector::lossless::{NarrowBuffer, Scratch, Segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(segment) = Segment::open(bytes) else { return };
    let dim = segment.dim();
    assert!(segment.held_bytes() <= Segment::max_held_bytes(bytes.len(), dim));
    let (mut scratch, mut row) = (Scratch::new(dim), vec![0.0; dim]);
    let (mut narrow, previous) = (NarrowBuffer::new(dim), vec![1.5; dim]);
    for number in 0..segment.rows().min(8) {
        let _ = segment.decode_row(number, &mut scratch, &mut row);
        let _ = segment.narrow_row(number, &mut scratch, &mut narrow);
        if let Ok(record) = segment.record(number) {
            let _ = segment.decode_record(record, Some(&previous), &mut scratch, &mut row);
        }
    }
    let _ = segment.decode_record(bytes, Some(&previous), &mut scratch, &mut row);
});
