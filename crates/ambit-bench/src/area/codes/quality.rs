//! Do scans of codes find the nearest rows, how fast, and in how many bytes?
//!
//! One thread, one query at a time, k = 10, inner product. Truth is the f64 score of every row.
//! Time is processor time of query, scan and selection.

use ambit_vector::half::Half;
use ambit_vector::quantizer::Quantizer;
use ambit_vector::scalar::{ScalarOptions, ScalarRange, ScalarWidth};
use ambit_vector::{Metric, kernels};

use super::peers::{Peers, recall_beside, time_beside};
use super::{Encoded, bits, failed, half, scalar};
use crate::data::Vectors;
use crate::error::BenchError;
use crate::npy::Array;
use crate::row::{Row, Table, Target};
use crate::timing::{median, time};

const K: usize = 10;
const QUERIES: usize = 400;
const CASE: &str = "codes, answers";

/// What is asked, and what is right.
struct Questions<'a> {
    rows: &'a Array<f32>,
    queries: &'a Array<f32>,
    truth: Vec<Vec<u32>>,
    note: &'static str,
}

/// What a scan must reach, and who stands beside it.
#[derive(Default, Clone, Copy)]
struct Aim {
    recall: Option<f64>,
    rescored: Option<(usize, Option<f64>)>,
    smaller: Option<f64>,
    peer: Option<&'static str>,
}

pub fn run(
    table: &mut Table,
    glosses: &Vectors,
    queries: &Vectors,
    peers: Option<&Peers>,
) -> Result<(), BenchError> {
    let (rows, note) = (&glosses.array, glosses.note);
    let (dim, values) = (rows.columns, rows.values.as_slice());
    let asked = queries.array.rows.min(QUERIES);
    let truth = (0..asked).map(|number| {
        let query = &queries.array.values[number * dim..][..dim];
        let scores = values.chunks_exact(dim).map(|row| kernels().dot_f64(query, row));
        nearest(&scores.collect::<Vec<f64>>(), K)
    });
    let questions = Questions { rows, queries: &queries.array, truth: truth.collect(), note };
    let aim = Aim {
        recall: Some(0.99),
        rescored: Some((20, None)),
        smaller: Some(73.0),
        peer: Some("faiss SQ8"),
    };
    let int8 = scalar(ScalarOptions::INT8, dim, values)?;
    questions.ask(table, peers, "int8", int8, aim)?;
    let aim = Aim { peer: Some("usearch i8, exact"), ..Aim::default() };
    let by = ScalarOptions { width: ScalarWidth::Int8, range: ScalarRange::Dimension };
    questions.ask(table, peers, "int8 by dimension", scalar(by, dim, values)?, aim)?;
    let aim = Aim {
        rescored: Some((50, Some(0.999))),
        smaller: Some(85.0),
        peer: Some("turbovec 4-bit"),
        ..Aim::default()
    };
    questions.ask(table, peers, "int4", scalar(ScalarOptions::INT4, dim, values)?, aim)?;
    let aim = Aim { peer: Some("faiss SQ4"), ..Aim::default() };
    let by = ScalarOptions { width: ScalarWidth::Int4, range: ScalarRange::Dimension };
    questions.ask(table, peers, "int4 by dimension", scalar(by, dim, values)?, aim)?;
    let aim = Aim { peer: Some("faiss SQfp16"), ..Aim::default() };
    questions.ask(table, peers, "float16", half(Half::F16, dim)?, aim)?;
    questions.ask(table, peers, "bfloat16", half(Half::Bf16, dim)?, Aim::default())?;
    let aim = Aim { rescored: Some((100, None)), smaller: Some(94.0), ..Aim::default() };
    questions.ask(table, peers, "binary, integer query", bits(dim, values)?, aim)?;
    questions.hamming(table, peers)
}

/// Rows with the largest scores, best first; of equal scores the first row.
fn nearest<T: Into<f64> + Copy>(scores: &[T], k: usize) -> Vec<u32> {
    let mut best: Vec<(f64, u32)> = Vec::with_capacity(k + 1);
    let mut least = f64::NEG_INFINITY;
    for (row, &score) in scores.iter().enumerate() {
        let score = score.into();
        if score > least {
            let at = best.partition_point(|&(other, _)| other >= score);
            best.insert(at, (score, row as u32));
            best.truncate(k);
            least = if best.len() == k { best[k - 1].0 } else { f64::NEG_INFINITY };
        }
    }
    best.into_iter().map(|(_, row)| row).collect()
}

