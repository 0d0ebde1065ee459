//! Where are the centres of a cloud of vectors? k-means, for codebooks and inverted lists.
//!
//! Seeds are drawn by k-means++ (D. Arthur and S. Vassilvitskii, 2007), in rounds of many at a
//! time where there are many clusters (k-means||, B. Bahmani et al., "Scalable k-means++", 2012).
//! Lloyd steps then assign each row to its nearest centroid with one pass of a matrix kernel
//! ([`Centroids::assign`]) and move the centroids to the means. A cluster that comes out empty
//! takes half of the largest one.
//!
//! [`Balance::Even`] lets small clusters split large ones, so that inverted lists come out alike.
//!
//! The result is the same for a seed, bit for bit, on every processor. Training holds
//! [`training_bytes`] beside the rows, and can be followed and cancelled between steps. The
//! sample is the caller's choice; 64 to 256 rows a cluster are customary.
//!
//! ```
//! use ambit_vector::kmeans::{Centroids, Options, train};
//!
//! let rows: Vec<f32> = (0..300).map(|i| (i % 3) as f32 * 10.0 + i as f32 * 1e-3).collect();
//! let trained = train(&rows, &Options::new(1, 3), &mut |_| std::ops::ControlFlow::Continue(()))?;
//! let centroids = Centroids::new(1, &trained.centroids)?;
//! let (mut nearest, mut distances) = ([0; 2], [0.0; 2]);
//! centroids.assign(&[0.0, 20.0], &mut nearest, &mut distances)?;
//! assert_ne!(nearest[0], nearest[1]);
//! assert!(distances[0] < 1.0);
//! # Ok::<(), ambit_vector::kmeans::KmeansError>(())
//! ```

mod centroids;
mod error;
mod nearest;
mod options;
mod seeding;
mod train;

#[cfg(test)]
mod tests;

pub(crate) use nearest::tile_sums;

pub use centroids::Centroids;
pub use error::KmeansError;
pub use options::{Balance, MAX_CLUSTERS, Options, Progress, Trained};
pub use train::{train, training_bytes};
