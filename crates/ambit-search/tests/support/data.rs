//! Seeded data, and real embeddings where the checkout has them.

use std::path::Path;

/// A small generator, so that a failure can be replayed from its seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn vector(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| (self.next() >> 40) as f32 / (1u32 << 23) as f32 - 1.0).collect()
    }
}

/// Rows and queries: real embeddings where the checkout has them, else seeded clusters.
/// Returns the dimension, `n` rows and `m` queries (fewer where there are no real ones).
pub fn real_or_clustered(n: usize, m: usize) -> (usize, Vec<f32>, Vec<f32>) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/minilm");
    let rows = read_npy(&data.join("glosses_50k_384_f32.npy"), n * 384);
    let queries = read_npy(&data.join("queries_1k_384_f32.npy"), m * 384);
    if let (Some(rows), Some(queries)) = (rows, queries) {
        return (384, rows, queries);
    }
    let mut random = Random(12);
    let dim = 96;
    let centres = random.vector(40 * dim);
    let mut vectors = random.vector((n / 2 + m / 10) * dim);
    for vector in vectors.chunks_mut(dim) {
        let centre = random.next() as usize % 40;
        for (element, centre) in vector.iter_mut().zip(&centres[centre * dim..]) {
            *element = centre + 0.2 * *element;
        }
    }
    let queries = vectors.split_off(n / 2 * dim);
    (dim, vectors, queries)
}

/// The first `floats` of a version 1 .npy file of little-endian f32, if it is there.
fn read_npy(path: &Path, floats: usize) -> Option<Vec<f32>> {
    let bytes = std::fs::read(path).ok()?;
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let data = bytes.get(start..start + 4 * floats)?;
    Some(data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
