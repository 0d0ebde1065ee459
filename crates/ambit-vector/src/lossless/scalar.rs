//! Which scalar was a vector multiplied with? Found again from the products.
//!
//! A service that divides bfloat16 or float16 values by their norm leaves float32 values that look
//! like noise. But the largest one came from one of 2^(b-1) significands of b bits; each choice
//! fixes the scalar, and the right one makes every other value, divided by it, a float of b bits
//! but for its rounding. Some values are probed for being within 2^-21 of one; what passes is
//! checked on all values. The rounding intervals [(|v| - ulp/2) / y, (|v| + ulp/2) / y] of all
//! values are intersected, and the scalar is a short binary fraction inside. Where they have no
//! point in common (a value was changed, or rounded twice), the point that most intervals contain
//! is taken. Nothing is taken on trust: a value that the scalar does not give back bit for bit is
//! sent in another way.

/// Values that are probed.
const PROBES: usize = 8;
/// Vectors that are too short for a scalar to pay.
pub(super) const SHORTEST: usize = 8;

/// Where a scalar may lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
}

/// Values of a row that carry information on a scalar, each with its place in the search.
#[derive(Debug)]
struct Probes {
    largest: f64,
    /// |v| / largest.
    ratios: [f64; PROBES],
    number: usize,
}

impl Probes {
    fn of(row: &[f32]) -> Option<Self> {
        if row.len() < SHORTEST {
            return None;
        }
        let largest =
            row.iter().filter(|v| v.is_finite()).fold(0.0f32, |most, v| most.max(v.abs()));
        if !largest.is_normal() {
            return None;
        }
        let (mut ratios, mut number) = ([0.0; PROBES], 0);
        // Small values say as much as large ones, but for dead dimensions, which are skipped.
        let least = largest * 1e-6;
        let step = (row.len() / (4 * PROBES)).max(1);
        for start in 0..step {
            for value in row.iter().skip(start).step_by(step) {
                let size = value.abs();
                if number < PROBES && value.is_finite() && size < largest && size > least {
                    ratios[number] = f64::from(size) / f64::from(largest);
                    number += 1;
                }
            }
        }
        (number >= PROBES / 2).then_some(Self { largest: f64::from(largest), ratios, number })
    }

    fn ratios(&self) -> &[f64] {
        &self.ratios[..self.number]
    }
}

/// Whether `x` > 0 is within 2^-21 of a float with `kept` bits behind the leading one.
#[inline(always)]
fn near_float(x: f64, kept: u32) -> bool {
    let below = (1u64 << (52 - kept)) - 1;
    (x.to_bits() + (1 << 31)) & below < 1 << 32
}

/// `x` rounded to `kept` bits behind the leading one, half away from zero.
#[inline(always)]
pub(super) fn round_float(x: f64, kept: u32) -> f64 {
    let below = (1u64 << (52 - kept)) - 1;
    f64::from_bits((x.to_bits() + (below >> 1) + 1) & !below)
}

/// A scalar such that the values are floats of `kept` bits times it, if there is one: roughly.
///
/// # Cost
/// 2^kept multiplications and tests for the first probe, 1/1,000 of that for the others.
pub(super) fn of_floats(row: &[f32], kept: u32) -> Option<f64> {
    let probes = Probes::of(row)?;
    let (first, others) = probes.ratios().split_first()?;
    let (from, to) = (1u32 << kept, 2u32 << kept);
    let mut block = from;
    while block < to {
        // Blocks, so that the test of the first probe needs no branch for each candidate.
        let end = (block + 64).min(to);
        let mut any = false;
        for significand in block..end {
            any |= near_float(first * f64::from(significand), kept);
        }
        if any {
            for significand in block..end {
                let y = f64::from(significand);
                let passes = |ratio: &f64| near_float(ratio * y, kept);
                if passes(first) && others.iter().all(passes) {
                    return Some(probes.largest / y);
                }
            }
        }
        block = end;
    }
    None
}

/// A scalar such that the values are integers times it, the largest one up to `most`: roughly.
pub(super) fn of_integers(row: &[f32], most: u32) -> Option<f64> {
    let probes = Probes::of(row)?;
    let passes = |q: u32| {
        let near = |ratio: &f64| {
            let x = ratio * f64::from(q);
            (x - x.round()).abs() <= x * 2.0f64.powi(-21)
        };
        probes.ratios().iter().all(near).then(|| probes.largest / f64::from(q))
    };
    (1..=most.min(255))
        .find_map(passes)
        .or_else(|| [32_767, 32_768].into_iter().filter(|q| *q <= most).find_map(passes))
}

