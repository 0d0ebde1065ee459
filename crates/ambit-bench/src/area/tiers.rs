//! What do tiers bring on embeddings, beside decoded rows alone, and what does a row cost from each tier?
//!
//! A million keys of 384 dimensions, asked for by Zipf's law with exponent 0.99; the cap is a tenth of the raw bytes.
//! Key i has the record of row i modulo the rows that there are, so the sizes are real and the bits are decoded. The
//! optimum is what the most asked rows would hit that fit the cap with their packed bytes alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ambit_cache::policy::{Adaptive, S3Fifo};
use ambit_cache::{Cache, CacheConfig, Source, Tiers, TiersConfig};
use ambit_mem::{Account, Budget, Bytes, Priority};
use ambit_vector::lossless::{Encoder, Level, LosslessError, Scratch, Segment, max_encoded_len};

use super::Bench;
use super::lossless::fp16_normalised;
use crate::error::BenchError;
use crate::noise::Noise;
use crate::row::{Row, Table, Target};
use crate::timing::{median, time};

const KEYS: usize = 1_000_000;
const ROWS: usize = 32_768;
const EXPONENT: f64 = 0.99;
/// Requests before those that count, and those: who is asked for more than his neighbour shows late.
const REQUESTS: (usize, usize) = (12_000_000, 2_000_000);
/// Rows of a hot set.
const HOT: u64 = 20_000;

type Packed = Arc<[u8]>;
type Value = Arc<[f32]>;
type Rows<Q = Adaptive> = Tiers<u64, Packed, Value, Q>;

/// Rows of an encoded segment in memory.
struct Encoded<'a> {
    segment: Segment<'a>,
    rows: u64,
    dim: usize,
    loads: AtomicU64,
}

impl Encoded<'_> {
    fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }
}

impl Source<u64, Packed, Value> for Encoded<'_> {
    type Error = LosslessError;

    fn load(
        &self,
        keys: &[&u64],
        take: &mut dyn FnMut(usize, Packed),
    ) -> Result<(), LosslessError> {
        self.loads.fetch_add(keys.len() as u64, Ordering::Relaxed);
        for (place, key) in keys.iter().enumerate() {
            take(place, self.segment.record((**key % self.rows) as usize)?.into());
        }
        Ok(())
    }

    fn unpack(&self, _: &u64, packed: &Packed) -> Result<Value, LosslessError> {
        thread_local! {
            static SCRATCH: std::cell::RefCell<Option<Scratch>> = const { std::cell::RefCell::new(None) };
        }
        let mut value: Value = std::iter::repeat_n(0.0, self.dim).collect();
        let Some(out) = Arc::get_mut(&mut value) else {
            return Err(LosslessError::Shape { expected: self.dim, found: 0 });
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = scratch.get_or_insert_with(|| Scratch::new(self.dim));
            self.segment.decode_record(packed, None, scratch, out)
        })?;
        Ok(value)
    }
}

/// Ranks by Zipf's law, and keys for them.
struct Zipf {
    /// Sums of the weights.
    sums: Vec<f64>,
    noise: Noise,
}

impl Zipf {
    fn new(seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=KEYS).map(|rank| {
            sum += (rank as f64).powf(-EXPONENT);
            sum
        });
        Self { sums: sums.collect(), noise: Noise::new(seed) }
    }

    fn next(&mut self) -> u64 {
        let total = self.sums.last().copied().unwrap_or(1.0);
        let at = (self.noise.next_u64() >> 11) as f64 / (1u64 << 53) as f64 * total;
        let rank = self.sums.partition_point(|sum| *sum <= at) as u64;
        // Neighbours in rank are not neighbours in key; the multiplier has no factor of a million.
        rank * 387_420_489 % KEYS as u64
    }

    /// The share of requests that the `count` most asked keys get.
    fn share(&self, count: usize) -> f64 {
        let sum = |count: usize| self.sums.get(count.max(1) - 1).or(self.sums.last());
        sum(count).zip(self.sums.last()).map_or(0.0, |(some, all)| some / all)
    }
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(error.to_string())
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let glosses = bench.data.glosses()?;
    let dim = glosses.array.columns;
    let mut rows = glosses.array.values;
    rows.truncate(ROWS * dim);
    for origin in ["float32", "fp16 x scalar"] {
        if origin != "float32" {
            rows.chunks_exact_mut(dim).for_each(fp16_normalised);
        }
        let count = rows.len() / dim;
        let room = max_encoded_len(count, dim).ok_or_else(|| failed("too many rows"))?;
        let mut bytes = vec![0; room];
        let mut encoder = Encoder::new(dim, Level::Fast).map_err(failed)?;
        let len = encoder.encode_segment(&rows, &mut bytes).map_err(failed)?;
        bytes.truncate(len);
        let segment = Segment::open(&bytes).map_err(failed)?;
        let encoded = Encoded { segment, rows: count as u64, dim, loads: AtomicU64::new(0) };
        ratios(&encoded, origin, len / count, glosses.note, table)?;
        costs(&encoded, origin, glosses.note, table)?;
    }
    Ok(())
}

