//! What is one round of a rotation? Signs, a Hadamard transform, plane rotations.
//!
//! Elements are added, subtracted, multiplied and negated one by one, so that the width of a
//! register cannot change a bit of the result. Blocks of up to 256 elements are transformed
//! inside registers, longer ones continue four elements at a time.
//!
//! The transform is scaled before it is added up: no partial sum is then larger than the
//! euclidean norm of what goes in, so nothing overflows that does not have to.

use super::random::Plan;
use crate::wide::{Job, LANES, Wide};

/// Which way to turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Forward,
    Back,
}

/// Rotates each row of `rows`.
pub(super) struct Turn<'a> {
    pub(super) plan: &'a Plan,
    /// One round of words after the other.
    pub(super) signs: &'a [u32],
    /// n x dim.
    pub(super) rows: &'a mut [f32],
    pub(super) way: Way,
}

impl Job for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Wide>(self, wide: W) {
        let plan = self.plan;
        for row in self.rows.chunks_exact_mut(plan.dim) {
            for step in 0..plan.rounds {
                // Each of the three steps is its own inverse.
                match self.way {
                    Way::Forward => {
                        flip(wide, plan.signs(self.signs, step), row);
                        transform(wide, &mut row[plan.window(step)], plan.scale);
                        mix(wide, plan, row);
                    }
                    Way::Back => {
                        let round = plan.rounds - 1 - step;
                        mix(wide, plan, row);
                        transform(wide, &mut row[plan.window(round)], plan.scale);
                        flip(wide, plan.signs(self.signs, round), row);
                    }
                }
            }
        }
    }
}

/// Negates the elements whose bit is set.
#[inline(always)]
fn flip<W: Wide>(wide: W, signs: &[u32], row: &mut [f32]) {
    let bits = |at: usize| (signs[at / 2] >> (16 * (at % 2))) as u16;
    let (whole, rest) = row.as_chunks_mut::<LANES>();
    let rest_at = whole.len();
    for (at, x) in whole.iter_mut().enumerate() {
        wide.store(wide.flip(wide.load(x), bits(at)), x);
    }
    for (i, x) in rest.iter_mut().enumerate() {
        *x = f32::from_bits(x.to_bits() ^ (u32::from(bits(rest_at) >> i & 1) << 31));
    }
}

/// Turns the planes (i, i + dim - dim / 2) by 45 degrees, where the window is not the whole row.
#[inline(always)]
fn mix<W: Wide>(wide: W, plan: &Plan, row: &mut [f32]) {
    const HALF: f32 = std::f32::consts::FRAC_1_SQRT_2;
    if plan.window == plan.dim {
        return;
    }
    let half = plan.dim / 2;
    let (front, back) = row.split_at_mut(plan.dim - half);
    let (front, front_rest) = front[..half].as_chunks_mut::<LANES>();
    let (back, back_rest) = back.as_chunks_mut::<LANES>();
    let factor = wide.splat(HALF);
    for (a, b) in front.iter_mut().zip(back) {
        let (x, y) = (wide.mul(wide.load(a), factor), wide.mul(wide.load(b), factor));
        wide.store(wide.add(x, y), a);
        wide.store(wide.sub(x, y), b);
    }
    for (a, b) in front_rest.iter_mut().zip(back_rest) {
        let (x, y) = (*a * HALF, *b * HALF);
        (*a, *b) = (x + y, x - y);
    }
}

/// The Hadamard transform of a power of two of elements, multiplied by `scale`.
#[inline(always)]
fn transform<W: Wide>(wide: W, x: &mut [f32], scale: f32) {
    let (blocks, _) = x.as_chunks_mut::<LANES>();
    match blocks.len() {
        0 => small(x, scale),
        1 => in_registers::<W, 1>(wide, blocks, scale),
        2 => in_registers::<W, 2>(wide, blocks, scale),
        4 => in_registers::<W, 4>(wide, blocks, scale),
        8 => in_registers::<W, 8>(wide, blocks, scale),
        _ => {
            in_registers::<W, 16>(wide, blocks, scale);
            let mut step = 16;
            while step * 4 <= blocks.len() {
                two_levels(wide, blocks, step);
                step *= 4;
            }
            if step < blocks.len() {
                level(wide, blocks, step);
            }
        }
    }
}

