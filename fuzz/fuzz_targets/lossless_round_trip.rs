//! Any floats of any dimension: they come back bit for bit, in no more bytes than are published.
#![no_main]

use ambit_vector::lossless::{Encoder, Level, Scratch, Segment, max_encoded_len};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&[dim, level], values)) = bytes.split_first_chunk::<2>() else { return };
    let dim = usize::from(dim) + 1;
    let level = if level & 1 == 0 { Level::Fast } else { Level::Compact };
    let values = values.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let mut rows: Vec<f32> = values.collect();
    rows.truncate(rows.len() / dim * dim);
    let count = rows.len() / dim;
    let Some(room) = max_encoded_len(count, dim) else { return };
    let mut out = vec![0; room];
    let encoded = Encoder::new(dim, level).and_then(|mut e| e.encode_segment(&rows, &mut out));
    let len = encoded.expect("the published room is enough");
    let segment = Segment::open(&out[..len]).expect("what was encoded opens");
    let mut back = vec![0.0; rows.len()];
    segment.decode_rows(0, &mut Scratch::new(dim), &mut back).expect("what was encoded decodes");
    assert!(back.iter().zip(&rows).all(|(a, b)| a.to_bits() == b.to_bits()));
});
