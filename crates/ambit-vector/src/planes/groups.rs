//! Which rows need no look because a row like them was far off? Near duplicates behind a leader.
//!
//! Where vectors have near duplicates, a row that lies within a small radius of another is its
//! *follower*; the other one *leads*. Leaders stand first in a part's planes. A leader's upper
//! end plus |query| times the radius of its group is an upper end of each follower
//! ([`super::bound`]), so one look at the leader mostly leaves out all of them. Under euclidean
//! distance the bound would need another form, so there no row follows.
//!
//! Bytes: for each 16 leaders (the last block filled up) the place of their first follower, u32,
//! then for each leader the number of its followers and the code of their radius, u8 each. A
//! code c stands for c / 255 of the part's [`super::Lists::group_unit`].
//!
//! Source: one pass that gives each row to the first leader near enough is the leader algorithm
//! (J. Hartigan, Clustering Algorithms, 1975).

use std::ops::Range;

use super::layout::BLOCK_ROWS;
use crate::kernels;

/// Bytes of the groups of a block of leaders.
pub const GROUPS_LEN: usize = 4 + 2 * BLOCK_ROWS;

/// Followers of one leader, at most.
pub const MAX_FOLLOWERS: usize = 255;

/// The largest distance of a follower from its leader, of the leader's length. What leads out of reach
/// saves a look at each follower, what does not costs one more: at 0.27 (noise of 0.01 on each of 384
/// elements) a fifth of the groups stay in reach, and a scan takes half as long again as without groups.
const NEAR: f64 = 0.1;

/// What follows one leader.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// Places of the followers.
    pub places: Range<usize>,
    /// All of them are within this distance of the leader as it is coded.
    pub radius: f32,
}

/// The groups of the 16 leaders of a block; empty ones where there is no leader or no follower.
///
/// # Panics
/// If `bytes` are fewer than [`GROUPS_LEN`].
pub fn groups(bytes: &[u8], unit: f32) -> impl Iterator<Item = Group> + '_ {
    let mut first = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
    bytes[4..GROUPS_LEN].chunks_exact(2).map(move |pair| {
        let places = first..first + usize::from(pair[0]);
        first = places.end;
        Group { places, radius: radius_of(pair[1], unit) }
    })
}

/// Does a row follow any leader of a block?
pub fn has_followers(bytes: &[u8]) -> bool {
    bytes[4..].chunks_exact(2).any(|pair| pair[0] != 0)
}

/// Writes the groups of all leaders: for each, how many follow and their radius; the first follower
/// stands at place `leaders.len()`.
///
/// # Panics
/// If a leader has more than [`MAX_FOLLOWERS`], or places do not fit 32 bits.
pub fn encode(leaders: &[(u8, f32)], unit: f32, take: &mut dyn FnMut(&[u8; GROUPS_LEN])) {
    assert!(u32::try_from(leaders.len()).is_ok(), "places of 32 bits");
    let mut first = leaders.len() as u32;
    for block in leaders.chunks(BLOCK_ROWS) {
        let mut bytes = [0; GROUPS_LEN];
        bytes[..4].copy_from_slice(&first.to_le_bytes());
        for (pair, &(followers, radius)) in bytes[4..].chunks_exact_mut(2).zip(block) {
            pair[0] = followers;
            pair[1] = if followers == 0 { 0 } else { code_of(radius, unit) };
            first += u32::from(followers);
        }
        take(&bytes);
    }
}

/// The smallest code whose radius is not below `radius` <= `unit`.
fn code_of(radius: f32, unit: f32) -> u8 {
    let guess = (f64::from(radius) / f64::from(unit.max(f32::MIN_POSITIVE)) * 255.0) as u8;
    (guess.saturating_sub(1)..=u8::MAX)
        .find(|&code| radius_of(code, unit) >= radius)
        .unwrap_or(u8::MAX)
}

fn radius_of(code: u8, unit: f32) -> f32 {
    if code == u8::MAX { unit } else { unit * (f32::from(code) / 255.0) }
}

/// Which rows of a list lead, and who follows whom.
#[derive(Debug, Default)]
pub struct Following {
    /// Numbers of the leaders, ascending.
    pub leaders: Vec<u32>,
    /// For each row its leader, as an index of `leaders`, and its distance; a leader's own is 0.
    pub of: Vec<(u32, f32)>,
    rows: Vec<f32>,
    norms: Vec<f64>,
    counts: Vec<u8>,
    products: Vec<f32>,
}

