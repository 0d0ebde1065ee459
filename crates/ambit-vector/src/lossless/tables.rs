//! How does a decoder find the symbol? By looking the next bits up.
//!
//! One table of 2^10 entries for each code: the symbol and its length; the few longer codes go
//! the slow way, counting up canonical codes. Entries are 16 bits where symbols allow it, so that
//! the tables of a dozen codes stay in the first-level cache. Where a form has one code only, a
//! second table of 2^11 entries gives up to three symbols at a time. The symbols of a record are
//! two streams (see [`bits`](super::bits)), the front one for the first half of the dimensions,
//! the back one for the rest; they are decoded in turns so that their look-ups overlap.

use super::bits::{BitReader, WORD_BITS};
use super::prefix::{ESCAPE, MAX_LEN, PrefixCode};

/// Bits that one look-up sees.
const SINGLE_BITS: u32 = 10;
/// Bits that one look-up of several symbols sees.
const SEVERAL_BITS: u32 = 11;
/// Look-ups of one word: 5 x 10 and 4 x 11 bits, and the first 15 of a long code behind four.
const SINGLES: usize = 5;
const SEVERALS: usize = 4;
const _: () = assert!(SINGLES as u32 * SINGLE_BITS <= WORD_BITS);
const _: () = assert!((SINGLES as u32 - 1) * SINGLE_BITS + MAX_LEN <= WORD_BITS);
const _: () = assert!((SEVERALS as u32 - 1) * SEVERAL_BITS + MAX_LEN <= WORD_BITS);
/// Symbols that a look-up of several writes, and of those the ones that count at most.
const WRITTEN: usize = 4;
const MOST: usize = 3;

/// A symbol and the length of its code; a length of 0 says that the code is a long one.
trait Entry: Copy + Default {
    /// None if the symbol is too large.
    fn new(symbol: u16, len: u8) -> Option<Self>;
    fn len(self) -> u32;
    fn symbol(self) -> u16;
}

impl Entry for u16 {
    fn new(symbol: u16, len: u8) -> Option<Self> {
        // The largest one stands for the escape.
        let short = if symbol == ESCAPE { 0xFFF } else { symbol };
        (short < 0xFFF || symbol == ESCAPE).then_some(short << 4 | Self::from(len))
    }

    #[inline(always)]
    fn len(self) -> u32 {
        u32::from(self & 15)
    }

    #[inline(always)]
    fn symbol(self) -> u16 {
        let symbol = self >> 4;
        if symbol == 0xFFF { ESCAPE } else { symbol }
    }
}

impl Entry for u32 {
    fn new(symbol: u16, len: u8) -> Option<Self> {
        Some(Self::from(symbol) << 4 | Self::from(len))
    }

    #[inline(always)]
    fn len(self) -> u32 {
        self & 15
    }

    #[inline(always)]
    fn symbol(self) -> u16 {
        (self >> 4) as u16
    }
}

/// The tables of single symbols, one behind the other.
#[derive(Debug, Clone)]
enum Single {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

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
    single: Single,
    /// Of the only code: 6 bits of length, 2 of the number of symbols, and from bit 16 on three
    /// symbols; a number 0 says that the code is a long one. Empty if there are several codes.
    several: Vec<u64>,
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
    /// At most [`table_bytes`], and about 10 us a code.
    pub(super) fn new(codes: &[PrefixCode]) -> Self {
        let wide = || Single::Wide(singles(codes).unwrap_or_default());
        let single = singles(codes).map_or_else(wide, Single::Narrow);
        let several = match (codes, &single) {
            ([_], Single::Narrow(single)) => severals(single),
            ([_], Single::Wide(single)) => severals(single),
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
        readers: [&mut BitReader<'_>; 2],
    ) {
        match &self.single {
            Single::Narrow(single) => self.decode_with(single, bases, symbols, readers),
            Single::Wide(single) => self.decode_with(single, bases, symbols, readers),
        }
    }

    #[inline(always)]
    fn decode_with<E: Entry>(
        &self,
        single: &[E],
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
                a[i] = self.step(single, a_bases[i], &mut front_at, &mut front_word);
                b[i] = self.step(single, b_bases[i], &mut back_at, &mut back_word);
            }
        }
        (*front, *back) = (front_at, back_at);
        for (symbol, base) in a_rest.iter_mut().zip(a_bases_rest) {
            *symbol = self.step(single, *base, front, &mut front.word());
        }
        for (symbol, base) in b_rest.iter_mut().zip(b_bases_rest) {
            *symbol = self.step(single, *base, back, &mut back.word());
        }
    }

