//! Where does k-means start? At rows that are far from each other.
//!
//! k-means++ draws each seed with a probability proportional to the squared distance to the
//! seeds before. That is one pass over the rows for each seed, so where there are many, k-means||
//! first draws about twice as many candidates in a few rounds of many, weighs each by the rows
//! that it is nearest to, and k-means++ draws the seeds from those.

use super::centroids::Centroids;
use super::error::KmeansError;
use super::nearest::Closer;
use super::options::{Options, Progress};
use super::train::{Follow, told};
use crate::draws::Draws;
use crate::wide::Set;

/// Clusters up to which seeds are drawn one by one from all rows.
const ONE_BY_ONE: usize = 16;
/// Rounds in which candidates are drawn; each draws half as many as there are clusters.
const ROUNDS: usize = 4;

/// Bytes that seeding holds beside the rows, at most.
pub(super) const fn seeding_bytes(rows: usize, dim: usize, clusters: usize) -> usize {
    if clusters <= ONE_BY_ONE {
        return 4 * rows;
    }
    let candidates = most_candidates(rows, clusters);
    // Distances, nearest and closer ones of all rows; numbers, weights, rows and distances of
    // candidates, and the panels of those of one round.
    12 * rows + candidates * (4 + 8 + 4 + 4 * dim) + Centroids::footprint_of(dim, candidates)
}

/// Each round is cut off there, so that memory is bounded whatever is drawn.
const fn most_candidates(rows: usize, clusters: usize) -> usize {
    let most = clusters * (ROUNDS + 1) + 1;
    if most < rows { most } else { rows }
}

/// `clusters` rows of `rows` as a start, written to `seeds`.
pub(super) fn seed(
    rows: &[f32],
    options: &Options,
    follow: &mut Follow<'_>,
    seeds: &mut [f32],
) -> Result<(), KmeansError> {
    let mut draws = Draws::new(options.seed);
    if options.clusters <= ONE_BY_ONE {
        return plus_plus(rows, None, options.dim, &mut draws, seeds);
    }
    let candidates = candidates(rows, options, &mut draws, follow)?;
    plus_plus(&candidates.rows, Some(&candidates.weights), options.dim, &mut draws, seeds)
}

/// k-means++ over rows, which may have weights.
fn plus_plus(
    rows: &[f32],
    weights: Option<&[f64]>,
    dim: usize,
    draws: &mut Draws,
    seeds: &mut [f32],
) -> Result<(), KmeansError> {
    let count = rows.len() / dim;
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let mut distances = vec![f32::INFINITY; count];
    let mut chosen = pick(count, weight, draws);
    let wanted = seeds.len() / dim;
    for (number, seed) in seeds.chunks_exact_mut(dim).enumerate() {
        seed.copy_from_slice(&rows[chosen * dim..][..dim]);
        if number + 1 < wanted {
            distances[chosen] = 0.0;
            Set::best().run(Closer { point: seed, rows, distances: &mut distances });
            chosen = pick(count, |row| f64::from(distances[row]) * weight(row), draws);
        }
    }
    Ok(())
}

/// A row, drawn in proportion to its share; where all shares are 0, in proportion to nothing.
fn pick(rows: usize, share: impl Fn(usize) -> f64, draws: &mut Draws) -> usize {
    let total: f64 = (0..rows).map(&share).sum();
    let at = unit(draws) * total;
    if total.is_nan() || total <= 0.0 {
        return (draws.next_u64() % rows as u64) as usize;
    }
    let (mut sum, mut last) = (0.0, 0);
    for row in 0..rows {
        let share = share(row);
        if share > 0.0 {
            sum += share;
            last = row;
            if sum > at {
                return row;
            }
        }
    }
    last
}

/// A draw from [0, 1).
fn unit(draws: &mut Draws) -> f64 {
    (draws.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

struct Candidates {
    /// candidates x dim.
    rows: Vec<f32>,
    /// Rows of the sample that each is nearest to.
    weights: Vec<f64>,
}

/// The candidates of k-means||.
fn candidates(
    rows: &[f32],
    options: &Options,
    draws: &mut Draws,
    follow: &mut Follow<'_>,
) -> Result<Candidates, KmeansError> {
    let (dim, clusters, count) = (options.dim, options.clusters, rows.len() / options.dim);
    let most = most_candidates(count, clusters);
    let mut numbers: Vec<u32> = Vec::with_capacity(most);
    let mut drawn: Vec<f32> = Vec::with_capacity(most * dim);
    let mut distances = vec![f32::INFINITY; count];
    let mut nearest = vec![0u32; count];
    let mut closer = vec![0.0f32; count];
    let first = (draws.next_u64() % count as u64) as usize;
    numbers.push(first as u32);
    drawn.extend_from_slice(&rows[first * dim..][..dim]);
    let mut before = 0;
    loop {
        // What the candidates of the last round are nearest to.
        let fresh = Centroids::new(dim, &drawn[before * dim..])?;
        absorb(rows, &fresh, before, &mut distances, &mut nearest, &mut closer)?;
        drop(fresh);
        before = numbers.len();
        told(follow, Progress::Seeding { seeds: before })?;
        let rounds_done = before >= clusters * 2 || before > ROUNDS * clusters;
        let total: f64 = distances.iter().map(|distance| f64::from(*distance)).sum();
        if rounds_done || before == most || total <= 0.0 {
            break;
        }
        let wanted = clusters.div_ceil(2) as f64;
        for (row, distance) in distances.iter().enumerate() {
            let chance = f64::from(*distance) * wanted / total;
            if numbers.len() < most && unit(draws) < chance {
                numbers.push(row as u32);
                drawn.extend_from_slice(&rows[row * dim..][..dim]);
            }
        }
        if numbers.len() == before {
            break;
        }
    }
    // Rows that repeat others are drawn too rarely: take what is missing from the front.
    for row in 0..count {
        if numbers.len() >= clusters {
            break;
        }
        if !numbers[..before].contains(&(row as u32)) {
            numbers.push(row as u32);
            drawn.extend_from_slice(&rows[row * dim..][..dim]);
        }
    }
    let mut weights = vec![0.0; numbers.len()];
    for candidate in nearest {
        weights[candidate as usize] += 1.0;
    }
    Ok(Candidates { rows: drawn, weights })
}

/// Lowers distances to those of fresh candidates, which are numbered from `first` on.
fn absorb(
    rows: &[f32],
    fresh: &Centroids,
    first: usize,
    distances: &mut [f32],
    nearest: &mut [u32],
    closer: &mut [f32],
) -> Result<(), KmeansError> {
    const BLOCK: usize = 256;
    let mut which = [0u32; BLOCK];
    let state = distances.chunks_mut(BLOCK).zip(nearest.chunks_mut(BLOCK));
    let blocks = rows.chunks(BLOCK * fresh.dim()).zip(closer.chunks_mut(BLOCK));
    for ((rows, closer), (distances, nearest)) in blocks.zip(state) {
        let which = &mut which[..closer.len()];
        fresh.assign(rows, which, closer)?;
        for (i, closer) in closer.iter().enumerate() {
            if *closer < distances[i] {
                (distances[i], nearest[i]) = (*closer, first as u32 + which[i]);
            }
        }
    }
    Ok(())
}
