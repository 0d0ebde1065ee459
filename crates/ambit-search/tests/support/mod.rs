//! A source in memory, the brute force that answers are held against, and seeded data.

mod coded;
mod data;

use std::cmp::Ordering;
use std::ops::Range;

use ambit_mem::{Account, Budget, Bytes, Priority};
use ambit_search::{
    Batch, BatchOptions, DenseBlock, DenseSource, Exactness, Hit, Metric, Options, Query, RowRef,
    Rows, Sharing, SourceError, search, search_batch,
};
pub use coded::{Coded, model};
pub use data::{Random, real_or_clustered};

impl Random {
    /// Finite values with exponents around `power`, at least one of them not 0.
    pub fn scaled(&mut self, len: usize, power: i32, spread: u64) -> Vec<f32> {
        let unit = self.vector(len);
        let mut values: Vec<f32> = unit
            .iter()
            .map(|value| {
                let shift = (self.next() % (2 * spread + 1)) as i32 - spread as i32;
                let scaled = f64::from(*value) * 2f64.powi(power + shift);
                (scaled as f32).clamp(f32::MIN, f32::MAX)
            })
            .collect();
        values[0] = 2f64.powi(power) as f32;
        values
    }
}

pub fn account() -> Account {
    Budget::new(Bytes::mib(256)).account("query/scratch", Priority::Query)
}

/// Rows in memory. Row i is row i of part 3, and its key is a scramble of i, so that
/// the order of keys is neither that of rows nor that of blocks.
pub struct Memory {
    dim: usize,
    vectors: Vec<f32>,
    norms: Vec<f32>,
    rows_per_block: usize,
    numbers: Option<Vec<u32>>,
    dead: Vec<bool>,
    fails_at: Option<usize>,
    malformed_at: Option<usize>,
    keys_unreadable: bool,
}

impl Memory {
    /// The rows of some blocks.
    fn rows_of(&self, blocks: &Range<usize>) -> Range<usize> {
        let row = |block: usize| (block * self.rows_per_block).min(self.norms.len());
        row(blocks.start)..row(blocks.end)
    }

    pub fn new(dim: usize, vectors: Vec<f32>) -> Self {
        let kernels = ambit_vector::kernels();
        let norms: Vec<f32> = vectors.chunks(dim.max(1)).map(|row| kernels.norm(row)).collect();
        Self {
            dim,
            dead: vec![false; norms.len()],
            rows_per_block: norms.len().max(1),
            vectors,
            norms,
            numbers: None,
            fails_at: None,
            malformed_at: None,
            keys_unreadable: false,
        }
    }

    pub fn cut(mut self, rows_per_block: usize) -> Self {
        self.rows_per_block = rows_per_block.max(1);
        self
    }

    /// Names rows by a list instead of a range.
    pub fn listed(mut self) -> Self {
        self.numbers = Some((0..self.norms.len() as u32).collect());
        self
    }

    pub fn with_dead(mut self, dead: impl Fn(u32) -> bool) -> Self {
        self.dead = (0..self.norms.len() as u32).map(dead).collect();
        self
    }

    pub fn failing_at(mut self, block: usize) -> Self {
        self.fails_at = Some(block);
        self
    }

    pub fn malformed_at(mut self, block: usize) -> Self {
        self.malformed_at = Some(block);
        self
    }

    pub fn with_unreadable_keys(mut self) -> Self {
        self.keys_unreadable = true;
        self
    }

    fn row(&self, row: u32) -> &[f32] {
        &self.vectors[row as usize * self.dim..(row as usize + 1) * self.dim]
    }
}

fn key(row: u32) -> u32 {
    row.wrapping_mul(0x9e37_79b1).rotate_left(7)
}

impl DenseSource for Memory {
    fn dim(&self) -> usize {
        self.dim
    }

    fn blocks(&self) -> usize {
        self.norms.len().div_ceil(self.rows_per_block)
    }