    /// Decodes one symbol of code `base >> 10` from the low bits of `word`.
    #[inline(always)]
    fn step<E: Entry>(
        &self,
        single: &[E],
        base: u32,
        reader: &mut BitReader<'_>,
        word: &mut u64,
    ) -> u16 {
        let at = base as usize + (*word as usize & ((1 << SINGLE_BITS) - 1));
        let entry = single.get(at).copied().unwrap_or_default();
        if entry.len() == 0 {
            return self.step_long(base, reader, word);
        }
        reader.consume(entry.len());
        *word >>= entry.len();
        entry.symbol()
    }

    #[inline(always)]
    fn step_long(&self, base: u32, reader: &mut BitReader<'_>, word: &mut u64) -> u16 {
        let long = self.long.get((base >> SINGLE_BITS) as usize);
        // Several long codes may have left fewer bits than one needs.
        *word = reader.word();
        let (symbol, len) = long.map_or((ESCAPE, MAX_LEN), |long| long.find(*word));
        reader.consume(len);
        *word = reader.word();
        symbol
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
        while a_at + ROOM <= a.len() && b_at + ROOM <= b.len() {
            let (mut front_word, mut back_word) = (front_at.word(), back_at.word());
            for _ in 0..SEVERALS {
                a_at += self.step_several(several, &mut a[a_at..], &mut front_at, &mut front_word);
                b_at += self.step_several(several, &mut b[b_at..], &mut back_at, &mut back_word);
            }
        }
        (*front, *back) = (front_at, back_at);
        for (symbols, mut at, reader) in [(a, a_at, front), (b, b_at, back)] {
            while at + WRITTEN <= symbols.len() {
                at += self.step_several(several, &mut symbols[at..], reader, &mut reader.word());
            }
            for symbol in symbols.iter_mut().skip(at) {
                *symbol = self.step_only(reader);
            }
        }
    }

    /// Decodes one to three symbols into the front of `symbols`; their number.
    #[inline(always)]
    fn step_several(
        &self,
        several: &[u64; 1 << SEVERAL_BITS],
        symbols: &mut [u16],
        reader: &mut BitReader<'_>,
        word: &mut u64,
    ) -> usize {
        let entry = several[*word as usize & ((1 << SEVERAL_BITS) - 1)];
        let Some(places) = symbols.first_chunk_mut::<WRITTEN>() else { return 0 };
        *places = [(entry >> 16) as u16, (entry >> 32) as u16, (entry >> 48) as u16, 0];
        let number = (entry >> 6 & 3) as usize;
        if number == 0 {
            places[0] = self.step_long(0, reader, word);
            return 1;
        }
        reader.consume(entry as u32 & 63);
        *word >>= entry & 63;
        number
    }

    /// Decodes one symbol of the only code.
    #[inline(always)]
    fn step_only(&self, reader: &mut BitReader<'_>) -> u16 {
        let mut word = reader.word();
        match &self.single {
            Single::Narrow(single) => self.step(single, 0, reader, &mut word),
            Single::Wide(single) => self.step(single, 0, reader, &mut word),
        }
    }
}

/// The tables of single symbols; None if a symbol is too large for the entries.
fn singles<E: Entry>(codes: &[PrefixCode]) -> Option<Vec<E>> {
    let mut single = Vec::with_capacity(codes.len() << SINGLE_BITS);
    for code in codes {
        let from = single.len();
        single.resize(from + (1 << SINGLE_BITS), E::default());
        for (symbol, bits, len) in code.codes() {
            let entry = E::new(symbol, len)?;
            if u32::from(len) <= SINGLE_BITS {
                for place in single[from..].iter_mut().skip(usize::from(bits)).step_by(1 << len) {
                    *place = entry;
                }
            }
        }
    }
    Some(single)
}

fn severals<E: Entry>(single: &[E]) -> Vec<u64> {
    (0..1 << SEVERAL_BITS).map(|bits| several_at(single, bits)).collect()
}

/// The codes that lie completely in the low bits of `bits`, at most three.
fn several_at<E: Entry>(single: &[E], bits: usize) -> u64 {
    let (mut symbols, mut number, mut used) = (0u64, 0, 0);
    while number < MOST {
        let entry = single[bits >> used & ((1 << SINGLE_BITS) - 1)];
        if entry.len() == 0 || used + entry.len() > SEVERAL_BITS {
            break;
        }
        symbols |= u64::from(entry.symbol()) << (16 * (number + 1));
        number += 1;
        used += entry.len();
    }
    symbols | u64::from(used) | (number as u64) << 6
}

/// The place of a code's entries, for [`Tables::decode_each`].
pub(super) const fn base(code: usize) -> u32 {
    (code << SINGLE_BITS) as u32
}
