//! How does a decoder find the symbol? By looking the next bits up.
//!
//! One table of 2^10 entries for each code: the symbol and its length; the few longer codes go
//! the slow way, counting up canonical codes. Where a form has one code only, a second table of
//! 2^11 entries gives up to three symbols at a time. The symbols of a record are two streams
//! (see [`bits`](super::bits)), the front one for the first half of the dimensions, the back one
//! for the rest; they are decoded in turns so that their look-ups overlap.

use super::bits::BitReader;
use super::prefix::{ESCAPE, MAX_LEN, PrefixCode};

/// Bits that one look-up sees.
const SINGLE_BITS: u32 = 10;
/// Bits that one look-up of several symbols sees.
const SEVERAL_BITS: u32 = 11;
/// Elements that a look-up of several symbols may write behind what it decodes.
const OVERSHOOT: usize = 4;
/// Look-ups between two refills: 5 x 10 and 4 x 11 bits are less than 56.
const SINGLES: usize = 5;
const SEVERALS: usize = 4;

/// Codes longer than [`SINGLE_BITS`], of one code.
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
    /// For each code 2^10 entries: symbol, and the length above bit 16; a length 0 is slow.
    single: Vec<u32>,
    /// Of the only code: three symbols, then 5 bits of length and 2 of their number; a number 0
    /// is slow. Empty if there are several codes.
    several: Vec<u64>,
    long: Vec<Long>,
}

/// Bytes that the tables of `codes` codes take, without the symbols of long codes.
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
        for len in 1..=MAX_LEN {
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
            for (symbol, bits, len) in
                code.codes().filter(|(_, _, len)| u32::from(*len) <= SINGLE_BITS)
            {
                let entry = u32::from(symbol) | u32::from(len) << 16;
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

    /// Decodes one symbol of code `base >> 10`; the reader holds [`MAX_LEN`] bits.
    #[inline(always)]
    fn step(&self, base: u32, reader: &mut BitReader<'_>) -> u16 {
        let bits = reader.peek();
        let at = base as usize + (bits as usize & ((1 << SINGLE_BITS) - 1));
        let entry = self.single.get(at).copied().unwrap_or(0);
        let len = entry >> 16;
        if len == 0 {
            let long = self.long.get((base >> SINGLE_BITS) as usize);
            let (symbol, len) = long.map_or((ESCAPE, MAX_LEN), |long| long.find(bits));
            reader.consume(len);
            reader.refill();
            return symbol;
        }
        reader.consume(len);
        entry as u16
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
        let (a, a_rest) = front_symbols.as_chunks_mut::<SINGLES>();
        let (b, b_rest) = back_symbols.as_chunks_mut::<SINGLES>();
        let (a_bases, a_bases_rest) = front_bases.as_chunks::<SINGLES>();
        let (b_bases, b_bases_rest) = back_bases.as_chunks::<SINGLES>();
        let mut b_chunks = b.iter_mut().zip(b_bases);
        for (a, a_bases) in a.iter_mut().zip(a_bases) {
            // The back half is as long as the front one, or one longer.
            let Some((b, b_bases)) = b_chunks.next() else { break };
            front.refill();
            back.refill();
            for i in 0..SINGLES {
                a[i] = self.step(a_bases[i], front);
                b[i] = self.step(b_bases[i], back);
            }
        }
        for (b, b_bases) in b_chunks {
            for (symbol, base) in b.iter_mut().zip(b_bases) {
                back.refill();
                *symbol = self.step(*base, back);
            }
        }
        for (symbol, base) in a_rest.iter_mut().zip(a_bases_rest) {
            front.refill();
            *symbol = self.step(*base, front);
        }
        for (symbol, base) in b_rest.iter_mut().zip(b_bases_rest) {
            back.refill();
            *symbol = self.step(*base, back);
        }
    }

    /// Decodes `symbols` with the only code, in the order of [`Tables::decode_each`].
    #[inline(always)]
    pub(super) fn decode_several(
        &self,
        symbols: &mut [u16],
        [front, back]: [&mut BitReader<'_>; 2],
    ) {
        const ROOM: usize = 3 * SEVERALS + OVERSHOOT;
        let half = symbols.len() / 2;
        let (front_symbols, back_symbols) = symbols.split_at_mut(half);
        let Some(several) = self.several.first_chunk::<{ 1 << SEVERAL_BITS }>() else { return };
        let (mut a, mut b) = (0, 0);
        while a + ROOM <= front_symbols.len() && b + ROOM <= back_symbols.len() {
            front.refill();
            back.refill();
            for _ in 0..SEVERALS {
                a += self.step_several(several, &mut front_symbols[a..], front);
                b += self.step_several(several, &mut back_symbols[b..], back);
            }
        }
        for (symbols, at, reader) in [(front_symbols, a, front), (back_symbols, b, back)] {
            let mut at = at;
            while at + ROOM <= symbols.len() {
                reader.refill();
                for _ in 0..SEVERALS {
                    at += self.step_several(several, &mut symbols[at..], reader);
                }
            }
            for symbol in symbols.iter_mut().skip(at) {
                reader.refill();
                *symbol = self.step(0, reader);
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
    ) -> usize {
        let entry = several[reader.peek() as usize & ((1 << SEVERAL_BITS) - 1)];
        let Some(places) = symbols.first_chunk_mut::<4>() else { return 0 };
        *places = [entry as u16, (entry >> 16) as u16, (entry >> 32) as u16, 0];
        let number = (entry >> 53 & 3) as usize;
        if number == 0 {
            places[0] = self.step(0, reader);
            return 1;
        }
        reader.consume((entry >> 48 & 31) as u32);
        number
    }
}

/// The codes that lie completely in the low bits of `bits`, at most three.
fn several_at(single: &[u32], bits: usize) -> u64 {
    let (mut symbols, mut number, mut used) = (0u64, 0u64, 0u32);
    while number < 3 {
        let entry = single[bits >> used & ((1 << SINGLE_BITS) - 1)];
        let len = entry >> 16;
        if len == 0 || used + len > SEVERAL_BITS {
            break;
        }
        symbols |= u64::from(entry as u16) << (16 * number);
        number += 1;
        used += len;
    }
    symbols | u64::from(used) << 48 | number << 53
}

/// The place of a code's entries, for [`Tables::decode_each`].
pub(super) const fn base(code: usize) -> u32 {
    (code << SINGLE_BITS) as u32
}
