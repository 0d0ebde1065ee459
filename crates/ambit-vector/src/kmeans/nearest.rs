//! Which centroid is nearest? A matrix kernel whose lanes are sixteen centroids.
//!
//! The nearest centroid c of a row x has the largest x.c - |c|^2 / 2. Centroids lie in panels of
//! sixteen, one number of each beside the others, so that a lane adds up one centroid and no sum
//! across lanes is needed. A tile of rows and panels stays in registers: each number of a row is
//! read once for several panels, each number of a panel once for several rows.
//!
//! A lane adds the products of its centroid in order, fused, starting from -|c|^2 / 2; so the
//! sums have the same bits on every processor. Of equal sums the lower centroid wins.

use crate::wide::{Job, LANES, Wide};

/// Rows that are scored before their winners are read off.
const BLOCK: usize = 64;

/// Rows against panels of centroids.
pub(super) struct Nearest<'a> {
    pub(super) dim: usize,
    /// Panels x dim registers.
    pub(super) panels: &'a [[f32; LANES]],
    /// -|c|^2 / 2, one register a panel; -inf where there is no centroid.
    pub(super) starts: &'a [[f32; LANES]],
    /// n x dim.
    pub(super) rows: &'a [f32],
    /// n.
    pub(super) nearest: &'a mut [u32],
    /// n: the largest sums.
    pub(super) sums: &'a mut [f32],
}

/// The best sums of a row so far, a lane for each centroid of a panel, and in which panel.
type Best<W> = (<W as Wide>::Lanes, <W as Wide>::Lanes);

impl Job for Nearest<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let (rows, dim) = (self.rows, self.dim);
        let winners = self.nearest.chunks_mut(BLOCK).zip(self.sums.chunks_mut(BLOCK));
        for (rows, (nearest, sums)) in rows.chunks(BLOCK * dim).zip(winners) {
            let mut best = [(wide.splat(f32::NEG_INFINITY), wide.splat(0.0)); BLOCK];
            // Pictured for 32 registers: 6 rows x 4 panels of sums, 4 of centroids, 1 of the row.
            if W::REGISTERS >= 32 {
                block::<W, 6, 4>(wide, dim, self.panels, self.starts, rows, &mut best);
            } else {
                block::<W, 2, 2>(wide, dim, self.panels, self.starts, rows, &mut best);
            }
            for ((best, nearest), sum) in best.into_iter().zip(nearest).zip(sums) {
                (*nearest, *sum) = winner(wide, best);
            }
        }
    }
}

/// Scores a block of rows against all panels, `P` panels at a time.
#[inline(always)]
fn block<W: Wide, const R: usize, const P: usize>(
    wide: W,
    dim: usize,
    panels: &[[f32; LANES]],
    starts: &[[f32; LANES]],
    rows: &[f32],
    best: &mut [Best<W>; BLOCK],
) {
    let mut panel = 0;
    while panel + P <= starts.len() {
        strip::<W, R, P>(wide, dim, panels, starts, panel, rows, best);
        panel += P;
    }
    while panel < starts.len() {
        strip::<W, R, 1>(wide, dim, panels, starts, panel, rows, best);
        panel += 1;
    }
}

/// Scores a block of rows against the `P` panels from `panel` on, `R` rows at a time.
#[inline(always)]
fn strip<W: Wide, const R: usize, const P: usize>(
    wide: W,
    dim: usize,
    panels: &[[f32; LANES]],
    starts: &[[f32; LANES]],
    panel: usize,
    rows: &[f32],
    best: &mut [Best<W>; BLOCK],
) {
    let panels: [&[[f32; LANES]]; P] = std::array::from_fn(|p| &panels[(panel + p) * dim..][..dim]);
    let starts: [&[f32; LANES]; P] = std::array::from_fn(|p| &starts[panel + p]);
    let count = rows.len() / dim;
    let mut row = 0;
    while row + R <= count {
        let tile: [&[f32]; R] = std::array::from_fn(|r| &rows[(row + r) * dim..][..dim]);
        let sums = tile_sums::<W, R, P>(wide, dim, &panels, &starts, &tile);
        for (r, sums) in sums.into_iter().enumerate() {
            keep::<W, P>(wide, panel, sums, &mut best[row + r]);
        }
        row += R;
    }
    while row < count {
        let tile = [&rows[row * dim..][..dim]];
        let [sums] = tile_sums::<W, 1, P>(wide, dim, &panels, &starts, &tile);
        keep::<W, P>(wide, panel, sums, &mut best[row]);
        row += 1;
    }
}

