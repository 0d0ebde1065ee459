//! What a collection consists of, and how that lies in the store's tables.
//!
//! A collection `docs` is the table `docs` and, once something is related, `docs/relations`.
//! The entity table has column 0 `body` (kind, text, properties), column 1 `id` (u64), and for
//! each space two columns that are present in the same rows. Of a dense space: the vector (dim x f32)
//! and its euclidean norm (f32), which the scan's error bound needs. Of a sparse space: the ids (u32) and
//! the weights (f32) of the terms. A text space has no cells: its terms are those of the body's text, and
//! its two columns, absent in every row, keep the numbers of the others regular.

use ambit_search::text::Language;
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
/// Spaces of a collection.
pub const MAX_SPACES: usize = 64;

pub(crate) const BODY: usize = 0;
pub(crate) const ID: usize = 1;
const FIRST_SPACE: usize = 2;
/// What a space holds, on disk.
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const TEXT: u8 = 2;
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
    /// Some terms of `dim` with a float32 weight each per entity; nearest is the largest inner product.
    Sparse {
        /// Terms there are, at least 1: ids are below it.
        dim: u32,
    },
    /// The words of the entity's text; nearest is the largest BM25.
    Text {
        /// The language whose words are brought to their stems; none: they stand as they are.
        stem: Option<Language>,
    },
}

/// A named slot for one embedding per entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// Its name, unique in the collection.
    pub name: String,
    /// What it holds.
    pub kind: SpaceKind,
    /// Elements of a vector; of a sparse space the terms there are; 0 of a text space.
    pub dim: usize,
    /// What nearest means; the inner product in sparse and text spaces.
    pub metric: Metric,
}

impl Space {
    fn new(name: &str, kind: SpaceKind) -> Self {
        let (dim, metric) = match kind {
            SpaceKind::Dense { dim, metric } => (dim, metric),
            SpaceKind::Sparse { dim } => (dim as usize, Metric::InnerProduct),
            SpaceKind::Text { .. } => (0, Metric::InnerProduct),
        };
        Self { name: name.to_owned(), kind, dim, metric }
    }

    /// Does it hold dense vectors?
    pub fn is_dense(&self) -> bool {
        matches!(self.kind, SpaceKind::Dense { .. })
    }
}

/// The spaces of a collection, in the order of their making.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Schema {
    pub spaces: Vec<Space>,
}

impl Schema {
    pub(crate) fn with(&self, name: &str, kind: SpaceKind) -> Result<Self> {
        check_name("space", name)?;
        match kind {
            SpaceKind::Dense { dim, .. } if dim == 0 || dim > MAX_DIM => {
                let what = format!("space {name}: dimension {dim}; 1 to {MAX_DIM}");
                return Err(Error::invalid(what));
            }
            SpaceKind::Sparse { dim: 0 } => {
                let what = format!("space {name}: 0 terms; 1 to {}", u32::MAX);
                return Err(Error::invalid(what));
            }
            _ => {}
        }
        if self.spaces.len() >= MAX_SPACES {
            return Err(Error::invalid(format!("a collection has at most {MAX_SPACES} spaces")));
        }
        let mut next = self.clone();
        next.spaces.push(Space::new(name, kind));
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
            let names = match space.kind {
                SpaceKind::Dense { .. } => ["vector", "norm"],
                SpaceKind::Sparse { .. } => ["ids", "weights"],
                SpaceKind::Text { .. } => ["text", "text.2"],
            };
            let layouts = match space.kind {
                SpaceKind::Dense { dim, .. } => {
                    [CellLayout::Fixed((dim * 4) as u32), CellLayout::Fixed(4)]
                }
                _ => [CellLayout::Var; 2],
            };
            columns.extend(names.iter().zip(layouts).map(|(name, layout)| {
                let name = format!("{name}:{}", space.name);
                Column { name, layout }
            }));
        }
        columns
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u32(self.spaces.len() as u32);
        for space in &self.spaces {
            bytes.put_bytes(space.name.as_bytes());
            match space.kind {
                SpaceKind::Dense { dim, metric } => {
                    bytes.put_u8(DENSE);
                    bytes.put_u32(dim as u32);
                    bytes.put_bytes(metric.name().as_bytes());
                }
                SpaceKind::Sparse { dim } => {
                    bytes.put_u8(SPARSE);
                    bytes.put_u32(dim);
                }
                SpaceKind::Text { stem } => {
                    bytes.put_u8(TEXT);
                    bytes.put_bytes(stem.map_or("", Language::name).as_bytes());
                }
            }
        }
        bytes
    }

    pub(crate) fn decode(collection: &str, bytes: &[u8]) -> Result<Self> {
        let read = || -> std::result::Result<Self, WireError> {
            let mut reader = Reader::new(bytes);
            let mut spaces = Vec::new();
            for _ in 0..reader.u32("a space count")? {
                let name = reader.str("a space name")?.to_owned();
                let kind = read_kind(&mut reader)?;
                spaces.push(Space::new(&name, kind));
            }
            Ok(Self { spaces })
        };
        read().map_err(|error| {
            let what = format!("the schema of collection {collection}: {error}");
            StoreError::new(StoreErrorKind::Corrupt, what).into()
        })
    }
}

fn read_kind(reader: &mut Reader<'_>) -> std::result::Result<SpaceKind, WireError> {
    let offset = reader.offset();
    match reader.u8("a space kind")? {
        DENSE => {
            let dim = reader.u32("a dimension")? as usize;
            let offset = reader.offset();
            let metric = Metric::from_name(reader.str("a metric")?)
                .ok_or(WireError { offset, expected: "a known metric" })?;
            Ok(SpaceKind::Dense { dim, metric })
        }
        SPARSE => Ok(SpaceKind::Sparse { dim: reader.u32("a number of terms")? }),
        TEXT => {
            let offset = reader.offset();
            let stem = match reader.str("a language")? {
                "" => None,
                name => Some(
                    Language::from_name(name)
                        .ok_or(WireError { offset, expected: "a known language" })?,
                ),
            };
            Ok(SpaceKind::Text { stem })
        }
        _ => Err(WireError { offset, expected: "a known kind of space" }),
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
