//! Brute force in float64, written plainly, and small files of queries.

use std::path::PathBuf;

use super::Bench;
use crate::data::Vectors;
use crate::error::BenchError;
use crate::npy::{self, Array};

/// For each query all inner products with the rows, in float64; `take` gets query and scores.
pub fn inner_products(
    rows: &Array<f32>,
    queries: &Array<f32>,
    take: &(impl Fn(usize, &[f64]) + Sync),
) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = queries.rows.div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        for first in (0..queries.rows).step_by(share) {
            let last = (first + share).min(queries.rows);
            scope.spawn(move || {
                let mut scores = vec![0.0; rows.rows];
                for query in first..last {
                    let vector = row(queries, query);
                    for (number, score) in scores.iter_mut().enumerate() {
                        *score = inner_product(vector, row(rows, number));
                    }
                    take(query, &scores);
                }
            });
        }
    });
}

fn row(array: &Array<f32>, number: usize) -> &[f32] {
    &array.values[number * array.columns..(number + 1) * array.columns]
}

/// Eight sums, so that the compiler can use wide registers; float64 throughout.
fn inner_product(a: &[f32], b: &[f32]) -> f64 {
    let (a_parts, a_rest) = a.as_chunks::<8>();
    let (b_parts, b_rest) = b.as_chunks::<8>();
    let mut sums = [0.0f64; 8];
    for (a, b) in a_parts.iter().zip(b_parts) {
        for lane in 0..8 {
            sums[lane] += f64::from(a[lane]) * f64::from(b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    sums.iter().sum::<f64>() + rest
}

/// The numbers of the `k` largest scores, best first, equal ones in the order of their numbers.
pub fn best(scores: &[f64], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    let k = k.min(order.len());
    let better = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
    if k > 0 && k < order.len() {
        order.select_nth_unstable_by(k - 1, better);
    }
    order.truncate(k);
    order.sort_unstable_by(better);
    order
}

/// A file of the first `count` rows.
pub fn first_rows(bench: &Bench, vectors: &Vectors, count: usize) -> Result<PathBuf, BenchError> {
    let path = bench.fresh(&format!("first-{count}.npy"))?;
    let columns = vectors.array.columns;
    npy::write(&path, columns, &vectors.array.values[..count * columns])?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_in_order_and_ties_go_by_number() {
        let scores = [1.0, 5.0, 3.0, 5.0, -1.0, 3.0];
        assert_eq!(best(&scores, 4), [1, 3, 2, 5]);
        assert_eq!(best(&scores, 6), [1, 3, 2, 5, 0, 4]);
        assert_eq!(best(&scores, 9).len(), 6);
        assert_eq!(best(&scores, 0), [0; 0]);
    }

    #[test]
    fn inner_products_are_those_of_float64() {
        let rows = Array { rows: 2, columns: 11, values: (0..22).map(|x| x as f32).collect() };
        let queries = Array { rows: 1, columns: 11, values: vec![0.5; 11] };
        let expected = [27.5, 88.0];
        inner_products(&rows, &queries, &|query, scores| {
            assert_eq!((query, scores), (0, expected.as_slice()));
        });
    }
}
