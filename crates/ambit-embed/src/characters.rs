//! What becomes of each character before words are cut: kept, dropped, a space, its own word, or
//! replaced by others (lower case, without accents).
//!
//! The model's `normalize.json` lists it per character (Unicode 14 of the reference implementation),
//! so that no Unicode library is needed and no later Unicode version changes a vector. Two rules are
//! not listed there and live here: CJK ideographs are words of their own, and Hangul syllables
//! decompose by formula (The Unicode Standard, section 3.12).
//!
//! Form: one byte per character in pages of 256, where equal pages (all kept, all dropped) are
//! stored once; the replacements lie in one string, found by binary search. About 60 KiB in all.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use ambit_mem::{Bytes, Reservation};

use crate::EmbedError;
use crate::asset::CHARACTERS;

const PAGE: usize = 256;
const PAGES: usize = 0x11_0000 / PAGE;

/// The low bits of a class say what to do; the high bit marks punctuation.
const KEEP: u8 = 0;
const DROP: u8 = 1;
const SPACE: u8 = 2;
const ALONE: u8 = 3;
const REPLACE: u8 = 4;
const HANGUL: u8 = 5;
const ACTION: u8 = 0x7F;
const PUNCTUATION: u8 = 0x80;

/// In the ASCII table: this character needs [`Characters::step`].
pub(crate) const ASCII_OTHER: u8 = 0xFF;
/// In the ASCII table: set for a word of its own; the other bits are the character.
pub(crate) const ASCII_ALONE: u8 = 0x80;

/// Ideographs, each a word of its own: BERT's list of blocks.
const IDEOGRAPHS: [[u32; 2]; 8] = [
    [0x4E00, 0x9FFF],
    [0x3400, 0x4DBF],
    [0x2_0000, 0x2_A6DF],
    [0x2_A700, 0x2_B73F],
    [0x2_B740, 0x2_B81F],
    [0x2_B920, 0x2_CEAF],
    [0xF900, 0xFAFF],
    [0x2_F800, 0x2_FA1F],
];
const SYLLABLES: [u32; 2] = [0xAC00, 0xD7A3];

/// What to do with one character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Keep,
    Drop,
    Space,
    /// A word of its own.
    Alone,
    /// These instead; each of them is kept, a space, or a word of its own.
    Replace(&'a str),
    /// These three instead (the last may be absent): leading, vowel and trailing jamo.
    Jamo(char, char, Option<char>),
}

/// The table of all characters.
#[derive(Debug)]
pub(crate) struct Characters {
    index: Vec<u16>,
    pages: Vec<[u8; PAGE]>,
    replacements: Replacements,
    /// Per ASCII character: 0 dropped, a space, a lower-case character to keep, or `ASCII_*`.
    ascii: [u8; 128],
}

impl Characters {
    /// Reads `normalize.json`; what it keeps is added to `reservation`.
    pub(crate) fn parse(json: &[u8], reservation: &mut Reservation) -> Result<Self, EmbedError> {
        // While it is parsed: ranges and replacements take less than twice their text.
        let parsing = Bytes::of(2 * json.len());
        reservation.grow(parsing)?;
        let file: File = serde_json::from_slice(json)
            .map_err(|error| EmbedError::malformed(CHARACTERS, error.to_string()))?;
        file.check()?;
        let mut table = Self {
            index: vec![0; PAGES],
            pages: Vec::new(),
            replacements: file.map,
            ascii: [ASCII_OTHER; 128],
        };
        let mut pages = Pages::new(&mut table.index, &mut table.pages);
        for range in IDEOGRAPHS {
            pages.update(range, |_| ALONE);
        }
        pages.update(SYLLABLES, |_| HANGUL);
        for &(from, ..) in &table.replacements.entries {
            pages.update([from.into(), from.into()], |_| REPLACE);
        }
        for (ranges, class) in [(&file.space, SPACE), (&file.drop, DROP)] {
            ranges.iter().for_each(|&range| pages.update(range, |_| class));
        }
        file.punct.iter().for_each(|&range| pages.update(range, |class| class | PUNCTUATION));
        table.pages.shrink_to_fit();
        table.fill_ascii();
        reservation.grow(table.footprint())?;
        reservation.shrink(parsing);
        Ok(table)
    }

