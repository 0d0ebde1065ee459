//! The basis of a collection's data, and what it costs to use it.

use std::fmt;

use super::bound::{self, MAX_SLACK};
use super::layout::{GRAIN, Layout, MAX_DIM};
use super::spectrum::{mixed, principal};
use crate::draws::Draws;
use crate::{Metric, kernels};

/// First bytes of a stored model.
const MAGIC: [u8; 8] = *b"AMBPLAN1";

/// Bytes before the basis: magic, dim, head, middle, metric, slack.
const HEADER: usize = 8 + 4 * 4 + 8;

/// What keeps a model from being made or read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PlaneError {
    /// The dimension is 0 or above [`MAX_DIM`].
    Dimension(usize),
    /// A length that does not fit: what it is of, expected, found.
    Length(&'static str, usize, usize),
    /// The basis is too far from orthonormal, by this.
    NotOrthonormal(f64),
    /// Stored bytes are not what was written.
    Corrupt(&'static str),
}

impl fmt::Display for PlaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dimension(dim) => {
                write!(f, "vectors of {dim} dimensions have no code planes; 1 to {MAX_DIM} have")
            }
            Self::Length(what, expected, found) => {
                write!(f, "{what}: expected {expected} values, found {found}")
            }
            Self::NotOrthonormal(slack) => {
                write!(f, "the basis is off by {slack:e}, more than {MAX_SLACK:e}; train it again")
            }
            Self::Corrupt(what) => {
                write!(f, "a stored code model is damaged: {what}; build it again")
            }
        }
    }
}

impl std::error::Error for PlaneError {}

/// The basis in which rows are coded, for one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(super) metric: Metric,
    pub(super) layout: Layout,
    /// components x dim, row-major; rows from `dim` on are zero.
    pub(super) basis: Vec<f32>,
    /// sigma of [`bound`].
    pub(super) slack: f64,
}

impl Model {
    /// Finds the principal components of `sample` (n x dim, row-major f32) and divides the bits
    /// among them. Deterministic for a seed on one processor. Rows with an element that is not finite are left
    /// out; any sample gives a model that is right, a good one gives one that is fast. A few
    /// thousand rows drawn evenly do.
    ///
    /// # Errors
    /// `Dimension`; `Length` where `sample` is not whole rows; `NotOrthonormal`.
    ///
    /// # Cost
    /// n dim^2 multiply-adds in f32 and about 15 dim^3 in f64: 0.3 s for 4,096 x 384.
    /// [`Model::training_bytes`] of memory beside the sample.
    pub fn train(
        sample: &[f32],
        dim: usize,
        metric: Metric,
        seed: u64,
    ) -> Result<Self, PlaneError> {
        if dim == 0 || dim > MAX_DIM {
            return Err(PlaneError::Dimension(dim));
        }
        if !sample.len().is_multiple_of(dim) {
            let whole = sample.len() / dim * dim;
            return Err(PlaneError::Length("elements of the sample", whole, sample.len()));
        }
        let rows = usable(sample, dim, metric);
        let (spectrum, vectors) = principal(&rows, dim);
        drop(rows);
        let layout = Layout::choose(&spectrum, metric);
        let mut draws = Draws::new(seed);
        let mut basis = vec![0.0; layout.components() * dim];
        let mut at = 0;
        for end in [layout.head, layout.head + layout.middle, dim] {
            let end = end.min(dim).max(at);
            let group = mixed(vectors.columns(at, end - at).into_owned(), &mut draws);
            for (component, column) in (at..end).zip(group.column_iter()) {
                for (to, from) in basis[component * dim..].iter_mut().zip(column.iter()) {
                    *to = *from as f32;
                }
            }
            at = end;
        }
        Self::measured(metric, layout, basis)
    }

    /// The model of a basis that is measured.
    fn measured(metric: Metric, layout: Layout, basis: Vec<f32>) -> Result<Self, PlaneError> {
        let dim = layout.dim;
        let eta = departure(&basis[..dim * dim], dim);
        let slack = bound::basis_slack(eta, dim, layout.components());
        if slack.is_nan() || slack > MAX_SLACK {
            return Err(PlaneError::NotOrthonormal(slack));
        }
        Ok(Self { metric, layout, basis, slack })
    }

    /// Memory that training takes beside a sample of `rows` rows, in bytes.
    pub fn training_bytes(rows: usize, dim: usize) -> usize {
        // Two copies of the sample; products; moments, vectors and two temporaries in f64; basis.
        8 * rows * dim + 4 * dim * dim + 4 * 8 * dim * dim + 4 * (dim + GRAIN) * dim
    }

