//! What does a quantizer know? Dimension, bits, metric, seed and centroid; and its sizes.

use super::factors::factors_len;
use crate::Metric;
use crate::blocks::{Field, ROWS, fields_len, tables_len};
use crate::quantizer::{CodeError, Reader, Writer, check_dim};
use crate::rotation::{self, Rotation};

/// RaBitQ, first format.
const MAGIC: [u8; 4] = *b"ARQ1";

/// How to code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RabitqOptions {
    /// Bits a dimension, 1 to 8.
    pub bits: u32,
    /// What scores mean; all but the inner product take four more bytes a row.
    pub metric: Metric,
    /// What the rotation is drawn with.
    pub seed: u64,
}

/// A plane of the bits of each number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plane {
    pub(super) field: Field,
    /// Bits below it.
    pub(super) shift: u32,
}

/// The planes of 2 to 8 bits, the highest bits first.
pub(super) fn planes(bits: u32) -> &'static [Plane] {
    const fn plane(field: Field, shift: u32) -> Plane {
        Plane { field, shift }
    }
    const PLANES: [&[Plane]; 7] = [
        &[plane(Field::Two, 0)],
        &[plane(Field::Two, 1), plane(Field::One, 0)],
        &[plane(Field::Four, 0)],
        &[plane(Field::Four, 1), plane(Field::One, 0)],
        &[plane(Field::Four, 2), plane(Field::Two, 0)],
        &[plane(Field::Four, 3), plane(Field::Two, 1), plane(Field::One, 0)],
        &[plane(Field::Eight, 0)],
    ];
    PLANES[(bits.clamp(2, 8) - 2) as usize]
}

/// A quantizer of 1 to 8 bits a dimension.
#[derive(Debug, Clone)]
pub struct Rabitq {
    pub(super) dim: usize,
    pub(super) bits: u32,
    pub(super) metric: Metric,
    pub(super) rotation: Rotation,
    /// dim; what is taken off a row before it is coded.
    pub(super) centroid: Vec<f32>,
}

impl Rabitq {
    /// A quantizer of rows of `dim` numbers around the origin; nothing is trained.
    ///
    /// # Errors
    /// A dimension that is 0 or too large, bits outside 1 to 8.
    pub fn new(options: RabitqOptions, dim: usize) -> Result<Self, CodeError> {
        Self::around(options, vec![0.0; dim])
    }

    /// A quantizer around a centroid of dim numbers, such as that of an inverted list.
    ///
    /// # Errors
    /// A dimension that is 0 or too large, bits outside 1 to 8, a centroid that is not finite.
    pub fn around(options: RabitqOptions, centroid: Vec<f32>) -> Result<Self, CodeError> {
        let dim = centroid.len();
        check_dim(dim)?;
        if !(1..=8).contains(&options.bits) {
            let found = options.bits as usize;
            return Err(CodeError::Shape { what: "bits a dimension", expected: 8, found });
        }
        if centroid.iter().any(|x| !x.is_finite()) {
            return Err(CodeError::NotFinite);
        }
        let rotation =
            Rotation::new(dim, options.seed).map_err(|_| CodeError::Dimension { dim })?;
        Ok(Self { dim, bits: options.bits, metric: options.metric, rotation, centroid })
    }