    /// Bytes on the heap.
    pub(crate) fn footprint(&self) -> Bytes {
        Bytes::of(
            self.index.capacity() * size_of::<u16>()
                + self.pages.capacity() * PAGE
                + self.replacements.entries.capacity() * size_of::<Replacement>()
                + self.replacements.text.capacity(),
        )
    }

    /// The ASCII characters' table; see [`ASCII_ALONE`] and [`ASCII_OTHER`].
    pub(crate) fn ascii(&self) -> &[u8; 128] {
        &self.ascii
    }

    /// What to do with `c`.
    pub(crate) fn step(&self, c: char) -> Step<'_> {
        let class = self.class(c);
        match class & ACTION {
            DROP => Step::Drop,
            SPACE => Step::Space,
            ALONE => Step::Alone,
            REPLACE => Step::Replace(self.replacements.get(c)),
            HANGUL => jamo(c),
            _ if class & PUNCTUATION != 0 => Step::Alone,
            _ => Step::Keep,
        }
    }

    /// What to do with `c`, which is the result of a replacement and is not replaced again.
    pub(crate) fn settled(&self, c: char) -> Step<'_> {
        let class = self.class(c);
        match class & ACTION {
            SPACE => Step::Space,
            _ if class & PUNCTUATION != 0 => Step::Alone,
            _ => Step::Keep,
        }
    }

    fn class(&self, c: char) -> u8 {
        let c = c as usize;
        let page = self.index.get(c / PAGE).copied().unwrap_or_default();
        self.pages.get(usize::from(page)).map_or(KEEP, |page| page[c % PAGE])
    }

    fn fill_ascii(&mut self) {
        for byte in 0..128_u8 {
            let c = char::from(byte);
            let entry = match self.step(c) {
                Step::Drop => 0,
                Step::Space => b' ',
                Step::Alone => byte | ASCII_ALONE,
                Step::Keep => byte,
                Step::Replace(to) => match to.as_bytes() {
                    &[to] if self.settled(char::from(to)) == Step::Keep => to,
                    _ => ASCII_OTHER,
                },
                Step::Jamo(..) => ASCII_OTHER,
            };
            // NUL and space stand for "drop" and "space" and DEL alone for "other": a model that
            // keeps these as letters takes the general way.
            let taken = matches!(self.step(c), Step::Keep | Step::Replace(_)) && entry <= b' ';
            self.ascii[usize::from(byte)] = if taken { ASCII_OTHER } else { entry };
        }
    }
}

/// Leading consonant, vowel and trailing consonant of a Hangul syllable.
fn jamo(c: char) -> Step<'static> {
    let syllable = u32::from(c).saturating_sub(SYLLABLES[0]);
    let part = |base: u32, index: u32| char::from_u32(base + index).unwrap_or(char::MAX);
    let trailing = syllable % 28;
    Step::Jamo(
        part(0x1100, syllable / 588),
        part(0x1161, syllable % 588 / 28),
        (trailing > 0).then(|| part(0x11A7, trailing)),
    )
}

/// Classes while they are being written: uniform pages are shared until one of them changes.
struct Pages<'a> {
    index: &'a mut Vec<u16>,
    pages: &'a mut Vec<[u8; PAGE]>,
    /// Per stored page: its class if all of it is shared, or none if one index entry owns it.
    uniform: Vec<Option<u8>>,
}

impl<'a> Pages<'a> {
    fn new(index: &'a mut Vec<u16>, pages: &'a mut Vec<[u8; PAGE]>) -> Self {
        pages.push([KEEP; PAGE]);
        Self { index, pages, uniform: vec![Some(KEEP)] }
    }

