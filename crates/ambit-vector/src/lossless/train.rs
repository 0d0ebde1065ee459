//! Which modes does a segment need? A sample is looked at from all sides.
//!
//! First the origin of each of some rows is found, by trying all of them; those that occur become
//! modes, and float32 is one in any case. Then the numbers of more rows are counted, each by the
//! first mode that fits, and for each mode the cut and the number of classes are chosen that make
//! sample and model together shortest. So few rows get a small model, and rows that nothing
//! shortens get none.

use std::collections::HashMap;

use super::Level;
use super::classes::cluster;
use super::form::{Form, MAX_LOW, RESIDUAL_SYMBOLS, Shape};
use super::model::{MAX_MODES, Mode};
use super::numbers::{ABSENT, Digits, Numbers, Origin, interval};
use super::prefix::{ESCAPE, PrefixCode};
use super::scalar::Scale;

/// Rows whose origin is searched for, from all over the segment.
const SEARCHED_ROWS: usize = 256;
/// Values that are counted, in whole rows.
pub(super) const COUNTED_VALUES: usize = 1 << 20;
/// Modes that are chosen besides float32.
const MOST_ORIGINS: usize = 6;
/// Values of a segment below which codes for classes cost more than they save.
const SHORTEST_WITH_CLASSES: f64 = 16_384.0;

/// Chooses the modes for `rows` (n x `dim`), in the order in which a row tries them.
pub(super) fn train(rows: &[f32], dim: usize, level: Level) -> Vec<Mode> {
    let origins = origins(rows, dim);
    let samples = sample(rows, dim, &origins);
    let total = rows.len() / dim;
    let counted: usize = samples.iter().map(|sample| sample.numbers.len() / dim).sum();
    let grown = total as f64 / counted.max(1) as f64;
    let mut modes: Vec<Mode> = samples
        .iter()
        .filter(|sample| !sample.numbers.is_empty())
        .filter_map(|sample| best_mode(sample, dim, level, grown))
        .collect();
    modes.truncate(MAX_MODES);
    modes
}

/// One row of each `step`, at a place that has no period of its own.
fn spread(rows: &[f32], dim: usize, step: usize) -> impl Iterator<Item = &[f32]> {
    rows.chunks(dim * step).zip(0u32..).filter_map(move |(rows, number)| {
        let place = (number.wrapping_mul(0x9E37_79B9) >> 8) as usize % step;
        let mut rows = rows.chunks_exact(dim);
        let last = rows.len().saturating_sub(1);
        rows.nth(place.min(last))
    })
}

/// The origins of the sampled rows in the order of what they take, float32 last.
fn origins(rows: &[f32], dim: usize) -> Vec<Origin> {
    let total = rows.len() / dim;
    let step = total.div_ceil(SEARCHED_ROWS).max(1);
    let mut found: HashMap<Origin, (usize, f64)> = HashMap::new();
    let mut numbers = Numbers::default();
    for row in spread(rows, dim, step) {
        let first = row.first().map_or(0, |value| value.to_bits());
        if row.iter().any(|value| value.to_bits() != first) {
            let (origin, bits) = origin(row, &mut numbers);
            let entry = found.entry(origin).or_insert((0, bits));
            entry.0 += 1;
        }
    }
    let mut found: Vec<(Origin, usize, f64)> =
        found.into_iter().map(|(origin, (rows, bits))| (origin, rows, bits)).collect();
    merge_scales(&mut found);
    merge_floats(&mut found);
    found.sort_by(|a, b| b.1.cmp(&a.1).then(a.2.total_cmp(&b.2)));
    found.truncate(MOST_ORIGINS);
    let float = Origin { form: Form::Float { kept: 23 }, digits: None, scale_bytes: 0 };
    if found.iter().all(|(origin, _, _)| *origin != float) {
        found.push((float, 0, f64::INFINITY));
    }
    found.sort_by(|a, b| a.2.total_cmp(&b.2));
    found.into_iter().map(|(origin, _, _)| origin).collect()
}

/// Of origins that differ only in the bytes of their scalar, the one that nearly all rows can use.
fn merge_scales(found: &mut Vec<(Origin, usize, f64)>) {
    found.sort_by_key(|(origin, _, _)| origin.scale_bytes);
    let mut merged: Vec<(Origin, usize, f64)> = Vec::new();
    for (origin, rows, bits) in found.drain(..) {
        match merged
            .iter_mut()
            .find(|(other, _, _)| other.form == origin.form && other.digits == origin.digits)
        {
            // Where a scalar is a byte short, a value or two of a row are sent in full: five bytes
            // each. That pays where few rows need the byte.
            Some(other) => {
                if rows * 8 > other.1 {
                    other.0 = origin;
                }
                other.1 += rows;
            }
            None => merged.push((origin, rows, bits)),
        }
    }
    *found = merged;
}

