//! A query made ready for the planes of one model.

use super::bound::{
    ENLARGE, HALF_SQUARE, REACH, ROUNDING, SUBNORMAL, UNDERFLOW, rounded_down, rounded_up,
};
use super::layout::{Layout, STRETCH};
use super::model::{Model, PlaneError};
use crate::{Metric, kernels};

/// A query in the basis of a [`Model`], as integers, with the numbers of its bounds.
///
/// Holds about 3 bytes a dimension ([`Query::footprint`]).
#[derive(Debug, Clone)]
pub struct Query {
    pub(super) layout: Layout,
    metric: Metric,
    /// The square of its norm in f64, for the cut of euclidean distance.
    norm_sq: f64,
    pub(super) coarse: CoarseQuery,
    pub(super) fine: FineQuery,
}

/// What the coarse plane is scanned with. Names as in [`super::bound`].
#[derive(Debug, Clone, Default)]
pub(super) struct CoarseQuery {
    /// z of the head, four to a word, first in its low byte.
    pub(super) head: Vec<i32>,
    /// z of the middle.
    pub(super) middle: Vec<i32>,
    /// t of each.
    pub(super) units: [f32; 2],
    /// What the sum of 2 v z must be lowered by, since codes v stand for 2 v - 15 and 2 v - 3.
    pub(super) offsets: [i32; 2],
    /// |p_g| of head, middle and tail.
    pub(super) norms: [f32; 3],
    /// k, taken as often as the norm of a row; as such under cosine.
    pub(super) k: f32,
    /// How often the square of the norm is taken.
    pub(super) square: f32,
}

/// What rows of the fine plane are scored with.
#[derive(Debug, Clone, Default)]
pub(super) struct FineQuery {
    /// z = 256 high + low, in the order of the fine plane: for each 64 bytes of codes (the last
    /// ones filled up with zeros) those of the low halves, then those of the high halves.
    pub(super) high: Vec<i8>,
    pub(super) low: Vec<i8>,
    pub(super) unit: f32,
    /// -15 times the sum of z.
    pub(super) offset: f32,
    /// |p|, taken as often as a row's error.
    pub(super) norm: f32,
    /// Taken as often as a row's scale.
    pub(super) k: f32,
}

impl Query {
    /// Turns `vector` (dim f32, finite, under cosine not zero) into the basis of `model`.
    ///
    /// # Errors
    /// `Length` where it has another dimension.
    ///
    /// # Cost
    /// dim^2 multiply-adds over the basis: about 15 us for 384 dimensions.
    pub fn new(model: &Model, vector: &[f32]) -> Result<Self, PlaneError> {
        let layout = model.layout;
        if vector.len() != layout.dim {
            return Err(PlaneError::Length("elements of the query", layout.dim, vector.len()));
        }
        let norm_sq = kernels().norm_sq_f64(vector);
        let scale = match model.metric {
            Metric::Cosine => 1.0 / norm_sq.sqrt(),
            _ => 1.0,
        };
        let scaled: Vec<f32> =
            vector.iter().map(|&value| (f64::from(value) * scale) as f32).collect();
        let mut turned = vec![0.0; layout.components()];
        kernels().dot_rows(&scaled, &model.basis, &mut turned);
        let (middle, tail) = (layout.head, layout.head + layout.middle);
        let coarse = CoarseQuery::new(&layout, model.metric, &turned, middle..tail);
        let fine = FineQuery::new(&turned[..layout.dim]);
        Ok(Self { layout, metric: model.metric, norm_sq, coarse, fine })
    }

    /// Bytes that a query holds.
    pub fn footprint(&self) -> usize {
        let words = self.coarse.head.capacity() + self.coarse.middle.capacity();
        let bytes = self.fine.high.capacity() + self.fine.low.capacity();
        size_of::<Self>() + 4 * words + bytes
    }

    /// The cut that a score proves, for the upper ends of [`super::Coarse::scan`] and
    /// [`super::Fine::refine`]: a row whose upper
    /// end is below it has a worse score. `score`: of a row of this data, in f64: inner product, cosine,
    /// or euclidean distance. A NaN proves nothing.
    pub fn cut(&self, score: f64) -> f32 {
        rounded_down(
            match self.metric {
                Metric::Euclidean => {
                    let farthest = score * score * (1.0 + 1e-11);
                    (self.norm_sq * (1.0 - 1e-11) - farthest) / 2.0
                }
                _ => score,
            } - SUBNORMAL,
        )
    }

