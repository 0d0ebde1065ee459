//! How do a reader and a collector make sure that one of them sees the other?
//!
//! A reader publishes its era, then loads a pointer; a collector unlinks an object, then reads
//! the eras. A full fence on both sides between the two steps makes sure that a reader who
//! still got the object is seen. Readers are many and collections few, so where the kernel
//! offers `membarrier` the reader's fence is only one for the compiler, and the collector has
//! the kernel run a full fence on every processor that runs a thread of this process.
//!
//! Elsewhere, and under the model checker and the interpreter, which know no `membarrier`, both
//! sides run a full fence. On x86-64 the reader's is an exchange, which is one there and takes
//! less time.

use crate::fence;
use crate::sync::modelled::{self, AtomicU64, Ordering};

/// How readers and collectors order their steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Barrier {
    /// `membarrier` where the kernel offers it, else [`Barrier::Full`].
    #[default]
    Auto,
    /// A full fence at each pin and each collection.
    Full,
}

/// A barrier that was decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fences {
    Asymmetric,
    Full,
}

impl Fences {
    pub(super) fn choose(barrier: Barrier) -> Self {
        match barrier {
            Barrier::Auto if !cfg!(loom) && fence::is_offered() => Self::Asymmetric,
            _ => Self::Full,
        }
    }

    /// Stores `value` before everything that this thread does from here on.
    #[inline]
    pub(super) fn publish(self, word: &AtomicU64, value: u64) {
        match self {
            Self::Asymmetric => {
                word.store(value, Ordering::Release);
                fence::light();
            }
            #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
            Self::Full => {
                word.swap(value, Ordering::SeqCst);
                std::sync::atomic::compiler_fence(Ordering::SeqCst);
            }
            #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
            Self::Full => {
                word.store(value, Ordering::Release);
                modelled::fence(Ordering::SeqCst);
            }
        }
    }

    /// The collector's side. Says whether it was run: without it nothing may be freed.
    pub(super) fn meet(self) -> bool {
        match self {
            Self::Asymmetric => fence::try_heavy(),
            Self::Full => {
                modelled::fence(Ordering::SeqCst);
                true
            }
        }
    }
}