fn account(cap: Bytes) -> Account {
    Budget::new(cap.saturating_mul(2)).account("cache/rows", Priority::Cache)
}

fn ratios(
    encoded: &Encoded<'_>,
    origin: &str,
    packed: usize,
    note: &str,
    table: &mut Table,
) -> Result<(), BenchError> {
    let raw = 4 * encoded.dim;
    let cap = Bytes::of(KEYS * raw / 10);
    let case = format!("tiers, zipf 0.99 over {KEYS} x {}, {origin}", encoded.dim);
    let tiers = Rows::new(TiersConfig::new(cap), &account(cap)).map_err(failed)?;
    let config = TiersConfig::new(cap);
    let queued = Rows::with_policy(config, S3Fifo::default(), &account(cap)).map_err(failed)?;
    let alone: Cache<u64, Value> =
        Cache::new(CacheConfig::new(cap), &account(cap)).map_err(failed)?;
    let mut zipf = Zipf::new(3);
    let mut hits = [0_u64; 3];
    for request in 0..REQUESTS.0 + REQUESTS.1 {
        let key = zipf.next();
        let counts = u64::from(request >= REQUESTS.0);
        let before = encoded.loads();
        let value = tiers.get(encoded, &key).map_err(failed)?;
        let between = encoded.loads();
        queued.get(encoded, &key).map_err(failed)?;
        hits[0] += counts * u64::from(between == before);
        hits[1] += counts * u64::from(encoded.loads() == between);
        match alone.get(&key) {
            Some(_) => hits[2] += counts,
            None => {
                let value = value.ok_or_else(|| failed("a key without a row"))?;
                // A refusal is a miss the next time.
                let _ = alone.insert(key, value);
            }
        }
    }
    let [hits, queued_hits, alone_hits] = hits;
    let of = |hits: u64| hits as f64 / REQUESTS.1 as f64;
    let optimum = zipf.share(cap.get() as usize / packed);
    table.add(
        Row::new(&case, "row hits", of(hits), "ratio")
            .peer("optimum of this skew", optimum)
            .ratio_target(Target::AtLeast(0.97))
            .note(format!("{packed} B a packed row"))
            .note(note),
    )?;
    table.add(
        Row::new(&case, "row hits", of(hits), "ratio")
            .peer("with S3-FIFO below", of(queued_hits))
            .note(note),
    )?;
    table.add(
        Row::new(&case, "row hits", of(hits), "ratio")
            .peer("decoded rows alone", of(alone_hits))
            .ratio_target(Target::AtLeast(1.0))
            .note(note),
    )?;
    let hot = Rows::new(TiersConfig::new(cap), &account(cap)).map_err(failed)?;
    let mut noise = Noise::new(4);
    for _ in 0..5 * HOT {
        hot.get(encoded, &(noise.next_u64() % HOT)).map_err(failed)?;
    }
    let before = encoded.loads();
    for _ in 0..5 * HOT {
        hot.get(encoded, &(noise.next_u64() % HOT)).map_err(failed)?;
    }
    let missed = encoded.loads() - before;
    table.add(
        Row::new(
            &case,
            "hits of a hot set that fits",
            1.0 - missed as f64 / (5 * HOT) as f64,
            "ratio",
        )
        .target(Target::AtLeast(0.99))
        .note(note),
    )
}

/// Time of a row from the upper cache, and from the lower one.
fn costs(
    encoded: &Encoded<'_>,
    origin: &str,
    note: &str,
    table: &mut Table,
) -> Result<(), BenchError> {
    const FEW: u64 = 2_000;
    let cap = Bytes::mib(64);
    let case = format!("tiers, a row of {} dimensions, {origin}", encoded.dim);
    let (mut upper, mut lower) = (Vec::new(), Vec::new());
    for round in 0..15 {
        let tiers = Rows::new(TiersConfig { cap, unpacked: Bytes::mib(16) }, &account(cap))
            .map_err(failed)?;
        let keys: Vec<u64> = (0..FEW).map(|key| (key + round) * 7919 % ROWS as u64).collect();
        tiers.prefetch(encoded, &keys).map_err(failed)?;
        let all = || keys.iter().try_for_each(|key| tiers.get(encoded, key).map(drop));
        let (outcome, took) = time(all)?;
        outcome.map_err(failed)?;
        lower.push(took.cpu * 1e6 / FEW as f64);
        all().map_err(failed)?;
        let (outcome, took) = time(all)?;
        outcome.map_err(failed)?;
        upper.push(took.cpu * 1e9 / FEW as f64);
        if tiers.stats().unpacked.hits < FEW {
            return Err(failed("the third round did not hit the upper cache"));
        }
    }
    table.add(
        Row::new(&case, "from the upper cache", median(upper), "ns")
            .target(Target::AtMost(100.0))
            .note(note),
    )?;
    table.add(
        Row::new(&case, "from the lower cache", median(lower), "us")
            .target(Target::AtMost(2.0))
            .note(note),
    )
}
