//! How much of a vector do one to eight bits a dimension keep, and how wrong can they be?
//!
//! RaBitQ (J. Gao and C. Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical
//! Error Bound", 2024; extended to more bits in "Practical and Asymptotically Optimal Quantization
//! of High-Dimensional Vectors", 2025). A row minus a centroid is rotated at random; its code y is
//! the point of a grid whose direction is nearest to it, and the scale f = |r|^2 / (y.r) makes
//! f y.q an unbiased estimate of r.q over random rotations.
//!
//! Two bounds come with each row. For certain: e >= |x - x'|, where x' is what the code stands
//! for, stored rounded up, so that [`Rabitq::intervals`] surely contain the score. In the mean:
//! the estimate deviates by [`Rabitq::deviation`], smaller by the root of the dimension.
//!
//! Codes are blocks of thirty-two rows ([`Rabitq::block_len`] bytes): planes of bits, then
//! scales, errors and, unless the metric is the inner product, norms. Scans read them in order.
//! A row that is not finite is stored as such: its bound is infinite and its interval everywhere.
//!
//! ```
//! use ambit_vector::rabitq::{Rabitq, RabitqOptions};
//! use ambit_vector::{Metric, TopK};
//!
//! let rows: Vec<f32> = (0..64 * 100).map(|i| (i as f32 * 0.7).sin()).collect(); // 100 x 64
//! let options = RabitqOptions { bits: 4, metric: Metric::InnerProduct, seed: 1 };
//! let quantizer = Rabitq::train(options, 64, &rows)?;
//! let mut codes = vec![0; quantizer.codes_len(100)];
//! quantizer.encode(0, &rows, &mut codes)?;
//!
//! let query = quantizer.query(&rows[..64])?;
//! let mut top = TopK::new(3);
//! quantizer.scan_top(&query, &codes, 100, &mut top)?;
//! assert_eq!(top.into_sorted().len(), 3);
//! # Ok::<(), ambit_vector::quantizer::CodeError>(())
//! ```

mod encode;
mod factors;
mod grid;
mod model;
mod query;
mod scan;

#[cfg(test)]
mod tests;

pub use model::{Rabitq, RabitqOptions};
pub use query::RabitqQuery;