    /// A quantizer around the mean of a sample.
    ///
    /// `rows`: n x `dim`, row-major f32, at least one, finite.
    ///
    /// # Errors
    /// As [`Rabitq::around`]; a sample of another shape, or that is not finite.
    ///
    /// # Cost
    /// Holds [`Rabitq::training_bytes`]; one pass over the sample.
    pub fn train(options: RabitqOptions, dim: usize, rows: &[f32]) -> Result<Self, CodeError> {
        check_dim(dim)?;
        let count = rows.len() / dim;
        if count * dim != rows.len() {
            let expected = (count + 1) * dim;
            return Err(CodeError::Shape { what: "sample", expected, found: rows.len() });
        }
        if count == 0 {
            return Err(CodeError::NoSample);
        }
        let mut sums = vec![0.0f64; dim];
        for row in rows.chunks_exact(dim) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += f64::from(*x);
            }
        }
        Self::around(options, sums.iter().map(|sum| (sum / count as f64) as f32).collect())
    }

    /// The most that training holds beside the sample, the quantizer included, in bytes.
    pub fn training_bytes(dim: usize) -> usize {
        8 * dim + Self::held_bytes(dim)
    }

    /// Bytes that a quantizer of `dim` numbers holds.
    pub fn held_bytes(dim: usize) -> usize {
        size_of::<Self>() + 4 * dim + Rotation::footprint_of(dim)
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Bits a dimension.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// What scores mean.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Bytes of the planes of a block.
    pub(super) fn planes_len(&self) -> usize {
        if self.bits == 1 {
            return tables_len(self.dim.div_ceil(4));
        }
        planes(self.bits).iter().map(|plane| fields_len(plane.field, self.dim)).sum()
    }

    /// Bytes of a block of thirty-two rows.
    pub fn block_len(&self) -> usize {
        self.planes_len() + factors_len(self.metric != Metric::InnerProduct)
    }

    /// Bytes of a row of a full block.
    pub fn code_len(&self) -> f64 {
        self.block_len() as f64 / ROWS as f64
    }

    /// Bytes of the codes of `rows` rows: whole blocks.
    pub fn codes_len(&self, rows: usize) -> usize {
        rows.div_ceil(ROWS).saturating_mul(self.block_len())
    }

    /// Bytes of the codes of `rows` rows and of the quantizer itself.
    pub fn footprint(&self, rows: usize) -> usize {
        self.codes_len(rows).saturating_add(Self::held_bytes(self.dim))
    }

    /// By how much an estimate deviates from the score, in the mean over rotations, for a row of
    /// this error bound and a query of norm `query_norm`: that of the inner product.
    ///
    /// Estimates are about normally distributed; the paper bounds the tails.
    pub fn deviation(&self, query_norm: f32, error_bound: f32) -> f32 {
        query_norm * error_bound / ((self.dim.max(2) - 1) as f32).sqrt()
    }

    /// The largest |levels| of a code.
    pub(super) fn longest(&self) -> f64 {
        (self.dim as f64).sqrt() * f64::from(super::grid::largest(self.bits))
    }

    /// How wrong a computed rotation is, relative to the norm.
    pub(super) fn rotation_error(&self) -> f64 {
        rotation::error(self.dim)
    }

    /// Bytes of the written model.
    pub fn model_len(&self) -> usize {
        Writer::len(1 + 1 + 8 + 4 * self.dim)
    }

    /// The model as bytes, with a checksum.
    pub fn write(&self) -> Vec<u8> {
        let metric = Metric::ALL.iter().position(|metric| *metric == self.metric).unwrap_or(0);
        let mut writer = Writer::new(MAGIC, self.dim).byte(self.bits as u8).byte(metric as u8);
        for byte in self.rotation.seed().to_le_bytes() {
            writer = writer.byte(byte);
        }
        writer.floats(&self.centroid).finish()
    }

    /// Reads what [`Rabitq::write`] wrote.
    ///
    /// # Errors
    /// Bytes that are no such model: damaged, cut short, or of another format.
    pub fn read(bytes: &[u8]) -> Result<Self, CodeError> {
        let mut reader = Reader::new(MAGIC, bytes)?;
        let bits = u32::from(reader.byte()?);
        let metric = Metric::ALL.get(usize::from(reader.byte()?)).copied();
        let metric = metric.ok_or(CodeError::Corrupt { part: "metric" })?;
        let mut seed = [0; 8];
        for byte in &mut seed {
            *byte = reader.byte()?;
        }
        let centroid = reader.floats(reader.dim())?;
        reader.finish()?;
        let options = RabitqOptions { bits, metric, seed: u64::from_le_bytes(seed) };
        Self::around(options, centroid).map_err(|_| CodeError::Corrupt { part: "bits" })
    }
}
