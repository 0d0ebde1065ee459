//! What do RaBitQ, product codes, rotations and k-means cost, and what do they find?
//!
//! One thread, k = 10, inner product, all rows and queries of the data. Recall is that of the scan
//! alone where nothing else is said; truth is the exact f32 scan. Times are processor time, the
//! best round for encoding, the median query for scans, each with making the query ready.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::path::Path;

use ambit_vector::kmeans;
use ambit_vector::product::{Bits, Product, ProductOptions, Turn};
use ambit_vector::quantizer::CodeError;
use ambit_vector::rabitq::{Rabitq, RabitqOptions};
use ambit_vector::rotation::Rotation;
use ambit_vector::{Metric, TopK, kernels};
use serde::Deserialize;

use super::{Bench, failed};
use crate::error::BenchError;
use crate::npy::Array;
use crate::peer;
use crate::row::{Row, Table, Target};
use crate::timing::{median, time};

const K: usize = 10;
const ROUNDS: usize = 3;
/// Rows that codebooks are found from, for 16 centroids a part and for 256.
const SAMPLES: [usize; 2] = [16_384, 65_536];
const CLUSTERS: usize = 512;
/// Rotations over which the recall of RaBitQ is averaged: one moves it by 0.003.
const SEEDS: u64 = 4;
const ABSENT: &str = "no Python with faiss and turbovec: set AMBIT_PEERS_PYTHON after pip install \
    faiss-cpu turbovec numpy";

/// Codes of one peer.
#[derive(Deserialize)]
struct PeerCodes {
    name: String,
    code_len: f64,
    recall: f64,
    cpu_ms: f64,
    encode_mb: f64,
}

/// What the Python peers print.
#[derive(Deserialize)]
struct Peers {
    versions: String,
    codes: Vec<PeerCodes>,
    kmeans_s: f64,
    kmeans_distortion: f64,
}

/// Either quantizer.
trait Codes {
    type Query;
    fn code_len(&self) -> f64;
    fn codes_len(&self, rows: usize) -> usize;
    fn encode(&self, rows: &[f32], codes: &mut [u8]) -> Result<(), CodeError>;
    fn query(&self, vector: &[f32]) -> Result<Self::Query, CodeError>;
    fn top(&self, query: &Self::Query, codes: &[u8], top: &mut TopK) -> Result<(), CodeError>;
}

/// Forwards to the methods of a quantizer, for so many rows.
macro_rules! codes_of {
    ($quantizer:ty, $query:ty) => {
        impl Codes for (usize, $quantizer) {
            type Query = $query;

            fn code_len(&self) -> f64 {
                self.1.code_len()
            }

            fn codes_len(&self, rows: usize) -> usize {
                self.1.codes_len(rows)
            }

            fn encode(&self, rows: &[f32], codes: &mut [u8]) -> Result<(), CodeError> {
                self.1.encode(0, rows, codes)
            }

            fn query(&self, vector: &[f32]) -> Result<$query, CodeError> {
                self.1.query(vector)
            }

            fn top(&self, query: &$query, codes: &[u8], top: &mut TopK) -> Result<(), CodeError> {
                self.1.scan_top(query, codes, self.0, top)
            }
        }
    };
}

codes_of!(Rabitq, ambit_vector::rabitq::RabitqQuery);
codes_of!(Product, ambit_vector::product::ProductQuery);

/// What one kind of codes must reach, and beside whom.
#[derive(Default)]
struct Aim {
    /// Megabytes of f32 coded in a second.
    encode: Option<f64>,
    encode_peer: Option<&'static str>,
    /// Recall that must not be above ours.
    recall_peers: &'static [&'static str],
    /// Time that must not be below ours.
    time_peer: Option<&'static str>,
    /// Rows that are scored again, and the recall that must then be reached.
    rescored: Option<(usize, f64)>,
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (glosses, queries) = (bench.data.glosses()?, bench.data.queries()?);
    let peers = peers(&glosses.path, &queries.path)?;
    let data = Questions::new(&glosses.array, &queries.array, glosses.note, peers);
    rotation(table, &glosses.array)?;
    clusters(table, &data)?;
    rabitq(table, &data)?;
    product(table, &data)
}