    fn visit(&self, block: usize, take: &mut dyn FnMut(DenseBlock<'_>)) -> Result<(), SourceError> {
        if self.fails_at == Some(block) {
            return Err(format!("block {block} is unreadable").into());
        }
        let first = block * self.rows_per_block;
        let end = self.norms.len().min(first + self.rows_per_block);
        let dead = |row: u32| self.dead[row as usize];
        let short = usize::from(self.malformed_at == Some(block));
        // Two calls, so that a block in pieces is part of every test.
        for (first, end) in [(first, first + (end - first) / 3), (first + (end - first) / 3, end)] {
            let rows = match &self.numbers {
                Some(numbers) => Rows::List(&numbers[first..end]),
                None => Rows::Range { first: first as u32, len: end - first },
            };
            take(DenseBlock {
                part: 3,
                rows,
                vectors: &self.vectors[first * self.dim..end * self.dim - short],
                norms: &self.norms[first..end],
                dead: self.dead.contains(&true).then_some(&dead),
            });
        }
        Ok(())
    }

    fn compare_keys(&self, a: RowRef, b: RowRef) -> Result<Ordering, SourceError> {
        if self.keys_unreadable {
            return Err("keys are unreadable".into());
        }
        assert_eq!((a.part, b.part), (3, 3));
        Ok(key(a.row).cmp(&key(b.row)))
    }
}

/// All live rows scored in f64 and sorted: the definition of the answer.
pub fn brute_force(source: &Memory, query: &[f32], k: usize, metric: Metric) -> Vec<Hit> {
    let kernels = ambit_vector::kernels();
    let norm_sq = kernels.dot_f64(query, query);
    let live = (0..source.norms.len() as u32).filter(|row| !source.dead[*row as usize]);
    let mut hits: Vec<Hit> = live
        .map(|row| {
            let x = source.row(row);
            let score = match metric {
                Metric::Cosine => {
                    kernels.dot_f64(query, x) / (norm_sq * kernels.dot_f64(x, x)).sqrt()
                }
                Metric::Euclidean => kernels.l2sq_f64(query, x).sqrt(),
                _ => kernels.dot_f64(query, x),
            };
            Hit { row: RowRef { part: 3, row }, score }
        })
        .collect();
    hits.sort_by(|a, b| {
        let by_score = match metric {
            Metric::Euclidean => a.score.partial_cmp(&b.score),
            _ => b.score.partial_cmp(&a.score),
        };
        by_score
            .unwrap_or_else(|| a.score.is_nan().cmp(&b.score.is_nan()))
            .then(key(a.row.row).cmp(&key(b.row.row)))
    });
    hits.truncate(k);
    hits
}

/// Same rows in the same order, same score bits (all NaN are one).
pub fn assert_same(found: &[Hit], expected: &[Hit]) {
    assert_eq!(found.len(), expected.len());
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let both_nan = found.score.is_nan() && expected.score.is_nan();
        assert!(
            found.row == expected.row && (found.score == expected.score || both_nan),
            "hit {i}: {found:?}, expected {expected:?}"
        );
    }
}

/// Holds every way to search, for every metric, with planes over all, some and none of the
/// blocks, against the brute force.
pub fn assert_exact(source: &Memory, queries: &[f32], k: usize) {
    for metric in Metric::ALL {
        assert_found(source, source, queries, k, metric);
        if source.dim == 0 {
            continue;
        }
        let (model, blocks) = (model(source, metric), source.blocks());
        let some = [0..blocks / 3, blocks - blocks / 3..blocks];
        assert_found(&Coded::whole(source, &model), source, queries, k, metric);
        assert_found(&Coded::new(source, &model, &some), source, queries, k, metric);
        assert_found(&Coded::ordered(source, &model, &some), source, queries, k, metric);
        let ordered = Coded::ordered(source, &model, std::slice::from_ref(&(0..blocks)));
        assert_found(&ordered, source, queries, k, metric);
    }
}

/// Holds every way to search `source`, whose rows are those of `memory`, against the brute
/// force.
fn assert_found<S: DenseSource>(
    source: &S,
    memory: &Memory,
    queries: &[f32],
    k: usize,
    metric: Metric,
) {
    let account = account();
    let expected: Vec<Vec<Hit>> =
        queries.chunks(memory.dim).map(|query| brute_force(memory, query, k, metric)).collect();
    for threads in [1, 2] {
        let options = Options { threads, account: &account, cancel: None };
        for (vector, expected) in queries.chunks(memory.dim).zip(&expected) {
            let answer = search(source, &Query { vector, k, metric }, &options).unwrap();
            assert_same(&answer.hits, expected);
            let Exactness::Certified { margin, fell_back, .. } = answer.exactness else {
                unreachable!("a search is certified")
            };
            assert!(!fell_back && (margin.is_nan() || margin >= 0.0), "{margin}");
        }
        for sharing in [Sharing::Shared, Sharing::OneAtATime] {
            let batch = Batch { vectors: queries, k, metric };
            let options = BatchOptions { options, sharing };
            let answers = search_batch(source, &batch, &options).unwrap();
            assert_eq!(answers.len(), expected.len());
            for (answer, expected) in answers.iter().zip(&expected) {
                assert_same(&answer.hits, expected);
            }
        }
    }
    assert_eq!(account.used(), ambit_mem::Bytes::ZERO);
}
