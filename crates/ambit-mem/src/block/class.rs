//! Which block sizes are there, and how many blocks make a slab?
//!
//! Every multiple of 64 bytes up to 4 KiB, then 32 sizes for each doubling up to 64 KiB: a block
//! is never more than 63 bytes, or one part in 32, larger than what was asked for. The dims of
//! real models are multiples of 64 or 128, so their blocks fit exactly.
//!
//! A slab holds blocks of one class side by side, without a header between them. How many is
//! chosen so that it takes about 128 KiB and at least eight blocks, and that little is left over of
//! its last page: at most one part in 256 for all but 11 classes, one part in 40 for those. All tables are made by the compiler.

/// Blocks begin at multiples of this many bytes: a cache line, and the widest vector register.
pub const ALIGNMENT: usize = 64;
/// The largest block of a [`BlockPool`](super::BlockPool), in bytes.
pub const LARGEST_BLOCK: usize = 64 << 10;

/// Number of size classes.
pub(super) const COUNT: usize = 192;
/// The most blocks that a slab holds.
pub(super) const MOST_PER_SLAB: usize = 512;
/// The most blocks that a thread keeps of a class.
pub(super) const MOST_KEPT: usize = 64;

/// Below this every multiple of 64 is a class.
const FINE: usize = 4 << 10;
/// Classes for each doubling above [`FINE`].
const PER_DOUBLING: usize = 32;
const PAGE: usize = 4 << 10;
const SLAB: usize = 128 << 10;
const FEWEST_PER_SLAB: usize = 8;
/// Bytes that a thread keeps of a class, at most, where that leaves it [`FEWEST_KEPT`] blocks.
const KEPT: usize = 256 << 10;
const FEWEST_KEPT: usize = 4;

/// A size class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    /// Bytes of a block.
    pub size: usize,
    /// Blocks of a slab.
    pub per_slab: usize,
    /// Blocks that a thread keeps, at most.
    pub kept: usize,
    /// 2^32 / `size`, rounded up: multiplying is a tenth of the cost of dividing.
    reciprocal: u64,
}

impl Class {
    const fn new(size: usize) -> Self {
        let fewest = larger(SLAB.div_ceil(size), FEWEST_PER_SLAB);
        let mut per_slab = smaller(fewest, MOST_PER_SLAB);
        let mut best = per_slab;
        // The first count whose rest is small, else the one with the smallest rest.
        while per_slab <= MOST_PER_SLAB && per_slab < 2 * fewest {
            if rest(per_slab * size) * best < rest(best * size) * per_slab {
                best = per_slab;
            }
            if rest(best * size) * 256 <= best * size {
                break;
            }
            per_slab += 1;
        }
        let kept = smaller(larger(KEPT / size, FEWEST_KEPT), MOST_KEPT);
        let reciprocal = (1u64 << 32).div_ceil(size as u64);
        Self { size, per_slab: best, kept, reciprocal }
    }

    /// Which block begins `offset` bytes into the slab. Exact, as the error of the reciprocal is
    /// below 1, and that of the product below `offset` / 2^32.
    #[inline]
    pub(super) const fn index_of(self, offset: usize) -> usize {
        ((offset as u64 * self.reciprocal) >> 32) as usize
    }

    /// Bytes of a slab's blocks.
    pub(super) const fn slab_bytes(self) -> usize {
        self.size * self.per_slab
    }
}

const fn larger(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

const fn smaller(a: usize, b: usize) -> usize {
    if a < b { a } else { b }
}

/// Bytes of the last page that `bytes` do not use.
const fn rest(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE) - bytes
}

/// The classes, smallest first.
pub(super) static CLASSES: [Class; COUNT] = {
    let mut classes = [Class::new(ALIGNMENT); COUNT];
    let mut size = 0;
    let mut index = 0;
    while index < COUNT {
        size += if size < FINE { ALIGNMENT } else { step(size) };
        classes[index] = Class::new(size);
        index += 1;
    }
    assert!(size == LARGEST_BLOCK);
    classes
};

/// How far it is from `size` (a class of at least [`FINE`]) to the next class.
const fn step(size: usize) -> usize {
    let mut floor = FINE;
    while floor * 2 <= size {
        floor *= 2;
    }
    floor / PER_DOUBLING
}

/// The class of each multiple of 64 bytes; that of 0 is that of 64.
static CLASS_OF: [u8; LARGEST_BLOCK / ALIGNMENT + 1] = {
    let mut table = [0; LARGEST_BLOCK / ALIGNMENT + 1];
    let (mut grain, mut class) = (0, 0);
    while grain < table.len() {
        if CLASSES[class].size < grain * ALIGNMENT {
            class += 1;
        }
        table[grain] = class as u8;
        grain += 1;
    }
    table
};

/// The smallest class that holds `bytes`; `None` above [`LARGEST_BLOCK`].
#[inline(always)]
pub(super) fn of(bytes: usize) -> Option<usize> {
    if bytes > LARGEST_BLOCK {
        return None;
    }
    Some(CLASS_OF[bytes.div_ceil(ALIGNMENT)] as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_gets_the_smallest_class_that_holds_it() {
        let step = if cfg!(miri) { 1021 } else { 1 };
        for bytes in (0..=LARGEST_BLOCK).step_by(step) {
            let slow = CLASSES.iter().position(|class| class.size >= bytes);
            assert_eq!(of(bytes), slow, "{bytes}");
        }
        assert_eq!(of(LARGEST_BLOCK + 1), None);
        assert_eq!(of(usize::MAX), None);
    }

    #[test]
    fn no_block_is_more_than_63_bytes_or_one_part_in_32_larger_than_asked() {
        let step = if cfg!(miri) { 1021 } else { 1 };
        for bytes in (1..=LARGEST_BLOCK).step_by(step) {
            let over = CLASSES[of(bytes).unwrap()].size - bytes;
            assert!(over < 64 || over * 32 <= bytes, "{bytes}: {over}");
        }
    }

    #[test]
    fn classes_are_aligned_and_their_slabs_fill_their_pages() {
        for class in CLASSES {
            assert_eq!(class.size % ALIGNMENT, 0);
            assert!((FEWEST_PER_SLAB..=MOST_PER_SLAB).contains(&class.per_slab), "{class:?}");
            assert!((FEWEST_KEPT..=MOST_KEPT).contains(&class.kept), "{class:?}");
            assert!(rest(class.slab_bytes()) * 40 <= class.slab_bytes(), "{class:?}");
            assert!(class.slab_bytes() <= 2 * SLAB.max(8 * class.size), "{class:?}");
        }
    }

    #[test]
    fn a_block_is_found_by_its_offset() {
        for class in CLASSES {
            for index in 0..class.per_slab {
                assert_eq!(class.index_of(index * class.size), index, "{class:?}");
            }
        }
    }

    #[test]
    fn the_blocks_of_real_models_fit_exactly() {
        let dims = [128, 256, 384, 512, 640, 768, 896, 960, 1024, 1152, 1280, 1536, 1792, 2048];
        for dim in dims.into_iter().chain([2304, 2560, 3072]) {
            for width in [1, 2, 4] {
                let bytes = dim * width;
                assert_eq!(CLASSES[of(bytes).unwrap()].size, bytes, "{dim} x {width}");
            }
        }
    }
}