/// Floats of at most 7, 10 and 22 bits: one origin each, of as many bits as occur.
fn merge_floats(found: &mut Vec<(Origin, usize, f64)>) {
    found.sort_by_key(|(origin, _, _)| std::cmp::Reverse(origin.form.kept()));
    let group = |origin: &Origin| match origin.form {
        Form::Float { kept } => [7, 10, 22, 23].iter().position(|most| kept <= *most),
        _ => None,
    };
    let mut merged: Vec<(Origin, usize, f64)> = Vec::new();
    for (origin, rows, bits) in found.drain(..) {
        let same = |other: &&mut (Origin, usize, f64)| {
            group(&origin).is_some() && group(&origin) == group(&other.0)
        };
        match merged.iter_mut().find(same) {
            Some(other) => other.1 += rows,
            None => merged.push((origin, rows, bits)),
        }
    }
    *found = merged;
}

/// The origin of a row that takes the fewest bits, and about how many a value.
fn origin(row: &[f32], numbers: &mut Numbers) -> (Origin, f64) {
    let set = row.iter().fold(0, |set, value| set | value.to_bits());
    let kept = 23 - (set & 0x7F_FFFF | 1 << 23).trailing_zeros() as u8;
    let plain = |kept: u8| Origin { form: Form::Float { kept }, digits: None, scale_bytes: 0 };
    let mut best = (plain(kept), 3.6 + f64::from(kept));
    if kept <= 10 {
        return best;
    }
    let mut consider = |origin: Origin, bits: f64| {
        if bits < best.1 && numbers.find(origin, row) {
            let n = row.len() as f64;
            let absent = numbers.absent as f64 / n;
            let bits = bits + 40.0 * absent + 8.0 * f64::from(origin.scale_bytes) / n;
            if absent <= 0.05 && bits < best.1 {
                best = (origin, bits);
            }
        }
    };
    for (kept, bits) in [(7, 10.6), (10, 13.6)] {
        consider(plain(kept), bits);
        for (form, bits) in [(Form::Scaled { kept }, bits), (Form::Residual { kept }, bits + 1.2)] {
            if let Some(origin) = scaled(form, row) {
                consider(origin, bits);
            }
        }
    }
    for (bits, cost) in [(8, 7.6), (9, 8.6), (16, 15.0)] {
        if let Some(origin) = scaled(Form::Integer { bits }, row) {
            consider(origin, cost);
        }
    }
    for (digits, low, bits) in decimals() {
        if bits < best.1
            && numbers.find(decimal(digits, low), row)
            && numbers.absent * 20 <= row.len()
        {
            best = (decimal(digits, low), bits);
            break;
        }
    }
    best
}

/// A form with a scalar, if the row has one.
fn scaled(form: Form, row: &[f32]) -> Option<Origin> {
    let interval = interval(form, row)?;
    Some(Origin { form, digits: None, scale_bytes: Scale::bytes_for(interval) as u8 })
}

fn decimal(digits: Digits, low: u8) -> Origin {
    Origin { form: Form::Decimal { low }, digits: Some(digits), scale_bytes: 0 }
}

/// Roundings to decimals, the coarsest first, with their low bits and about what they take.
fn decimals() -> impl Iterator<Item = (Digits, u8, f64)> {
    let low = |bits: f64| ((bits.ceil() - 7.0).max(0.0) as u8).min(MAX_LOW);
    (1..=7u8).flat_map(move |digits| {
        let bits = f64::from(digits) * std::f64::consts::LOG2_10;
        // Values below 1 with this many places; as integers they may be larger than that.
        [
            (Digits::Places(digits), low(bits + 2.0), bits + 0.5),
            (Digits::Significant(digits), low(bits), bits + 1.5),
        ]
    })
}

/// What a mode is trained on.
struct Sample {
    origin: Origin,
    /// Rows x dim; [`ABSENT`] among them.
    numbers: Vec<u64>,
    residuals: Vec<u16>,
}

/// Numbers of rows from all over the segment, each with the first origin that fits it.
fn sample(rows: &[f32], dim: usize, origins: &[Origin]) -> Vec<Sample> {
    let total = rows.len() / dim;
    let step = total.div_ceil((COUNTED_VALUES / dim).max(1)).max(1);
    let mut samples: Vec<Sample> = origins
        .iter()
        .map(|origin| Sample { origin: *origin, numbers: Vec::new(), residuals: Vec::new() })
        .collect();
    let mut numbers = Numbers::default();
    for row in spread(rows, dim, step) {
        let first = row.first().map_or(0, |value| value.to_bits());
        if row.iter().all(|value| value.to_bits() == first) {
            continue;
        }
        for sample in &mut samples {
            if numbers.find(sample.origin, row) && numbers.absent * 16 <= row.len() {
                sample.numbers.extend_from_slice(&numbers.numbers);
                sample.residuals.extend_from_slice(&numbers.residuals);
                break;
            }
        }
    }
    samples
}

