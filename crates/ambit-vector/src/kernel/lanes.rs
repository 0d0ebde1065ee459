//! What must an instruction set offer so that the loops can run on it?
//!
//! One register of `WIDTH` f32 lanes: load, add, subtract, multiply-add, sum. The sum of a
//! register is a tree of adds of depth at most 4, which the error bounds count on.
//! What the loops do with registers is not known here.

/// One register of f32 lanes.
///
/// # Safety
///
/// Every method may run only where the instruction set of the implementor is present; the
/// loads also need the memory that they name.
pub(super) trait Lanes: Copy {
    /// Lanes in a register: 4, 8 or 16.
    const WIDTH: usize;

    /// All lanes 0.
    unsafe fn zero() -> Self;

    /// Lane i = `from[i]`; `WIDTH` readable floats, any alignment.
    unsafe fn load(from: *const f32) -> Self;

    /// Lane i = `from[i]` for i < `len`, else 0; `len` readable floats, `len` < `WIDTH`.
    unsafe fn load_head(from: *const f32, len: usize) -> Self;

    /// `self + other`, lane by lane.
    unsafe fn add(self, other: Self) -> Self;

    /// `self - other`, lane by lane.
    unsafe fn sub(self, other: Self) -> Self;

    /// `self + a * b`, lane by lane, rounded once or twice.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;

    /// The sum of all lanes.
    unsafe fn sum(self) -> f32;

    /// The sums of four registers.
    #[inline(always)]
    unsafe fn sum_four(four: [Self; 4]) -> [f32; 4] {
        // SAFETY: the caller vouches for the instruction set, which is all that `sum` needs.
        unsafe { [four[0].sum(), four[1].sum(), four[2].sum(), four[3].sum()] }
    }

    /// Asks for the cache line at `at`, which may be any address; a hint without effect on
    /// values.
    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        let _ = at;
    }
}

/// Copies `len` floats behind zeros, for instruction sets without masked loads.
///
/// # Safety
///
/// `len` floats are readable at `from`, and `len` <= `N`.
#[inline(always)]
pub(super) unsafe fn padded<const N: usize>(from: *const f32, len: usize) -> [f32; N] {
    let mut lanes = [0.0; N];
    // SAFETY: the caller vouches for `len` floats at `from`, and `lanes` has N >= len places.
    unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len) };
    lanes
}