impl Questions<'_> {
    fn query(&self, number: usize) -> &[f32] {
        let dim = self.rows.columns;
        &self.queries.values[number * dim..][..dim]
    }

    /// The k nearest of `found` by f64 scores of the rows themselves.
    fn rescored(&self, number: usize, found: &[u32]) -> Vec<u32> {
        let dim = self.rows.columns;
        let score = |&row: &u32| {
            let row = &self.rows.values[row as usize * dim..][..dim];
            kernels().dot_f64(self.query(number), row)
        };
        let scores: Vec<f64> = found.iter().map(score).collect();
        nearest(&scores, K).into_iter().map(|at| found[at as usize]).collect()
    }

    /// The part of the right rows that were found, over all questions.
    fn recall(&self, found: &[Vec<u32>]) -> f64 {
        let hits = |(found, right): (&Vec<u32>, &Vec<u32>)| {
            found.iter().filter(|row| right.contains(row)).count()
        };
        let hits: usize = found.iter().zip(&self.truth).map(hits).sum();
        hits as f64 / (K * self.truth.len()) as f64
    }

    fn ask<Q: Quantizer>(
        &self,
        table: &mut Table,
        peers: Option<&Peers>,
        name: &str,
        quantizer: Q,
        aim: Aim,
    ) -> Result<(), BenchError> {
        let encoded = Encoded::new(quantizer, &self.rows.values)?;
        let quantizer = &encoded.quantizer;
        let mut scores = vec![0.0; self.rows.rows];
        let (mut found, mut took) = (Vec::new(), Vec::new());
        let kept = aim.rescored.map_or(K, |(rows, _)| rows);
        let mut again = Vec::new();
        for number in 0..self.truth.len() {
            let (nearest, time) = time(|| {
                let query = quantizer.query(Metric::InnerProduct, self.query(number));
                encoded.scan(&query.map_err(failed)?, &mut scores)?;
                Ok::<_, BenchError>(nearest(&scores, K))
            })?;
            found.push(nearest?);
            took.push(time.cpu * 1e3);
            if aim.rescored.is_some() {
                again.push(self.rescored(number, &self::nearest(&scores, kept)));
            }
        }
        let row =
            Row::new(CASE, &format!("{name}, recall@10"), self.recall(&found), "").note(self.note);
        let row = with(row, aim.recall);
        table.add(match aim.peer {
            Some(peer) => recall_beside(row, peers, peer),
            None => row,
        })?;
        if let Some((rows, least)) = aim.rescored {
            let name = format!("{name}, recall@10 with {rows} rows re-scored");
            table.add(with(Row::new(CASE, &name, self.recall(&again), ""), least))?;
        }
        let row = Row::new(CASE, &format!("{name}, cpu a query"), median(took), "ms");
        table.add(match aim.peer {
            Some(peer) => time_beside(row, peers, peer),
            None => row,
        })?;
        let whole = size_of_val(self.rows.values.as_slice()) as f64;
        let footprint = quantizer.footprint(self.rows.rows) as f64;
        let smaller = 100.0 * (1.0 - footprint / whole);
        let row = Row::new(CASE, &format!("{name}, smaller than float32"), smaller, "%");
        table.add(
            with(row, aim.smaller).note(format!("{} B a row", footprint as usize / self.rows.rows)),
        )
    }

    /// Bits against bits.
    fn hamming(&self, table: &mut Table, peers: Option<&Peers>) -> Result<(), BenchError> {
        let dim = self.rows.columns;
        let encoded = Encoded::new(bits(dim, &self.rows.values)?, &self.rows.values)?;
        let quantizer = &encoded.quantizer;
        let mut query = vec![0; quantizer.code_len()];
        let mut distances = vec![0; self.rows.rows];
        let (mut found, mut took, mut again) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..self.truth.len() {
            let (done, time) = time(|| {
                quantizer.query_bits(self.query(number), &mut query)?;
                quantizer.hamming_scan(&query, &encoded.codes, &mut distances)
            })?;
            done.map_err(failed)?;
            took.push(time.cpu * 1e3);
            let near: Vec<f64> = distances.iter().map(|&bits| -f64::from(bits)).collect();
            found.push(nearest(&near, K));
            again.push(self.rescored(number, &nearest(&near, 100)));
        }
        let peer = "usearch b1, exact";
        let row = Row::new(CASE, "binary, Hamming, recall@10", self.recall(&found), "");
        table.add(recall_beside(row, peers, peer))?;
        let name = "binary, Hamming, recall@10 with 100 rows re-scored";
        table.add(Row::new(CASE, name, self.recall(&again), ""))?;
        let row = Row::new(CASE, "binary, Hamming, cpu a scan", median(took), "ms");
        table.add(time_beside(row, peers, peer))
    }
}

fn with(row: Row, least: Option<f64>) -> Row {
    match least {
        Some(least) => row.target(Target::AtLeast(least)),
        None => row,
    }
}
