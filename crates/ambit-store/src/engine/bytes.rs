//! Bytes that can be seen as f32, u32 or u64: a growable buffer aligned to 8.

/// A byte buffer whose start is aligned to 8 bytes.
#[derive(Debug, Clone, Default)]
pub(super) struct AlignedBytes {
    words: Vec<u64>,
    len: usize,
}

impl AlignedBytes {
    /// Appends `bytes`.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        self.words.resize(end.div_ceil(8), 0);
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut self.words);
        all[self.len..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// The bytes.
    pub(super) fn as_slice(&self) -> &[u8] {
        let all: &[u8] = bytemuck::cast_slice(&self.words);
        &all[..self.len]
    }
}
