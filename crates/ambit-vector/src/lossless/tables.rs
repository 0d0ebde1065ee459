//! How does a decoder find the symbol? By looking the next bits up.
//!
//! One table of 2^10 entries for each code: the symbol and its length; the few longer codes go
//! the slow way, counting up canonical codes. Where a form has one code only, a second table of
//! 2^11 entries gives up to three symbols at a time. The symbols of a record are two streams (see
//! [`bits`](super::bits)), the front one for the first half of the dimensions, the back one for
//! the rest; they are decoded in turns so that their look-ups overlap.
//!
//! Lengths are in the low bits of an entry, where a shift takes them from without a mask, and are
//! summed over the look-ups of a word by adding whole entries.

use super::bits::{BitReader, WORD_BITS};
use super::prefix::{ESCAPE, MAX_LEN, PrefixCode};

/// Bits that one look-up sees.
const SINGLE_BITS: u32 = 10;
/// Bits that one look-up of several symbols sees.
const SEVERAL_BITS: u32 = 11;
/// Look-ups of one word: 5 x 10 and 4 x 11 bits.
const SINGLES: usize = 5;
const SEVERALS: usize = 4;
const _: () = assert!(SINGLES as u32 * SINGLE_BITS <= WORD_BITS);
const _: () = assert!(SEVERALS as u32 * SEVERAL_BITS <= WORD_BITS);
const _: () = assert!(MAX_LEN <= WORD_BITS);
/// Symbols that a look-up of several writes, and of those the ones that count at most.
const WRITTEN: usize = 4;
const MOST: usize = 3;

/// The codes of one prefix code by their lengths, for those longer than [`SINGLE_BITS`].
#[derive(Debug, Clone)]
struct Long {
    /// `limits[len]`: the first code of that length that is not used, shifted to 15 bits.
    limits: [u32; MAX_LEN as usize + 1],
    /// `starts[len]`: index of the first symbol less the first code of that length.
    starts: [i32; MAX_LEN as usize + 1],
    symbols: Vec<u16>,
}

/// The look-up tables of the codes of one form.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    /// 2^10 entries for each code: the length, and the symbol from bit 16 on. A length of 0 says
    /// that the code is a long one.
    single: Vec<u32>,
    /// Of the only code: three symbols, then 6 bits of length and from bit 8 on the number of
    /// symbols; 0 says that the code is a long one. Empty if there are several codes.
    several: Vec<[u16; WRITTEN]>,
    long: Vec<Long>,
}

/// Bytes that the tables of `codes` codes take at most, without the symbols of long codes.
pub(super) const fn table_bytes(codes: usize) -> usize {
    codes * ((4 << SINGLE_BITS) + size_of::<Long>())
        + if codes == 1 { 8 << SEVERAL_BITS } else { 0 }
}

impl Long {
    fn new(code: &PrefixCode) -> Self {
        let mut long = Self {
            limits: [0; MAX_LEN as usize + 1],
            starts: [0; MAX_LEN as usize + 1],
            symbols: code.lengths().iter().map(|length| length.symbol).collect(),
        };
        let (mut next, mut index) = (0u32, 0u32);
        for len in 1..=MAX_LEN {
            next <<= 1;
            long.starts[len as usize] = index as i32 - next as i32;
            let here = code.lengths().iter().filter(|length| u32::from(length.len) == len).count();
            next += here as u32;
            index += here as u32;
            long.limits[len as usize] = next << (MAX_LEN - len);
        }
        long
    }

    /// The symbol at the low bits of `bits`, and its length.
    #[cold]
    #[inline(never)]
    fn find(&self, bits: u64) -> (u16, u32) {
        let code = u32::from((bits as u16).reverse_bits() >> 1);
        for len in SINGLE_BITS + 1..=MAX_LEN {
            if code < self.limits[len as usize] {
                let index = (code >> (MAX_LEN - len)) as i32 + self.starts[len as usize];
                let symbol = self.symbols.get(index as usize).copied();
                return (symbol.unwrap_or(ESCAPE), len);
            }
        }
        (ESCAPE, MAX_LEN)
    }
}

