//! How do centroids come to rest? Lloyd steps; small clusters split large ones where sizes are to
//! be alike.

use std::ops::ControlFlow;

use super::centroids::Centroids;
use super::error::KmeansError;
use super::options::{Balance, MAX_CLUSTERS, Options, Progress, Trained};
use super::seeding::{seed, seeding_bytes};
use crate::rotation::MAX_DIM;

/// Who follows the training; it ends where he breaks.
pub(super) type Follow<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// A step that gains less than this share of the distortion is the last one.
const LEAST_GAIN: f64 = 1e-3;

/// The most that training holds beside the rows, its result included, in bytes.
///
/// For `rows` rows of `dim` numbers and as many clusters as asked for.
pub const fn training_bytes(rows: usize, dim: usize, clusters: usize) -> usize {
    let trained = clusters * 4 * dim;
    let seeding = seeding_bytes(rows, dim, clusters);
    // Nearest and distances of rows; sums and counts of clusters; the panels.
    let stepping = rows * 8 + clusters * (8 * dim + 4) + Centroids::footprint_of(dim, clusters);
    let larger = if seeding > stepping { seeding } else { stepping };
    trained + larger + 4096
}

/// Finds centroids of `rows`, n x dim, row-major f32, finite.
///
/// `follow` is called after each round of seeds and each step, and ends the training where it
/// breaks.
///
/// # Errors
/// Options that do not fit the rows, rows that are not finite, an end that was asked for.
///
/// # Cost
/// n x clusters x dim multiply-adds a step, and as much as two to three steps for the seeds. Holds
/// [`training_bytes`].
///
/// # Example
/// ```
/// use ambit_vector::kmeans::{KmeansError, Options, train};
/// use std::ops::ControlFlow;
///
/// let rows = [0.0, 0.1, 9.0, 9.1];
/// let trained = train(&rows, &Options::new(1, 2), &mut |_| ControlFlow::Continue(()))?;
/// assert!(trained.distortion < 0.01);
/// let cancelled = train(&rows, &Options::new(1, 2), &mut |_| ControlFlow::Break(()));
/// assert_eq!(cancelled.unwrap_err(), KmeansError::Cancelled);
/// # Ok::<(), KmeansError>(())
/// ```
pub fn train(
    rows: &[f32],
    options: &Options,
    follow: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Trained, KmeansError> {
    let count = check(rows, options)?;
    let (dim, clusters) = (options.dim, options.clusters);
    let mut trained = Trained {
        centroids: vec![0.0; clusters * dim],
        steps: 0,
        distortion: f64::INFINITY,
        largest: count,
    };
    seed(rows, options, follow, &mut trained.centroids)?;
    let mut centroids = Centroids::unfilled(dim, clusters)?;
    let (mut nearest, mut distances) = (vec![0u32; count], vec![0.0f32; count]);
    let (mut sums, mut counts) = (vec![0.0f64; clusters * dim], vec![0u32; clusters]);
    let mean = (count / clusters) as u32;
    for step in 1..=options.steps.max(1) {
        centroids.fill(&trained.centroids)?;
        centroids.assign(rows, &mut nearest, &mut distances)?;
        let total: f64 = distances.iter().map(|distance| f64::from(*distance)).sum();
        let (before, distortion) = (trained.distortion, total / count as f64);
        gather(rows, &nearest, dim, &mut sums, &mut counts);
        trained.largest = counts.iter().copied().max().unwrap_or(0) as usize;
        (trained.steps, trained.distortion) = (step, distortion);
        told(follow, Progress::Step { step, steps: options.steps.max(1), distortion })?;
        let resting = before - distortion <= LEAST_GAIN * before && before.is_finite();
        move_to_means(&sums, &counts, &mut trained.centroids);
        match options.balance {
            Balance::Nearest if resting => break,
            Balance::Nearest => relocate(0, 1, &mut counts, &mut trained),
            // In the last third the centroids come to rest where they are.
            Balance::Even if step * 3 > options.steps * 2 => {
                relocate(0, 1, &mut counts, &mut trained);
            }
            Balance::Even => relocate(mean / 2, mean * 2, &mut counts, &mut trained),
        }
    }
    Ok(trained)
}

/// The number of rows, where rows and options fit each other.
fn check(rows: &[f32], options: &Options) -> Result<usize, KmeansError> {
    let (dim, clusters) = (options.dim, options.clusters);
    if dim == 0 || dim > MAX_DIM {
        return Err(KmeansError::Dimension { dim });
    }
    let count = rows.len() / dim;
    if count * dim != rows.len() {
        let expected = (count + 1) * dim;
        return Err(KmeansError::Shape { what: "rows", expected, found: rows.len() });
    }
    if clusters == 0 || clusters > MAX_CLUSTERS || clusters > count || count > u32::MAX as usize {
        return Err(KmeansError::Clusters { clusters, rows: count });
    }
    // Squares of sums of two rows must not overflow either.
    let finite = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>() < f32::MAX / 8.0;
    match rows.chunks_exact(dim).position(|row| !finite(row)) {
        Some(row) => Err(KmeansError::NotFinite { row }),
        None => Ok(count),
    }
}

/// Tells whoever follows.
pub(super) fn told(follow: &mut Follow<'_>, progress: Progress) -> Result<(), KmeansError> {
    match follow(progress) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(KmeansError::Cancelled),
    }
}

/// The sum and the number of the rows of each cluster.
fn gather(rows: &[f32], nearest: &[u32], dim: usize, sums: &mut [f64], counts: &mut [u32]) {
    sums.fill(0.0);
    counts.fill(0);
    for (row, cluster) in rows.chunks_exact(dim).zip(nearest) {
        let cluster = *cluster as usize;
        counts[cluster] += 1;
        for (sum, x) in sums[cluster * dim..][..dim].iter_mut().zip(row) {
            *sum += f64::from(*x);
        }
    }
}

/// Moves each centroid to the mean of its cluster.
fn move_to_means(sums: &[f64], counts: &[u32], centroids: &mut [f32]) {
    let dim = centroids.len() / counts.len();
    for (cluster, centroid) in centroids.chunks_exact_mut(dim).enumerate() {
        for (x, sum) in centroid.iter_mut().zip(&sums[cluster * dim..]) {
            if counts[cluster] > 0 {
                *x = (sum / f64::from(counts[cluster])) as f32;
            }
        }
    }
}

/// Gives clusters of no more than `small` rows half of the largest cluster, while that one has
/// more than `large` rows.
fn relocate(small: u32, large: u32, counts: &mut [u32], trained: &mut Trained) {
    let dim = trained.centroids.len() / counts.len();
    for place in 0..counts.len() {
        if counts[place] > small {
            continue;
        }
        let largest = (0..counts.len()).rev().max_by_key(|cluster| counts[*cluster]);
        let Some(largest) = largest.filter(|cluster| counts[*cluster] > large) else {
            return;
        };
        // The two lie on both sides of the old one, 1 / 512 apart, and part in the next step.
        for k in 0..dim {
            let x = trained.centroids[largest * dim + k];
            let apart = x * (1.0 / 1024.0) * if k % 2 == 0 { 1.0 } else { -1.0 };
            trained.centroids[largest * dim + k] = x + apart;
            trained.centroids[place * dim + k] = x - apart;
        }
        counts[place] = counts[largest] / 2;
        counts[largest] -= counts[place];
    }
}