    /// What the upper end of a row is raised by to be one of all rows within `radius` of it, as they are
    /// coded ([`super::groups`]). Infinite under euclidean.
    pub fn reach(&self, radius: f32) -> f32 {
        let norm = match self.metric {
            Metric::Euclidean => return f32::INFINITY,
            Metric::Cosine => ENLARGE,
            Metric::InnerProduct => self.norm_sq.sqrt() * ENLARGE,
        };
        rounded_up(norm * f64::from(radius) * REACH + UNDERFLOW)
    }

    /// The score that no row below this cut can be better than; the inverse of [`Query::cut`],
    /// but for rounding away from the rows.
    pub fn score_of(&self, cut: f32) -> f64 {
        match self.metric {
            Metric::Euclidean => {
                (self.norm_sq - 2.0 * (f64::from(cut) + SUBNORMAL)).max(0.0).sqrt()
            }
            _ => f64::from(cut) + SUBNORMAL,
        }
    }
}

impl CoarseQuery {
    fn new(
        layout: &Layout,
        metric: Metric,
        turned: &[f32],
        middle: std::ops::Range<usize>,
    ) -> Self {
        let (head_words, head_unit, head_off) = eight_bits(&turned[..middle.start]);
        let (middle_words, middle_unit, middle_off) = eight_bits(&turned[middle.clone()]);
        let tail = middle.end.min(layout.dim)..layout.dim;
        let norms = [0..middle.start, middle.clone(), tail].map(|range| norm(&turned[range]));
        let all: f64 = norms.iter().sum();
        let off = head_off + middle_off;
        let k = off * (1.0 + 1.0 / 128.0) * ENLARGE + ROUNDING * all + UNDERFLOW;
        Self {
            offsets: [-15 * sum(&head_words), -3 * sum(&middle_words)],
            head: head_words,
            middle: middle_words,
            units: [head_unit, middle_unit],
            norms: norms.map(|norm| rounded_up(norm * ENLARGE)),
            k: rounded_up(k),
            square: if metric == Metric::Euclidean { HALF_SQUARE as f32 } else { 0.0 },
        }
    }
}

impl FineQuery {
    fn new(turned: &[f32]) -> Self {
        let largest = largest(turned);
        let unit = largest / 32_512.0;
        let mut query = Self { unit, ..Self::default() };
        let (mut sum, mut off) = (0i64, 0.0);
        for stretch in turned.chunks(STRETCH) {
            let half = stretch.len().div_ceil(2);
            for part in [&stretch[..half], &stretch[half..]] {
                for at in 0..STRETCH / 2 {
                    let value = part.get(at).copied().unwrap_or(0.0);
                    let z = if unit > 0.0 { (value / unit).round() as i32 } else { 0 };
                    let z = z.clamp(-32_512, 32_512);
                    // -128..=127 in the low byte, so that both are signed.
                    let high = (z + 128) >> 8;
                    query.high.push(high as i8);
                    query.low.push((z - (high << 8)) as i8);
                    sum += i64::from(z);
                    let rest = f64::from(value) - f64::from(unit) * f64::from(z);
                    off += rest * rest;
                }
            }
        }
        let norm = norm(turned);
        let all = 15.0 * (turned.len() as f64).sqrt();
        query.offset = (-15 * sum) as f32;
        query.norm = rounded_up(norm * ENLARGE);
        query.k = rounded_up((off.sqrt() + ROUNDING * norm + UNDERFLOW) * all * ENLARGE);
        query
    }
}

/// Values as multiples of a unit, -127 to 127, four to a word; the unit; the norm of what is
/// left.
fn eight_bits(values: &[f32]) -> (Vec<i32>, f32, f64) {
    let unit = largest(values) / 127.0;
    let mut off = 0.0;
    let words = values.chunks(4).map(|four| {
        let mut bytes = [0u8; 4];
        for (byte, &value) in bytes.iter_mut().zip(four) {
            let z = if unit > 0.0 { (value / unit).round().clamp(-127.0, 127.0) } else { 0.0 };
            let rest = f64::from(value) - f64::from(unit) * f64::from(z);
            off += rest * rest;
            *byte = (z as i8).cast_unsigned();
        }
        i32::from_le_bytes(bytes)
    });
    (words.collect(), unit, off.sqrt())
}

fn sum(words: &[i32]) -> i32 {
    words.iter().flat_map(|word| word.to_le_bytes()).map(|byte| i32::from(byte.cast_signed())).sum()
}

/// The largest magnitude; 0 where nothing finite can be said, so that all codes are 0 and the norms
/// open the bounds.
fn largest(values: &[f32]) -> f32 {
    let largest = values.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    if values.iter().all(|value| value.is_finite()) { largest } else { 0.0 }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt()
}
