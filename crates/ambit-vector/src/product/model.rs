//! What does a product quantizer know? Codebooks, perhaps a rotation; and its sizes.

use super::matrix::Matrix;
use super::options::{Bits, ProductOptions, Turn};
use crate::Metric;
use crate::blocks::ROWS;
use crate::quantizer::{CodeError, Reader, Writer, check_dim};
use crate::wide::LANES;

/// A product quantizer, first format.
const MAGIC: [u8; 4] = *b"APQ1";

/// A learned rotation.
#[derive(Debug, Clone)]
pub(super) struct Learned {
    /// R, dim x dim: rows are multiplied by it.
    pub(super) forward: Matrix,
    /// R transposed.
    pub(super) back: Matrix,
    /// At least the spectral norm of (R^T R - 1).
    pub(super) off: f64,
}

/// A product quantizer of 4 or 8 bits a part.
#[derive(Debug, Clone)]
pub struct Product {
    pub(super) options: ProductOptions,
    /// For each part, panels of sixteen centroids x the numbers of the part.
    pub(super) books: Vec<[f32; LANES]>,
    /// -|c|^2 / 2 of each centroid, part after part.
    pub(super) starts: Vec<[f32; LANES]>,
    pub(super) learned: Option<Learned>,
    /// At least the norm of what any code stands for.
    pub(super) longest: f64,
}

/// Where part `part` of `parts` starts in a row of `dim` numbers.
pub(super) const fn part_start(dim: usize, parts: usize, part: usize) -> usize {
    let (short, longer) = (dim / parts, dim % parts);
    part * short + if part < longer { part } else { longer }
}

impl Product {
    /// A quantizer of these codebooks, packed.
    pub(super) fn of(
        options: ProductOptions,
        books: Vec<[f32; LANES]>,
        learned: Option<Learned>,
    ) -> Self {
        let panels = options.bits.centroids() / LANES;
        let mut product = Self { options, books, starts: Vec::new(), learned, longest: 0.0 };
        let mut starts = Vec::with_capacity(options.parts * panels);
        let mut longest = 0.0;
        for part in 0..options.parts {
            let mut most = 0.0f64;
            for panel in product.book(part).chunks_exact(product.part_len(part)) {
                let mut squares = [0.0f64; LANES];
                for register in panel {
                    for (square, x) in squares.iter_mut().zip(register) {
                        *square += f64::from(*x) * f64::from(*x);
                    }
                }
                most = squares.into_iter().fold(most, f64::max);
                starts.push(squares.map(|square| (-square / 2.0) as f32));
            }
            longest += most;
        }
        product.starts = starts;
        product.longest = longest.sqrt() * (1.0 + 1e-12);
        product
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.options.dim
    }

    /// What was asked for.
    pub fn options(&self) -> &ProductOptions {
        &self.options
    }

    pub(super) fn start(&self, part: usize) -> usize {
        part_start(self.options.dim, self.options.parts, part)
    }

    /// Numbers of a part.
    pub(super) fn part_len(&self, part: usize) -> usize {
        self.start(part + 1) - self.start(part)
    }

    /// The panels of a part.
    pub(super) fn book(&self, part: usize) -> &[[f32; LANES]] {
        let panels = self.options.bits.centroids() / LANES;
        &self.books[panels * self.start(part)..panels * self.start(part + 1)]
    }

    /// Bytes of the codes of a block, without what stands beside them.
    pub(super) fn parts_len(&self) -> usize {
        match self.options.bits {
            Bits::Four => self.options.parts * ROWS / 2,
            Bits::Eight => self.options.parts * ROWS,
        }
    }

    /// Bytes of a block of thirty-two rows.
    pub fn block_len(&self) -> usize {
        let norms = if self.options.metric == Metric::Cosine { 4 } else { 0 };
        self.parts_len() + (2 + norms) * ROWS
    }

    /// Bytes of a row of a full block, of which two are its bound.
    pub fn code_len(&self) -> f64 {
        self.block_len() as f64 / ROWS as f64
    }

    /// Bytes of the codes of `rows` rows: whole blocks.
    pub fn codes_len(&self, rows: usize) -> usize {
        rows.div_ceil(ROWS).saturating_mul(self.block_len())
    }

    /// Bytes of the codes of `rows` rows and of the quantizer itself.
    pub fn footprint(&self, rows: usize) -> usize {
        self.codes_len(rows).saturating_add(Self::held_bytes(&self.options))
    }

