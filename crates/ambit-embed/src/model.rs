//! The static embedder: every word piece has one vector, a text is their weighted sum.
//!
//! The idea is model2vec's (Tulkens and van Dongen, "Model2Vec: Turn any Sentence Transformer into a
//! Small Fast Model", 2024): what a transformer says about a short text is mostly what its words say
//! on their own. The shipped table (`assets/static-embedder/README.md` tells how it was distilled and
//! how well it does) has 29,186 rows of 256 4-bit values. It costs a sum instead of a transformer;
//! word order and negation are invisible to it.

use std::path::Path;

use ambit_mem::{Account, Bytes, Reservation};

use crate::asset::Asset;
use crate::characters::Characters;
use crate::config::Config;
use crate::table::Rows;
use crate::tokenizer::Tokenizer;
use crate::vocabulary::Vocabulary;
use crate::{EmbedError, Embedded, Embedder};

/// An embedder that sums one table row per word piece; see the crate's example.
#[derive(Debug)]
pub struct StaticEmbedder {
    name: String,
    tokenizer: Tokenizer,
    rows: Rows,
    dim: usize,
    footprint: Bytes,
    /// Pays for all of the above.
    _reservation: Reservation,
    _pages: Option<Reservation>,
}

impl StaticEmbedder {
    /// The embedder that travels inside the binary.
    ///
    /// Reserves its [`footprint`](Embedder::footprint) on `account`: 4.6 MiB, of which 4.0 MiB are
    /// pages of the binary that become resident as texts touch them.
    ///
    /// # Errors
    ///
    /// [`EmbedError::OverBudget`] if the account does not allow it.
    ///
    /// # Cost
    ///
    /// About 2 ms; no I/O beyond the binary's own pages.
    pub fn built_in(account: &Account) -> Result<Self, EmbedError> {
        Self::assemble(Asset::built_in(account)?)
    }

    /// Another model of the same format: the directory `dir` with `model.safetensors`, `vocab.txt`,
    /// `config.json` and `normalize.json`. All of it is read into memory and reserved on `account`.
    ///
    /// # Errors
    ///
    /// [`EmbedError::Unreadable`] for a file that cannot be read, [`EmbedError::Malformed`] for one
    /// that is not of the format, [`EmbedError::OverBudget`] if the model does not fit.
    pub fn load(dir: &Path, account: &Account) -> Result<Self, EmbedError> {
        Self::assemble(Asset::read(dir, account)?)
    }

    /// The numbers of the word pieces of `text` (lines of `vocab.txt`, from 0), as they are summed;
    /// `pieces` is cleared first.
    pub fn tokenize(&self, text: &str, pieces: &mut Vec<u32>) {
        pieces.clear();
        self.tokenizer.tokenize(text, |batch| pieces.extend_from_slice(batch));
    }

    fn assemble(asset: Asset) -> Result<Self, EmbedError> {
        let Asset { model, vocabulary, config, characters, mut reservation, pages } = asset;
        let read = Bytes::of(config.len() + characters.len());
        let described = Config::parse(&config)?;
        let tokenizer = Tokenizer {
            characters: Characters::parse(&characters, &mut reservation)?,
            vocabulary: Vocabulary::parse(vocabulary, described.rows, &mut reservation)?,
            max_word_characters: described.max_word_characters,
            max_tokens: described.max_tokens,
        };
        let rows = Rows::parse(model, described.rows, described.dim, &mut reservation)?;
        // The two JSON files have been read and are not touched again: memory of their own goes,
        // and pages of the binary are the system's to drop.
        drop((config, characters));
        reservation.shrink(read);
        Ok(Self {
            name: described.name,
            tokenizer,
            rows,
            dim: described.dim,
            footprint: pages
                .as_ref()
                .map_or(Bytes::ZERO, Reservation::bytes)
                .saturating_add(reservation.bytes()),
            _reservation: reservation,
            _pages: pages,
        })
    }
}

impl Embedder for StaticEmbedder {
    fn dim(&self) -> usize {
        self.dim
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn embed(&self, text: &str, out: &mut [f32]) -> Result<Embedded, EmbedError> {
        if out.len() != self.dim {
            return Err(EmbedError::WrongLength { expected: self.dim, found: out.len() });
        }
        out.fill(0.0);
        let tokens = self.tokenizer.tokenize(text, |pieces| self.rows.add(pieces, out));
        let is_zero = !self.rows.finish(out);
        Ok(Embedded { tokens, is_zero })
    }

    fn footprint(&self) -> Bytes {
        self.footprint
    }
}
