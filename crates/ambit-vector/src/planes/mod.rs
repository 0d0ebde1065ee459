//! Which rows can be left out after a look at a twelfth of their bytes, without a doubt?
//!
//! A row is turned into the basis of its data's principal components and coded twice. The
//! *coarse* plane holds 4 bits for each of the leading components (the head), 2 bits for the
//! next (the middle), nothing for the rest (the tail), and of each of the three groups a bound
//! on what the code leaves out. The *fine* plane holds 4 bits for each component of what the
//! coarse one left out, and a bound on what is left then. A query gets from either plane an
//! upper end of each row's score that is proved, rounding included ([`bound`]).
//!
//! The leading components carry most of a score: on sentence embeddings of 384 dimensions,
//! 96 bytes a row leave 2.4 % of the rows where 2 bits for every dimension of a random basis
//! leave 27 %. Within a group the basis is random, so that one scale serves all its components.
//!
//! [`Model::train`] finds the basis, [`Encoder`] makes the planes, [`Query`] is a query made
//! ready for them, [`Coarse`] and [`Fine`] are the planes as bytes. A [`Model`] serves one
//! metric: under cosine the rows are coded at length 1.
//!
//! Sources: principal components with bits by variance is transform coding (J. Huang and
//! P. Schultheiss, Block Quantization of Correlated Gaussian Random Variables, 1963); a first
//! pass over approximations with bounds is the VA-file (R. Weber, H.-J. Schek and S. Blott,
//! A Quantitative Analysis and Performance Study for Similarity-Search Methods in
//! High-Dimensional Spaces, 1998).

pub mod bound;
mod encode;
pub mod groups;
#[allow(unsafe_code)]
mod kernel;
mod layout;
mod lists;
mod model;
mod query;
mod spectrum;

#[cfg(test)]
mod tests;

pub use encode::Encoder;
pub use kernel::{Coarse, Fine, Strip, Unit, units};
pub use layout::{BLOCK_ROWS, Layout, MAX_DIM};
pub use lists::{Lists, MAX_LISTS, Parts as ListParts};
pub use model::{Model, PlaneError};
pub use query::Query;
