//! A fence whose cost is paid by one side only.
//!
//! Two threads that each write a word and then read the other's need a full fence between write
//! and read, else both may read the old values. Where one side runs a million times more often
//! than the other, that side gets a [`light`] fence, which stops only the compiler, and the other
//! a [`heavy`] one: the system call `membarrier`, which makes every running thread of this
//! process pass a full fence before it returns. So for each light fence there are two cases: it
//! comes before the heavy one's in its thread, and what was written before it is seen after the
//! heavy fence; or it comes after, and what was written before the heavy fence is seen after it.
//!
//! Kernels without `membarrier` (before 4.14, or where a filter forbids it) and other systems
//! have no such fence: [`is_offered`] says so, and callers take a lock instead. An interpreter
//! that cannot make the call gets full fences on both sides, which promise the same.

use crate::sync::{OnceLock, Ordering};

/// Whether [`light`] and [`heavy`] may be used in this process. Registers it at the first call.
pub(crate) fn is_offered() -> bool {
    static OFFERED: OnceLock<bool> = OnceLock::new();
    *OFFERED.get_or_init(kernel::register)
}

/// The cheap side: orders this thread's earlier writes before its later reads, as far as a
/// [`heavy`] fence in another thread is concerned.
#[inline(always)]
pub(crate) fn light() {
    if cfg!(miri) {
        std::sync::atomic::fence(Ordering::SeqCst);
    } else {
        std::sync::atomic::compiler_fence(Ordering::SeqCst);
    }
}

/// The dear side: a full fence in every running thread of this process. Only where
/// [`is_offered`] said yes.
///
/// # Cost
/// A system call and an interrupt of each processor that runs a thread of this process: some
/// microseconds.
pub(crate) fn heavy() {
    let is_done = try_heavy();
    // It fails only where `register` did not succeed.
    debug_assert!(is_done, "membarrier after registration");
}

/// As [`heavy`], for those who can do without: says whether it was done.
#[must_use]
pub(crate) fn try_heavy() -> bool {
    std::sync::atomic::fence(Ordering::SeqCst);
    let is_done = kernel::fence();
    std::sync::atomic::fence(Ordering::SeqCst);
    is_done
}

#[cfg(all(target_os = "linux", not(miri)))]
mod kernel {
    fn membarrier(command: libc::c_int) -> bool {
        let none: libc::c_int = 0;
        // SAFETY: `membarrier` takes three integers and touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, command, none, none) == 0 }
    }

    pub(super) fn register() -> bool {
        membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED)
    }

    pub(super) fn fence() -> bool {
        membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED)
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod kernel {
    pub(super) fn register() -> bool {
        cfg!(miri)
    }

    pub(super) fn fence() -> bool {
        cfg!(miri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    /// Store, fence, load on both sides: never do both miss the other's store.
    #[test]
    fn of_two_that_write_and_then_read_at_least_one_sees_the_other() {
        if !is_offered() {
            return;
        }
        let rounds = if cfg!(miri) { 50 } else { 2_000 };
        let [light_side, heavy_side] = [AtomicU64::new(0), AtomicU64::new(0)];
        let both_missed = AtomicUsize::new(0);
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            let light_reader = scope.spawn(|| {
                let mut seen = Vec::new();
                for round in 1..=rounds {
                    barrier.wait();
                    light_side.store(round, Ordering::Relaxed);
                    light();
                    seen.push(heavy_side.load(Ordering::Relaxed) == round);
                    barrier.wait();
                }
                seen
            });
            let mut seen = Vec::new();
            for round in 1..=rounds {
                barrier.wait();
                heavy_side.store(round, Ordering::Relaxed);
                heavy();
                seen.push(light_side.load(Ordering::Relaxed) == round);
                barrier.wait();
            }
            let other = light_reader.join().unwrap();
            let missed = seen.iter().zip(&other).filter(|(a, b)| !**a && !**b).count();
            both_missed.fetch_add(missed, Ordering::Relaxed);
        });
        assert_eq!(both_missed.load(Ordering::Relaxed), 0);
    }
}
