//! binary16 and bfloat16 as numbers: rounded from f32 to nearest, even on a tie; widened exactly.
//!
//! Plain code without branches, so that compilers turn loops over it into vector instructions,
//! and the bits are the same on every processor.

/// The two formats of 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Half {
    /// IEEE 754 binary16: 11 significant bits, up to 65,504.
    F16,
    /// The upper half of an f32: 8 significant bits, its range.
    Bf16,
}

/// 2^112: between the biases of the exponents.
const F16_SCALE: f32 = f32::from_bits((127 + 112) << 23);

impl Half {
    /// The bits of the nearest number; of two, the one whose last bit is 0. A NaN stays a NaN.
    #[inline(always)]
    pub fn narrow(self, x: f32) -> u16 {
        match self {
            Self::F16 => narrow_f16(x),
            Self::Bf16 => narrow_bf16(x),
        }
    }

    /// The value of these bits.
    #[inline(always)]
    pub fn value(self, bits: u16) -> f32 {
        match self {
            Self::F16 => widen_f16(bits),
            Self::Bf16 => f32::from_bits(u32::from(bits) << 16),
        }
    }

    /// The largest |x - narrow(x)| over |x|, for x of normal numbers of the format: half of the
    /// distance of neighbours.
    pub const fn unit_roundoff(self) -> f32 {
        match self {
            Self::F16 => 1.0 / 2048.0,
            Self::Bf16 => 1.0 / 256.0,
        }
    }
}

/// Exponent and fraction in the places of f32, times 2^112, which is exact, also where the half
/// is subnormal. What comes out as 2^16 or more was infinite or NaN.
#[inline(always)]
pub(crate) fn widen_f16(bits: u16) -> f32 {
    let scaled = f32::from_bits(u32::from(bits & 0x7FFF) << 13) * F16_SCALE;
    let endless = if scaled >= 65_536.0 { 0x7F80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | endless | u32::from(bits & 0x8000) << 16)
}

#[inline(always)]
fn narrow_f16(x: f32) -> u16 {
    let bits = x.to_bits();
    let size = bits & 0x7FFF_FFFF;
    // Half of a unit less one, and one more where the last kept bit is 1: ties to even. The
    // carry into the exponent is right.
    let normal = (size.wrapping_sub(112 << 23).wrapping_add(0xFFF + (size >> 13 & 1))) >> 13;
    // The unit of f32 at 1/2 is the smallest binary16, so the sum rounds as it must.
    let small = (f32::from_bits(size) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
    let finite = if size < 113 << 23 { small } else { normal };
    // From 65,520 on, half a unit above the largest number, infinity is next.
    let whole = if size >= 0x477F_F000 { 0x7C00 } else { finite };
    let nan = 0x7E00 | (size >> 13 & 0x1FF);
    let kept = if size > 0x7F80_0000 { nan } else { whole };
    (kept | (bits >> 16 & 0x8000)) as u16
}

#[inline(always)]
fn narrow_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) >> 16;
    let nan = bits >> 16 | 0x40;
    (if bits & 0x7FFF_FFFF > 0x7F80_0000 { nan } else { rounded }) as u16
}
