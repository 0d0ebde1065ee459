//! Centroids, packed for the kernel that finds the nearest one.

use super::error::KmeansError;
use super::nearest::{Nearest, Norms};
use super::options::MAX_CLUSTERS;
use crate::rotation::MAX_DIM;
use crate::wide::{LANES, Set};

/// Rows whose norms are taken at a time.
const BLOCK: usize = 64;

/// Points to which rows are assigned.
#[derive(Debug, Clone)]
pub struct Centroids {
    dim: usize,
    count: usize,
    /// Panels of sixteen centroids x dim.
    panels: Vec<[f32; LANES]>,
    /// -|c|^2 / 2.
    starts: Vec<[f32; LANES]>,
}

impl Centroids {
    /// Packs `centroids`, count x `dim`, row-major f32.
    ///
    /// # Errors
    /// A dimension or a count that is 0 or too large, or a slice of another shape.
    ///
    /// # Cost
    /// Holds [`Centroids::footprint_of`] bytes, copies once.
    pub fn new(dim: usize, centroids: &[f32]) -> Result<Self, KmeansError> {
        let mut packed = Self::unfilled(dim, centroids.len() / dim.max(1))?;
        packed.fill(centroids)?;
        Ok(packed)
    }

    /// Room for `count` centroids, all 0.
    pub(super) fn unfilled(dim: usize, count: usize) -> Result<Self, KmeansError> {
        if dim == 0 || dim > MAX_DIM {
            return Err(KmeansError::Dimension { dim });
        }
        if count == 0 || count > MAX_CLUSTERS {
            return Err(KmeansError::Clusters { clusters: count, rows: count });
        }
        let panels = count.div_ceil(LANES);
        let (panels, starts) = (vec![[0.0; LANES]; panels * dim], vec![[0.0; LANES]; panels]);
        Ok(Self { dim, count, panels, starts })
    }

    /// Takes other centroids in, as many.
    pub(super) fn fill(&mut self, centroids: &[f32]) -> Result<(), KmeansError> {
        let (dim, expected) = (self.dim, self.count * self.dim);
        if centroids.len() != expected {
            let found = centroids.len();
            return Err(KmeansError::Shape { what: "centroids", expected, found });
        }
        let mut norm = [0.0];
        self.starts.fill([f32::NEG_INFINITY; LANES]);
        for (number, centroid) in centroids.chunks_exact(dim).enumerate() {
            let (panel, lane) = (number / LANES, number % LANES);
            for (register, x) in self.panels[panel * dim..][..dim].iter_mut().zip(centroid) {
                register[lane] = *x;
            }
            Set::best().run(Norms { dim, rows: centroid, norms: &mut norm });
            self.starts[panel][lane] = -norm[0] / 2.0;
        }
        Ok(())
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Bytes that are held, itself included.
    pub fn footprint(&self) -> usize {
        Self::footprint_of(self.dim, self.count)
    }

    /// Bytes that `count` centroids of `dim` numbers hold.
    pub const fn footprint_of(dim: usize, count: usize) -> usize {
        size_of::<Self>() + size_of::<[f32; LANES]>() * count.div_ceil(LANES) * (dim + 1)
    }

    /// The nearest centroid of each row, and its squared distance.
    ///
    /// `rows`: n x dim; `nearest` and `distances`: n. Of centroids that are equally near in f32
    /// the lower one wins. A row that is not finite goes to some centroid, at a distance that is
    /// not finite.
    ///
    /// # Errors
    /// Slices of other shapes.
    ///
    /// # Cost
    /// n x count x dim multiply-adds, at 0.8 and more of what the processor can do with AVX-512
    /// once there are 64 centroids. Allocates nothing.
    pub fn assign(
        &self,
        rows: &[f32],
        nearest: &mut [u32],
        distances: &mut [f32],
    ) -> Result<(), KmeansError> {
        self.assign_with(Set::best(), rows, nearest, distances)
    }

    pub(super) fn assign_with(
        &self,
        set: Set,
        rows: &[f32],
        nearest: &mut [u32],
        distances: &mut [f32],
    ) -> Result<(), KmeansError> {
        let (dim, n) = (self.dim, nearest.len());
        if n.checked_mul(dim) != Some(rows.len()) {
            let expected = n.saturating_mul(dim);
            return Err(KmeansError::Shape { what: "rows", expected, found: rows.len() });
        }
        if distances.len() != n {
            let found = distances.len();
            return Err(KmeansError::Shape { what: "distances", expected: n, found });
        }
        let (panels, starts) = (&self.panels, &self.starts);
        set.run(Nearest { dim, panels, starts, rows, nearest, sums: distances });
        self.sums_to_distances(set, rows, distances);
        Ok(())
    }

    /// |x - c|^2 = |x|^2 - 2 (x.c - |c|^2 / 2).
    fn sums_to_distances(&self, set: Set, rows: &[f32], sums: &mut [f32]) {
        let mut norms = [0.0; BLOCK];
        for (rows, sums) in rows.chunks(BLOCK * self.dim).zip(sums.chunks_mut(BLOCK)) {
            let norms = &mut norms[..sums.len()];
            set.run(Norms { dim: self.dim, rows, norms });
            for (sum, norm) in sums.iter_mut().zip(norms) {
                let distance = (-2.0f32).mul_add(*sum, *norm);
                *sum = if distance < 0.0 { 0.0 } else { distance };
            }
        }
    }
}
