//! What an interner holds, and what it saves.

use crate::Bytes;

/// What an interner holds, and what it saves.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InternerStats {
    /// Distinct strings.
    pub unique_strings: u64,
    /// Times that a string was interned, the first time included.
    pub total_references: u64,
    /// Bytes of the distinct strings.
    pub text_bytes: Bytes,
    /// Bytes that the interner holds, text included.
    pub total_bytes: Bytes,
    /// References per distinct string; 0 of nothing.
    pub deduplication_ratio: f64,
    /// Bytes that the references would take as a `String` each, header and text, beyond a
    /// symbol each and `total_bytes`; 0 where interning costs more than that.
    pub bytes_saved: Bytes,
    /// Bytes of all references as a `String` each: what `bytes_saved` is a part of.
    pub bytes_without: Bytes,
}

/// What is counted.
pub(super) struct Counted {
    pub unique_strings: u64,
    pub total_references: u64,
    pub referenced_bytes: u64,
    pub text_bytes: u64,
    pub total_bytes: u64,
}

impl InternerStats {
    pub(super) fn new(counted: &Counted) -> Self {
        let references = counted.total_references;
        let without = references * size_of::<String>() as u64 + counted.referenced_bytes;
        let with = references * size_of::<super::Symbol>() as u64 + counted.total_bytes;
        let ratio = match counted.unique_strings {
            0 => 0.0,
            unique => references as f64 / unique as f64,
        };
        Self {
            unique_strings: counted.unique_strings,
            total_references: references,
            text_bytes: Bytes::new(counted.text_bytes),
            total_bytes: Bytes::new(counted.total_bytes),
            deduplication_ratio: ratio,
            bytes_saved: Bytes::new(without.saturating_sub(with)),
            bytes_without: Bytes::new(without),
        }
    }
}
