//! The one thing that every embedder does: a text in, a vector of fixed length out.
//!
//! Vectors are of unit length, so that their inner product is their cosine. A text in which the
//! embedder knows no word has no direction; its vector is zero and [`Embedded::is_zero`] says so. A
//! zero vector must not be stored under cosine, so callers ask before they keep it.

use ambit_mem::Bytes;

use crate::EmbedError;

/// What became of one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Embedded {
    /// Pieces of the text that the vector was made from.
    pub tokens: u32,
    /// True if the vector is zero: no known word, or words that cancel out exactly.
    pub is_zero: bool,
}

/// Turns texts into vectors of unit length.
pub trait Embedder: Send + Sync {
    /// Values per vector.
    fn dim(&self) -> usize;

    /// Which model this is; vectors of different names cannot be compared.
    fn name(&self) -> &str;

    /// Writes the vector of `text` to `out`: `dim` values, f32, of unit length or all zero.
    ///
    /// # Errors
    ///
    /// [`EmbedError::WrongLength`] if `out` does not hold exactly [`dim`](Self::dim) values.
    fn embed(&self, text: &str, out: &mut [f32]) -> Result<Embedded, EmbedError>;

    /// Writes the vectors of `texts` to `out`: `texts.len()` x `dim`, row-major f32, and puts one
    /// [`Embedded`] per text into `embedded`, which is cleared first.
    ///
    /// # Errors
    ///
    /// [`EmbedError::WrongLength`] if `out` does not hold exactly texts x dimensions.
    fn embed_batch(
        &self,
        texts: &[&str],
        out: &mut [f32],
        embedded: &mut Vec<Embedded>,
    ) -> Result<(), EmbedError> {
        embedded.clear();
        let (expected, found) = (texts.len().saturating_mul(self.dim()), out.len());
        if expected != found {
            return Err(EmbedError::WrongLength { expected, found });
        }
        for (text, row) in texts.iter().zip(out.chunks_exact_mut(self.dim())) {
            embedded.push(self.embed(text, row)?);
        }
        Ok(())
    }

    /// Bytes that this embedder keeps, the pages of the binary that it reads included.
    fn footprint(&self) -> Bytes;
}
