//! What the system's `malloc` took from the kernel.
//!
//! Only the GNU C library tells, by `mallinfo2`, which it has since version 2.33; it is looked up
//! at run time, so that a program still starts with an older one.

use crate::Bytes;

/// What the system's `malloc` took from the kernel and what it gave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malloc {
    /// Bytes taken from the kernel for arenas, touched or not.
    pub arenas: Bytes,
    /// Bytes of large blocks, each a mapping of its own.
    pub single: Bytes,
    /// Bytes of chunks that are in use, with their headers and rounding.
    pub in_use: Bytes,
}

impl Malloc {
    /// The figures now; `None` where the system's `malloc` tells none.
    ///
    /// # Cost
    /// Locks each of `malloc`'s arenas in turn and walks its short free lists.
    pub fn read() -> Option<Self> {
        read()
    }

    /// Bytes taken from the kernel.
    pub fn taken(&self) -> Bytes {
        self.arenas.saturating_add(self.single)
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
fn read() -> Option<Malloc> {
    type Mallinfo2 = unsafe extern "C" fn() -> libc::mallinfo2;

    // SAFETY: the name is a C string; looking a symbol up has no other effect.
    let symbol = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"mallinfo2".as_ptr()) };
    if symbol.is_null() {
        return None;
    }
    // SAFETY: a symbol of this name is the C library's function of this type.
    let mallinfo2 = unsafe { std::mem::transmute::<*mut libc::c_void, Mallinfo2>(symbol) };
    // SAFETY: it takes nothing, and may be called at any time from any thread.
    let info = unsafe { mallinfo2() };
    Some(Malloc {
        arenas: Bytes::of(info.arena),
        single: Bytes::of(info.hblkhd),
        in_use: Bytes::of(info.uordblks.saturating_add(info.hblkhd)),
    })
}

#[cfg(not(all(target_os = "linux", target_env = "gnu", not(miri))))]
fn read() -> Option<Malloc> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_use_was_taken_and_covers_a_large_block() {
        let Some(before) = Malloc::read() else { return };
        let kept = vec![1_u8; 64 << 20];
        let after = Malloc::read().unwrap();
        assert!(after.taken() >= after.in_use, "{after:?}");
        let grown = after.in_use.saturating_sub(before.in_use);
        // Other tests allocate at the same time, but nothing of this size.
        assert!(grown >= Bytes::mib(56) && grown <= Bytes::mib(72), "{grown}");
        drop(kept);
    }
}