    /// What nearest means.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Sizes of the planes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Bytes that the model holds.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + self.basis.len() * 4
    }

    /// Bytes of the stored model of this dimension, at most.
    pub fn max_encoded_len(dim: usize) -> usize {
        HEADER + 4 * (dim + GRAIN) * dim + 4
    }

    /// The model as bytes: header, basis, CRC-32C.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 4 * self.basis.len() + 4);
        bytes.extend(MAGIC);
        for number in [self.layout.dim, self.layout.head, self.layout.middle] {
            bytes.extend((number as u32).to_le_bytes());
        }
        bytes.extend(metric_number(self.metric).to_le_bytes());
        bytes.extend(self.slack.to_le_bytes());
        for value in &self.basis {
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The model of these bytes.
    ///
    /// # Errors
    /// `Corrupt`, `Dimension`, `NotOrthonormal`. Whatever the bytes are, nothing beyond their
    /// length is allocated. That the basis is as close to orthonormal as the bytes say is
    /// believed, as everything under a checksum is.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlaneError> {
        let Some((content, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(PlaneError::Corrupt("it is too short"));
        };
        if content.len() < HEADER || content[..8] != MAGIC {
            return Err(PlaneError::Corrupt("it does not begin as a model"));
        }
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(PlaneError::Corrupt("its checksum is wrong"));
        }
        let number = |index: usize| {
            let at = 8 + 4 * index;
            let mut four = [0; 4];
            four.copy_from_slice(&content[at..at + 4]);
            u32::from_le_bytes(four)
        };
        let [dim, head, middle] = [0, 1, 2].map(|index| number(index) as usize);
        let metric = metric_of(number(3)).ok_or(PlaneError::Corrupt("its metric is unknown"))?;
        if dim == 0 || dim > MAX_DIM {
            return Err(PlaneError::Dimension(dim));
        }
        let whole = dim.next_multiple_of(GRAIN);
        let grained = head.is_multiple_of(GRAIN) && middle.is_multiple_of(GRAIN);
        if !grained || head > whole || middle > whole - head {
            return Err(PlaneError::Corrupt("its groups do not fit its dimension"));
        }
        let layout = Layout { dim, head, middle, has_norms: metric != Metric::Cosine };
        let basis = &content[HEADER..];
        if basis.len() != 4 * dim * layout.components() {
            return Err(PlaneError::Corrupt("its basis has another size"));
        }
        let mut eight = [0; 8];
        eight.copy_from_slice(&content[HEADER - 8..HEADER]);
        let slack = f64::from_le_bytes(eight);
        if !(0.0..=MAX_SLACK).contains(&slack) {
            return Err(PlaneError::NotOrthonormal(slack));
        }
        let float = |four: &[u8]| f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let basis = basis.chunks_exact(4).map(float).collect();
        Ok(Self { metric, layout, basis, slack })
    }
}

/// The rows that can be learned from; under cosine, at length 1.
fn usable(sample: &[f32], dim: usize, metric: Metric) -> Vec<f32> {
    let mut rows = Vec::with_capacity(sample.len());
    let largest = bound::LARGEST_NORM / 1e3;
    for row in sample.chunks_exact(dim) {
        let norm = kernels().norm_sq_f64(row).sqrt();
        if !(f64::MIN_POSITIVE..largest).contains(&norm) {
            continue;
        }
        let scale = if metric == Metric::Cosine { 1.0 / norm } else { 1.0 };
        rows.extend(row.iter().map(|&value| (f64::from(value) * scale) as f32));
    }
    rows
}

/// |BB' - I| in the Frobenius norm, of a square basis.
fn departure(basis: &[f32], dim: usize) -> f64 {
    let kernels = kernels();
    let rows: Vec<&[f32]> = basis.chunks_exact(dim).collect();
    let mut sum = 0.0;
    for (i, a) in rows.iter().enumerate() {
        let own = kernels.dot_f64(a, a) - 1.0;
        sum += own * own;
        for b in &rows[..i] {
            let product = kernels.dot_f64(a, b);
            sum += 2.0 * product * product;
        }
    }
    sum.sqrt() * (1.0 + 1e-9) + 1e-12
}

fn metric_number(metric: Metric) -> u32 {
    match metric {
        Metric::Cosine => 0,
        Metric::InnerProduct => 1,
        Metric::Euclidean => 2,
    }
}

fn metric_of(number: u32) -> Option<Metric> {
    Metric::ALL.into_iter().find(|&metric| metric_number(metric) == number)
}
