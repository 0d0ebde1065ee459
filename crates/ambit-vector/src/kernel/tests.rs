//! Plain code gives the same bits whatever instructions it is compiled for.

use super::{CodeWidth, Grid, Kernels, Weights};
use crate::half::Half;
use crate::quantizer::{Coded, Constants, Interval, Line, RowTerms};
use crate::{Metric, oracle};

/// A small generator of floats of mixed sizes.
fn floats(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let unit = (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
        if state >> 33 & 15 == 0 { unit * 100.0 } else { unit }
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// What is compared: bytes of a code and numbers beside it, by bits.
type Encoded = (Vec<u8>, [u64; 2]);

fn encoded(kernels: Kernels, row: &[f32]) -> Vec<Encoded> {
    let (low, high) = kernels.range(row);
    let mut all = vec![(Vec::new(), [u64::from(low.to_bits()), u64::from(high.to_bits())])];
    let centres = floats(9, row.len());
    let steps: Vec<f32> = centres.iter().map(|x| x.abs() / 100.0).collect();
    let inverses: Vec<f32> = steps.iter().map(|x| 1.0 / x).collect();
    for width in [CodeWidth::Four, CodeWidth::Eight] {
        for grid in [
            Grid::Row { offset: 0.1, step: 0.01, inverse: 100.0 },
            Grid::Dimensions { offsets: &centres, steps: &steps, inverses: &inverses },
        ] {
            let mut code = vec![0; width.row_len(row.len())];
            let squares = kernels.encode(row, grid, width, &mut code);
            all.push((code, [squares.to_bits(), 0]));
        }
    }
    let mut code = vec![0; CodeWidth::One.row_len(row.len())];
    let (sizes, squares) = kernels.signs(row, &centres, &mut code);
    all.push((code, [sizes.to_bits(), squares.to_bits()]));
    for half in [Half::F16, Half::Bf16] {
        let mut code = vec![0; 2 * row.len()];
        let squares = kernels.narrow(half, row, 4.0, &mut code);
        all.push((code, [squares.to_bits(), 0]));
    }
    all
}

#[test]
fn every_instruction_set_encodes_to_the_same_bytes() {
    let lens = if cfg!(miri) { vec![1, 17, 35] } else { (1..=200).chain([384, 1000]).collect() };
    for len in lens {
        let mut row = floats(len as u64, len);
        for strange in [0.5, f32::NAN, f32::INFINITY, -0.0, f32::from_bits(1), f32::MAX] {
            row[len / 2] = strange;
            let portable = Kernels::available().last().map(|kernels| encoded(*kernels, &row));
            for kernels in Kernels::available() {
                assert_eq!(Some(encoded(kernels, &row)), portable, "{kernels:?} {len}");
            }
        }
    }
}

/// One element at a time.
#[test]
fn levels_and_bits_are_the_nearest() {
    for len in [1, 2, 15, 16, 17, 63, 130, 131] {
        let row = floats(len as u64, len);
        let (low, high) = Kernels::available()[0].range(&row);
        assert_eq!(low, row.iter().copied().fold(f32::INFINITY, f32::min));
        assert_eq!(high, row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        for width in [CodeWidth::Four, CodeWidth::Eight] {
            let grid = Grid::Row { offset: 0.125, step: 0.25, inverse: 4.0 };
            let middle = i32::from(width.max_level() / 2) + 1;
            let mut code = vec![0xFF; width.row_len(len)];
            let squares = Kernels::available()[0].encode(&row, grid, width, &mut code);
            let mut expected = 0.0;
            for (i, &x) in row.iter().enumerate() {
                let half = len.div_ceil(2);
                let level = match width {
                    CodeWidth::Four if i < half => code[i] & 15,
                    CodeWidth::Four => code[i - half] >> 4,
                    _ => code[i],
                };
                let nearest = (((x - 0.125) * 4.0 + middle as f32 + 0.5).floor())
                    .clamp(0.0, f32::from(width.max_level()));
                assert_eq!(f32::from(level), nearest, "element {i} of {len}");
                let said = 0.125 + 0.25 * f64::from(i32::from(level) - middle);
                expected += (f64::from(x) - said).powi(2);
            }
            assert!((squares - expected).abs() <= 1e-9 * expected);
            if width == CodeWidth::Four && len % 2 == 1 {
                assert_eq!(code[len / 2] >> 4, 0, "no element, no level");
            }
        }
    }
}

#[test]
fn every_instruction_set_scores_with_the_same_bits() {
    let dim = 70;
    let rows = if cfg!(miri) { 5 } else { 600 };
    let codes: Vec<u8> = floats(3, rows * dim).iter().map(|x| x.to_bits() as u8).collect();
    let terms: Vec<RowTerms> = floats(4, 4 * rows)
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&[offset, step, norm, error]| RowTerms {
            offset,
            step,
            norm: norm.abs(),
            error: error.abs(),
        })
        .collect();
    let query = floats(5, dim);
    let mut weights = Weights::new(CodeWidth::Eight, dim);
    weights.fill(|i| (query[i] * 100.0) as i16);
    let halves: Vec<u8> =
        floats(6, rows * dim).iter().flat_map(|&x| Half::Bf16.narrow(x).to_le_bytes()).collect();
    for metric in Metric::ALL {
        let line = Line::new(Constants {
            metric,
            norm: oracle::norm_sq(&query).sqrt(),
            inexact: 0.01,
            offsets: 3.0,
            constant: 0.5,
            rest: 0.1,
            scale: 0.01,
            sum: 17.0,
            factor: 2,
            shift: 5,
            known: true,
        });
        let scored = |kernels: Kernels| {
            let coded = Coded { codes: &codes, terms: &terms };
            let (mut scores, mut intervals) = (vec![0.0; rows], vec![Interval::ANYWHERE; rows]);
            kernels.code_scores(&line, &weights, coded, &mut scores);
            kernels.code_intervals(&line, &weights, coded, &mut intervals);
            let intervals = intervals.iter().flat_map(|x| [x.low.to_bits(), x.high.to_bits()]);
            let bits: Vec<u32> = scores.iter().map(|x| x.to_bits()).chain(intervals).collect();
            bits
        };
        let available = Kernels::available();
        let portable = available.last().map(|kernels| scored(*kernels));
        for kernels in available {
            assert_eq!(Some(scored(kernels)), portable, "{kernels:?} {metric}");
            // Sums of floats differ in their last bits, so these only have to be there.
            let coded = Coded { codes: &halves, terms: &terms };
            let mut scores = vec![f32::NEG_INFINITY; rows];
            kernels.half_scores(&line, (Half::Bf16, &query), coded, &mut scores);
            assert!(scores.iter().all(|score| *score != f32::NEG_INFINITY));
        }
    }
}