fn peers(base: &Path, queries: &Path) -> Result<Option<Peers>, BenchError> {
    let Some(python) = peer::python_with("faiss, turbovec") else {
        return Ok(None);
    };
    peer::run(&python, include_str!("../../../peers/learned.py"), &[base, queries]).map(Some)
}

fn rotation(table: &mut Table, array: &Array<f32>) -> Result<(), BenchError> {
    let dim = array.columns;
    let rotation = Rotation::new(dim, 1).map_err(|error| BenchError::new(error.to_string()))?;
    let mut rows = array.values[..64 * dim].to_vec();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS * 100 {
        let ((), took) = time(|| rotation.apply(black_box(&mut rows)))?;
        best = best.min(took.cpu);
    }
    let gigabytes = size_of_val(rows.as_slice()) as f64 / best / 1e9;
    let note = format!("{:.0} ns a row of {dim}", best / 64.0 * 1e9);
    table.add(Row::new("codes, rotation", "rows in cache", gigabytes, "GB/s of f32").note(note))
}

fn clusters(table: &mut Table, data: &Questions<'_>) -> Result<(), BenchError> {
    let options = kmeans::Options::new(data.rows.columns, CLUSTERS);
    let (trained, took) =
        time(|| kmeans::train(&data.rows.values, &options, &mut |_| ControlFlow::Continue(())))?;
    let trained = trained.map_err(|error| BenchError::new(error.to_string()))?;
    let note = format!("{} steps, largest {} rows", trained.steps, trained.largest);
    let case = format!("codes, k-means, {CLUSTERS} clusters");
    let seconds = Row::new(&case, "cpu", took.cpu, "s").note(note);
    let distortion = Row::new(&case, "mean squared distance", trained.distortion, "");
    let name = "faiss Kmeans, 16 steps";
    table.add(match &data.peers {
        Some(peers) => seconds.peer(name, peers.kmeans_s),
        None => seconds.absent_peer(name, ABSENT),
    })?;
    table.add(match &data.peers {
        Some(peers) => distortion.peer(name, peers.kmeans_distortion),
        None => distortion.absent_peer(name, ABSENT),
    })
}

fn rabitq(table: &mut Table, data: &Questions<'_>) -> Result<(), BenchError> {
    for bits in [1, 2, 4, 8] {
        let (dim, rows) = (data.rows.columns, data.rows.values.as_slice());
        let quantizers = (1..=SEEDS).map(|seed| {
            let options = RabitqOptions { bits, metric: Metric::InnerProduct, seed };
            Ok((data.rows.rows, Rabitq::train(options, dim, rows).map_err(failed)?))
        });
        let quantizers = quantizers.collect::<Result<Vec<_>, BenchError>>()?;
        let (encode_peer, recall_peers, time_peer): (_, &[_], _) = match bits {
            1 => (
                Some("faiss RaBitQ 1-bit"),
                &["faiss RaBitQ 1-bit", "faiss RaBitQ 1-bit fast-scan"],
                Some("faiss RaBitQ 1-bit fast-scan"),
            ),
            2 => (
                Some("faiss RaBitQ 2-bit"),
                &["faiss RaBitQ 2-bit", "turbovec 2-bit"],
                Some("turbovec 2-bit"),
            ),
            4 => (
                Some("faiss RaBitQ 4-bit"),
                &["faiss RaBitQ 4-bit", "turbovec 4-bit"],
                Some("turbovec 4-bit"),
            ),
            _ => (None, &[], None),
        };
        let rescored = if bits == 4 { Some((50, 0.999)) } else { None };
        let aim = Aim { encode: Some(300.0), encode_peer, recall_peers, time_peer, rescored };
        data.ask(table, &format!("RaBitQ {bits}-bit"), &quantizers, &aim)?;
    }
    Ok(())
}

