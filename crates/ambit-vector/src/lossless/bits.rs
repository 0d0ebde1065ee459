//! How do two streams of bits share one run of bytes? From both ends, without a length.
//!
//! The front stream fills bytes from the first one on, lowest bit first. The back stream is the
//! mirror image: it starts at the highest bit of the last byte. They meet in the middle and may
//! share a byte, so two streams, decoded side by side, cost no more than one. A decoder copies
//! the run into one buffer and its mirror image into another; from there on both are plain
//! streams, lowest bit first ([`BitReader`]).

/// Zero bytes behind a stream, so that a reader may load a whole word at its end.
pub(super) const PADDING: usize = 16;

/// Writes bits, lowest first, into bytes that grow as needed.
#[derive(Debug, Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    word: u64,
    held: u32,
}

impl BitWriter {
    /// Forgets everything, keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.word = 0;
        self.held = 0;
    }

    /// Appends the low `len` bits of `bits`; `len` is at most 32 and the other bits are zero.
    #[inline(always)]
    pub(super) fn push(&mut self, bits: u32, len: u32) {
        self.word |= u64::from(bits) << self.held;
        self.held += len;
        if self.held >= 32 {
            self.bytes.extend_from_slice(&(self.word as u32).to_le_bytes());
            self.word >>= 32;
            self.held -= 32;
        }
    }

    /// Bits so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() * 8 + self.held as usize
    }

    /// Completes the last byte with zeros and gives the bytes.
    pub(super) fn finish(&mut self) -> &[u8] {
        let rest = self.held.div_ceil(8) as usize;
        self.bytes.extend_from_slice(&self.word.to_le_bytes()[..rest]);
        (self.word, self.held) = (0, 0);
        &self.bytes
    }
}

/// Bytes that hold `front` and `back` bits.
pub(super) fn joined_len(front: &BitWriter, back: &BitWriter) -> usize {
    (front.len() + back.len()).div_ceil(8)
}

/// Writes the front stream and the mirrored back stream into `out`, [`joined_len`] bytes.
pub(super) fn join(front: &mut BitWriter, back: &mut BitWriter, out: &mut [u8]) {
    out.fill(0);
    for (out, byte) in out.iter_mut().zip(front.finish()) {
        *out |= byte;
    }
    for (out, byte) in out.iter_mut().rev().zip(back.finish()) {
        *out |= byte.reverse_bits();
    }
}

/// Copies `joined` into `front` and its mirror image into `back`, both padded with zeros.
///
/// Both buffers must have room for `joined` rounded up to words, and the padding.
#[inline(always)]
pub(super) fn part(joined: &[u8], front: &mut [u8], back: &mut [u8]) {
    front[..joined.len()].copy_from_slice(joined);
    front[joined.len()..][..PADDING].fill(0);
    let (rest, words) = joined.as_rchunks::<8>();
    let (images, _) = back.as_chunks_mut::<8>();
    for (image, word) in images.iter_mut().zip(words.iter().rev()) {
        *image = u64::from_le_bytes(*word).reverse_bits().to_le_bytes();
    }
    let at = words.len() * 8;
    for (image, byte) in back[at..].iter_mut().zip(rest.iter().rev()) {
        *image = byte.reverse_bits();
    }
    back[joined.len()..][..PADDING].fill(0);
}

/// Bits that [`BitReader::word`] gives at least.
pub(super) const WORD_BITS: u32 = 57;

/// A place in a stream of bits, lowest first. Past the end of its buffer the stream is zeros; the
/// caller compares [`BitReader::consumed`] with what was there.
#[derive(Debug, Clone, Copy)]
pub(super) struct BitReader<'a> {
    buffer: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    /// The next [`WORD_BITS`] bits, or a few more; zeros above.
    #[inline(always)]
    pub(super) fn word(&self) -> u64 {
        let next = self.buffer.get(self.at >> 3..).and_then(|rest| rest.first_chunk::<8>());
        next.map_or(0, |bytes| u64::from_le_bytes(*bytes)) >> (self.at & 7)
    }

    /// Goes on by `len` bits.
    #[inline(always)]
    pub(super) fn consume(&mut self, len: u32) {
        self.at += len as usize;
    }

    /// Bits consumed so far.
    pub(super) fn consumed(&self) -> usize {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn two_streams_come_back_from_one_run_of_bytes(
            front in prop::collection::vec((0u32..1 << 15, 1u32..16), 0..200),
            back in prop::collection::vec((0u32..1 << 15, 1u32..16), 0..200),
        ) {
            let (mut a, mut b) = (BitWriter::default(), BitWriter::default());
            for (writer, items) in [(&mut a, &front), (&mut b, &back)] {
                for &(bits, len) in items {
                    writer.push(bits & ((1 << len) - 1), len);
                }
            }
            let bits = a.len() + b.len();
            let mut joined = vec![0xAA; joined_len(&a, &b)];
            prop_assert_eq!(joined.len(), bits.div_ceil(8));
            join(&mut a, &mut b, &mut joined);
            let room = joined.len().next_multiple_of(8) + PADDING;
            let (mut x, mut y) = (vec![0xFF; room], vec![0xFF; room]);
            part(&joined, &mut x, &mut y);
            for (buffer, items) in [(&x, &front), (&y, &back)] {
                let mut reader = BitReader::new(buffer);
                let mut sum = 0;
                for &(bits, len) in items {
                    let mask = (1 << len) - 1;
                    prop_assert_eq!(reader.word() as u32 & mask, bits & mask);
                    reader.consume(len);
                    sum += len as usize;
                }
                prop_assert_eq!(reader.consumed(), sum);
            }
        }
    }
}