/// The cut and the classes that make the sample and its share of the model shortest; None where
/// storing the rows is shorter.
fn best_mode(sample: &Sample, dim: usize, level: Level, grown: f64) -> Option<Mode> {
    let floats = sample.origin.form.kept();
    let values = sample.numbers.len() as f64 * grown;
    let with_classes = level == Level::Compact && values >= SHORTEST_WITH_CLASSES;
    let choices: &[(u8, usize)] = match (floats, with_classes) {
        (Some(_), false) => &[(0, 1), (1, 1), (2, 1)],
        (Some(_), true) => &[(0, 1), (1, 1), (2, 1), (2, 4), (2, 8), (1, 8)],
        (None, false) => &[(0, 1)],
        (None, true) => &[(0, 1), (0, 4), (0, 8)],
    };
    let mut best = (32.0 * values, None);
    for &(top, classes) in choices.iter().filter(|(top, _)| floats.is_none_or(|kept| *top <= kept))
    {
        // With classes, signs are worth a symbol.
        let signed = floats.is_some() && classes > 1;
        let shape = Shape { form: sample.origin.form, top, signed };
        let (mode, bits) = build(sample, shape, dim, classes);
        let mut model = Vec::new();
        mode.write(&mut model);
        let bits = bits * grown + 8.0 * model.len() as f64;
        if bits < best.0 {
            best = (bits, Some(mode));
        }
    }
    best.1
}

/// A mode with the best codes for the sample, and the bits that the sample takes with it.
fn build(sample: &Sample, shape: Shape, dim: usize, classes: usize) -> (Mode, f64) {
    let flips = if shape.signed { flips(&sample.numbers, dim) } else { Vec::new() };
    let mut mode =
        Mode { origin: sample.origin, shape, classes: Vec::new(), flips, codes: Vec::new() };
    let symbol = |(at, number): (usize, &u64)| match *number {
        ABSENT => ESCAPE,
        number => shape.cut(number as u32, mode.flip(at % dim)).0,
    };
    let mut symbols: Vec<u16> = sample.numbers.iter().enumerate().map(symbol).collect();
    let alphabet = symbols.iter().filter(|symbol| **symbol != ESCAPE).max();
    let alphabet = alphabet.map_or(1, |most| usize::from(*most) + 1);
    if classes > 1 {
        // An escape counts as the commonest neighbour would: hardly.
        let clamped: Vec<u16> =
            symbols.iter().map(|symbol| (*symbol).min(alphabet as u16 - 1)).collect();
        mode.classes = cluster(&clamped, dim, alphabet, classes);
    }
    let used = mode.classes.iter().max().map_or(1, |most| usize::from(*most) + 1);
    if used == 1 {
        mode.classes.clear();
    }
    let mut counts = vec![vec![0u32; alphabet]; used];
    let mut escapes = 0u32;
    for (at, symbol) in symbols.iter_mut().enumerate() {
        match counts[mode.class(at % dim)].get_mut(usize::from(*symbol)) {
            Some(count) => *count += 1,
            None => escapes += 1,
        }
    }
    mode.codes = counts.iter().map(|counts| PrefixCode::of_counts(counts)).collect();
    let mut bits = f64::from(escapes) * 47.0 + f64::from(shape.width()) * symbols.len() as f64;
    bits += counts.iter().zip(&mode.codes).map(|(counts, code)| spent(counts, code)).sum::<f64>();
    if mode.has_residuals() {
        let mut counts = vec![1u32; RESIDUAL_SYMBOLS];
        sample.residuals.iter().for_each(|symbol| counts[usize::from(*symbol)] += 64);
        mode.codes.push(PrefixCode::of_counts(&counts));
    }
    (mode, bits)
}

/// Bits that the counted symbols take.
fn spent(counts: &[u32], code: &PrefixCode) -> f64 {
    let bits = |length: &super::prefix::Length| {
        counts.get(usize::from(length.symbol)).map_or(0.0, |count| f64::from(*count))
            * f64::from(length.len)
    };
    code.lengths().iter().map(bits).sum()
}

/// The sign bit for each dimension whose values are mostly negative.
fn flips(numbers: &[u64], dim: usize) -> Vec<u32> {
    let mut balance = vec![0i64; dim];
    for row in numbers.chunks_exact(dim) {
        for (balance, number) in balance.iter_mut().zip(row) {
            *balance += 1 - 2 * (*number >> 31 & 1) as i64;
        }
    }
    balance.iter().map(|balance| u32::from(*balance < 0) << 31).collect()
}