    /// Applies `change` to the classes of the characters of an inclusive range.
    fn update(&mut self, [first, last]: [u32; 2], change: impl Fn(u8) -> u8) {
        let (first, last) = (first as usize, last as usize);
        for page in first / PAGE..=last / PAGE {
            let from = first.saturating_sub(page * PAGE);
            let to = (last - page * PAGE).min(PAGE - 1);
            let stored = usize::from(self.index[page]);
            let stored = match self.uniform[stored] {
                Some(class) if from == 0 && to == PAGE - 1 => {
                    self.index[page] = self.shared(change(class));
                    continue;
                }
                Some(class) => self.push(page, class),
                None => stored,
            };
            self.pages[stored][from..=to].iter_mut().for_each(|class| *class = change(*class));
        }
    }

    /// The stored page that is `class` throughout.
    fn shared(&mut self, class: u8) -> u16 {
        let found = self.uniform.iter().position(|&uniform| uniform == Some(class));
        let at = found.unwrap_or_else(|| {
            self.pages.push([class; PAGE]);
            self.uniform.push(Some(class));
            self.pages.len() - 1
        });
        at as u16
    }

    /// A page of its own for `page`, filled with `class`.
    fn push(&mut self, page: usize, class: u8) -> usize {
        self.pages.push([class; PAGE]);
        self.uniform.push(None);
        // At most one page per index entry and one per class: far below 65,536.
        self.index[page] = (self.pages.len() - 1) as u16;
        self.pages.len() - 1
    }
}

/// `normalize.json`.
#[derive(Deserialize)]
struct File {
    drop: Vec<[u32; 2]>,
    space: Vec<[u32; 2]>,
    punct: Vec<[u32; 2]>,
    map: Replacements,
}

impl File {
    fn check(&self) -> Result<(), EmbedError> {
        let ranges = self.drop.iter().chain(&self.space).chain(&self.punct);
        for [first, last] in ranges {
            if first > last || *last > u32::from(char::MAX) {
                let what = format!("the range {first} to {last} is not one of characters");
                return Err(EmbedError::malformed(CHARACTERS, what));
            }
        }
        Ok(())
    }
}

/// From which character, where its replacement begins in the text, and its bytes.
type Replacement = (char, u32, u16);

/// Replacements, sorted by character.
#[derive(Debug, Default)]
struct Replacements {
    entries: Vec<Replacement>,
    text: String,
}

impl Replacements {
    fn get(&self, c: char) -> &str {
        let found = self.entries.binary_search_by_key(&c, |entry| entry.0);
        let entry = found.ok().and_then(|at| self.entries.get(at));
        entry
            .and_then(|&(_, at, len)| self.text.get(at as usize..at as usize + usize::from(len)))
            .unwrap_or_default()
    }
}

/// A JSON string that borrows where it holds no escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Replacements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Replacements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object from single characters to strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Replacements, M::Error> {
                use serde::de::Error;
                let mut read = Replacements::default();
                while let Some((Text(from), Text(to))) = map.next_entry()? {
                    let mut characters = from.chars();
                    let (Some(c), None) = (characters.next(), characters.next()) else {
                        return Err(M::Error::custom(format!("{from:?} is not one character")));
                    };
                    let len = u16::try_from(to.len()).map_err(M::Error::custom)?;
                    let at = u32::try_from(read.text.len()).map_err(M::Error::custom)?;
                    read.entries.push((c, at, len));
                    read.text.push_str(&to);
                }
                read.entries.sort_by_key(|entry| entry.0);
                if let Some(pair) = read.entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                    let what = format!("{:?} is replaced twice", pair[0].0);
                    return Err(M::Error::custom(what));
                }
                read.entries.shrink_to_fit();
                read.text.shrink_to_fit();
                Ok(read)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
