//! Numbers of few bits side by side.
//!
//! Number i of width w lies at bit i * w, least significant bit first; the last byte is filled
//! with zeros. Width 0 takes no bytes: all numbers are 0.

/// The bits that the largest of `values` needs.
pub(super) fn width_of(values: &[u32]) -> u8 {
    (u32::BITS - values.iter().fold(0, |all, value| all | value).leading_zeros()) as u8
}

/// The bytes of `count` numbers of `width` bits.
pub(super) fn packed_len(count: usize, width: u8) -> usize {
    (count * usize::from(width)).div_ceil(8)
}

/// Appends `values`, each below 2^`width`.
pub(super) fn pack(values: &[u32], width: u8, out: &mut Vec<u8>) {
    let (mut held, mut filled) = (0u64, 0u32);
    for &value in values {
        held |= u64::from(value) << filled;
        filled += u32::from(width);
        while filled >= 8 {
            out.push(held as u8);
            held >>= 8;
            filled -= 8;
        }
    }
    if filled > 0 {
        out.push(held as u8);
    }
}

/// Reads `out.len()` numbers of `width` <= 32 bits; what `bytes` lacks reads as zeros.
pub(super) fn unpack(bytes: &[u8], width: u8, out: &mut [u32]) {
    let width = usize::from(width.min(32));
    let mask = (1u64 << width) - 1;
    for (index, value) in out.iter_mut().enumerate() {
        let bit = index * width;
        // At most 7 bits are shifted out, so that 39 of the 64 are enough.
        *value = (word_at(bytes, bit / 8) >> (bit % 8) & mask) as u32;
    }
}

/// The eight bytes from `at` on; beyond the end, zeros.
fn word_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk::<8>() {
        return u64::from_le_bytes(*word);
    }
    rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte))
}

/// Appends a number in groups of seven bits, the lowest first.
pub(super) fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads a number and moves `bytes` past it; none where they end early or it has more than 64 bits.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f).checked_shl(7 * index as u32)?;
        if byte < 0x80 {
            *bytes = bytes.get(index + 1..).unwrap_or_default();
            return Some(value);
        }
    }
    None
}

/// The bytes of a number as [`put_varint`] writes it, at most.
pub(super) const MAX_VARINT: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_of_every_width_come_back(
            values in prop::collection::vec(any::<u32>(), 0..300),
            shift in 0u32..33,
        ) {
            let values: Vec<u32> =
                values.iter().map(|value| value.checked_shr(shift).unwrap_or(0)).collect();
            let width = width_of(&values);
            let mut bytes = Vec::new();
            pack(&values, width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_len(values.len(), width));
            let mut read = vec![1; values.len()];
            unpack(&bytes, width, &mut read);
            prop_assert_eq!(read, values);
        }

        #[test]
        fn varints_come_back_and_cut_ones_are_found(value: u64) {
            let mut bytes = Vec::new();
            put_varint(value, &mut bytes);
            prop_assert!(bytes.len() <= MAX_VARINT);
            let mut rest = &bytes[..];
            prop_assert_eq!(take_varint(&mut rest), Some(value));
            prop_assert!(rest.is_empty());
            prop_assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
        }
    }
}