/// Fewer elements than a register has lanes.
#[inline(always)]
fn small(x: &mut [f32], scale: f32) {
    for x in x.iter_mut() {
        *x *= scale;
    }
    let mut step = 1;
    while step < x.len() {
        for pair in x.chunks_exact_mut(2 * step) {
            let (a, b) = pair.split_at_mut(step);
            for (a, b) in a.iter_mut().zip(b) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        step *= 2;
    }
}

/// Scales, and does all levels inside each group of `N` registers.
#[inline(always)]
fn in_registers<W: Wide, const N: usize>(wide: W, blocks: &mut [[f32; LANES]], scale: f32) {
    let factor = wide.splat(scale);
    for group in blocks.as_chunks_mut::<N>().0 {
        let mut x = [factor; N];
        for (x, from) in x.iter_mut().zip(group.iter()) {
            let scaled = wide.mul(wide.load(from), factor);
            let twos = within::<W, 1>(wide, scaled);
            let fours = within::<W, 2>(wide, twos);
            let eights = within::<W, 4>(wide, fours);
            *x = within::<W, 8>(wide, eights);
        }
        across::<W, N, 1>(wide, &mut x);
        across::<W, N, 2>(wide, &mut x);
        across::<W, N, 4>(wide, &mut x);
        across::<W, N, 8>(wide, &mut x);
        for (x, to) in x.into_iter().zip(group) {
            wide.store(x, to);
        }
    }
}

/// The level of distance `H` inside a register: the sum in the lower of two lanes, the
/// difference in the upper one.
#[inline(always)]
fn within<W: Wide, const H: usize>(wide: W, x: W::Lanes) -> W::Lanes {
    let upper = match H {
        1 => 0xAAAA,
        2 => 0xCCCC,
        4 => 0xF0F0,
        _ => 0xFF00,
    };
    wide.add(wide.partner::<H>(x), wide.flip(x, upper))
}

/// The level of distance `STEP` between registers, where there are as many.
#[inline(always)]
fn across<W: Wide, const N: usize, const STEP: usize>(wide: W, x: &mut [W::Lanes; N]) {
    if STEP >= N {
        return;
    }
    for i in 0..N {
        if i & STEP == 0 {
            let (a, b) = (x[i], x[i + STEP]);
            (x[i], x[i + STEP]) = (wide.add(a, b), wide.sub(a, b));
        }
    }
}

/// Sums and differences of registers `step` apart.
#[inline(always)]
fn level<W: Wide>(wide: W, x: &mut [[f32; LANES]], step: usize) {
    for pair in x.chunks_exact_mut(2 * step) {
        let (a, b) = pair.split_at_mut(step);
        for (a, b) in a.iter_mut().zip(b) {
            let (x, y) = (wide.load(a), wide.load(b));
            wide.store(wide.add(x, y), a);
            wide.store(wide.sub(x, y), b);
        }
    }
}

/// The levels `step` and `2 * step` in one pass.
#[inline(always)]
fn two_levels<W: Wide>(wide: W, x: &mut [[f32; LANES]], step: usize) {
    for four in x.chunks_exact_mut(4 * step) {
        let (ab, cd) = four.split_at_mut(2 * step);
        let ((a, b), (c, d)) = (ab.split_at_mut(step), cd.split_at_mut(step));
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let (w, x, y, z) = (wide.load(a), wide.load(b), wide.load(c), wide.load(d));
            let (sum, difference) = (wide.add(w, x), wide.sub(w, x));
            let (other_sum, other_difference) = (wide.add(y, z), wide.sub(y, z));
            wide.store(wide.add(sum, other_sum), a);
            wide.store(wide.add(difference, other_difference), b);
            wide.store(wide.sub(sum, other_sum), c);
            wide.store(wide.sub(difference, other_difference), d);
        }
    }
}
