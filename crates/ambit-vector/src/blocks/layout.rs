//! Where in a block is the code of a row?
//!
//! Nibbles: group g of a block takes 16 bytes; row r is the low nibble of byte r for r < 16, the
//! high nibble of byte r - 16 for the others.
//!
//! Fields of W bits: a chunk is 4 x 8 / W numbers of each row, 4 bytes of it, and 128 bytes of the
//! block; number n of the chunk is bits [n / 4 x W, n / 4 x W + W) of byte n % 4. What is left of
//! the last chunk is 0.

/// Rows of a block.
pub(crate) const ROWS: usize = 32;

/// The width of numbers in a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    One,
    Two,
    Four,
    Eight,
}

impl Field {
    /// Bits of a number.
    pub(crate) const fn bits(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
            Self::Eight => 8,
        }
    }

    /// Numbers of a row in a chunk.
    pub(crate) const fn chunk(self) -> usize {
        32 / self.bits()
    }
}

/// Bytes of a block of `groups` nibbles a row.
pub(crate) const fn tables_len(groups: usize) -> usize {
    groups * ROWS / 2
}

/// Bytes of a block of `dim` numbers of one width.
pub(crate) const fn fields_len(field: Field, dim: usize) -> usize {
    dim.div_ceil(field.chunk()) * 4 * ROWS
}

/// The nibble of `row` in group `group`.
pub(crate) fn nibble(block: &[u8], group: usize, row: usize) -> u8 {
    let byte = block[group * (ROWS / 2) + row % (ROWS / 2)];
    if row < ROWS / 2 { byte & 0xF } else { byte >> 4 }
}

/// Writes the nibble of `row` in group `group`.
#[inline]
pub(crate) fn put_nibble(block: &mut [u8], group: usize, row: usize, nibble: u8) {
    let byte = &mut block[group * (ROWS / 2) + row % (ROWS / 2)];
    *byte = if row < ROWS / 2 { *byte & 0xF0 | nibble } else { *byte & 0xF | nibble << 4 };
}

/// Writes the numbers of `row`, each below 2^bits, over whatever is there.
pub(crate) fn put_field(field: Field, block: &mut [u8], row: usize, numbers: &[u8]) {
    let bits = field.bits();
    let (whole, rest) = numbers.as_chunks::<4>();
    let per_chunk = field.chunk() / 4;
    for (chunk, fours) in whole.chunks(per_chunk).enumerate() {
        let packed = fours
            .iter()
            .enumerate()
            .fold(0u32, |packed, (i, four)| packed | u32::from_le_bytes(*four) << (i * bits));
        block[(chunk * ROWS + row) * 4..][..4].copy_from_slice(&packed.to_le_bytes());
    }
    if !rest.is_empty() {
        let mut four = [0; 4];
        four[..rest.len()].copy_from_slice(rest);
        let (chunk, i) = (whole.len() / per_chunk, whole.len() % per_chunk);
        let place = &mut block[(chunk * ROWS + row) * 4..][..4];
        for (place, number) in place.iter_mut().zip(four) {
            let before = if i == 0 { 0 } else { *place };
            *place = before | number << (i * bits);
        }
    }
}

/// Reads the numbers of `row`.
pub(crate) fn get_field(field: Field, block: &[u8], row: usize, numbers: &mut [u8]) {
    let (bits, chunk) = (field.bits(), field.chunk());
    let mask = (0xFFu32 >> (8 - bits)) as u8;
    for (n, number) in numbers.iter_mut().enumerate() {
        let byte = block[(n / chunk * ROWS + row) * 4 + n % 4];
        *number = byte >> (n % chunk / 4 * bits) & mask;
    }
}
