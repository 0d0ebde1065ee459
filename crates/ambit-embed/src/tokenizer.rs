//! Which word pieces does a text consist of?
//!
//! BERT's uncased tokenizer (Devlin et al., "BERT: Pre-training of Deep Bidirectional Transformers
//! for Language Understanding", 2019) as the model's `config.json` describes it: characters are
//! cleaned, lower-cased and stripped of accents one at a time ([`Characters`]); spaces end words,
//! punctuation and ideographs are words of their own; a word is cut greedily into the longest known
//! pieces, and a word with any unknown rest contributes nothing.
//!
//! One pass, no allocation: a word is gathered in a buffer on the stack together with its hash, so
//! that the usual case, a word that is one piece, costs one look into the vocabulary.

use crate::characters::{ASCII_ALONE, ASCII_OTHER, Characters, Step};
use crate::vocabulary::{MAX_PIECE, PieceHash, Place, Vocabulary};

/// The most that `max_chars_per_word` may ask for.
pub(crate) const MAX_WORD_CHARACTERS: usize = 128;
/// Pieces that are handed on at a time.
const BATCH: usize = 128;

/// Cuts texts into word pieces.
#[derive(Debug)]
pub(crate) struct Tokenizer {
    pub(crate) characters: Characters,
    pub(crate) vocabulary: Vocabulary,
    pub(crate) max_word_characters: usize,
    pub(crate) max_tokens: u32,
}

impl Tokenizer {
    /// Hands the pieces of `text` to `each`, in order and a batch at a time, and returns how many
    /// there were.
    pub(crate) fn tokenize(&self, text: &str, mut each: impl FnMut(&[u32])) -> u32 {
        let mut cut = Cut {
            tokenizer: self,
            each: &mut each,
            word: [0; 4 * MAX_WORD_CHARACTERS],
            len: 0,
            characters: 0,
            hash: PieceHash::new(Place::First),
            batch: [0; BATCH],
            batched: 0,
            tokens: 0,
        };
        cut.text(text);
        cut.hand_on();
        cut.tokens
    }
}

/// One text on its way through the tokenizer.
struct Cut<'a, E> {
    tokenizer: &'a Tokenizer,
    each: E,
    /// The word so far, its bytes, characters and hash. A word of too many characters is counted
    /// on, but not kept.
    word: [u8; 4 * MAX_WORD_CHARACTERS],
    len: usize,
    characters: usize,
    hash: PieceHash,
    batch: [u32; BATCH],
    batched: usize,
    tokens: u32,
}

impl<E: FnMut(&[u32])> Cut<'_, E> {
    fn text(&mut self, text: &str) {
        let ascii = self.tokenizer.characters.ascii();
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let entry = ascii.get(usize::from(byte)).copied().unwrap_or(ASCII_OTHER);
            if entry == ASCII_OTHER {
                let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) else {
                    break;
                };
                self.character(c);
                at += c.len_utf8();
            } else {
                match entry {
                    0 => {}
                    b' ' => self.end_word(),
                    entry if entry & ASCII_ALONE != 0 => self.alone(char::from(byte)),
                    entry => self.keep_byte(entry),
                }
                at += 1;
            }
            if self.tokens >= self.tokenizer.max_tokens {
                return;
            }
        }
        self.end_word();
    }

    fn character(&mut self, c: char) {
        match self.tokenizer.characters.step(c) {
            Step::Drop => {}
            Step::Replace(to) => to.chars().for_each(|c| self.settled(c)),
            Step::Jamo(leading, vowel, trailing) => {
                [Some(leading), Some(vowel), trailing]
                    .into_iter()
                    .flatten()
                    .for_each(|c| self.settled(c));
            }
            step => self.place(step, c),
        }
    }

    fn settled(&mut self, c: char) {
        self.place(self.tokenizer.characters.settled(c), c);
    }

    fn place(&mut self, step: Step<'_>, c: char) {
        match step {
            Step::Space => self.end_word(),
            Step::Alone => self.alone(c),
            _ => self.keep(c),
        }
    }

    fn alone(&mut self, c: char) {
        self.end_word();
        self.keep(c);
        self.end_word();
    }

    fn keep(&mut self, c: char) {
        let mut bytes = [0; 4];
        let encoded = c.encode_utf8(&mut bytes).as_bytes();
        if self.characters < self.tokenizer.max_word_characters {
            self.word[self.len..self.len + encoded.len()].copy_from_slice(encoded);
            self.len += encoded.len();
            self.hash = encoded.iter().fold(self.hash, |hash, &byte| hash.then(byte));
        }
        self.characters += 1;
    }

    #[inline]
    fn keep_byte(&mut self, byte: u8) {
        if self.characters < self.tokenizer.max_word_characters {
            self.word[self.len] = byte;
            self.len += 1;
            self.hash = self.hash.then(byte);
        }
        self.characters += 1;
    }

    fn end_word(&mut self) {
        if self.characters == 0 {
            return;
        }
        if self.characters <= self.tokenizer.max_word_characters {
            let vocabulary = &self.tokenizer.vocabulary;
            match vocabulary.get(&self.word[..self.len], Place::First, self.hash) {
                Some(piece) => self.push(piece),
                None => self.cut_word(),
            }
        }
        self.len = 0;
        self.characters = 0;
        self.hash = PieceHash::new(Place::First);
    }

    /// Cuts a word that is not a piece as a whole: the longest piece first, then the longest that
    /// continues it, and so on.
    fn cut_word(&mut self) {
        let vocabulary = &self.tokenizer.vocabulary;
        let mut pieces = [0; 4 * MAX_WORD_CHARACTERS];
        let (mut count, mut from, mut place) = (0, 0, Place::First);
        while from < self.len {
            let Some((piece, len)) = longest_piece(vocabulary, &self.word[from..self.len], place)
            else {
                return;
            };
            pieces[count] = piece;
            count += 1;
            from += len;
            place = Place::Later;
        }
        pieces[..count].iter().for_each(|&piece| self.push(piece));
    }

    fn push(&mut self, piece: u32) {
        if self.tokens >= self.tokenizer.max_tokens {
            return;
        }
        self.tokens += 1;
        self.batch[self.batched] = piece;
        self.batched += 1;
        if self.batched == BATCH {
            self.hand_on();
        }
    }

    fn hand_on(&mut self) {
        if self.batched > 0 {
            (self.each)(&self.batch[..self.batched]);
            self.batched = 0;
        }
    }
}

/// The longest piece that `rest` begins with, and its bytes. A prefix that ends inside a character
/// is no piece, because pieces are UTF-8.
fn longest_piece(vocabulary: &Vocabulary, rest: &[u8], place: Place) -> Option<(u32, usize)> {
    let most = rest.len().min(vocabulary.longest());
    let mut hashes = [PieceHash::new(place); MAX_PIECE];
    let mut hash = PieceHash::new(place);
    for (byte, slot) in rest[..most].iter().zip(&mut hashes) {
        hash = hash.then(*byte);
        *slot = hash;
    }
    (1..=most)
        .rev()
        .find_map(|len| Some((vocabulary.get(&rest[..len], place, hashes[len - 1])?, len)))
}
