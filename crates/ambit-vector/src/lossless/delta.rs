//! What changed? A row as the difference to the one that it replaces.
//!
//! The difference is the exclusive or of the bits (as in T. Pelkonen and others, Gorilla: a fast,
//! scalable, in-memory time series database, 2015). A flag says whether all values are listed or
//! only those that changed, of which a bitmap follows. Of the listed differences, each of the four
//! bytes is a plane, lowest first: all zero (0), as it is (1), or a bitmap and the bytes that are
//! not zero (2). So one changed value costs a bitmap, and a small change of all values drops
//! the high bytes that it leaves alone.

use super::error::{LosslessError, corrupt};
use super::model::take;

const ZERO: u8 = 0;
const WHOLE: u8 = 1;
const SPARSE: u8 = 2;

/// Appends the difference of `row` to `previous`, of the same length.
pub(super) fn encode(row: &[f32], previous: &[f32], out: &mut Vec<u8>) {
    let differences = || row.iter().zip(previous).map(|(a, b)| a.to_bits() ^ b.to_bits());
    let changed = differences().filter(|bits| *bits != 0).count();
    // Four planes shrink by a byte for each value left out, at most; the bitmap costs n / 8.
    let listed: Vec<u32> = if 2 * changed < row.len() {
        out.push(1);
        bitmap(differences().map(|bits| bits != 0), out);
        differences().filter(|bits| *bits != 0).collect()
    } else {
        out.push(0);
        differences().collect()
    };
    for shift in [0, 8, 16, 24] {
        let plane = || listed.iter().map(|bits| (bits >> shift) as u8);
        let set = plane().filter(|byte| *byte != 0).count();
        if set == 0 {
            out.push(ZERO);
        } else if set + listed.len().div_ceil(8) >= listed.len() {
            out.push(WHOLE);
            out.extend(plane());
        } else {
            out.push(SPARSE);
            bitmap(plane().map(|byte| byte != 0), out);
            out.extend(plane().filter(|byte| *byte != 0));
        }
    }
}

fn bitmap(set: impl Iterator<Item = bool>, out: &mut Vec<u8>) {
    for (at, set) in set.enumerate() {
        if at % 8 == 0 {
            out.push(0);
        }
        if let Some(byte) = out.last_mut() {
            *byte |= u8::from(set) << (at % 8);
        }
    }
}

/// Whether bit `at` is set in a bitmap.
fn is_set(bitmap: &[u8], at: usize) -> bool {
    bitmap.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

fn count_set(bitmap: &[u8], len: usize) -> usize {
    (0..len).filter(|at| is_set(bitmap, *at)).count()
}

/// Decodes a difference to `previous` into `row`.
///
/// # Errors
/// Damaged bytes, or a `previous` of another length.
pub(super) fn decode(
    mut bytes: &[u8],
    previous: &[f32],
    row: &mut [f32],
) -> Result<(), LosslessError> {
    if previous.len() != row.len() {
        return Err(LosslessError::Shape { expected: row.len(), found: previous.len() });
    }
    let flag = take(&mut bytes, 1)?;
    let changed = match flag {
        [0] => None,
        [1] => Some(take(&mut bytes, row.len().div_ceil(8))?),
        _ => return Err(corrupt("difference")),
    };
    let listed = changed.map_or(row.len(), |changed| count_set(changed, row.len()));
    row.copy_from_slice(previous);
    for shift in [0u32, 8, 16, 24] {
        let kind = take(&mut bytes, 1)?;
        let (set, values) = match kind {
            [ZERO] => continue,
            [WHOLE] => (None, take(&mut bytes, listed)?),
            [SPARSE] => {
                let set = take(&mut bytes, listed.div_ceil(8))?;
                (Some(set), take(&mut bytes, count_set(set, listed))?)
            }
            _ => return Err(corrupt("plane of a difference")),
        };
        let mut values = values.iter();
        let is_changed = |at: usize| changed.is_none_or(|changed| is_set(changed, at));
        let places = row.iter_mut().enumerate().filter(|(at, _)| is_changed(*at));
        for (rank, (_, value)) in places.enumerate() {
            if set.is_none_or(|set| is_set(set, rank)) {
                let byte = values.next().copied().unwrap_or(0);
                *value = f32::from_bits(value.to_bits() ^ u32::from(byte) << shift);
            }
        }
    }
    if bytes.is_empty() { Ok(()) } else { Err(corrupt("end of a difference")) }
}
