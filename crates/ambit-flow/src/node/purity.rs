//! What a step's answer depends on, and what it leaves behind.

/// What a step's answer depends on. What holds steps in it is as its worst one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Purity {
    /// The same inputs give the same outputs, at any time.
    Pure,
    /// It reads something else, too: a store, a server, a clock. Its results are kept only where the
    /// graph says how old they may be.
    #[default]
    Impure,
    /// It changes something: a result that is kept would leave that out, so none is.
    Acting,
}