/// Where the scalar near `rough` lies, for values that are `nearest(v / scalar)` times it.
///
/// `nearest` gives the number that a quotient came from, above 0; values that are 0 or not
/// finite say nothing. The interval may be one point of many that fit only some values.
pub(super) fn refine(row: &[f32], rough: f64, nearest: impl Fn(f64) -> f64) -> Option<Interval> {
    let inverse = 1.0 / rough;
    let mut common = Interval { low: 0.0, high: f64::INFINITY };
    for value in row {
        let interval = around(*value, inverse, &nearest);
        common.low = common.low.max(interval.low);
        common.high = common.high.min(interval.high);
    }
    if common.low <= common.high && common.high.is_finite() {
        return Some(common);
    }
    most_common(row, inverse, &nearest)
}

/// The scalars that give `value` back; everything if it says nothing.
#[inline(always)]
fn around(value: f32, inverse: f64, nearest: &impl Fn(f64) -> f64) -> Interval {
    let size = f64::from(value.abs());
    let half = half_ulp(value);
    let y = nearest(size * inverse);
    if size > 0.0 && size.is_finite() && y > 0.0 {
        Interval { low: (size - half) / y, high: (size + half) / y }
    } else {
        Interval { low: 0.0, high: f64::INFINITY }
    }
}

/// Half the distance to the next float above |value|.
#[inline(always)]
fn half_ulp(value: f32) -> f64 {
    let exponent = (value.to_bits() >> 23 & 255).max(1);
    f64::from_bits(u64::from(exponent + 1023 - 127 - 24) << 52)
}

/// The part that most intervals contain.
fn most_common(row: &[f32], inverse: f64, nearest: &impl Fn(f64) -> f64) -> Option<Interval> {
    let mut ends: Vec<(f64, i32)> = Vec::with_capacity(2 * row.len());
    for value in row {
        let interval = around(*value, inverse, nearest);
        if interval.high.is_finite() {
            ends.extend([(interval.low, -1), (interval.high, 1)]);
        }
    }
    // Where one begins as another ends, they have a point in common: beginnings first.
    ends.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let (mut open, mut most, mut best) = (0, 0, None);
    for pair in ends.windows(2) {
        open -= pair[0].1;
        if open > most {
            most = open;
            best = Some(Interval { low: pair[0].0, high: pair[1].0 });
        }
    }
    best
}

/// The scalar of an interval as it is sent: (1 + fraction / 2^(8 bytes)) 2^exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) exponent: i8,
    pub(super) fraction: u64,
}

impl Scale {
    /// The middle of the interval, or any point of it, as near as `bytes` bytes come.
    pub(super) fn within(interval: Interval, bytes: u32) -> Option<Self> {
        let (units, one) = (52 - 8 * bytes, 1023u64 << 52);
        let middle = (interval.low + interval.high) / 2.0;
        let exponent = (middle.to_bits() >> 52) as i64 - 1023;
        let exponent = i8::try_from(exponent).ok().filter(|_| middle.is_normal())?;
        let rounded = |x: f64, up: u64| (x.to_bits() + up) >> units << units;
        let inside = |bits: u64| (interval.low..=interval.high).contains(&f64::from_bits(bits));
        let nearest = rounded(middle, 1 << (units - 1));
        let above = rounded(interval.low, (1 << units) - 1);
        let bits = if inside(nearest) || !inside(above) { nearest } else { above };
        let fraction = bits.checked_sub((exponent as i64 as u64).wrapping_add(1023) << 52)?;
        (fraction < one).then_some(())?;
        // Rounding up may have reached the next power of two.
        match fraction >> 52 {
            0 => Some(Self { exponent, fraction: fraction >> units }),
            _ => Some(Self { exponent: exponent.checked_add(1)?, fraction: 0 }),
        }
    }

    /// Bytes of the shortest scalar inside the interval, 3 to 6.
    pub(super) fn bytes_for(interval: Interval) -> u32 {
        let inside = |bytes: &u32| {
            Self::within(interval, *bytes)
                .is_some_and(|scale| (interval.low..=interval.high).contains(&scale.value(*bytes)))
        };
        (3..6).find(inside).unwrap_or(6)
    }

    /// The scalar.
    pub(super) fn value(self, bytes: u32) -> f64 {
        let exponent = (i64::from(self.exponent) + 1023) as u64;
        f64::from_bits(exponent << 52 | self.fraction << (52 - 8 * bytes))
    }
}
