//! Every operation of every instruction set against the array.

use proptest::prelude::*;

use super::portable::Portable;
use super::{Job, LANES, Set, Wide};

/// One register of input each, and all operations on them, as bits.
struct All {
    a: [f32; LANES],
    b: [f32; LANES],
    c: [f32; LANES],
    bits: u16,
}

impl Job for All {
    type Output = Vec<[u32; LANES]>;

    fn run<W: Wide>(self, wide: W) -> Self::Output {
        let [a, b, c] = [&self.a, &self.b, &self.c].map(|from| wide.load(from));
        let results = [
            wide.splat(self.a[0]),
            wide.add(a, b),
            wide.sub(a, b),
            wide.mul(a, b),
            wide.mul_add(a, b, c),
            wide.flip(a, self.bits),
            wide.partner::<1>(a),
            wide.partner::<2>(a),
            wide.partner::<4>(a),
            wide.partner::<8>(a),
            wide.select(wide.less(a, b), a, b),
            wide.select(wide.less(b, c), c, a),
        ];
        let bits = results.map(|lanes| {
            let mut out = [0.0; LANES];
            wide.store(lanes, &mut out);
            // The sign and payload of a computed NaN are the processor's.
            out.map(|x| if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() })
        });
        bits.to_vec()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_array(
        lanes: [[u32; LANES]; 3],
        bits: u16,
    ) {
        let [a, b, c] = lanes.map(|lanes| lanes.map(f32::from_bits));
        let expected = All { a, b, c, bits }.run(Portable);
        for set in Set::available() {
            let found = set.run(All { a, b, c, bits });
            prop_assert_eq!(&found, &expected, "{:?}", set);
        }
    }

    #[test]
    fn numbers_of_one_size_give_the_bits_of_the_array(
        lanes in prop::array::uniform3(prop::array::uniform16(-4.0f32..4.0)),
        bits: u16,
    ) {
        let [a, b, c] = lanes;
        let expected = All { a, b, c, bits }.run(Portable);
        for set in Set::available() {
            prop_assert_eq!(set.run(All { a, b, c, bits }), expected.clone(), "{:?}", set);
        }
    }
}
