//! Principal components, and a random basis within groups of them.
//!
//! Rows are not centred: what counts is how much of an inner product a component carries.

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use crate::draws::Draws;
use crate::kernels;

/// Eigenvalues (descending) and eigenvectors (one a column) of the second moments of `rows`.
///
/// `rows`: n x dim. Cost: n dim^2 multiplications in f32, about 9 dim^3 in f64.
pub(super) fn principal(rows: &[f32], dim: usize) -> (Vec<f64>, DMatrix<f64>) {
    let moments = second_moments(rows, dim);
    let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(moments);
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
    let values = order.iter().map(|&index| eigenvalues[index].max(0.0)).collect();
    let columns: Vec<DVector<f64>> =
        order.iter().map(|&index| eigenvectors.column(index).into_owned()).collect();
    (values, DMatrix::from_columns(&columns))
}

/// The mean of x x' over the rows.
fn second_moments(rows: &[f32], dim: usize) -> DMatrix<f64> {
    let n = rows.len() / dim;
    let mut columns = vec![0.0f32; rows.len()];
    for (row, values) in rows.chunks_exact(dim).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            columns[column * n + row] = value;
        }
    }
    let mut products = vec![0.0f32; dim * dim];
    if n > 0 {
        kernels().dot_block(n, &columns, &columns, &mut products);
    }
    let mean = 1.0 / n.max(1) as f64;
    // The kernel's sums depend on the order of the operands; a symmetric matrix is wanted.
    DMatrix::from_fn(dim, dim, |i, j| {
        let (low, high) = (i.min(j), i.max(j));
        f64::from(products[low * dim + high]) * mean
    })
}

/// `vectors` (dim x m, orthonormal columns) times a random orthonormal matrix of `draws`.
pub(super) fn mixed(vectors: DMatrix<f64>, draws: &mut Draws) -> DMatrix<f64> {
    let m = vectors.ncols();
    if m == 0 {
        return vectors;
    }
    let normal = DMatrix::from_fn(m, m, |_, _| normal(draws));
    vectors * normal.qr().q()
}

/// Nearly normal: the sum of twelve uniform numbers less six, which needs no logarithm and so has
/// the same bits everywhere.
fn normal(draws: &mut Draws) -> f64 {
    (0..12).map(|_| (draws.next_u64() >> 11) as f64 / (1u64 << 53) as f64).sum::<f64>() - 6.0
}
