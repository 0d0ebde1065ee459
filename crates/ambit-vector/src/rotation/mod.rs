//! How is the energy of a vector spread over all its dimensions, without losing anything?
//!
//! A random rotation: rounds of seeded signs and a fast Hadamard transform, so that no dimension
//! of the result is louder than another, whatever the data. Codes that spend the same bits on
//! every dimension need that. Distances and inner products stay what they were, up to a proved
//! float error ([`error`]); [`Rotation::invert`] turns back.
//!
//! A dimension that is no power of two is transformed in two windows of the largest power of two
//! below it, at the front and at the back by turns; between rounds its halves are mixed by plane
//! rotations of 45 degrees. So dim in, dim out: nothing is padded.
//!
//! Every element passes the same additions and multiplications in the same order whatever the
//! processor, so the result of a seed is the same, bit for bit, everywhere.
//!
//! ```
//! use ambit_vector::rotation::Rotation;
//!
//! let rotation = Rotation::new(384, 7)?;
//! let mut row = vec![0.0; 384];
//! row[3] = 1.0; // all energy in one place
//! rotation.apply(&mut row);
//! assert!(row.iter().all(|x| x.abs() < 0.3));
//! rotation.invert(&mut row);
//! assert!((row[3] - 1.0).abs() < 1e-5);
//! # Ok::<(), ambit_vector::rotation::RotationError>(())
//! ```

mod error;
mod hadamard;
mod random;

#[cfg(test)]
mod tests;

pub use error::{error, underflow};
pub use random::{MAX_DIM, Rotation, RotationError};
