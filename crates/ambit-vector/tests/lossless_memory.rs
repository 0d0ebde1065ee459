//! Do the published sizes of the lossless codec bound what it allocates?

use std::alloc::System;

use ambit_mem::TrackingAllocator;
use ambit_vector::lossless::{
    Encoder, Level, NarrowBuffer, Scratch, Segment, max_encoded_len, max_record_len,
};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// Bytes that `work` holds at its peak beyond what was held before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak();
    let before = ALLOCATOR.stats().current;
    let result = work();
    (result, (ALLOCATOR.stats().peak.get() - before.get()) as usize)
}

/// Rows that need many modes and large codes: decimals, integers, floats, and noise.
fn rows(count: usize, dim: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let mut rows: Vec<f32> = (0..count * dim).map(|_| next() * next() * next()).collect();
    for (number, row) in rows.chunks_exact_mut(dim).enumerate() {
        for x in row {
            *x = match number % 5 {
                0 => *x,
                1 => format!("{x:.6e}").parse().unwrap_or(*x),
                2 => f32::from_bits(x.to_bits() & 0xFFFF_0000),
                3 => (*x * 1000.0).round() * 0.017,
                _ => f32::from_bits(x.to_bits() & 0xFFFF_E000) * 1.234_567,
            };
        }
    }
    rows
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn what_is_held_stays_within_the_published_sizes() {
    for (count, dim) in [(2000, 300), (40, 9000), (3, 65_536)] {
        let rows = rows(count, dim);
        let mut out = vec![0; max_encoded_len(count, dim).unwrap()];
        for level in [Level::Fast, Level::Compact] {
            let (encoded, held) = peak(|| {
                let mut encoder = Encoder::new(dim, level).unwrap();
                encoder.encode_segment(&rows, &mut out).unwrap()
            });
            assert!(held <= Encoder::bytes(dim), "{level:?} {dim}: {held}");
            let (segment, held) = peak(|| Segment::open(&out[..encoded]).unwrap());
            assert!(held <= Segment::max_held_bytes(encoded, dim), "{dim}: {held}");
            let (mut scratch, held) = peak(|| Scratch::new(dim));
            assert!(held <= Scratch::bytes(dim), "{dim}: {held}");
            let (mut narrow, held) = peak(|| NarrowBuffer::new(dim));
            assert!(held <= NarrowBuffer::bytes(dim), "{dim}: {held}");
            let mut row = vec![0.0; dim];
            let ((), held) = peak(|| {
                for number in 0..count {
                    segment.decode_row(number, &mut scratch, &mut row).unwrap();
                    segment.narrow_row(number, &mut scratch, &mut narrow).unwrap();
                }
            });
            assert_eq!(held, 0, "decoding allocates nothing");
            let longest = (0..count).map(|row| segment.record(row).unwrap().len()).max().unwrap();
            assert!(longest <= max_record_len(dim));
        }
    }
}
