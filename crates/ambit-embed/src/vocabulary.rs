//! Which row belongs to a word piece? Answered without allocation, from a hash that grows with the
//! word.
//!
//! The pieces stay where `vocab.txt` has them; beside them lie one offset per piece and an
//! open-addressed table of 32-bit slots, each a piece's number and as many bits of its hash as are
//! left over. The hash takes one byte at a time, so that the hashes of all prefixes of a word come
//! from one pass. Cost at load: one pass over the file, about 1 ms for 29,186 pieces.
//!
//! A piece that begins inside a word is written with `##` in front and is hashed without it, from a
//! seed of its own.

use ambit_mem::{Bytes, Reservation};

use crate::EmbedError;
use crate::asset::{Blob, VOCABULARY};

/// The most bytes of a piece; a longer line is refused.
pub(crate) const MAX_PIECE: usize = 128;

const CONTINUATION: &[u8] = b"##";
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
const FINISH: u64 = 0xD6E8_FEB8_6659_FD93;

/// Slots looked at before a vocabulary is refused: only a file made to collide needs as many.
const MAX_PROBES: usize = 512;

/// Where in a word a piece stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At its beginning.
    First,
    /// After another piece.
    Later,
}

/// The hash of the bytes so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PieceHash(u64);

impl PieceHash {
    pub(crate) const fn new(place: Place) -> Self {
        match place {
            Place::First => Self(0x243F_6A88_85A3_08D3),
            Place::Later => Self(0x1319_8A2E_0370_7344),
        }
    }

    #[inline]
    #[must_use]
    pub(crate) const fn then(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(STEP))
    }

    const fn finish(self) -> u64 {
        (self.0 ^ (self.0 >> 32)).wrapping_mul(FINISH)
    }
}

/// All word pieces and where their rows are.
#[derive(Debug)]
pub(crate) struct Vocabulary {
    text: Blob,
    /// Where each piece begins; one more entry than pieces. A newline ends each.
    starts: Vec<u32>,
    /// 0 for empty, otherwise hash bits above `number_bits` and, below, the piece's number + 1.
    slots: Vec<u32>,
    slot_shift: u32,
    number_bits: u32,
    longest: usize,
}

impl Vocabulary {
    /// Reads `vocab.txt`, which must hold `pieces` lines; what it keeps besides the file is added to
    /// `reservation`.
    pub(crate) fn parse(
        text: Blob,
        pieces: usize,
        reservation: &mut Reservation,
    ) -> Result<Self, EmbedError> {
        let slots = (2 * pieces).next_power_of_two().max(2);
        let mut vocabulary = Self {
            text,
            starts: Vec::new(),
            slots: Vec::new(),
            slot_shift: u64::BITS - slots.trailing_zeros(),
            number_bits: usize::BITS - pieces.leading_zeros(),
            longest: 0,
        };
        reservation.grow(Bytes::of((pieces + 1 + slots) * size_of::<u32>()))?;
        vocabulary.starts.reserve_exact(pieces + 1);
        vocabulary.slots = vec![0; slots];
        vocabulary.find_lines(pieces)?;
        for number in 0..pieces {
            vocabulary.insert(number)?;
        }
        Ok(vocabulary)
    }

    /// The most bytes of any piece.
    pub(crate) fn longest(&self) -> usize {
        self.longest
    }

    /// The number of the piece whose bytes are `piece`, hashed to `hash` from `place`'s seed.
    #[inline]
    pub(crate) fn get(&self, piece: &[u8], place: Place, hash: PieceHash) -> Option<u32> {
        let hash = hash.finish();
        let (mut at, mark) = (self.slot(hash), self.mark(hash));
        for _ in 0..MAX_PROBES {
            let slot = *self.slots.get(at)?;
            if slot == 0 {
                return None;
            }
            let number = (slot & self.number_mask()) - 1;
            if slot & !self.number_mask() == mark {
                let (stored, stored_place) = self.piece(number as usize);
                if stored == piece && stored_place == place {
                    return Some(number);
                }
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    fn insert(&mut self, number: usize) -> Result<(), EmbedError> {
        let (piece, place) = self.piece(number);
        if piece.is_empty() || piece.len() > MAX_PIECE {
            let len = piece.len();
            let what = format!("line {}: {len} bytes, expected 1 to {MAX_PIECE}", number + 1);
            return Err(EmbedError::malformed(VOCABULARY, what));
        }
        let hash = piece.iter().fold(PieceHash::new(place), |hash, &byte| hash.then(byte));
        let (mut at, mark) = (self.slot(hash.finish()), self.mark(hash.finish()));
        for _ in 0..MAX_PROBES {
            let slot = self.slots[at];
            if slot == 0 {
                self.longest = self.longest.max(piece.len());
                self.slots[at] = mark | (number as u32 + 1);
                return Ok(());
            }
            let other = (slot & self.number_mask()) as usize - 1;
            if slot & !self.number_mask() == mark && self.piece(other) == (piece, place) {
                let what = format!("lines {} and {} are equal", other + 1, number + 1);
                return Err(EmbedError::malformed(VOCABULARY, what));
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        let what = format!("line {}: its hash collides with {MAX_PROBES} others", number + 1);
        Err(EmbedError::malformed(VOCABULARY, what))
    }

    fn find_lines(&mut self, pieces: usize) -> Result<(), EmbedError> {
        let text = &self.text;
        if let Err(error) = std::str::from_utf8(text) {
            return Err(EmbedError::malformed(VOCABULARY, error.to_string()));
        }
        let lines = text.iter().filter(|&&byte| byte == b'\n').count();
        let ends = u32::try_from(text.len()).is_ok() && text.ends_with(b"\n");
        if lines != pieces || !ends {
            let what = format!("{lines} lines ended by a newline, expected {pieces}");
            return Err(EmbedError::malformed(VOCABULARY, what));
        }
        self.starts.push(0);
        let newlines = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        self.starts.extend(newlines.map(|(at, _)| at as u32 + 1));
        Ok(())
    }

    /// The bytes of a piece without its prefix, and where it stands.
    fn piece(&self, number: usize) -> (&[u8], Place) {
        let (from, to) = (self.starts[number] as usize, self.starts[number + 1] as usize - 1);
        let line = &self.text[from..to];
        match line.strip_prefix(CONTINUATION) {
            // The line `##` itself is two number signs.
            Some(piece) if !piece.is_empty() => (piece, Place::Later),
            _ => (line, Place::First),
        }
    }

    fn slot(&self, hash: u64) -> usize {
        (hash >> self.slot_shift) as usize
    }

    /// Bits of the hash that the slot's place does not already tell.
    fn mark(&self, hash: u64) -> u32 {
        hash as u32 & !self.number_mask()
    }

    fn number_mask(&self) -> u32 {
        (1 << self.number_bits) - 1
    }
}
