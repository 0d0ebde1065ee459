//! Any text: the same tokens as a slow, obvious tokenizer, the same vector as an obvious sum, unit
//! length or zero, and never a panic.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::collections::{BTreeMap, HashMap};

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::{Budget, Bytes, Priority};
use proptest::prelude::*;
use serde::Deserialize;

const MAX_TOKENS: usize = 512;
const MAX_WORD: usize = 100;
const DIM: usize = 256;

/// The reference tokenizer, word for word: normalise the whole text, cut words, cut pieces.
struct Oracle {
    vocabulary: HashMap<&'static str, u32>,
    characters: Characters,
    factors: Vec<f32>,
    table: &'static [u8],
}

#[derive(Deserialize)]
struct Characters {
    drop: Vec<[u32; 2]>,
    space: Vec<[u32; 2]>,
    punct: Vec<[u32; 2]>,
    map: BTreeMap<char, String>,
}

fn within(ranges: &[[u32; 2]], c: char) -> bool {
    ranges.iter().any(|&[first, last]| (first..=last).contains(&u32::from(c)))
}

fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{4E00}'..='\u{9FFF}' | '\u{3400}'..='\u{4DBF}' | '\u{20000}'..='\u{2A6DF}'
        | '\u{2A700}'..='\u{2B73F}' | '\u{2B740}'..='\u{2B81F}' | '\u{2B920}'..='\u{2CEAF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{2F800}'..='\u{2FA1F}')
}

impl Oracle {
    fn new() -> Self {
        let vocabulary = include_str!("../assets/static-embedder/vocab.txt");
        let model = include_bytes!("../assets/static-embedder/model.safetensors");
        let tensors = safetensors::SafeTensors::deserialize(model).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let bytes = tensors.tensor(name).unwrap().data().chunks(4);
            bytes.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
        };
        let (weights, scales) = (floats("weights"), floats("scales"));
        Self {
            vocabulary: vocabulary.lines().zip(0..).collect(),
            characters: serde_json::from_str(include_str!(
                "../assets/static-embedder/normalize.json"
            ))
            .unwrap(),
            factors: weights.iter().zip(&scales).map(|(weight, scale)| weight * scale).collect(),
            table: tensors.tensor("table").unwrap().data(),
        }
    }

    fn normalize(&self, text: &str) -> String {
        let mut out = String::new();
        for c in text.chars() {
            if within(&self.characters.drop, c) {
            } else if within(&self.characters.space, c) {
                out.push(' ');
            } else if let Some(to) = self.characters.map.get(&c) {
                out.push_str(to);
            } else if is_ideograph(c) {
                out.extend([' ', c, ' ']);
            } else if ('\u{AC00}'..='\u{D7A3}').contains(&c) {
                let s = u32::from(c) - 0xAC00;
                out.push(char::from_u32(0x1100 + s / 588).unwrap());
                out.push(char::from_u32(0x1161 + s % 588 / 28).unwrap());
                if s % 28 > 0 {
                    out.push(char::from_u32(0x11A7 + s % 28).unwrap());
                }
            } else {
                out.push(c);
            }
        }
        out
    }

    fn words(&self, normalized: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        for c in normalized.chars() {
            if within(&self.characters.space, c) {
                words.push(String::new());
            } else if within(&self.characters.punct, c) {
                words.extend([c.to_string(), String::new()]);
            } else {
                words.last_mut().unwrap().push(c);
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }

    fn pieces(&self, word: &str) -> Vec<u32> {
        let characters: Vec<char> = word.chars().collect();
        let (mut pieces, mut from) = (Vec::new(), 0);
        if characters.len() > MAX_WORD {
            return pieces;
        }
        while from < characters.len() {
            let found = (from + 1..=characters.len()).rev().find_map(|to| {
                let part: String = characters[from..to].iter().collect();
                let name = if from == 0 { part } else { format!("##{part}") };
                Some((*self.vocabulary.get(name.as_str())?, to))
            });
            let Some((piece, to)) = found else {
                return Vec::new();
            };
            pieces.push(piece);
            from = to;
        }
        pieces
    }

    fn tokenize(&self, text: &str) -> Vec<u32> {
        let words = self.words(&self.normalize(text));
        words.iter().flat_map(|word| self.pieces(word)).take(MAX_TOKENS).collect()
    }

    /// The sum in f64, so that the difference is that of the fast sum's rounding.
    fn embed(&self, tokens: &[u32]) -> Vec<f64> {
        let mut sum = vec![0.0; DIM];
        for &token in tokens {
            let row = &self.table[token as usize * DIM / 2..][..DIM / 2];
            for (k, byte) in row.iter().enumerate() {
                let factor = f64::from(self.factors[token as usize]);
                sum[2 * k] += factor * (f64::from(byte & 15) - 8.0);
                sum[2 * k + 1] += factor * (f64::from(byte >> 4) - 8.0);
            }
        }
        let norm = sum.iter().map(|value| value * value).sum::<f64>().sqrt();
        sum.iter().map(|value| if norm > 0.0 { value / norm } else { 0.0 }).collect()
    }
}

/// Any characters, and texts built from what the tokenizer treats in a special way.
fn texts() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "dog",
        "Dogs",
        "antidisestablishmentarianism",
        " ",
        "\t",
        "\n",
        "\u{A0}",
        "\u{3000}",
        "'",
        "-",
        "##",
        "ing",
        "#",
        "É",
        "e\u{301}",
        "İ",
        "Σ",
        "ß",
        "\u{37E}",
        "\u{AD}",
        "\u{200B}",
        "\0",
        "\u{7F}",
        "\u{85}",
        "\u{FFFD}",
        "東",
        "豈",
        "\u{FA0E}",
        "한",
        "가",
        "ひ",
        "😀",
        "\u{10FFFF}",
        "\u{E000}",
        "1,234",
        "foo_bar",
        "xn--",
        "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqq",
    ];
    let part = prop_oneof![
        4 => prop::sample::select(PARTS).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => prop::char::range('\0', '\u{24F}').prop_map(String::from),
        1 => (prop::sample::select(PARTS), 90..130_usize)
            .prop_map(|(part, times)| part.chars().take(1).collect::<String>().repeat(times)),
    ];
    prop::collection::vec(part, 0..80).prop_map(|parts| parts.concat())
}

