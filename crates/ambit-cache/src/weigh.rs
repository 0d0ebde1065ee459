//! What does a key or a value hold elsewhere?
//!
//! A cache knows the size of its entries; what they point to it must be told. Weights are exact
//! requested bytes, as a counting allocator sees them.

use std::sync::Arc;

/// Says how many bytes a value holds on the heap.
///
/// It must answer the same for as long as the value is cached.
///
/// ```
/// use ambit_cache::Weigh;
///
/// assert_eq!(vec![0_u8; 100].heap_bytes(), 100);
/// assert_eq!(7_u64.heap_bytes(), 0);
/// ```
pub trait Weigh {
    /// Bytes that it holds beside its own size.
    fn heap_bytes(&self) -> usize;
}

macro_rules! nothing {
    ($($of:ty),*) => {
        $(impl Weigh for $of {
            #[inline]
            fn heap_bytes(&self) -> usize {
                0
            }
        })*
    };
}

nothing!((), bool, char, u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize, f32, f64);

impl<T: Weigh, const N: usize> Weigh for [T; N] {
    fn heap_bytes(&self) -> usize {
        self.iter().map(Weigh::heap_bytes).sum()
    }
}

impl<A: Weigh, B: Weigh> Weigh for (A, B) {
    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

impl<T: Weigh> Weigh for Option<T> {
    fn heap_bytes(&self) -> usize {
        self.as_ref().map_or(0, Weigh::heap_bytes)
    }
}

impl Weigh for String {
    fn heap_bytes(&self) -> usize {
        self.capacity()
    }
}

impl Weigh for Box<str> {
    fn heap_bytes(&self) -> usize {
        self.len()
    }
}

impl<T: Weigh> Weigh for Vec<T> {
    fn heap_bytes(&self) -> usize {
        self.capacity() * size_of::<T>() + self.iter().map(Weigh::heap_bytes).sum::<usize>()
    }
}

impl<T: Weigh> Weigh for Box<[T]> {
    fn heap_bytes(&self) -> usize {
        size_of_val::<[T]>(self) + self.iter().map(Weigh::heap_bytes).sum::<usize>()
    }
}

/// The two counts beside what is shared.
const COUNTS: usize = 2 * size_of::<usize>();

impl<T: Weigh> Weigh for Arc<[T]> {
    fn heap_bytes(&self) -> usize {
        COUNTS.next_multiple_of(align_of::<T>().max(1))
            + size_of_val::<[T]>(self).next_multiple_of(size_of::<usize>())
            + self.iter().map(Weigh::heap_bytes).sum::<usize>()
    }
}

impl<T: Weigh> Weigh for Arc<T> {
    fn heap_bytes(&self) -> usize {
        let align = align_of::<T>().max(size_of::<usize>());
        (COUNTS.next_multiple_of(align) + size_of::<T>()).next_multiple_of(align)
            + T::heap_bytes(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_bytes_that_are_asked_for() {
        assert_eq!(String::with_capacity(33).heap_bytes(), 33);
        assert_eq!(vec![1.0_f32; 384].into_boxed_slice().heap_bytes(), 1536);
        assert_eq!(Arc::<[f32]>::from(vec![1.0_f32; 3]).heap_bytes(), 16 + 16);
        assert_eq!(Arc::new(7_u64).heap_bytes(), 24);
        assert_eq!(vec![Some(Box::<str>::from("four"))].heap_bytes(), 16 + 4);
    }
}