impl Following {
    /// Bytes held for a list of `rows` rows, at most.
    pub const fn footprint(rows: usize, dim: usize) -> usize {
        rows * (4 * dim + 4 + 8 + 8 + 1 + 4) + size_of::<Self>()
    }

    /// Goes through the `rows` of a list (n x dim, row-major f32; under cosine of length 1): each follows
    /// the nearest leader before it that is near enough and has room, or leads.
    ///
    /// # Panics
    /// If `dim` is 0 or `rows` are not whole.
    ///
    /// # Cost
    /// n x leaders x dim multiply-adds.
    pub fn find(&mut self, rows: &[f32], dim: usize) {
        assert!(rows.len().is_multiple_of(dim), "whole rows");
        let Self { leaders, of, rows: led, norms, counts, products } = self;
        leaders.clear();
        of.clear();
        led.clear();
        norms.clear();
        counts.clear();
        for (number, row) in rows.chunks_exact(dim).enumerate() {
            let norm_sq = kernels().norm_sq_f64(row);
            products.resize(leaders.len(), 0.0);
            kernels().dot_rows(row, led, products);
            let near = |index: usize| norm_sq + norms[index] - 2.0 * f64::from(products[index]);
            let nearest = (0..leaders.len())
                .filter(|&index| usize::from(counts[index]) < MAX_FOLLOWERS)
                .map(|index| (near(index), index))
                .filter(|(distance, index)| *distance <= NEAR * NEAR * norms[*index])
                .min_by(|a, b| a.0.total_cmp(&b.0));
            if let Some((_, index)) = nearest {
                let radius = radius(&led[index * dim..(index + 1) * dim], row);
                if radius.is_finite() {
                    counts[index] += 1;
                    of.push((index as u32, radius));
                    continue;
                }
            }
            of.push((leaders.len() as u32, 0.0));
            leaders.push(number as u32);
            led.extend_from_slice(row);
            norms.push(norm_sq);
            counts.push(0);
        }
    }
}

/// An upper end of the distance of two rows: of rows of length 1 also where they are rounded.
fn radius(leader: &[f32], row: &[f32]) -> f32 {
    let kernels = kernels();
    let lengths = kernels.norm_sq_f64(leader).sqrt() + kernels.norm_sq_f64(row).sqrt();
    let distance = kernels.l2sq_f64(leader, row).sqrt() + lengths * f64::from(f32::EPSILON);
    super::bound::rounded_up(distance * super::bound::ENLARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_read_as_they_were_written_with_radii_rounded_up() {
        let leaders: Vec<(u8, f32)> =
            (0..37).map(|i| ((i * 7 % 256) as u8, 0.3 * i as f32 / 36.0)).collect();
        let mut bytes = Vec::new();
        encode(&leaders, 0.3, &mut |block| bytes.extend_from_slice(block));
        assert_eq!(bytes.len(), 3 * GROUPS_LEN);
        let read: Vec<Group> =
            bytes.chunks_exact(GROUPS_LEN).flat_map(|block| groups(block, 0.3)).collect();
        let mut first = 37;
        for ((followers, radius), group) in leaders.iter().zip(&read) {
            assert_eq!(group.places, first..first + usize::from(*followers));
            first = group.places.end;
            let is_tight = group.radius >= *radius && group.radius < radius + 0.3 / 200.0;
            assert!(*followers == 0 || is_tight, "{radius} {group:?}");
        }
        assert!(read[37..].iter().all(|group| group.places.is_empty()));
    }

    #[test]
    fn near_duplicates_follow_and_others_lead() {
        let rows = [1.0, 0.0, 0.0, 1.0, 0.98, 0.05, 0.02, 1.0, 1.0, -0.08, f32::NAN, 0.0];
        let mut following = Following::default();
        following.find(&rows, 2);
        assert_eq!(following.leaders, [0, 1, 5]);
        let leaders: Vec<u32> = following.of.iter().map(|(leader, _)| *leader).collect();
        assert_eq!(leaders, [0, 1, 0, 1, 0, 2]);
        for (row, (leader, radius)) in rows.chunks(2).zip(&following.of).take(5) {
            let leader = 2 * following.leaders[*leader as usize] as usize;
            let distance =
                f64::from(row[0] - rows[leader]).hypot(f64::from(row[1] - rows[leader + 1]));
            assert!(f64::from(*radius) >= distance);
        }
        let many = [1.0f32; 600];
        following.find(&many, 1);
        assert_eq!(following.leaders, [0, 256, 512]);
    }
}