fn product(table: &mut Table, data: &Questions<'_>) -> Result<(), BenchError> {
    let kinds: [(usize, Bits, Turn, Aim); 6] = [
        (
            96,
            Bits::Four,
            Turn::None,
            Aim {
                encode_peer: Some("faiss PQ96x4 fast-scan"),
                time_peer: Some("faiss PQ96x4 fast-scan"),
                ..Aim::default()
            },
        ),
        (
            96,
            Bits::Four,
            Turn::Learned,
            Aim {
                recall_peers: &["faiss PQ96x4 fast-scan", "faiss OPQ96, PQ96x4 fast-scan"],
                encode_peer: Some("faiss OPQ96, PQ96x4 fast-scan"),
                ..Aim::default()
            },
        ),
        (
            48,
            Bits::Eight,
            Turn::None,
            Aim {
                recall_peers: &["faiss PQ48x8"],
                time_peer: Some("faiss PQ48x8"),
                ..Aim::default()
            },
        ),
        (
            192,
            Bits::Four,
            Turn::Learned,
            Aim { recall_peers: &["faiss PQ192x4 fast-scan"], ..Aim::default() },
        ),
        (
            384,
            Bits::Four,
            Turn::None,
            Aim { time_peer: Some("faiss PQ384x4 fast-scan"), ..Aim::default() },
        ),
        (
            384,
            Bits::Four,
            Turn::Learned,
            Aim {
                recall_peers: &["faiss PQ384x4 fast-scan"],
                rescored: Some((50, 0.999)),
                ..Aim::default()
            },
        ),
    ];
    let dim = data.rows.columns;
    for (parts, bits, turn, aim) in kinds {
        if parts > dim {
            continue;
        }
        let options =
            ProductOptions { turn, ..ProductOptions::new(dim, parts, bits, Metric::InnerProduct) };
        let sample = SAMPLES[usize::from(bits == Bits::Eight)].min(data.rows.rows);
        let sample = &data.rows.values[..sample * dim];
        let (quantizer, took) = time(|| Product::train(options, sample))?;
        let quantizer = quantizer.map_err(failed)?;
        let width = if bits == Bits::Four { 4 } else { 8 };
        let learned = if turn == Turn::Learned { ", learned rotation" } else { "" };
        let name = format!("PQ {parts} x {width} bits{learned}");
        let row = Row::new("codes, training", &name, took.cpu, "s");
        table.add(row.note(format!("{} rows", sample.len() / dim)))?;
        data.ask(table, &name, &[(data.rows.rows, quantizer)], &aim)?;
    }
    Ok(())
}

/// What one quantizer does.
struct Found {
    encode_mb: f64,
    recall: f64,
    query_ms: f64,
    rescored: f64,
}

/// What is asked, what is right, and who else was asked.
struct Questions<'a> {
    rows: &'a Array<f32>,
    queries: &'a Array<f32>,
    truth: Vec<Vec<u32>>,
    note: &'static str,
    peers: Option<Peers>,
}

impl<'a> Questions<'a> {
    fn new(
        rows: &'a Array<f32>,
        queries: &'a Array<f32>,
        note: &'static str,
        peers: Option<Peers>,
    ) -> Self {
        let mut scores = vec![0.0; rows.rows];
        let truth = queries.values.chunks_exact(rows.columns).map(|query| {
            kernels().dot_rows(query, &rows.values, &mut scores);
            let mut top = TopK::new(K);
            for (row, score) in scores.iter().enumerate() {
                top.offer(row as u32, *score);
            }
            numbers(top)
        });
        let truth = truth.collect();
        Self { rows, queries, truth, note, peers }
    }

    /// Asks one kind of codes; its recall is the mean over the quantizers, the rest is the first's.
    fn ask<C: Codes>(
        &self,
        table: &mut Table,
        name: &str,
        quantizers: &[C],
        aim: &Aim,
    ) -> Result<(), BenchError> {
        let mut all = Vec::new();
        for quantizer in quantizers {
            all.push(self.measure(quantizer, aim.rescored.map_or(K, |(rows, _)| rows))?);
        }
        let mean = |of: fn(&Found) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        let Some((found, quantizer)) = all.first().zip(quantizers.first()) else {
            return Ok(());
        };
        let mut row = Row::new("codes, encoding", name, found.encode_mb, "MB/s of f32");
        if let Some(peer) = aim.encode_peer {
            row = self.beside(row, peer, |codes| codes.encode_mb);
        }
        table.add(match aim.encode {
            Some(least) => row.target(Target::AtLeast(least)),
            None if aim.encode_peer.is_some() => row.ratio_target(Target::AtLeast(1.0)),
            None => row,
        })?;
        let many = match all.len() {
            1 => String::new(),
            many => format!(", mean of {many} rotations"),
        };
        let own = format!("{:.0} B a row{many}", quantizer.code_len());
        let metric = format!("{name}, recall@10");
        let recall = mean(|found| found.recall);
        let row = Row::new("codes, answers", &metric, recall, "").note(&own).note(self.note);
        if aim.recall_peers.is_empty() {
            table.add(row.clone())?;
        }
        for peer in aim.recall_peers {
            let row = self.beside(row.clone(), peer, |codes| codes.recall);
            table.add(row.ratio_target(Target::AtLeast(1.0)))?;
        }
        let row = Row::new("codes, answers", &format!("{name}, cpu a query"), found.query_ms, "ms");
        table.add(match aim.time_peer {
            Some(peer) => {
                self.beside(row, peer, |codes| codes.cpu_ms).ratio_target(Target::AtMost(1.0))
            }
            None => row,
        })?;
        let Some((rows, least)) = aim.rescored else { return Ok(()) };
        let metric = format!("{name}, recall@10 with {rows} rows re-scored");
        let row = Row::new("codes, answers", &metric, mean(|found| found.rescored), "");
        table.add(row.target(Target::AtLeast(least)))
    }

