//! What a collection consists of, and how that lies in the store's tables.
//!
//! A collection `docs` is the table `docs` and, once something is related, `docs/relations`.
//! The entity table has column 0 `body` (kind, text, properties), column 1 `id` (u64), and for
//! each dense space two columns that are present in the same rows: the vector (dim x f32) and
//! its euclidean norm (f32), which the scan's error bound needs.

use ambit_store::ErrorKind as StoreErrorKind;
use ambit_store::StoreError;
use ambit_store::limits::MAX_STRIDE;
use ambit_store::log::{CellLayout, Column};
use ambit_store::wire::{Put, Reader, WireError};
use ambit_vector::Metric;

use crate::error::{Error, Result};

/// Largest dimension of a dense space.
pub const MAX_DIM: usize = MAX_STRIDE / 4;
/// Bytes of a collection or space name. At least 1.
pub const MAX_NAME: usize = 128;
/// Dense spaces of a collection.
pub const MAX_SPACES: usize = 64;

pub(crate) const BODY: usize = 0;
pub(crate) const ID: usize = 1;
const FIRST_SPACE: usize = 2;
const RELATIONS: &str = "/relations";

/// What kind of embedding a space holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpaceKind {
    /// One vector of `dim` float32 values per entity.
    Dense {
        /// Elements, 1 to [`MAX_DIM`].
        dim: usize,
        /// What nearest means.
        metric: Metric,
    },
}

/// A named slot for one embedding per entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Its name, unique in the collection.
    pub name: String,
    /// Elements of a vector.
    pub dim: usize,
    /// What nearest means.
    pub metric: Metric,
}

/// The spaces of a collection, in the order of their making.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schema {
    pub spaces: Vec<Space>,
}

impl Schema {
    pub(crate) fn with(&self, name: &str, kind: SpaceKind) -> Result<Self> {
        check_name("space", name)?;
        let SpaceKind::Dense { dim, metric } = kind;
        if dim == 0 || dim > MAX_DIM {
            return Err(Error::invalid(format!("space {name}: dimension {dim}; 1 to {MAX_DIM}")));
        }
        if self.spaces.len() >= MAX_SPACES {
            return Err(Error::invalid(format!("a collection has at most {MAX_SPACES} spaces")));
        }
        let mut next = self.clone();
        next.spaces.push(Space { name: name.to_owned(), dim, metric });
        Ok(next)
    }

    pub(crate) fn position(&self, space: &str) -> Option<usize> {
        self.spaces.iter().position(|one| one.name == space)
    }

    /// Number of columns of the entity table.
    pub(crate) fn width(&self) -> usize {
        FIRST_SPACE + 2 * self.spaces.len()
    }

    pub(crate) fn columns(&self) -> Vec<Column> {
        let mut columns = vec![
            Column { name: "body".into(), layout: CellLayout::Var },
            Column { name: "id".into(), layout: CellLayout::Fixed(8) },
        ];
        for space in &self.spaces {
            let stride = (space.dim * 4) as u32;
            let name = format!("vector:{}", space.name);
            columns.push(Column { name, layout: CellLayout::Fixed(stride) });
            let name = format!("norm:{}", space.name);
            columns.push(Column { name, layout: CellLayout::Fixed(4) });
        }
        columns
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u32(self.spaces.len() as u32);
        for space in &self.spaces {
            bytes.put_bytes(space.name.as_bytes());
            bytes.put_u8(0);
            bytes.put_u32(space.dim as u32);
            bytes.put_bytes(space.metric.name().as_bytes());
        }
        bytes
    }

    pub(crate) fn decode(collection: &str, bytes: &[u8]) -> Result<Self> {
        let read = || -> std::result::Result<Self, WireError> {
            let mut reader = Reader::new(bytes);
            let mut spaces = Vec::new();
            for _ in 0..reader.u32("a space count")? {
                let name = reader.str("a space name")?.to_owned();
                let offset = reader.offset();
                if reader.u8("a space kind")? != 0 {
                    return Err(WireError { offset, expected: "a dense space" });
                }
                let dim = reader.u32("a dimension")? as usize;
                let offset = reader.offset();
                let metric = Metric::from_name(reader.str("a metric")?)
                    .ok_or(WireError { offset, expected: "a known metric" })?;
                spaces.push(Space { name, dim, metric });
            }
            Ok(Self { spaces })
        };
        read().map_err(|error| {
            let what = format!("the schema of collection {collection}: {error}");
            StoreError::new(StoreErrorKind::Corrupt, what).into()
        })
    }
}

/// Column of a space's vectors.
pub(crate) fn vector_column(space: usize) -> usize {
    FIRST_SPACE + 2 * space
}

/// Column of a space's norms.
pub(crate) fn norm_column(space: usize) -> usize {
    FIRST_SPACE + 2 * space + 1
}

/// Table of a collection's relations.
pub(crate) fn relation_table(collection: &str) -> String {
    format!("{collection}{RELATIONS}")
}

/// Is this the table of a collection's relations?
pub(crate) fn is_relation_table(table: &str) -> bool {
    table.ends_with(RELATIONS)
}

/// Holds a collection's or space's name against the rules.
pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    let is_fine = !name.is_empty()
        && name.len() <= MAX_NAME
        && !name.contains(|c: char| c == '/' || c.is_control());
    if is_fine {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{name:?} cannot name a {what}: 1 to {MAX_NAME} bytes, no slash, no control characters"
    )))
}
