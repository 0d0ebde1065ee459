//! Which rotation fits the parts of a sample best? Optimized product quantization.
//!
//! By turns: codebooks for the rotated rows, then the rotation that brings the rows closest to
//! what their codes stand for (T. Ge et al., 2013, the non-parametric solution). With X the rows
//! and Y their codes that is the orthogonal matrix nearest to Y^T X, its polar factor, found by
//! Newton's and Schulz's iteration A <- (3 - A A^T) A / 2 with the matrix kernel. A thousandth of
//! the rotation before is added first: dimensions of which the sample says nothing keep theirs.

use super::matrix::Matrix;
use super::model::{Learned, Product};
use super::options::{ProductOptions, Turn};
use super::train::books;
use crate::quantizer::CodeError;

/// Rows that a rotation is learned from, at most.
const ROWS: usize = 8192;
/// Rounds of codebooks and rotations.
const ROUNDS: usize = 10;
/// k-means steps of a round.
const STEPS: usize = 4;
/// The most steps of the polar iteration, and where it has come to rest.
const POLAR_STEPS: usize = 60;
const RESTING: f32 = 1e-5;
/// Rows whose products are added up at a time.
const BATCH: usize = 1024;

/// Bytes that learning holds beside the sample and what training holds anyway.
pub(super) const fn bytes(options: &ProductOptions, rows: usize) -> usize {
    let dim = options.dim;
    let learning = if rows < ROWS { rows } else { ROWS };
    let sample = 4 * dim * (3 * learning + if rows > learning { rows } else { learning });
    // The sum in f64; three square matrices and two packed ones; the batches, turned and packed.
    let squares = (8 + 4 * 3) * dim * dim + 4 * Matrix::bytes(dim, dim);
    let codes = (options.parts + 8) * (learning + 32);
    sample + squares + codes + 4 * dim * BATCH + Matrix::bytes(dim, BATCH) + 4 * BATCH * dim
}

/// A quantizer with a learned rotation.
pub(super) fn train(options: ProductOptions, rows: &[f32]) -> Result<Product, CodeError> {
    let (dim, count) = (options.dim, rows.len() / options.dim);
    if rows.iter().any(|x| !x.is_finite()) {
        return Err(CodeError::NotFinite);
    }
    let learning = count.min(ROWS);
    let mut sample = Vec::with_capacity(learning * dim);
    for row in 0..learning {
        sample.extend_from_slice(&rows[row * count / learning * dim..][..dim]);
    }
    let mut rotation: Vec<f32> =
        (0..dim * dim).map(|at| if at / dim == at % dim { 1.0 } else { 0.0 }).collect();
    for _ in 0..ROUNDS {
        let codes = approximations(&options, &sample, &rotation)?;
        rotation = nearest_rotation(&products(dim, &codes, &sample), &rotation);
    }
    let learned = pack(dim, &rotation);
    let mut turned = vec![0.0; rows.len()];
    learned.forward.multiply(rows, &mut turned);
    let books = books(&options, &turned, options.steps)?;
    Ok(Product::of(options, books, Some(learned)))
}

/// What the rotated rows become by codebooks of their own.
fn approximations(
    options: &ProductOptions,
    sample: &[f32],
    rotation: &[f32],
) -> Result<Vec<f32>, CodeError> {
    let dim = options.dim;
    let mut turned = vec![0.0; sample.len()];
    Matrix::pack(dim, dim, |output, input| rotation[output * dim + input])
        .multiply(sample, &mut turned);
    let options = ProductOptions { turn: Turn::None, ..*options };
    let quantizer = Product::of(options, books(&options, &turned, STEPS)?, None);
    let mut codes = vec![0; quantizer.codes_len(sample.len() / dim)];
    quantizer.encode(0, &turned, &mut codes)?;
    quantizer.decode(0, &codes, &mut turned)?;
    Ok(turned)
}

/// Y^T X, dim x dim.
fn products(dim: usize, codes: &[f32], sample: &[f32]) -> Vec<f64> {
    let mut sums = vec![0.0f64; dim * dim];
    let mut products = vec![0.0f32; dim * dim];
    for (codes, sample) in codes.chunks(BATCH * dim).zip(sample.chunks(BATCH * dim)) {
        let n = codes.len() / dim;
        let mut turned = vec![0.0; dim * n];
        for (s, code) in codes.chunks_exact(dim).enumerate() {
            for (i, x) in code.iter().enumerate() {
                turned[i * n + s] = *x;
            }
        }
        Matrix::pack(dim, n, |output, s| sample[s * dim + output]).multiply(&turned, &mut products);
        for (sum, product) in sums.iter_mut().zip(&products) {
            *sum += f64::from(*product);
        }
    }
    sums
}

/// The orthogonal matrix nearest to `products`, with a little of the one before.
fn nearest_rotation(products: &[f64], before: &[f32]) -> Vec<f32> {
    let dim = products.len().isqrt();
    // No singular value is above the root of the largest row sum times the largest column sum.
    let sum = |of: &dyn Fn(usize, usize) -> f64| {
        let row = |i: usize| (0..dim).map(|j| of(i, j).abs()).sum::<f64>();
        (0..dim).map(row).fold(0.0, f64::max)
    };
    let rows = sum(&|i, j| products[i * dim + j]);
    let columns = sum(&|i, j| products[j * dim + i]);
    let scale = 1.0 / ((rows * columns).sqrt() * 1.001).max(f64::MIN_POSITIVE);
    let start = |(product, before): (&f64, &f32)| (product * scale) as f32 + before * 1e-3;
    let mut a: Vec<f32> = products.iter().zip(before).map(start).collect();
    if a.iter().any(|x| !x.is_finite()) {
        return before.to_vec();
    }
    let mut square = vec![0.0; dim * dim];
    let mut next = vec![0.0; dim * dim];
    for _ in 0..POLAR_STEPS {
        Matrix::pack(dim, dim, |output, k| a[output * dim + k]).multiply(&a, &mut square);
        let mut off = 0.0f32;
        for (at, x) in square.iter_mut().enumerate() {
            let one = if at / dim == at % dim { 1.0 } else { 0.0 };
            off = off.max((*x - one).abs());
            *x = (3.0 * one - *x) / 2.0;
        }
        if off < RESTING {
            break;
        }
        Matrix::pack(dim, dim, |output, k| a[k * dim + output]).multiply(&square, &mut next);
        std::mem::swap(&mut a, &mut next);
    }
    a
}

/// A rotation as it is used, with a bound on how far from one it is: the Frobenius norm of
/// R R^T - 1, which has the singular values of R^T R - 1.
fn pack(dim: usize, rotation: &[f32]) -> Learned {
    let mut off = 0.0;
    for i in 0..dim {
        for j in 0..=i {
            let (a, b) = (&rotation[i * dim..][..dim], &rotation[j * dim..][..dim]);
            let product = crate::kernels().dot_f64(a, b);
            off += if i == j { (product - 1.0).powi(2) } else { 2.0 * product * product };
        }
    }
    Learned {
        forward: Matrix::pack(dim, dim, |output, input| rotation[output * dim + input]),
        back: Matrix::pack(dim, dim, |output, input| rotation[input * dim + output]),
        off: (off.sqrt() * (1.0 + 1e-9) + 1e-12).min(0.999),
    }
}
