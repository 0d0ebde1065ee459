//! In which order do the rows of a segment stand in its planes? List by list, leaders before
//! their followers.
//!
//! Centroids are found on a bounded sample; one pass over the segment then gives each row its
//! list. Where near duplicates are many (a few lists are tried first), a second pass, list by
//! list, tells who follows whom. What is held for each row is its list and its place.

use std::ops::ControlFlow;

use ambit_mem::{Account, Bytes, Reservation};
use ambit_vector::planes::groups::{Following, MAX_FOLLOWERS};
use ambit_vector::planes::{ListParts, Lists, MAX_LISTS};
use ambit_vector::{Metric, kernels, kmeans};

use super::build::{Job, SEED};
use crate::error::{Error, ErrorKind, Result};

/// Rows for each list, at least: below 262,144 rows there are fewer lists than their root.
const LEAST_LIST: usize = 512;
/// Rows of the sample for each list.
const SAMPLE: usize = 32;
/// Steps of k-means.
const STEPS: usize = 8;
/// Rows that are given their lists at a time.
const CHUNK: usize = 4096;
/// Rows of a list that are searched for near duplicates together, at most.
const PIECE: usize = 4096;
/// Lists that are tried for near duplicates first.
const TRIALS: usize = 4;
/// Held-out rows that the recall is measured with.
const HELD_OUT: usize = 100;
/// Neighbours of each of them.
const NEIGHBOURS: usize = 10;
/// What is within this distance of a held-out row, of its length, is too like it to be a neighbour.
const TOO_LIKE: f32 = 0.35;
/// Threads that compute.
pub(super) const THREADS: usize = 2;

/// The order of a segment's rows, and what goes with it.
pub(super) struct Order {
    /// For each place the position of its row among the segment's cells.
    pub(super) positions: Vec<u32>,
    /// For each leader how many follow it, and within which radius; empty where none does.
    pub(super) groups: Vec<(u8, f32)>,
    parts: ListParts,
    held_out: HeldOut,
    _charge: Reservation,
}

/// Rows that are asked for their neighbours while all are coded.
struct HeldOut {
    /// Their positions.
    positions: Vec<u32>,
    /// n x dim; under cosine of length 1.
    rows: Vec<f32>,
    /// Of each the best score and place so far, best first.
    found: Vec<Vec<(f32, u32)>>,
    scores: Vec<f32>,
}

