//! An embedded store for embeddings and knowledge graphs that stays inside the byte budget
//! you give it, returns every vector bit for bit, and can account for every byte.
//!
//! A [`Store`] is a directory of collections. A collection has entities (key, kind, text,
//! properties, at most one embedding per space) and relations between them. A [`WriteBatch`]
//! is atomic and on disk when [`Store::write`] returns. A [`Collection`] is a picture of one
//! instant: it is read and searched, and never changes.
//!
//! ```
//! use ambitdb::{Config, Entity, Metric, SearchRequest, SpaceKind, Store, WriteBatch};
//! # fn main() -> ambitdb::Result<()> {
//! # let dir = std::env::temp_dir().join(format!("ambitdb-doc-{}", std::process::id()));
//! let store = Store::open(&Config::new(&dir))?;
//! store.create_collection("notes")?;
//! store.create_space("notes", "mind", SpaceKind::Dense { dim: 2, metric: Metric::Cosine })?;
//! let mut batch = WriteBatch::new();
//! for (key, vector) in [("east", vec![1.0, 0.0]), ("north", vec![0.0, 1.0])] {
//!     let embeddings = [("mind".to_owned(), vector)].into();
//!     batch.put("notes", Entity { key: key.into(), embeddings, ..Entity::default() });
//! }
//! store.write(&batch)?;
//! let answer = store.collection("notes")?.search(&SearchRequest::new("mind", &[0.9, 0.1], 1))?;
//! assert_eq!(answer.hits[0].key, "east");
//! # drop(store); std::fs::remove_dir_all(dir).unwrap();
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod answers;
mod batch;
mod codes;
mod collection;
mod config;
mod cursor;
mod entity;
mod error;
mod export;
mod filter;
mod fused;
mod group;
mod import;
mod key;
mod lazy;
mod memory;
mod schema;
mod search;
mod source;
mod sparse;
mod store;
mod value;

pub use ambit_cache::{CacheStats, TiersStats};
pub use ambit_mem::audit::MemorySnapshot;
pub use ambit_mem::{Budget, Bytes, Owner};
pub use ambit_search::sparse::SparseWork;
pub use ambit_search::text::Language;
pub use ambit_search::{Exactness, Probes, Sharing};
pub use ambit_store::engine::{MergeProgress, Reclaimed, VerifyReport, VersionInfo};
pub use ambit_vector::Metric;
pub use batch::WriteBatch;
pub use codes::CodesReport;
pub use collection::{Collection, EachRows, EntityInfo, ListOptions};
pub use config::{Access, Config, Durability, Io, MIN_BUDGET, write_room};
pub use cursor::Cursor;
pub use entity::{Entity, EntityId, MAX_BODY, MAX_KEY, MAX_KIND, Relation};
pub use error::{Error, ErrorKind, Result};
pub use filter::{Filter, MAX_FILTER};
pub use fused::{
    Fused, FusedAnswer, FusedHit, FusedRequest, FusedSpace, Fusion, Place, SpaceQuery, fuse,
};
pub use group::{Group, Groups};
pub use import::{Import, ImportReport};
pub use key::compare_keys;
pub use lazy::LazyEmbedding;
pub use schema::{MAX_DIM, MAX_NAME, MAX_SPACES, Space, SpaceKind};
pub use search::{Answer, Hit, MAX_K, SearchRequest};
pub use sparse::{EachSparse, IndexReport, SparseVector, Terms, TermsAnswer, TermsRequest};
pub use store::{CollectionInfo, SpaceInfo, Store};
pub use value::{MAX_DEPTH, Properties, Value};