fn check(embedder: &StaticEmbedder, oracle: &Oracle, text: &str) {
    let expected = oracle.tokenize(text);
    let mut pieces = vec![7];
    embedder.tokenize(text, &mut pieces);
    assert_eq!(pieces, expected, "{text:?}");

    let mut vector = vec![f32::NAN; DIM];
    let embedded = embedder.embed(text, &mut vector).unwrap();
    assert_eq!(embedded.tokens as usize, expected.len());
    let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    if embedded.is_zero {
        assert!(vector.iter().all(|value| value.to_bits() == 0), "{text:?}");
    } else {
        assert!((norm - 1.0).abs() < 1e-6, "{text:?}: {norm}");
        for (found, expected) in vector.iter().zip(oracle.embed(&expected)) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{text:?}");
        }
    }
}

fn embedder() -> StaticEmbedder {
    let budget = Budget::new(Bytes::mib(16));
    StaticEmbedder::built_in(&budget.account("embedder", Priority::Query)).unwrap()
}

#[test]
fn any_text_has_the_tokens_and_the_vector_of_the_slow_oracle() {
    let (embedder, oracle) = (embedder(), Oracle::new());
    proptest!(ProptestConfig::with_cases(2_000), |(text in texts())| {
        check(&embedder, &oracle, &text);
    });
}

#[test]
fn every_character_alone_and_between_letters_has_the_tokens_of_the_slow_oracle() {
    let (embedder, oracle) = (embedder(), Oracle::new());
    let mut pieces = Vec::new();
    // All characters up to Hangul's end, then a sample of the rest.
    let characters = ('\0'..='\u{D7FF}').chain(('\u{E000}'..=char::MAX).step_by(17));
    for c in characters {
        for text in [format!("{c}"), format!("a{c}b")] {
            embedder.tokenize(&text, &mut pieces);
            assert_eq!(pieces, oracle.tokenize(&text), "{text:?}");
        }
    }
}

#[test]
fn every_piece_of_the_vocabulary_that_is_a_word_is_found_as_one_token() {
    let embedder = embedder();
    let mut pieces = Vec::new();
    for (word, number) in include_str!("../assets/static-embedder/vocab.txt").lines().zip(0..) {
        if !word.starts_with("##") || word == "##" {
            embedder.tokenize(word, &mut pieces);
            assert_eq!(pieces, [number], "{word:?}");
        }
    }
}

#[test]
fn words_of_100_characters_are_cut_and_words_of_101_are_skipped() {
    let (embedder, oracle) = (embedder(), Oracle::new());
    for (len, some) in [(99, true), (100, true), (101, false), (102, false)] {
        for letter in ["x", "가", "é", "я"] {
            // A Hangul syllable of two jamo is two characters.
            let text = if letter == "가" { letter.repeat(len / 2) } else { letter.repeat(len) };
            check(&embedder, &oracle, &text);
            if letter == "x" {
                assert_eq!(!oracle.tokenize(&text).is_empty(), some, "{len}");
            }
        }
    }
}

#[test]
fn texts_of_511_512_and_513_pieces_count_at_most_512() {
    let (embedder, oracle) = (embedder(), Oracle::new());
    for (len, expected) in [(511, 511), (512, 512), (513, 512), (5_000, 512)] {
        let text = "dog ".repeat(len);
        check(&embedder, &oracle, &text);
        let mut vector = vec![0.0; DIM];
        assert_eq!(embedder.embed(&text, &mut vector).unwrap().tokens, expected);
    }
    // The last word is cut into pieces across the limit.
    for words in 505..513 {
        let text = format!("{}antidisestablishmentarianism dog", "dog ".repeat(words));
        check(&embedder, &oracle, &text);
    }
}
