//! Sixteen lanes in four registers of NEON.

use std::arch::aarch64::*;

use super::lanes::{LANES, Wide};

/// Proof of NEON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Neon(());

impl Neon {
    /// # Safety
    ///
    /// NEON is present.
    pub(super) unsafe fn assume() -> Self {
        Self(())
    }
}

type Four = [float32x4_t; 4];

/// Applies an instruction to each of four registers.
macro_rules! each {
    (|$i:ident| $lane:expr) => {{
        let at = |$i: usize| $lane;
        [at(0), at(1), at(2), at(3)]
    }};
}

// SAFETY, of every block below: a value of `Neon` is proof of NEON (see `assume`); loads and
// stores go through references to sixteen floats, of which a quarter is four.
impl Wide for Neon {
    type Lanes = Four;
    type Mask = [uint32x4_t; 4];

    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, x: f32) -> Four {
        // SAFETY: as above.
        unsafe { [vdupq_n_f32(x); 4] }
    }

    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Four {
        // SAFETY: as above.
        unsafe { each!(|i| vld1q_f32(from.as_ptr().add(4 * i))) }
    }

    #[inline(always)]
    fn store(self, lanes: Four, to: &mut [f32; LANES]) {
        for (i, lanes) in lanes.into_iter().enumerate() {
            // SAFETY: as above.
            unsafe { vst1q_f32(to.as_mut_ptr().add(4 * i), lanes) };
        }
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        // SAFETY: as above.
        unsafe { each!(|i| vaddq_f32(a[i], b[i])) }
    }

    #[inline(always)]
    fn sub(self, a: Four, b: Four) -> Four {
        // SAFETY: as above.
        unsafe { each!(|i| vsubq_f32(a[i], b[i])) }
    }

    #[inline(always)]
    fn mul(self, a: Four, b: Four) -> Four {
        // SAFETY: as above.
        unsafe { each!(|i| vmulq_f32(a[i], b[i])) }
    }

    #[inline(always)]
    fn mul_add(self, a: Four, b: Four, c: Four) -> Four {
        // SAFETY: as above.
        unsafe { each!(|i| vfmaq_f32(c[i], a[i], b[i])) }
    }

    #[inline(always)]
    fn flip(self, a: Four, bits: u16) -> Four {
        // SAFETY: as above; the table has four integers.
        unsafe {
            // Bit i of the quarter goes to the sign of lane i.
            let to_sign = vld1q_s32([31, 30, 29, 28].as_ptr());
            let sign = vdupq_n_u32(1 << 31);
            each!(|i| {
                let spread = vshlq_u32(vdupq_n_u32(u32::from(bits >> (4 * i))), to_sign);
                let flipped = veorq_u32(vreinterpretq_u32_f32(a[i]), vandq_u32(spread, sign));
                vreinterpretq_f32_u32(flipped)
            })
        }
    }

    #[inline(always)]
    fn partner<const H: usize>(self, a: Four) -> Four {
        // SAFETY: as above.
        unsafe {
            match H {
                1 => each!(|i| vrev64q_f32(a[i])),
                2 => each!(|i| vextq_f32::<2>(a[i], a[i])),
                4 => [a[1], a[0], a[3], a[2]],
                _ => [a[2], a[3], a[0], a[1]],
            }
        }
    }

    #[inline(always)]
    fn less(self, a: Four, b: Four) -> [uint32x4_t; 4] {
        // SAFETY: as above.
        unsafe { each!(|i| vcltq_f32(a[i], b[i])) }
    }

    #[inline(always)]
    fn select(self, mask: [uint32x4_t; 4], a: Four, b: Four) -> Four {
        // SAFETY: as above.
        unsafe { each!(|i| vbslq_f32(mask[i], a[i], b[i])) }
    }
}
