//! What `config.json` says, held against what this crate can do.
//!
//! Only the fields that change a result are read. One that asks for something else than is
//! implemented here is an error, never a silent difference.

use serde::Deserialize;

use crate::EmbedError;
use crate::asset::CONFIG;
use crate::tokenizer::MAX_WORD_CHARACTERS;

/// Limits of the format as implemented.
const MAX_DIM: usize = 8_192;
const MAX_ROWS: usize = 1 << 22;
const MAX_TOKENS: u32 = 1 << 20;

/// The checked configuration of a model.
#[derive(Debug)]
pub(crate) struct Config {
    /// The model's name for people and for the store.
    pub(crate) name: String,
    /// Values per vector; even.
    pub(crate) dim: usize,
    /// Word pieces, and rows of the table.
    pub(crate) rows: usize,
    /// A word of more characters than this is skipped.
    pub(crate) max_word_characters: usize,
    /// Pieces after these are left out.
    pub(crate) max_tokens: u32,
}

#[derive(Deserialize)]
struct File {
    format: String,
    base_model: String,
    dim: usize,
    vocab_size: usize,
    max_tokens: u32,
    tokenizer: Tokenizer,
}

#[derive(Deserialize)]
struct Tokenizer {
    r#type: String,
    clean_text: bool,
    isolate_cjk: bool,
    continuation_prefix: String,
    max_chars_per_word: usize,
}

impl Config {
    pub(crate) fn parse(json: &[u8]) -> Result<Self, EmbedError> {
        let file: File = serde_json::from_slice(json)
            .map_err(|error| EmbedError::malformed(CONFIG, error.to_string()))?;
        let refuse = |what: String| Err(EmbedError::malformed(CONFIG, what));
        let tokenizer = &file.tokenizer;
        if file.format != "static-embedding-v1" {
            return refuse(format!("format is {:?}", file.format));
        }
        if tokenizer.r#type != "bert-wordpiece" || tokenizer.continuation_prefix != "##" {
            let (kind, prefix) = (&tokenizer.r#type, &tokenizer.continuation_prefix);
            return refuse(format!(
                "tokenizer {kind:?} with prefix {prefix:?}, expected \"bert-wordpiece\" with \"##\""
            ));
        }
        if !(tokenizer.clean_text && tokenizer.isolate_cjk) {
            return refuse("clean_text and isolate_cjk must be true".into());
        }
        let limits = [
            ("dim", file.dim, MAX_DIM),
            ("vocab_size", file.vocab_size, MAX_ROWS),
            ("max_chars_per_word", tokenizer.max_chars_per_word, MAX_WORD_CHARACTERS),
            ("max_tokens", file.max_tokens as usize, MAX_TOKENS as usize),
        ];
        for (field, value, most) in limits {
            if value == 0 || value > most {
                return refuse(format!("{field} is {value}, expected 1 to {most}"));
            }
        }
        if !file.dim.is_multiple_of(2) {
            return refuse(format!("dim is {}, expected an even number", file.dim));
        }
        let model = file.base_model.rsplit('/').next().unwrap_or_default();
        Ok(Self {
            name: format!("static-{}-{}", model, file.dim),
            dim: file.dim,
            rows: file.vocab_size,
            max_word_characters: tokenizer.max_chars_per_word,
            max_tokens: file.max_tokens,
        })
    }
}
