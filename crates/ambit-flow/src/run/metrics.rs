//! What each node did over all runs, and in the last one.

use std::time::Duration;

/// Whether the time of each node is taken, at the cost of asking the clock once for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timing {
    /// Only counts are kept.
    #[default]
    Off,
    /// Times are kept.
    On,
}

/// What a node did over all runs of an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeMetrics {
    /// Times that it gave its values, from the cache or not.
    pub runs: u64,
    /// Times that it was skipped.
    pub skipped: u64,
    /// Times that it failed for good.
    pub failed: u64,
    /// Times that it was tried again.
    pub retries: u64,
    /// The time that all its tries took, with the waits between; zero without [`Timing::On`].
    pub time: Duration,
    /// Bytes that it gave.
    pub bytes: u64,
    /// Times that its result was in the cache, or another run was just working it out.
    pub hits: u64,
    /// Times that it was not; neither counts where the node's results are not kept.
    pub misses: u64,
}

impl NodeMetrics {
    /// Adds those of another executor.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.skipped += other.skipped;
        self.failed += other.failed;
        self.retries += other.retries;
        self.time += other.time;
        self.bytes += other.bytes;
        self.hits += other.hits;
        self.misses += other.misses;
    }
}

/// Whether a node's result was in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lookup {
    /// It was not looked for: the node did not run, or its results are not kept.
    #[default]
    None,
    /// It was there, or another run was just working it out.
    Hit,
    /// It was not.
    Miss,
}

/// What became of a node in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NodeState {
    /// The run ended before it.
    #[default]
    Pending,
    /// It did its work.
    Ran,
    /// No edge that was taken led to it.
    Skipped,
    /// It failed.
    Failed,
}

impl NodeState {
    /// One word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Ran => "ran",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// What a node did in the last run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTrace<'a> {
    /// The node.
    pub node: &'a str,
    /// What became of it.
    pub state: NodeState,
    /// The time that it took; zero without [`Timing::On`].
    pub time: Duration,
    /// Bytes that it gave.
    pub bytes: u64,
    /// Whether its result was in the cache.
    pub lookup: Lookup,
}
