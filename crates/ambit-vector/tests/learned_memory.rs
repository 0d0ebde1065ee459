//! Do the published sizes of k-means and of the trained codes bound what they allocate?

#![expect(clippy::unwrap_used, reason = "helpers of one test")]

use std::alloc::System;
use std::ops::ControlFlow;

use ambit_mem::TrackingAllocator;
use ambit_vector::product::{Bits, Product, ProductOptions, Turn};
use ambit_vector::rabitq::{Rabitq, RabitqOptions};
use ambit_vector::rotation::Rotation;
use ambit_vector::{Metric, TopK, kmeans};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// The allocator tells its peak to within 64 KiB, above or below.
const SLACK: usize = 64 << 10;

/// Bytes that `work` surely holds at its peak beyond what was held before, its result included.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    ALLOCATOR.reset_peak();
    let before = ALLOCATOR.stats().current;
    let result = work();
    let held = ALLOCATOR.stats().peak.get().saturating_sub(before.get());
    (result, (held as usize).saturating_sub(SLACK))
}

/// Whether `work` allocates nothing.
fn allocates_nothing(work: impl FnOnce()) -> bool {
    let before = ALLOCATOR.stats().allocations;
    work();
    ALLOCATOR.stats().allocations == before
}

fn noise(len: usize) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..len).map(|_| next() + next()).collect()
}

fn clusters() {
    for (rows, dim, clusters) in [(30_000, 7, 1), (9000, 40, 16), (9000, 40, 17), (3000, 130, 300)]
    {
        let sample = noise(rows * dim);
        let options = kmeans::Options { steps: 3, ..kmeans::Options::new(dim, clusters) };
        let (trained, held) =
            peak(|| kmeans::train(&sample, &options, &mut |_| ControlFlow::Continue(())).unwrap());
        let published = kmeans::training_bytes(rows, dim, clusters);
        assert!(held <= published, "{clusters} clusters: {held} of {published}");
        let (centroids, held) = peak(|| kmeans::Centroids::new(dim, &trained.centroids).unwrap());
        assert!(held <= centroids.footprint());
        let (mut nearest, mut distances) = (vec![0; rows], vec![0.0; rows]);
        assert!(allocates_nothing(|| {
            centroids.assign(&sample, &mut nearest, &mut distances).unwrap();
        }));
    }
}

fn rabitq() {
    for dim in [384, 20_000] {
        let (rotation, held) = peak(|| Rotation::new(dim, 1).unwrap());
        assert!(held <= rotation.footprint());
        let sample = noise(4 * dim);
        for bits in [1, 3, 8] {
            let options = RabitqOptions { bits, metric: Metric::Cosine, seed: 1 };
            let (quantizer, held) = peak(|| Rabitq::train(options, dim, &sample).unwrap());
            assert!(held <= Rabitq::training_bytes(dim), "{dim} x {bits}: {held}");
            let mut codes = vec![0; quantizer.codes_len(4)];
            let (_, held) = peak(|| quantizer.encode(0, &sample, &mut codes).unwrap());
            assert!(held <= Rabitq::coding_bytes(dim), "{dim} x {bits}: {held}");
            let mut row = vec![0.0; dim];
            let (_, held) = peak(|| quantizer.decode(3, &codes, &mut row).unwrap());
            assert!(held <= Rabitq::coding_bytes(dim), "{dim} x {bits}: {held}");
            let (query, held) = peak(|| quantizer.query(&row).unwrap());
            assert!(held <= Rabitq::query_bytes(dim), "{dim} x {bits}: {held}");
            let mut top = TopK::new(5);
            assert!(allocates_nothing(|| {
                quantizer.scan_top(&query, &codes, 4, &mut top).unwrap();
            }));
        }
    }
}

fn product() {
    for (bits, turn) in
        [(Bits::Four, Turn::None), (Bits::Eight, Turn::None), (Bits::Four, Turn::Learned)]
    {
        for (dim, parts, rows) in [(250, 7, 600), (133, 133, 600)] {
            let sample = noise(rows * dim);
            let options = ProductOptions {
                turn,
                steps: 2,
                ..ProductOptions::new(dim, parts, bits, Metric::InnerProduct)
            };
            let context = format!("{options:?}");
            let (quantizer, held) = peak(|| Product::train(options, &sample).unwrap());
            let published = Product::training_bytes(&options, rows);
            assert!(held <= published, "{context}: {held} of {published}");
            let (back, held) = {
                let bytes = quantizer.write();
                peak(|| Product::read(&bytes).unwrap())
            };
            assert!(held <= Product::reading_bytes(&options), "{context}: {held}");
            let mut codes = vec![0; back.codes_len(rows)];
            let (_, held) = peak(|| back.encode(0, &sample, &mut codes).unwrap());
            assert!(held <= back.coding_bytes(), "{context}: {held} of {}", back.coding_bytes());
            let mut row = vec![0.0; dim];
            let (_, held) = peak(|| back.decode(7, &codes, &mut row).unwrap());
            assert!(held <= back.coding_bytes(), "{context}: {held}");
            let (query, held) = peak(|| back.query(&row).unwrap());
            assert!(held <= back.query_bytes(), "{context}: {held} of {}", back.query_bytes());
            let mut top = TopK::new(5);
            assert!(allocates_nothing(|| {
                back.scan_top(&query, &codes, rows, &mut top).unwrap();
            }));
        }
    }
}

/// One test, so that nothing else allocates meanwhile.
#[test]
fn what_is_held_stays_within_the_published_sizes() {
    clusters();
    rabitq();
    product();
    let (_, held) = peak(|| TopK::new(100_000));
    assert!(held <= TopK::bytes(100_000));
}