impl Tables {
    /// Builds the tables of at least one code.
    ///
    /// # Cost
    /// [`table_bytes`], and about 10 us a code.
    pub(super) fn new(codes: &[PrefixCode]) -> Self {
        let mut single = Vec::with_capacity(codes.len() << SINGLE_BITS);
        for code in codes {
            let from = single.len();
            single.resize(from + (1 << SINGLE_BITS), 0);
            let short = code.codes().filter(|(_, _, len)| u32::from(*len) <= SINGLE_BITS);
            for (symbol, bits, len) in short {
                let entry = u32::from(symbol) << 16 | u32::from(len);
                for place in single[from..].iter_mut().skip(usize::from(bits)).step_by(1 << len) {
                    *place = entry;
                }
            }
        }
        let several = match codes {
            [_] => (0..1 << SEVERAL_BITS).map(|bits| several_at(&single, bits)).collect(),
            _ => Vec::new(),
        };
        Self { single, several, long: codes.iter().map(Long::new).collect() }
    }

    /// Decodes `symbols`, element i with code `bases[i] >> 10`: the first half from `front`,
    /// the rest from `back`.
    #[inline(always)]
    pub(super) fn decode_each(
        &self,
        bases: &[u32],
        symbols: &mut [u16],
        [front, back]: [&mut BitReader<'_>; 2],
    ) {
        let half = symbols.len() / 2;
        let (front_symbols, back_symbols) = symbols.split_at_mut(half);
        let (front_bases, back_bases) = bases.split_at(half);
        // The back half is as long as the front one, or one longer.
        let (a, a_rest) = front_symbols.as_chunks_mut::<SINGLES>();
        let (b, b_rest) = back_symbols.split_at_mut(a.len() * SINGLES);
        let (a_bases, a_bases_rest) = front_bases.as_chunks::<SINGLES>();
        let (b_bases, b_bases_rest) = back_bases.split_at(a.len() * SINGLES);
        let (b, b_bases) = (b.as_chunks_mut::<SINGLES>().0, b_bases.as_chunks::<SINGLES>().0);
        // Copies, so that the places stay in registers.
        let (mut front_at, mut back_at) = (*front, *back);
        for ((a, b), (a_bases, b_bases)) in a.iter_mut().zip(b).zip(a_bases.iter().zip(b_bases)) {
            let (mut front_word, mut back_word) = (front_at.word(), back_at.word());
            for i in 0..SINGLES {
                a[i] = self.step(a_bases[i], &mut front_at, &mut front_word);
                b[i] = self.step(b_bases[i], &mut back_at, &mut back_word);
            }
        }
        (*front, *back) = (front_at, back_at);
        for (symbol, base) in a_rest.iter_mut().zip(a_bases_rest) {
            *symbol = self.step_alone(*base, front);
        }
        for (symbol, base) in b_rest.iter_mut().zip(b_bases_rest) {
            *symbol = self.step_alone(*base, back);
        }
    }

    /// The entry of code `base >> 10` for the low bits of `word`.
    #[inline(always)]
    fn entry(&self, base: u32, word: u64) -> u32 {
        let at = base as usize + (word as usize & ((1 << SINGLE_BITS) - 1));
        self.single.get(at).copied().unwrap_or(0)
    }

    /// Decodes one symbol of code `base >> 10`; `word` is the reader's, or less by what was
    /// consumed of it.
    #[inline(always)]
    fn step(&self, base: u32, reader: &mut BitReader<'_>, word: &mut u64) -> u16 {
        let entry = self.entry(base, *word);
        if entry == 0 {
            // Long codes before may have left fewer bits than one needs.
            let long = self.long.get((base >> SINGLE_BITS) as usize);
            let found = long.map_or((ESCAPE, MAX_LEN), |long| long.find(reader.word()));
            reader.consume(found.1);
            *word = reader.word();
            return found.0;
        }
        reader.consume(entry & 63);
        *word >>= entry & 63;
        (entry >> 16) as u16
    }

    /// Decodes one symbol of code `base >> 10`.
    #[inline(always)]
    fn step_alone(&self, base: u32, reader: &mut BitReader<'_>) -> u16 {
        let mut word = reader.word();
        self.step(base, reader, &mut word)
    }

    /// Decodes `symbols` with the only code, in the order of [`Tables::decode_each`].
    #[inline(always)]
    pub(super) fn decode_several(
        &self,
        symbols: &mut [u16],
        [front, back]: [&mut BitReader<'_>; 2],
    ) {
        const ROOM: usize = MOST * (SEVERALS - 1) + WRITTEN;
        let half = symbols.len() / 2;
        let (a, b) = symbols.split_at_mut(half);
        let Some(several) = self.several.first_chunk::<{ 1 << SEVERAL_BITS }>() else { return };
        let (mut a_at, mut b_at) = (0, 0);
        let (mut front_at, mut back_at) = (*front, *back);
        loop {
            let a_room = a.get_mut(a_at..a_at + ROOM).and_then(|room| room.first_chunk_mut());
            let b_room = b.get_mut(b_at..b_at + ROOM).and_then(|room| room.first_chunk_mut());
            let (Some(a_room), Some(b_room)) = (a_room, b_room) else { break };
            let (mut front_word, mut back_word) = (front_at.word(), back_at.word());
            let (mut front_done, mut back_done) = (Done(0), Done(0));
            for _ in 0..SEVERALS {
                front_done.step::<ROOM>(several, a_room, &mut front_word);
                back_done.step::<ROOM>(several, b_room, &mut back_word);
            }
            front_at.consume(front_done.bits());
            back_at.consume(back_done.bits());
            a_at += front_done.symbols();
            b_at += back_done.symbols();
            // A look-up that found a long code did nothing, and so did those behind it.
            if front_done.symbols() == 0 {
                a[a_at] = self.step_alone(0, &mut front_at);
                a_at += 1;
            }
            if back_done.symbols() == 0 {
                b[b_at] = self.step_alone(0, &mut back_at);
                b_at += 1;
            }
        }
        (*front, *back) = (front_at, back_at);
        for (symbols, mut at, reader) in [(a, a_at, front), (b, b_at, back)] {
            while let Some(room) = symbols.get_mut(at..).and_then(|room| room.first_chunk_mut()) {
                let mut done = Done(0);
                done.step::<WRITTEN>(several, room, &mut reader.word());
                reader.consume(done.bits());
                at += done.symbols();
                if done.symbols() == 0 {
                    symbols[at] = self.step_alone(0, reader);
                    at += 1;
                }
            }
            for symbol in symbols.iter_mut().skip(at) {
                *symbol = self.step_alone(0, reader);
            }
        }
    }
}

/// What look-ups of several symbols have done: bits in the low byte, symbols from bit 8 on.
#[derive(Clone, Copy)]
struct Done(u32);

impl Done {
    fn bits(self) -> u32 {
        self.0 & 0xFF
    }

    fn symbols(self) -> usize {
        (self.0 >> 8) as usize
    }

    /// Looks up one to three symbols at the low bits of `word`; none if the code is a long one.
    #[inline(always)]
    fn step<const ROOM: usize>(
        &mut self,
        several: &[[u16; WRITTEN]; 1 << SEVERAL_BITS],
        room: &mut [u16; ROOM],
        word: &mut u64,
    ) {
        let entry = &several[*word as usize & ((1 << SEVERAL_BITS) - 1)];
        let places = room.get_mut(self.symbols()..).and_then(|places| places.first_chunk_mut());
        if let Some(places) = places {
            *places = *entry;
        }
        let done = entry[MOST];
        *word >>= done & 63;
        self.0 += u32::from(done);
    }
}

/// The codes that lie completely in the low bits of `bits`, at most three.
fn several_at(single: &[u32], bits: usize) -> [u16; WRITTEN] {
    let (mut entry, mut number, mut used) = ([0; WRITTEN], 0, 0);
    while number < MOST {
        let found = single[bits >> used & ((1 << SINGLE_BITS) - 1)];
        let len = found & 63;
        if len == 0 || used + len > SEVERAL_BITS {
            break;
        }
        entry[number] = (found >> 16) as u16;
        number += 1;
        used += len;
    }
    entry[MOST] = used as u16 | (number as u16) << 8;
    entry
}

/// The place of a code's entries, for [`Tables::decode_each`].
pub(super) const fn base(code: usize) -> u32 {
    (code << SINGLE_BITS) as u32
}
