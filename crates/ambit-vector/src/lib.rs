//! Numbers in, fewer bytes or one distance out, and how wrong it can be.
//!
//! [`kernels`] gives the fastest kernels of this processor (AVX-512, AVX2 with FMA, NEON or
//! portable), chosen once, over f32, half floats, int8, int4 and bits. f32 scores come with proved
//! error bounds ([`bounds`]), integer scores are exact, f64 scores have the same bits on every
//! processor. [`quantizer`] has the words that codes share; [`scalar`], [`half`] and
//! [`binary`] make them, each with a proved bound on its error, so that a search can skip what
//! the bound excludes and still answer exactly. [`lossless`] keeps every bit. [`oracle`] is what
//! the kernels are tested against, [`bandwidth`] the ceiling that they are measured against.
//!
//! Rows are row-major f32 of any alignment and any values. Budgets, files and threads are not
//! known here.
//!
//! ```
//! let kernels = ambit_vector::kernels();
//! let rows = [1.0, 0.0, 0.6, 0.8]; // 2 x 2
//! let mut scores = [0.0; 2];
//! kernels.dot_rows(&[0.0, 1.0], &rows, &mut scores);
//! assert_eq!(scores, [0.0, 0.8]);
//! ```
#![deny(unsafe_code)]

pub mod bandwidth;
pub mod binary;
mod blocks;
pub mod bounds;
mod draws;
pub mod half;
#[allow(unsafe_code)]
mod kernel;
pub mod kmeans;
pub mod lossless;
mod metric;
pub mod oracle;
pub mod planes;
pub mod product;
pub mod quantizer;
pub mod rabitq;
pub mod rotation;
pub mod scalar;
mod top;
mod wide;

pub use kernel::{CodeWidth, Cut, HalfRows, Kernels, MAX_WEIGHT, Weights, kernels};
pub use metric::Metric;
pub use top::TopK;
