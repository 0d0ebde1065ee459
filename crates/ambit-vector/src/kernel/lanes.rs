//! What must an instruction set offer so that the loops can run on it?
//!
//! One register of `WIDTH` f32 lanes: load, add, subtract, multiply-add, sum. The sum of a
//! register is a tree of adds of depth at most 4, which the error bounds count on. Half floats
//! ([`Element`]) become f32 as they are loaded, which is exact, so the bounds hold for them too.
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

    /// Lane i = the value of the binary16 bits `from[i]`, exactly; `WIDTH` readable numbers of
    /// any alignment.
    unsafe fn load_f16(from: *const u16) -> Self;

    /// [`Lanes::load_f16`] of `len` < `WIDTH` readable numbers, other lanes 0.
    unsafe fn load_f16_head(from: *const u16, len: usize) -> Self;

    /// Lane i = the value of the bfloat16 bits `from[i]`, exactly; `WIDTH` readable numbers of
    /// any alignment.
    unsafe fn load_bf16(from: *const u16) -> Self;

    /// [`Lanes::load_bf16`] of `len` < `WIDTH` readable numbers, other lanes 0.
    unsafe fn load_bf16_head(from: *const u16, len: usize) -> Self;

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
    unsafe fn prefetch(at: *const u8) {
        let _ = at;
    }
}

/// A number of a row, which is scored as f32.
pub(super) trait Element: Copy {
    /// `L::WIDTH` elements as f32.
    ///
    /// # Safety
    ///
    /// The instruction set of `L` is present; `from` has `L::WIDTH` readable elements.
    unsafe fn load<L: Lanes>(from: *const Self) -> L;

    /// `len` elements as f32, other lanes 0.
    ///
    /// # Safety
    ///
    /// The instruction set of `L` is present; `from` has `len` < `L::WIDTH` readable elements.
    unsafe fn load_head<L: Lanes>(from: *const Self, len: usize) -> L;
}

/// The bits of a binary16 number, wherever they lie.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct F16([u8; 2]);

/// The bits of a bfloat16 number, wherever they lie.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bf16([u8; 2]);

macro_rules! element {
    ($type:ty, $bits:ty, $load:ident, $load_head:ident) => {
        impl Element for $type {
            #[inline(always)]
            unsafe fn load<L: Lanes>(from: *const Self) -> L {
                // SAFETY: as the caller vouches; the type is its bits, and no load needs alignment.
                unsafe { L::$load(from.cast::<$bits>()) }
            }

            #[inline(always)]
            unsafe fn load_head<L: Lanes>(from: *const Self, len: usize) -> L {
                // SAFETY: as the caller vouches; the type is its bits, and no load needs alignment.
                unsafe { L::$load_head(from.cast::<$bits>(), len) }
            }
        }
    };
}

element!(f32, f32, load, load_head);
element!(F16, u16, load_f16, load_f16_head);
element!(Bf16, u16, load_bf16, load_bf16_head);

/// Copies `len` numbers in front of zeros, for instruction sets without masked loads.
///
/// # Safety
///
/// `len` numbers are readable at `from`, of any alignment, and `len` <= `N`. Any bytes are a `T`.
#[inline(always)]
pub(super) unsafe fn padded<T: Copy + Default, const N: usize>(
    from: *const T,
    len: usize,
) -> [T; N] {
    let mut lanes = [T::default(); N];
    let bytes = len * size_of::<T>();
    // SAFETY: the caller vouches for `bytes` bytes at `from`, and `lanes` has N >= len places.
    unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), lanes.as_mut_ptr().cast(), bytes) };
    lanes
}
