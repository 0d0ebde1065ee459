//! The name of an interned string.

/// The name of an interned string: how many others its interner saw before it.
///
/// A symbol means something to the interner that gave it, and to those restored from what that
/// one wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Symbol(u32);

impl Symbol {
    /// The symbol of this number, as it was stored; resolving tells whether there is one.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn get(self) -> u32 {
        self.0
    }
}
