//! The order of keys, by which equal scores are ordered.
//!
//! Keys that are decimal numbers, as the rows of an import have them, come first and compare
//! as numbers; all others compare by their bytes. So row 9 comes before row 10.

use std::cmp::Ordering;

/// Compares two keys.
pub fn compare_keys(a: &[u8], b: &[u8]) -> Ordering {
    match (is_number(a), is_number(b)) {
        (true, true) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => a.cmp(b),
    }
}

/// A decimal number without leading zeros.
fn is_number(key: &[u8]) -> bool {
    key.iter().all(u8::is_ascii_digit)
        && (key.len() == 1 || key.first().is_some_and(|&c| c != b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_first_and_in_their_own_order() {
        let mut keys: Vec<&[u8]> = vec![b"b", b"10", b"9", b"a9", b"a10", b"010", b"0", b""];
        keys.sort_by(|a, b| compare_keys(a, b));
        let expected: Vec<&[u8]> = vec![b"0", b"9", b"10", b"", b"010", b"a10", b"a9", b"b"];
        assert_eq!(keys, expected);
    }
}
