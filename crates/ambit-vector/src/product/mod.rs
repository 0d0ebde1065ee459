//! How few bytes keep the neighbours of vectors that have structure? A product quantizer.
//!
//! A row is cut into parts, and each part is replaced by the nearest of 16 or 256 centroids that
//! k-means has found for it (H. Jegou, M. Douze and C. Schmid, "Product quantization for nearest
//! neighbor search", 2011). A query makes a table for each part of what it scores against each
//! centroid; a row's score is a sum of entries, looked up in registers for thirty-two rows at a
//! time (the fast-scan layout of F. Andre et al., 2015). With [`Turn::Learned`] rows are first
//! rotated so that the parts fit them best (T. Ge, K. He, Q. Ke and J. Sun, "Optimized product
//! quantization", 2013).
//!
//! Beside its code each row keeps an upper bound on |x - x'|, rounded up, so that
//! [`Product::intervals`] surely contain its score; and its norm where the metric is the cosine.
//! A row that is not finite is stored as such: its bound is infinite and its interval everywhere.
//!
//! ```
//! use ambit_vector::product::{Bits, Product, ProductOptions};
//! use ambit_vector::{Metric, TopK};
//!
//! let rows: Vec<f32> = (0..32 * 100).map(|i| (i as f32 * 0.7).sin()).collect(); // 100 x 32
//! let options = ProductOptions::new(32, 8, Bits::Four, Metric::InnerProduct);
//! let quantizer = Product::train(options, &rows)?;
//! let mut codes = vec![0; quantizer.codes_len(100)];
//! quantizer.encode(0, &rows, &mut codes)?;
//!
//! let query = quantizer.query(&rows[..32])?;
//! let mut top = TopK::new(3);
//! quantizer.scan_top(&query, &codes, 100, &mut top)?;
//! assert_eq!(top.into_sorted().len(), 3);
//! # Ok::<(), ambit_vector::quantizer::CodeError>(())
//! ```

mod encode;
mod learn;
mod matrix;
mod model;
mod options;
mod query;
mod scan;
mod train;

#[cfg(test)]
mod tests;

pub use model::Product;
pub use options::{Bits, ProductOptions, Turn};
pub use query::ProductQuery;
