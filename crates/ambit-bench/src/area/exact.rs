//! Do vectors come back bit for bit, and is the search exact?

use std::path::Path;
use std::sync::Mutex;

use super::{Bench, oracle};
use crate::error::BenchError;
use crate::npy::{self, Array};
use crate::process;
use crate::row::{Row, Table, Target};

const K: usize = 10;
/// Two float64 sums of the same products in another order differ by less than this on unit rows.
const ROUNDING: f64 = 1e-12;

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let glosses = bench.data.glosses()?;
    let store = bench.gloss_store(&glosses)?;
    let same = round_trip(bench, &store, &glosses.path)?;
    table.add(
        Row::new("exact, glosses", "bytes of the exported file that differ", same, "B")
            .target(Target::AtMost(0.0))
            .note(glosses.note),
    )?;
    let odd = bench.fresh("odd.npy")?;
    npy::write(&odd, 16, &odd_values())?;
    let odd_store = bench.fresh("exact")?;
    bench.import(&odd_store, &odd, &["--metric", "inner-product"])?;
    let same = round_trip(bench, &odd_store, &odd)?;
    table.add(
        Row::new(
            "exact, NaN payloads, -0.0, infinities, subnormals",
            "bytes of the exported file that differ",
            same,
            "B",
        )
        .target(Target::AtMost(0.0)),
    )?;
    bench.fresh("odd.npy")?;
    searches(bench, table, &store, &glosses.array)
}

/// Bytes in which the export of `store` differs from `file`, missing and extra ones counted.
fn round_trip(bench: &mut Bench, store: &Path, file: &Path) -> Result<f64, BenchError> {
    let exported = bench.fresh("exported.npy")?;
    let mut command = bench.ambit(store, ["export"])?;
    command.arg(&exported).args(["--collection", "bench", "--space", "v"]);
    process::run(&command)?;
    let (before, after) = (std::fs::read(file)?, std::fs::read(&exported)?);
    bench.fresh("exported.npy")?;
    let differing = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    Ok((differing + before.len().abs_diff(after.len())) as f64)
}

/// Every kind of float32 that a careless copy would change: 4,096 values.
fn odd_values() -> Vec<f32> {
    let special = [
        0x7FC0_0000,
        0x7FC0_1234,
        0xFFC0_0001,
        0x7F80_0001,
        0xFFBF_FFFF,
        0x7FFF_FFFF,
        0x8000_0000,
        0x0000_0000,
        0x7F80_0000,
        0xFF80_0000,
        0x0000_0001,
        0x8000_0001,
        0x007F_FFFF,
        0x0080_0000,
        0x7F7F_FFFF,
        0x3F80_0000,
    ];
    let mut noise = crate::noise::Noise::new(5);
    let random = std::iter::from_fn(|| Some(noise.next_u64() as u32));
    special.into_iter().cycle().take(2048).chain(random).take(4096).map(f32::from_bits).collect()
}

/// Holds the answers of `ambit query` against brute force in float64.
fn searches(
    bench: &mut Bench,
    table: &mut Table,
    store: &Path,
    rows: &Array<f32>,
) -> Result<(), BenchError> {
    let queries = bench.data.queries()?;
    let (ids, scores) = (bench.fresh("ids.npy")?, bench.fresh("scores.npy")?);
    let names = [ids.display().to_string(), scores.display().to_string()];
    bench.query(store, &queries.path, &["--ids", &names[0], "--scores", &names[1]])?;
    let (ids, scores): (Array<i64>, Array<f32>) = (npy::read(&ids)?, npy::read(&scores)?);
    let found = Mutex::new(Found::default());
    oracle::inner_products(rows, &queries.array, &|query, exact| {
        let mut one = Found::default();
        one.compare(exact, &ids.values[query * K..][..K], &scores.values[query * K..][..K]);
        let mut all = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.add(&one);
    });
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let case = format!("exact, {} queries, k = {K}", queries.array.rows);
    table.add(
        Row::new(&case, "queries unlike float64 brute force", found.wrong as f64, "")
            .target(Target::AtMost(0.0))
            .note(queries.note),
    )?;
    table.add(Row::new(
        &case,
        "places that only float64 rounding decides",
        found.tied as f64,
        "",
    ))?;
    table.add(
        Row::new(&case, "largest error of a score", found.error, "")
            .note("scores are written as float32"),
    )?;
    bench.fresh("ids.npy")?;
    bench.fresh("scores.npy")?;
    Ok(())
}

#[derive(Default)]
struct Found {
    wrong: usize,
    tied: usize,
    error: f64,
}

impl Found {
    fn compare(&mut self, exact: &[f64], ids: &[i64], scores: &[f32]) {
        let mut right = true;
        for ((expected, id), score) in oracle::best(exact, K).into_iter().zip(ids).zip(scores) {
            let found = usize::try_from(*id).ok().and_then(|id| exact.get(id));
            let Some(found) = found else {
                right = false;
                continue;
            };
            self.error = self.error.max((f64::from(*score) - found).abs());
            if *id != expected as i64 {
                let tied = (found - exact[expected]).abs() <= ROUNDING;
                self.tied += usize::from(tied);
                right &= tied;
            }
        }
        let mut distinct = ids.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        self.wrong += usize::from(!right || distinct.len() != ids.len());
    }

    fn add(&mut self, other: &Self) {
        self.wrong += other.wrong;
        self.tied += other.tied;
        self.error = self.error.max(other.error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_id_is_counted_and_a_tie_is_not_wrong() {
        let exact: Vec<f64> = (0..20).map(|x| f64::from(20 - x)).collect();
        let scores: Vec<f32> = exact.iter().map(|x| *x as f32).collect();
        let right: Vec<i64> = (0..10).collect();
        let mut found = Found::default();
        found.compare(&exact, &right, &scores[..10]);
        assert_eq!((found.wrong, found.tied), (0, 0));
        let mut swapped = right.clone();
        swapped.swap(3, 4);
        found.compare(&exact, &swapped, &scores[..10]);
        assert_eq!(found.wrong, 1);
        let mut tied = exact.clone();
        tied[4] = tied[3];
        let mut found = Found::default();
        found.compare(&tied, &swapped, &scores[..10]);
        assert_eq!((found.wrong, found.tied), (0, 2));
        let mut found = Found::default();
        found.compare(&exact, &[0; 10], &scores[..10]);
        assert_eq!(found.wrong, 1);
        let mut found = Found::default();
        found.compare(&exact, &[-1; 10], &scores[..10]);
        assert_eq!(found.wrong, 1);
    }

    #[test]
    fn the_odd_values_hold_every_kind() {
        let odd = odd_values();
        assert_eq!(odd.len(), 4096);
        assert!(odd.iter().any(|x| x.is_nan() && x.to_bits() & 0xFFFF != 0));
        assert!(odd.iter().any(|x| x.is_subnormal()) && odd.iter().any(|x| x.is_infinite()));
        assert!(odd.iter().any(|x| *x == 0.0 && x.is_sign_negative()));
    }
}
