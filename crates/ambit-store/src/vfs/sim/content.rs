//! The bytes of one simulated file, in shared pages.
//!
//! A copy shares every page with its original and costs one pointer per 4 KiB; a write copies
//! only the pages that it touches. So a whole directory can be forked at every call.

use std::sync::{Arc, OnceLock};

const PAGE: usize = 4096;

type Page = [u8; PAGE];

fn zero_page() -> Arc<Page> {
    static ZERO: OnceLock<Arc<Page>> = OnceLock::new();
    Arc::clone(ZERO.get_or_init(|| Arc::new([0; PAGE])))
}

/// Bytes with cheap copies. Bytes past `len` in the last page are zero.
#[derive(Clone, Default)]
pub(super) struct Content {
    pages: Vec<Arc<Page>>,
    len: usize,
}

impl Content {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Makes the file at least `len` bytes long; new bytes are zero.
    pub(super) fn grow(&mut self, len: usize) {
        if len > self.len {
            self.pages.resize_with(len.div_ceil(PAGE), zero_page);
            self.len = len;
        }
    }

    /// Cuts the file to at most `len` bytes.
    pub(super) fn cut(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.pages.truncate(len.div_ceil(PAGE));
        self.len = len;
        let inside = len % PAGE;
        if inside > 0
            && let Some(last) = self.pages.last_mut()
        {
            Arc::make_mut(last)[inside..].fill(0);
        }
    }

    /// Copies bytes out; returns how many there were.
    pub(super) fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let end = offset.saturating_add(into.len()).min(self.len);
        let mut at = offset;
        while at < end {
            let inside = at % PAGE;
            let step = (PAGE - inside).min(end - at);
            let target = at - offset;
            into[target..target + step]
                .copy_from_slice(&self.pages[at / PAGE][inside..inside + step]);
            at += step;
        }
        at - offset
    }

    /// Puts bytes in, growing the file where they end past it.
    pub(super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        self.grow(end);
        let mut at = offset;
        while at < end {
            let inside = at % PAGE;
            let step = (PAGE - inside).min(end - at);
            let source = at - offset;
            Arc::make_mut(&mut self.pages[at / PAGE])[inside..inside + step]
                .copy_from_slice(&bytes[source..source + step]);
            at += step;
        }
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        let mut content = Self::default();
        content.write(0, bytes);
        content
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_later_writes() {
        let mut original = Content::from(&[1; 10_000][..]);
        let copy = original.clone();
        original.write(4090, &[2; 10]);
        original.cut(5000);
        assert_eq!(copy.to_vec(), vec![1; 10_000]);
        assert_eq!(
            original.to_vec()[4085..4105],
            [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1]
        );
    }

    #[test]
    fn bytes_that_were_cut_off_come_back_as_zeros() {
        let mut content = Content::from(&[7; 600][..]);
        content.cut(500);
        content.grow(600);
        assert_eq!(content.to_vec()[500..], [0; 100]);
    }
}
