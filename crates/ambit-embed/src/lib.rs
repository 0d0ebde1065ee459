//! Text in, vector out, by whom and at what cost?
//!
//! An [`Embedder`] turns a text into one vector of unit length. [`StaticEmbedder`] is the one that
//! is always there: a table with one row of 4-bit values per word piece, distilled from
//! all-MiniLM-L6-v2, that travels inside the binary and needs neither network nor start-up time.
//!
//! Invariants: the same text gives the same bits on every CPU, because the order of every
//! floating-point sum is fixed; a vector is of unit length or zero, and [`Embedded`] says which, so
//! that a caller leaves the zero one out; whatever an embedder keeps is reserved on the account that
//! it was given, the pages of the binary that it touches included.
//!
//! Left out: splitting a document into texts (the caller's), and what becomes of the vectors.
//!
//! ```
//! use ambit_embed::{Embedder, StaticEmbedder};
//! use ambit_mem::{Budget, Bytes, Priority};
//!
//! let budget = Budget::new(Bytes::mib(16));
//! let embedder = StaticEmbedder::built_in(&budget.account("embedder", Priority::Query))?;
//! let mut vector = vec![0.0; embedder.dim()];
//! let embedded = embedder.embed("a face scarred by anxiety", &mut vector)?;
//! assert_eq!(embedded.tokens, 5);
//! assert!(!embedded.is_zero);
//! # Ok::<(), ambit_embed::EmbedError>(())
//! ```

#![forbid(unsafe_code)]

mod asset;
mod characters;
mod config;
mod embedder;
mod error;
mod model;
mod table;
mod tokenizer;
mod vocabulary;

pub use embedder::{Embedded, Embedder};
pub use error::EmbedError;
pub use model::StaticEmbedder;
