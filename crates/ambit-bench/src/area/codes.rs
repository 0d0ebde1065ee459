//! What do codes cost, in bytes, in time and in answers?
//!
//! Kernels over rows that no cache holds, beside the read bandwidth of the same buffer; encoding;
//! answers of scans alone and with re-scoring; blocks of queries; and peers on the same rows.

mod bandwidth;
mod batch;
mod encoding;
pub mod learned;
mod peers;
mod quality;

use std::hint::black_box;

use ambit_vector::binary::{BinaryCentre, BinaryQuantizer};
use ambit_vector::half::{Half, HalfQuantizer};
use ambit_vector::quantizer::{Coded, Quantizer, RowTerms};
use ambit_vector::scalar::{ScalarOptions, ScalarQuantizer};

use super::Bench;
use crate::error::BenchError;
use crate::row::Table;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (glosses, queries) = (bench.data.glosses()?, bench.data.queries()?);
    let peers = peers::run(&glosses.path, &queries.path)?;
    bandwidth::run(table)?;
    encoding::run(table, &glosses.array, peers.as_ref())?;
    quality::run(table, &glosses, &queries, peers.as_ref())?;
    batch::run(table, &glosses.array, &queries.array, peers.as_ref())
}

/// Rows as codes.
struct Encoded<Q> {
    quantizer: Q,
    codes: Vec<u8>,
    terms: Vec<RowTerms>,
}

impl<Q: Quantizer> Encoded<Q> {
    fn new(quantizer: Q, rows: &[f32]) -> Result<Self, BenchError> {
        let n = rows.len() / quantizer.dim();
        let mut codes = vec![0; n * quantizer.code_len()];
        let mut terms = vec![RowTerms::default(); n];
        quantizer.encode(rows, &mut codes, &mut terms).map_err(failed)?;
        Ok(Self { quantizer, codes, terms })
    }

    fn coded(&self) -> Coded<'_> {
        Coded { codes: &self.codes, terms: &self.terms }
    }

    /// Estimates for all rows.
    fn scan(&self, query: &Q::Query, scores: &mut [f32]) -> Result<(), BenchError> {
        self.quantizer.scan(query, self.coded(), scores).map_err(failed)?;
        black_box(&*scores);
        Ok(())
    }
}

fn failed(error: ambit_vector::quantizer::CodeError) -> BenchError {
    BenchError::new(error.to_string())
}

fn scalar(options: ScalarOptions, dim: usize, rows: &[f32]) -> Result<ScalarQuantizer, BenchError> {
    ScalarQuantizer::train(options, dim, rows).map_err(failed)
}

fn half(half: Half, dim: usize) -> Result<HalfQuantizer, BenchError> {
    HalfQuantizer::new(half, dim).map_err(failed)
}

fn bits(dim: usize, rows: &[f32]) -> Result<BinaryQuantizer, BenchError> {
    BinaryQuantizer::train(BinaryCentre::Mean, dim, rows).map_err(failed)
}