    /// Bytes that a quantizer of these options holds.
    pub const fn held_bytes(options: &ProductOptions) -> usize {
        let centroids = options.bits.centroids();
        let turn = match options.turn {
            Turn::Learned => 2 * Matrix::bytes(options.dim, options.dim),
            _ => 0,
        };
        size_of::<Self>() + 4 * centroids * (options.dim + options.parts) + turn
    }

    /// Bytes of the written model.
    pub fn model_len(&self) -> usize {
        let dim = self.options.dim;
        let turn = if self.learned.is_some() { 8 + 4 * dim * dim } else { 0 };
        Writer::len(4 + 1 + 1 + 1 + 4 * self.options.bits.centroids() * dim + turn)
    }

    /// The model as bytes, with a checksum.
    pub fn write(&self) -> Vec<u8> {
        let options = &self.options;
        let metric = Metric::ALL.iter().position(|metric| *metric == options.metric).unwrap_or(0);
        let mut writer = Writer::new(MAGIC, options.dim);
        for byte in (options.parts as u32).to_le_bytes() {
            writer = writer.byte(byte);
        }
        writer = writer.byte(u8::from(options.bits == Bits::Eight)).byte(metric as u8);
        writer = writer.byte(u8::from(self.learned.is_some()));
        writer = writer.floats(self.books.as_flattened());
        if let Some(learned) = &self.learned {
            for byte in learned.off.to_le_bytes() {
                writer = writer.byte(byte);
            }
            let mut row = vec![0.0; options.dim];
            for output in 0..options.dim {
                for (input, x) in row.iter_mut().enumerate() {
                    *x = learned.forward.at(output, input);
                }
                writer = writer.floats(&row);
            }
        }
        writer.finish()
    }

    /// The most that reading a model of these options holds, the quantizer included, in bytes: its
    /// numbers once more while they are packed.
    pub const fn reading_bytes(options: &ProductOptions) -> usize {
        2 * Self::held_bytes(options) + 4096
    }

    /// Reads what [`Product::write`] wrote. Steps and seed of the training are not kept.
    ///
    /// # Errors
    /// Bytes that are no such model: damaged, cut short, or of another format.
    pub fn read(bytes: &[u8]) -> Result<Self, CodeError> {
        let corrupt = |part| CodeError::Corrupt { part };
        let mut reader = Reader::new(MAGIC, bytes)?;
        let dim = reader.dim();
        let mut parts = [0; 4];
        for byte in &mut parts {
            *byte = reader.byte()?;
        }
        let parts = u32::from_le_bytes(parts) as usize;
        let bits = match reader.byte()? {
            0 => Bits::Four,
            1 => Bits::Eight,
            _ => return Err(corrupt("bits")),
        };
        let metric = Metric::ALL.get(usize::from(reader.byte()?)).copied();
        let mut options = ProductOptions::new(dim, parts, bits, metric.ok_or(corrupt("metric"))?);
        options.turn = match reader.byte()? {
            0 => Turn::None,
            1 => Turn::Learned,
            _ => return Err(corrupt("turn")),
        };
        check_options(&options).map_err(|_| corrupt("parts"))?;
        let books = reader.floats(bits.centroids() * dim)?;
        let learned = match options.turn {
            Turn::None => None,
            Turn::Learned => {
                let mut off = [0; 8];
                for byte in &mut off {
                    *byte = reader.byte()?;
                }
                let matrix = reader.floats(dim * dim)?;
                Some(Learned {
                    forward: Matrix::pack(dim, dim, |output, input| matrix[output * dim + input]),
                    back: Matrix::pack(dim, dim, |output, input| matrix[input * dim + output]),
                    off: Some(f64::from_le_bytes(off))
                        .filter(|off| (0.0..1.0).contains(off))
                        .ok_or(corrupt("rotation"))?,
                })
            }
        };
        reader.finish()?;
        Ok(Self::of(options, books.as_chunks::<LANES>().0.to_vec(), learned))
    }
}

/// Whether rows can be cut like that.
pub(super) fn check_options(options: &ProductOptions) -> Result<(), CodeError> {
    check_dim(options.dim)?;
    if options.parts == 0 || options.parts > options.dim {
        let (expected, found) = (options.dim, options.parts);
        return Err(CodeError::Shape { what: "parts, 1 to the dimension", expected, found });
    }
    Ok(())
}