/// start + row . centroid for `R` rows and `P` panels of centroids.
#[inline(always)]
pub(crate) fn tile_sums<W: Wide, const R: usize, const P: usize>(
    wide: W,
    dim: usize,
    panels: &[&[[f32; LANES]]; P],
    starts: &[&[f32; LANES]; P],
    rows: &[&[f32]; R],
) -> [[W::Lanes; P]; R] {
    let mut start = [wide.splat(0.0); P];
    for (start, from) in start.iter_mut().zip(starts) {
        *start = wide.load(from);
    }
    let mut sums = [start; R];
    for k in 0..dim {
        let mut centroids = [wide.splat(0.0); P];
        for (centroid, panel) in centroids.iter_mut().zip(panels) {
            *centroid = wide.load(&panel[k]);
        }
        for (sums, row) in sums.iter_mut().zip(rows) {
            let x = wide.splat(row[k]);
            for (sum, centroid) in sums.iter_mut().zip(centroids) {
                *sum = wide.mul_add(x, centroid, *sum);
            }
        }
    }
    sums
}

/// Takes the sums of `P` panels in, from `panel` on.
#[inline(always)]
fn keep<W: Wide, const P: usize>(wide: W, panel: usize, sums: [W::Lanes; P], best: &mut Best<W>) {
    for (p, sum) in sums.into_iter().enumerate() {
        // Panels are counted in floats: MAX_CLUSTERS / 16 is far below 2^24.
        let number = wide.splat((panel + p) as f32);
        let better = wide.less(best.0, sum);
        best.0 = wide.select(better, sum, best.0);
        best.1 = wide.select(better, number, best.1);
    }
}

/// The lowest centroid with the largest sum; the first one where no sum is above -inf.
#[inline(always)]
fn winner<W: Wide>(wide: W, best: Best<W>) -> (u32, f32) {
    let (mut sums, mut panels) = ([0.0; LANES], [0.0; LANES]);
    wide.store(best.0, &mut sums);
    wide.store(best.1, &mut panels);
    let mut winner = (0, f32::NEG_INFINITY);
    for lane in 0..LANES {
        let number = panels[lane] as u32 * LANES as u32 + lane as u32;
        let (nearest, sum) = winner;
        if sums[lane] > sum || sums[lane] == sum && number < nearest {
            winner = (number, sums[lane]);
        }
    }
    winner
}

/// The squared norm of each row, and the least of its distances to one point and before.
pub(super) struct Closer<'a> {
    /// dim.
    pub(super) point: &'a [f32],
    /// n x dim.
    pub(super) rows: &'a [f32],
    /// n: lowered to the squared distance to `point` where that is less.
    pub(super) distances: &'a mut [f32],
}

impl Job for Closer<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let rows = self.rows.chunks_exact(self.point.len());
        for (row, least) in rows.zip(self.distances) {
            *least = least.min(distance(wide, row, self.point));
        }
    }
}

/// The squared distance of two vectors: sixteen lanes, then the rest in order, all fused.
#[inline(always)]
fn distance<W: Wide>(wide: W, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = wide.splat(0.0);
    for (a, b) in a.iter().zip(b) {
        let difference = wide.sub(wide.load(a), wide.load(b));
        lanes = wide.mul_add(difference, difference, lanes);
    }
    let mut sum = total(wide, lanes);
    for (a, b) in a_rest.iter().zip(b_rest) {
        sum = (a - b).mul_add(a - b, sum);
    }
    sum
}

/// The sum of all lanes, as a tree.
#[inline(always)]
fn total<W: Wide>(wide: W, lanes: W::Lanes) -> f32 {
    let pairs = wide.add(lanes, wide.partner::<8>(lanes));
    let fours = wide.add(pairs, wide.partner::<4>(pairs));
    let eights = wide.add(fours, wide.partner::<2>(fours));
    let mut out = [0.0; LANES];
    wide.store(wide.add(eights, wide.partner::<1>(eights)), &mut out);
    out[0]
}

/// The squared norm of each row.
pub(super) struct Norms<'a> {
    pub(super) dim: usize,
    /// n x dim.
    pub(super) rows: &'a [f32],
    /// n.
    pub(super) norms: &'a mut [f32],
}

impl Job for Norms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        for (row, norm) in self.rows.chunks_exact(self.dim).zip(self.norms) {
            let (whole, rest) = row.as_chunks::<LANES>();
            let mut lanes = wide.splat(0.0);
            for x in whole {
                lanes = wide.mul_add(wide.load(x), wide.load(x), lanes);
            }
            *norm = rest.iter().fold(total(wide, lanes), |sum, x| x.mul_add(*x, sum));
        }
    }
}
