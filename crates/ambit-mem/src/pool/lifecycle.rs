//! How an object is made, made fit for its next user, and measured.

use crate::Bytes;

type Create<T> = Box<dyn Fn() -> T + Send + Sync>;
type Reset<T> = Box<dyn Fn(&mut T) + Send + Sync>;
type Footprint<T> = Box<dyn Fn(&T) -> Bytes + Send + Sync>;

/// How an object is made, made fit for its next user, and measured.
///
/// # Example
/// A buffer that keeps its capacity and forgets its bytes, secrets included:
/// ```
/// use ambit_mem::{Bytes, Lifecycle};
///
/// let buffers = Lifecycle::new(Vec::<u8>::new, |buffer| Bytes::new(buffer.capacity() as u64))
///     .reset(|buffer| {
///         buffer.fill(0);
///         buffer.clear();
///     });
/// # drop(buffers);
/// ```
pub struct Lifecycle<T> {
    pub(super) create: Create<T>,
    pub(super) reset: Option<Reset<T>>,
    pub(super) footprint: Footprint<T>,
}

impl<T> Lifecycle<T> {
    /// Objects that `create` makes, and that hold `footprint` bytes beyond their own size.
    ///
    /// Both run under no lock and may use any pool.
    pub fn new(
        create: impl Fn() -> T + Send + Sync + 'static,
        footprint: impl Fn(&T) -> Bytes + Send + Sync + 'static,
    ) -> Self {
        Self { create: Box::new(create), reset: None, footprint: Box::new(footprint) }
    }

    /// Runs `reset` on every object that comes back, before it is kept or dropped: what it
    /// clears stays neither in the pool nor in freed memory. It decides what the next user
    /// finds, and may leave capacity, keys, or everything in place. An object whose reset
    /// panics is dropped.
    #[must_use]
    pub fn reset(mut self, reset: impl Fn(&mut T) + Send + Sync + 'static) -> Self {
        self.reset = Some(Box::new(reset));
        self
    }
}

impl<T> std::fmt::Debug for Lifecycle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lifecycle").field("resets", &self.reset.is_some()).finish_non_exhaustive()
    }
}
