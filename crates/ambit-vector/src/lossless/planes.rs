//! Where do the bits go that no model can shorten? Into planes that a loop can unpack.
//!
//! `n` fields of `w` bits (0 to 32): the low whole bytes are planes of `n` bytes, one plane per
//! byte. The r = w mod 8 high bits lie across: with L = ceil(n / 8), field k L + j is bits
//! k r .. k r + r of column j, and byte q of column j is byte q L + j of this part. So for each k
//! the fields are contiguous and have one shift, and a compiler turns the loop into vector
//! instructions on every processor. Bits of fields that do not exist are zero.

/// Bytes of `n` fields of `width` bits.
pub(super) const fn packed_len(n: usize, width: u32) -> usize {
    let (whole, rest) = (width as usize / 8, width as usize % 8);
    n * whole + n.div_ceil(8) * rest
}

/// Packs fields (their bits above `width` are zero) into `out`, [`packed_len`] bytes.
pub(super) fn pack(fields: &[u32], width: u32, out: &mut [u8]) {
    let n = fields.len();
    let (whole, rest) = (width / 8, width % 8);
    let (planes, across) = out.split_at_mut(n * whole as usize);
    for (plane, shift) in planes.chunks_exact_mut(n.max(1)).zip((0..).step_by(8)) {
        for (byte, field) in plane.iter_mut().zip(fields) {
            *byte = (field >> shift) as u8;
        }
    }
    across.fill(0);
    let columns = n.div_ceil(8);
    for (k, fields) in fields.chunks(columns.max(1)).enumerate() {
        let first = k as u32 * rest;
        let (byte, shift) = ((first / 8) as usize * columns, first % 8);
        for (j, field) in fields.iter().enumerate() {
            let high = u64::from(*field) >> (8 * whole);
            let bits = (high as u32) << shift;
            if rest > 0 {
                across[byte + j] |= bits as u8;
            }
            if shift + rest > 8 {
                across[byte + columns + j] |= (bits >> 8) as u8;
            }
        }
    }
}

/// Unpacks `fields.len()` fields of `width` bits from `packed`, [`packed_len`] bytes, as the bits
/// of f32.
#[inline(always)]
pub(super) fn unpack(packed: &[u8], width: u32, fields: &mut [f32]) {
    match width / 8 {
        0 => unpack_whole::<0>(packed, width % 8, fields),
        1 => unpack_whole::<1>(packed, width % 8, fields),
        2 => unpack_whole::<2>(packed, width % 8, fields),
        3 => unpack_whole::<3>(packed, width % 8, fields),
        _ => unpack_whole::<4>(packed, width % 8, fields),
    }
}

#[inline(always)]
fn unpack_whole<const WHOLE: usize>(packed: &[u8], rest: u32, fields: &mut [f32]) {
    let n = fields.len();
    let columns = n.div_ceil(8);
    let (planes, across) = packed.split_at(n * WHOLE);
    let mask = (1u32 << rest) - 1;
    let mut start = 0;
    for (k, fields) in fields.chunks_mut(columns.max(1)).enumerate() {
        let first = k as u32 * rest;
        let (byte, shift) = ((first / 8) as usize * columns, first % 8);
        // Where a field does not reach into the next byte, that byte is masked away.
        let next = if shift + rest > 8 { byte + columns } else { byte };
        let low: [&[u8]; WHOLE] =
            std::array::from_fn(|plane| &planes[plane * n + start..][..fields.len()]);
        if rest == 0 {
            for (j, field) in fields.iter_mut().enumerate() {
                *field = f32::from_bits(whole_bytes(&low, j));
            }
        } else {
            let (head, tail) = (&across[byte..][..fields.len()], &across[next..][..fields.len()]);
            for (j, field) in fields.iter_mut().enumerate() {
                let high = (u32::from(head[j]) | u32::from(tail[j]) << 8) >> shift & mask;
                let high = high.checked_shl(8 * WHOLE as u32).unwrap_or(0);
                *field = f32::from_bits(whole_bytes(&low, j) | high);
            }
        }
        start += fields.len();
    }
}

#[inline(always)]
fn whole_bytes<const WHOLE: usize>(planes: &[&[u8]; WHOLE], at: usize) -> u32 {
    let mut bits = 0;
    for (plane, bytes) in planes.iter().enumerate() {
        bits |= u32::from(bytes[at]) << (8 * plane);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_width_and_number_come_back() {
        let mut state = 7u32;
        for width in 0..=32 {
            for n in (0..50).chain([383, 384, 385]) {
                let fields: Vec<u32> = std::iter::repeat_with(|| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.checked_shr(32 - width).unwrap_or(0)
                })
                .take(n)
                .collect();
                let mut packed = vec![0xAA; packed_len(n, width)];
                pack(&fields, width, &mut packed);
                let mut back = vec![0.0; n];
                unpack(&packed, width, &mut back);
                assert!(back.iter().zip(&fields).all(|(a, b)| a.to_bits() == *b), "{width} {n}");
            }
        }
    }
}
