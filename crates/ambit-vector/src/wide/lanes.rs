//! What can sixteen lanes do?

/// Lanes of a register.
pub(crate) const LANES: usize = 16;

/// Instructions that are present, and what they do with sixteen f32 lanes.
pub(crate) trait Wide: Copy {
    /// Sixteen lanes.
    type Lanes: Copy;
    /// One bit of truth a lane.
    type Mask: Copy;

    /// How many values of `Lanes` fit into registers at once.
    const REGISTERS: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::Lanes;
    /// Lane i = `from[i]`.
    fn load(self, from: &[f32; LANES]) -> Self::Lanes;
    /// `to[i]` = lane i.
    fn store(self, lanes: Self::Lanes, to: &mut [f32; LANES]);
    /// `a + b`.
    fn add(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a - b`.
    fn sub(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a * b`.
    fn mul(self, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
    /// `a * b + c`, rounded once.
    fn mul_add(self, a: Self::Lanes, b: Self::Lanes, c: Self::Lanes) -> Self::Lanes;
    /// Negates the lanes whose bit is set.
    fn flip(self, a: Self::Lanes, bits: u16) -> Self::Lanes;
    /// Lane i = lane i ^ `H`; `H` is 1, 2, 4 or 8.
    fn partner<const H: usize>(self, a: Self::Lanes) -> Self::Lanes;
    /// Where `a < b`; false for a NaN.
    fn less(self, a: Self::Lanes, b: Self::Lanes) -> Self::Mask;
    /// `a` where the mask is set, else `b`.
    fn select(self, mask: Self::Mask, a: Self::Lanes, b: Self::Lanes) -> Self::Lanes;
}
