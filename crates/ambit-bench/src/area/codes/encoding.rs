//! How fast do rows become codes, and codes rows? One thread, processor time, the best round.

use std::hint::black_box;

use ambit_vector::half::Half;
use ambit_vector::quantizer::{Quantizer, RowTerms};
use ambit_vector::scalar::{ScalarOptions, ScalarRange, ScalarWidth};

use super::peers::Peers;
use super::{Encoded, bits, failed, half, scalar};
use crate::error::BenchError;
use crate::npy::Array;
use crate::row::{Row, Table, Target};
use crate::timing::time;

const ROUNDS: usize = 5;
/// Rows that stay in the second-level cache.
const ROWS: usize = 256;

pub fn run(table: &mut Table, array: &Array<f32>, peers: Option<&Peers>) -> Result<(), BenchError> {
    let (dim, rows) = (array.columns, array.values.as_slice());
    let by_dimension = ScalarOptions { width: ScalarWidth::Int8, range: ScalarRange::Dimension };
    let aim = Some(1.0);
    measure(table, "int8 by row", scalar(ScalarOptions::INT8, dim, rows)?, rows, aim, peers)?;
    measure(table, "int4 by row", scalar(ScalarOptions::INT4, dim, rows)?, rows, aim, peers)?;
    measure(table, "int8 by dimension", scalar(by_dimension, dim, rows)?, rows, aim, peers)?;
    measure(table, "float16", half(Half::F16, dim)?, rows, None, peers)?;
    measure(table, "bfloat16", half(Half::Bf16, dim)?, rows, None, peers)?;
    measure(table, "binary", bits(dim, rows)?, rows, None, peers)
}

fn measure<Q: Quantizer>(
    table: &mut Table,
    name: &str,
    quantizer: Q,
    rows: &[f32],
    aim: Option<f64>,
    peers: Option<&Peers>,
) -> Result<(), BenchError> {
    let dim = quantizer.dim();
    let encoded = Encoded::new(quantizer, rows)?;
    let Encoded { quantizer, codes, terms } = &encoded;
    let mut code = vec![0; ROWS * quantizer.code_len()];
    let mut own = vec![RowTerms::default(); ROWS];
    let mut decoded = vec![0.0; ROWS * dim];
    let (mut encode, mut decode) = (f64::INFINITY, f64::INFINITY);
    let whole = rows.len() / (ROWS * dim);
    for _ in 0..ROUNDS {
        let (done, took) = time(|| {
            rows.chunks_exact(ROWS * dim).try_for_each(|rows| {
                quantizer.encode(rows, &mut code, &mut own)?;
                black_box(&code);
                Ok(())
            })
        })?;
        done.map_err(failed)?;
        encode = encode.min(took.cpu);
        let chunks = codes.chunks_exact(code.len()).zip(terms.chunks_exact(ROWS));
        let (done, took) = time(|| {
            chunks.into_iter().try_for_each(|(codes, terms)| {
                let coded = ambit_vector::quantizer::Coded { codes, terms };
                quantizer.decode(coded, &mut decoded)?;
                black_box(&decoded);
                Ok(())
            })
        })?;
        done.map_err(failed)?;
        decode = decode.min(took.cpu);
    }
    let bytes = (whole * ROWS * dim * size_of::<f32>()) as f64 / 1e9;
    let row = Row::new("codes, encoding", name, bytes / encode, "GB/s of f32");
    let row = match aim {
        Some(aim) => row.target(Target::AtLeast(aim)),
        None => row,
    };
    let row = match peers.and_then(|peers| peers.encoding(name)) {
        Some((peer, rate)) => row.peer(peer, rate),
        None => row,
    };
    table.add(row.note("error bound and norm included"))?;
    table.add(Row::new("codes, decoding", name, bytes / decode, "GB/s of f32"))
}
