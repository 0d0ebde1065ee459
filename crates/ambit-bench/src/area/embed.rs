//! How many texts a second does the built-in embedder take?

use ambit_embed::{Embedder as _, StaticEmbedder};
use ambit_mem::{Budget, Bytes, Priority};

use super::Bench;
use crate::error::BenchError;
use crate::row::{Row, Table, Target};
use crate::timing::{median, time};

const ROUNDS: usize = 5;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let (texts, note) = bench.data.texts()?;
    let account = Budget::new(Bytes::mib(64)).account("embed", Priority::Write);
    let (embedder, opened) = time(|| StaticEmbedder::built_in(&account))?;
    let embedder = embedder?;
    let mut out = vec![0.0; embedder.dim()];
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let (result, took) =
            time(|| texts.iter().try_for_each(|text| embedder.embed(text, &mut out).map(|_| ())))?;
        result?;
        rounds.push(texts.len() as f64 / took.wall);
    }
    let bytes: usize = texts.iter().map(String::len).sum();
    let per_second = median(rounds);
    table.add(
        Row::new("embed, 1 thread", "texts per second", per_second, "1/s")
            .target(Target::AtLeast(50_000.0))
            .note(note),
    )?;
    let megabytes = per_second * bytes as f64 / texts.len() as f64 / 1e6;
    table.add(Row::new("embed, 1 thread", "text", megabytes, "MB/s"))?;
    table.add(Row::new("embed", "load the model", opened.wall * 1e3, "ms"))
}
