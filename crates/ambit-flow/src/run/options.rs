//! What bounds a run.

use std::time::Instant;

use ambit_mem::Bytes;

use crate::node::Control;
use crate::policy::{CancelToken, Clock, SystemClock};

/// What bounds a run; without anything, it ends when its last node has.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions<'a> {
    /// When it has to be done. It is looked at between nodes, and by nodes that ask.
    pub deadline: Option<Instant>,
    /// Calls it off, in the same places.
    pub cancel: Option<&'a CancelToken>,
    /// What the values of the context may say in all, as
    /// [`Context::len_bytes`](crate::Context::len_bytes) counts.
    pub budget: Bytes,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self { deadline: None, cancel: None, budget: Bytes::MAX, clock: &SystemClock }
    }
}

impl<'a> RunOptions<'a> {
    pub(crate) fn control(&self) -> Control<'a> {
        Control { deadline: self.deadline, cancel: self.cancel, clock: self.clock, workers: None }
    }
}