    /// Codes all rows and asks all queries; `kept` rows are scored again.
    fn measure<C: Codes>(&self, quantizer: &C, kept: usize) -> Result<Found, BenchError> {
        let mut codes = vec![0; quantizer.codes_len(self.rows.rows)];
        let mut encode = f64::INFINITY;
        for _ in 0..ROUNDS {
            let (done, took) = time(|| quantizer.encode(&self.rows.values, &mut codes))?;
            done.map_err(failed)?;
            encode = encode.min(took.cpu);
        }
        let (found, query_ms) = self.search(quantizer, &codes, K)?;
        let recall = self.recall(&found);
        let (found, _) = self.search(quantizer, &codes, kept)?;
        let again: Vec<Vec<u32>> =
            found.iter().enumerate().map(|(query, found)| self.rescored(query, found)).collect();
        let encode_mb = size_of_val(self.rows.values.as_slice()) as f64 / encode / 1e6;
        Ok(Found { encode_mb, recall, query_ms, rescored: self.recall(&again) })
    }

    /// The best `k` rows of each query, and the milliseconds that the median query took.
    fn search<C: Codes>(
        &self,
        quantizer: &C,
        codes: &[u8],
        k: usize,
    ) -> Result<(Vec<Vec<u32>>, f64), BenchError> {
        let (mut found, mut took) = (Vec::new(), Vec::new());
        for query in self.queries.values.chunks_exact(self.rows.columns) {
            let (top, time) = time(|| {
                let query = quantizer.query(query)?;
                let mut top = TopK::new(k);
                quantizer.top(&query, codes, &mut top)?;
                Ok(top)
            })?;
            found.push(numbers(top.map_err(failed)?));
            took.push(time.cpu * 1e3);
        }
        Ok((found, median(took)))
    }

    /// The k nearest of `found` by the scores of the rows themselves.
    fn rescored(&self, query: usize, found: &[u32]) -> Vec<u32> {
        let dim = self.rows.columns;
        let query = &self.queries.values[query * dim..][..dim];
        let mut top = TopK::new(K);
        for row in found {
            let values = &self.rows.values[*row as usize * dim..][..dim];
            top.offer(*row, kernels().dot(query, values));
        }
        numbers(top)
    }

    /// The part of the right rows that were found, over all queries.
    fn recall(&self, found: &[Vec<u32>]) -> f64 {
        let hits = |(found, right): (&Vec<u32>, &Vec<u32>)| {
            found.iter().filter(|row| right.contains(row)).count()
        };
        let hits: usize = found.iter().zip(&self.truth).map(hits).sum();
        hits as f64 / (K * self.truth.len()) as f64
    }

    /// Puts a peer's figure beside a row.
    fn beside(&self, row: Row, name: &str, figure: impl Fn(&PeerCodes) -> f64) -> Row {
        let Some(peers) = &self.peers else {
            return row.absent_peer(name, ABSENT);
        };
        match peers.codes.iter().find(|codes| codes.name == name) {
            Some(codes) => {
                let note = format!("{}, {name} {:.0} B a row", peers.versions, codes.code_len);
                row.peer(name, figure(codes)).note(note)
            }
            None => row.absent_peer(name, "it did not run"),
        }
    }
}

fn numbers(top: TopK) -> Vec<u32> {
    top.into_sorted().into_iter().map(|(row, _)| row).collect()
}
