//! Where is this thread? Its return addresses, innermost first.
//!
//! Only addresses: names are looked up when a report is written ([`super::symbol`]). The
//! unwinder of the C runtime reads the tables that the compiler writes for panics, so frame
//! pointers are not needed. It takes no lock where the C library finds the tables without one
//! (glibc 2.35 and later), and allocates nothing.

/// Frames of a capture, at most.
pub(crate) const MOST: usize = 128;

/// Writes this thread's return addresses to `frames`; returns how many there are.
pub(crate) fn capture(frames: &mut [usize]) -> usize {
    let mut depth = 0;
    // SAFETY: what has to be synchronised is the debugging library of 32-bit Windows, which is
    // no target of this crate; the unwinders of other systems may run on many threads at once.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            // The outermost frame of a thread has no address.
            let address = frame.ip() as usize;
            match frames.get_mut(depth) {
                Some(slot) if address != 0 => *slot = address,
                _ => return false,
            }
            depth += 1;
            depth < frames.len()
        });
    }
    depth
}

unsafe extern "C" {
    /// Of the unwinder that every Rust program has: the start of the function around `address`,
    /// or null.
    fn _Unwind_FindEnclosingFunction(address: *mut std::ffi::c_void) -> *mut std::ffi::c_void;
}

/// Where the function around a return address begins; the address itself where that is not known.
pub(crate) fn function_of(address: usize) -> usize {
    // SAFETY: the address is looked up in the unwinder's tables and never read.
    let start = unsafe { _Unwind_FindEnclosingFunction(address as *mut std::ffi::c_void) };
    if start.is_null() { address } else { start as usize }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn from_here() -> Vec<usize> {
        let mut frames = [0; MOST];
        let depth = capture(&mut frames);
        frames[..depth].to_vec()
    }

    #[test]
    fn two_lines_are_two_stacks_and_a_short_array_takes_the_innermost() {
        let stacks = [from_here(), from_here()];
        assert!(stacks[0].len() > 2 && stacks[0].iter().all(|frame| *frame != 0));
        assert_ne!(stacks[0], stacks[1]);
        let mut short = [0; 2];
        assert_eq!(capture(&mut short), 2);
        assert_eq!(capture(&mut []), 0);
        // Miri does not know the unwinder's function.
        if !cfg!(miri) {
            assert_eq!(function_of(16), 16, "nothing is there");
            let functions = stacks.map(|stack| stack.into_iter().map(function_of).collect());
            let [first, second]: [Vec<usize>; 2] = functions;
            assert_eq!(first, second, "two lines of one function");
        }
    }
}