impl Order {
    /// The order of the rows of a segment. `progress` hears rows that are done.
    ///
    /// # Errors
    /// Over budget, interrupted; corrupt, I/O.
    pub(super) fn find(
        job: &Job<'_>,
        account: &Account,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Self> {
        let (rows, dim) = (job.rows, job.space.dim);
        let mut charge = account.reserve(Bytes::of(rows * 8))?;
        let centroids = centroids(job, account, progress)?;
        let lists = centroids.len() / dim;
        let mut of = vec![0u32; rows];
        assign(job, &centroids, &mut of, account, progress)?;
        let mut starts = vec![0u32; lists + 1];
        of.iter().for_each(|list| starts[*list as usize + 1] += 1);
        (1..=lists).for_each(|list| starts[list] += starts[list - 1]);
        let (mut next, mut positions) = (starts.clone(), vec![0u32; rows]);
        for (position, list) in of.iter().enumerate() {
            let place = &mut next[*list as usize];
            positions[*place as usize] = position as u32;
            *place += 1;
        }
        drop(of);
        let parts =
            ListParts { dim, centroids, starts, ranks: Vec::new(), held_out: 0, group_unit: 0.0 };
        charge.grow(Bytes::of(4 * (parts.centroids.len() + 2 * parts.starts.len())))?;
        let held_out = HeldOut::none();
        let mut order = Self { positions, groups: Vec::new(), parts, held_out, _charge: charge };
        if job.space.metric != Metric::Euclidean {
            order.lead(job, account, progress)?;
        }
        order.hold_out(job, account)?;
        Ok(order)
    }

    /// Rows that lead.
    pub(super) fn leaders(&self) -> usize {
        self.parts.starts.last().map_or(0, |&end| end as usize)
    }

    /// Places leaders before followers, where rows have near duplicates.
    fn lead(
        &mut self,
        job: &Job<'_>,
        account: &Account,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<()> {
        let (dim, lists) = (job.space.dim, self.parts.starts.len() - 1);
        let bytes = Following::footprint(PIECE, dim) + PIECE * (4 * dim + 8);
        let _scratch = account.reserve(Bytes::of(bytes))?;
        let mut following = Following::default();
        let mut rows = Vec::new();
        let (mut tried, mut led) = (0, 0);
        for list in (0..lists).step_by((lists / TRIALS).max(1)).take(TRIALS) {
            let places = self.parts.starts[list] as usize..self.parts.starts[list + 1] as usize;
            let piece = &self.positions[places.start..places.end.min(places.start + PIECE)];
            job.gather(piece, &mut rows)?;
            unit_lengths(job.space.metric, &mut rows, dim);
            following.find(&rows, dim);
            tried += piece.len();
            led += piece.len() - following.leaders.len();
        }
        // Below that it would cost more places than it saves looks.
        if led * 2 < tried {
            return Ok(());
        }
        let _more = account.reserve(Bytes::of(self.positions.len() * 12))?;
        let mut leaders = Vec::with_capacity(self.positions.len());
        let mut followers: Vec<(u32, u32)> = Vec::with_capacity(led);
        let mut starts = vec![0u32];
        for list in 0..lists {
            let places = self.parts.starts[list] as usize..self.parts.starts[list + 1] as usize;
            for piece in self.positions[places.clone()].chunks(PIECE) {
                job.gather(piece, &mut rows)?;
                unit_lengths(job.space.metric, &mut rows, dim);
                following.find(&rows, dim);
                let first = leaders.len() as u32;
                leaders.extend(following.leaders.iter().map(|&row| piece[row as usize]));
                self.groups.resize(leaders.len(), (0, 0.0));
                for (position, (leader, radius)) in piece.iter().zip(&following.of) {
                    let leader = first + leader;
                    if leaders[leader as usize] != *position {
                        let group = &mut self.groups[leader as usize];
                        debug_assert!(usize::from(group.0) < MAX_FOLLOWERS, "room in a group");
                        *group = (group.0 + 1, group.1.max(*radius));
                        followers.push((leader, *position));
                    }
                }
            }
            starts.push(leaders.len() as u32);
            if !progress(places.end as u64) {
                return Err(stopped());
            }
        }
        followers.sort_unstable();
        leaders.extend(followers.iter().map(|(_, position)| *position));
        self.parts.group_unit = self.groups.iter().fold(0.0, |most, group| group.1.max(most));
        self.parts.starts = starts;
        self.positions = leaders;
        Ok(())
    }

    /// Draws the rows that the recall is measured with, evenly from those that lead.
    fn hold_out(&mut self, job: &Job<'_>, account: &Account) -> Result<()> {
        let leaders = self.leaders();
        let count = HELD_OUT.min(leaders / 2);
        let drawn = (0..count).map(|index| self.positions[index * leaders / count]);
        let positions: Vec<u32> = drawn.collect();
        let mut rows = Vec::new();
        // They are few: 150 KiB of 384 dimensions.
        let _scratch = account.reserve(Bytes::of(2 * 4 * count * job.space.dim))?;
        job.gather(&positions, &mut rows)?;
        unit_lengths(job.space.metric, &mut rows, job.space.dim);
        let found = vec![Vec::with_capacity(NEIGHBOURS + 1); count];
        self.held_out = HeldOut { positions, rows, found, scores: Vec::new() };
        Ok(())
    }

    /// Bytes that [`Order::measure`] works with for so many rows at a time.
    pub(super) const fn measuring_bytes(rows: usize, dim: usize) -> usize {
        HELD_OUT * (4 * rows + 4 * dim + 8 * (NEIGHBOURS + 1)) + 4 * rows
    }

    /// Looks for neighbours of the held-out rows among the rows at `first..`, which may be changed.
    pub(super) fn measure(&mut self, first: usize, rows: &mut [f32], metric: Metric) {
        let dim = self.parts.dim;
        let count = (rows.len() / dim).min(self.leaders().saturating_sub(first));
        let rows = &mut rows[..count * dim];
        let HeldOut { positions, rows: queries, found, scores } = &mut self.held_out;
        if count == 0 || queries.is_empty() {
            return;
        }
        unit_lengths(metric, rows, dim);
        scores.resize(positions.len() * count, 0.0);
        match metric {
            Metric::Euclidean => {
                kernels().l2sq_block(dim, queries, rows, scores);
                scores.iter_mut().for_each(|score| *score = -*score);
            }
            _ => kernels().dot_block(dim, queries, rows, scores),
        }
        let norms: Vec<f32> = rows.chunks_exact(dim).map(norm_sq).collect();
        let queries = positions.iter().zip(queries.chunks_exact(dim));
        for ((query, found), scores) in queries.zip(found).zip(scores.chunks_exact(count)) {
            let (own, length) = (*query.0, norm_sq(query.1));
            for ((place, &score), norm) in (first..).zip(scores).zip(&norms) {
                let least = found.get(NEIGHBOURS - 1).map_or(f32::NEG_INFINITY, |last| last.0);
                if score <= least || score.is_nan() {
                    continue;
                }
                let distance = match metric {
                    Metric::Euclidean => -score,
                    _ => length + norm - 2.0 * score,
                };
                if self.positions[place] != own && distance > TOO_LIKE * TOO_LIKE * length {
                    let at = found.partition_point(|(better, _)| *better >= score);
                    found.insert(at, (score, place as u32));
                    found.truncate(NEIGHBOURS);
                }
            }
        }
    }

    /// The lists, once all rows were measured.
    ///
    /// # Errors
    /// Corrupt, which would be a fault of this module.
    pub(super) fn into_lists(self, metric: Metric) -> Result<Lists> {
        let Self { mut parts, held_out, .. } = self;
        let corrupt = |error| Error::new(ErrorKind::Corrupt, format!("lists: {error}"));
        let lists = Lists::new(parts.clone()).map_err(corrupt)?;
        let queries = held_out.rows.chunks_exact(parts.dim.max(1));
        for (query, found) in queries.zip(&held_out.found) {
            let order = lists.rank(metric, query, lists.count()).map_err(corrupt)?;
            let mut ranks = vec![0u16; order.len()];
            (0u16..).zip(&order).for_each(|(rank, list)| ranks[*list as usize] = rank);
            let of = |(_, place): &(f32, u32)| ranks[lists.list_of(*place as usize)];
            parts.ranks.extend(found.iter().map(of));
        }
        parts.held_out = held_out.positions.len() as u32;
        Lists::new(parts).map_err(corrupt)
    }
}

impl HeldOut {
    fn none() -> Self {
        Self { positions: Vec::new(), rows: Vec::new(), found: Vec::new(), scores: Vec::new() }
    }
}

/// Centroids of a sample, lists x dim.
fn centroids(
    job: &Job<'_>,
    account: &Account,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Vec<f32>> {
    let dim = job.space.dim;
    let wanted = job.rows.isqrt().min(job.rows / LEAST_LIST).clamp(1, MAX_LISTS);
    let room = job.room(8) / (4 * dim + kmeans::training_bytes(1, dim, 1) / 8);
    let rows = (wanted * SAMPLE).min(room.max(64)).min(job.rows);
    let lists = wanted.min((rows / 4).max(1));
    let bytes = 4 * rows * dim + kmeans::training_bytes(rows, dim, lists);
    let _scratch = account.reserve(Bytes::of(bytes))?;
    let mut sample = job.sample(rows)?;
    unit_lengths(job.space.metric, &mut sample, dim);
    // A row that has no place among the others is no sample of them.
    let finite = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>() < f32::MAX / 16.0;
    let mut kept = 0;
    for row in 0..sample.len() / dim {
        if finite(&sample[row * dim..(row + 1) * dim]) {
            sample.copy_within(row * dim..(row + 1) * dim, kept * dim);
            kept += 1;
        }
    }
    sample.truncate(kept * dim);
    if kept == 0 {
        return Ok(vec![0.0; dim]);
    }
    let options = kmeans::Options {
        steps: STEPS,
        seed: SEED,
        balance: kmeans::Balance::Even,
        ..kmeans::Options::new(dim, lists.min(kept))
    };
    let trained = kmeans::train(&sample, &options, &mut |_| match progress(0) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    });
    match trained {
        Ok(trained) => Ok(trained.centroids),
        Err(kmeans::KmeansError::Cancelled) => Err(stopped()),
        Err(error) => Err(Error::invalid(format!("space {}: {error}", job.space.name))),
    }
}

/// The list of each row of a segment.
fn assign(
    job: &Job<'_>,
    centroids: &[f32],
    of: &mut [u32],
    account: &Account,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    let dim = job.space.dim;
    let chunk = (job.room(32) / (4 * dim + 4)).clamp(64, CHUNK);
    let count = centroids.len() / dim;
    let bytes = kmeans::Centroids::footprint_of(dim, count) + chunk * (4 * dim + 4);
    let _scratch = account.reserve(Bytes::of(bytes))?;
    let invalid = |error| Error::invalid(format!("space {}: {error}", job.space.name));
    let centroids = kmeans::Centroids::new(dim, centroids).map_err(invalid)?;
    let (mut rows, mut distances) = (Vec::with_capacity(chunk * dim), vec![0.0f32; chunk]);
    for (number, of) in of.chunks_mut(chunk).enumerate() {
        let first = number * chunk;
        rows.clear();
        job.visit(first..first + of.len(), &mut |some| rows.extend_from_slice(some))?;
        unit_lengths(job.space.metric, &mut rows, dim);
        let share = of.len().div_ceil(THREADS);
        let shares = rows.chunks(share * dim).zip(of.chunks_mut(share));
        let shares = shares.zip(distances.chunks_mut(share));
        let outcome = std::thread::scope(|scope| {
            let centroids = &centroids;
            let work = shares.map(|((rows, of), distances)| {
                let distances = &mut distances[..of.len()];
                scope.spawn(move || centroids.assign(rows, of, distances))
            });
            let work: Vec<_> = work.collect();
            work.into_iter().try_for_each(|work| work.join().unwrap_or(Ok(())))
        });
        outcome.map_err(invalid)?;
        if !progress((first + of.len()) as u64) {
            return Err(stopped());
        }
    }
    Ok(())
}

fn norm_sq(row: &[f32]) -> f32 {
    kernels().norm_sq_f64(row) as f32
}

/// Under cosine divides each row by its norm, as the planes do.
fn unit_lengths(metric: Metric, rows: &mut [f32], dim: usize) {
    if metric != Metric::Cosine {
        return;
    }
    for row in rows.chunks_exact_mut(dim) {
        let norm = kernels().norm_sq_f64(row).sqrt();
        if norm >= f64::MIN_POSITIVE && norm.is_finite() {
            let scale = 1.0 / norm;
            row.iter_mut().for_each(|x| *x = (f64::from(*x) * scale) as f32);
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Interrupted, "stopped while rows were ordered; what was built stays")
}
