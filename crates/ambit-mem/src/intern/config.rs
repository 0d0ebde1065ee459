//! What an interner may keep.

use crate::Bytes;

/// Most bytes of text that an interner can hold: they are addressed by 32 bits.
const MOST_TEXT: Bytes = Bytes::new(u32::MAX as u64);
/// Most strings that an interner can hold: a slot of its tables has 31 bits for one of them.
const MOST_STRINGS: u32 = (1 << 31) - 2;

/// What an interner may keep.
///
/// | field | default | most |
/// |---|---|---|
/// | `max_strings` | 2^31 - 2 | 2^31 - 2 |
/// | `max_text` | 4 GiB - 1 | 4 GiB - 1 |
///
/// The budget bounds both together, with all that the interner needs beside the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternerConfig {
    /// Distinct strings, at most.
    pub max_strings: u32,
    /// Bytes of all distinct strings together, at most.
    pub max_text: Bytes,
}

impl Default for InternerConfig {
    fn default() -> Self {
        Self { max_strings: MOST_STRINGS, max_text: MOST_TEXT }
    }
}

impl InternerConfig {
    pub(super) fn strings(&self) -> u32 {
        self.max_strings.min(MOST_STRINGS)
    }

    pub(super) fn text(&self) -> Bytes {
        self.max_text.min(MOST_TEXT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones_and_the_most_there_can_be() {
        let InternerConfig { max_strings, max_text } = InternerConfig::default();
        assert_eq!(max_strings, (1 << 31) - 2);
        assert_eq!(max_text.get(), (4 << 30) - 1);
        let more = InternerConfig { max_strings: u32::MAX, max_text: Bytes::MAX };
        assert_eq!((more.strings(), more.text()), (max_strings, max_text));
    }
}
