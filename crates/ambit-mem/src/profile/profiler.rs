//! The profiler's handle: started, asked, stopped.

use super::history::History;
use super::leak::LeakReport;
use super::recorder::Recorder;
use super::running::{self, Run, Settings};
use super::snapshot::{Scan, Snapshot};
use super::{ProfileConfig, ProfileError};
use crate::sync::{Arc, Mutex, lock};
use crate::tracking::hook;
use crate::{Account, Bytes, OverBudget, Reservation};

/// A running profiler; stops when dropped.
///
/// It looks at one byte in so many that the process allocates through a
/// [`TrackingAllocator`](crate::TrackingAllocator), and records which stack allocated it, under
/// which tag, and when it is freed. Its tables have a fixed size, held by an account.
#[derive(Debug)]
pub struct MemoryProfiler {
    pub(super) run: Arc<Run>,
    interval: Bytes,
    pub(super) account: Account,
    history: Mutex<History>,
    _held: Reservation,
}

impl MemoryProfiler {
    /// Bytes that are sure to make a thread notice that a profiler was started.
    const NOTICED: usize = 1 << 20;

    /// Starts the profiler of this process. Other threads take part after they allocated 64 KiB
    /// more each.
    ///
    /// # Errors
    /// [`ProfileError::Running`] where there is one, [`ProfileError::NotInstalled`] where this
    /// thread does not allocate through a `TrackingAllocator` (make one the global allocator),
    /// and where there is no room for the tables.
    ///
    /// # Cost
    /// [`ProfileConfig::footprint`] bytes, held by `account` until it stops.
    pub fn start(account: &Account, config: ProfileConfig) -> Result<Self, ProfileError> {
        hook::unsampled(|| Self::begin(account, config.checked())).and_then(|profiler| {
            // Outside: an allocation that can be sampled makes the allocator ask.
            drop(std::hint::black_box(Vec::<u8>::with_capacity(Self::NOTICED)));
            let is_used = profiler.run.was_asked() || hook::is_used();
            if is_used { Ok(profiler) } else { Err(ProfileError::NotInstalled) }
        })
    }

    fn begin(account: &Account, config: ProfileConfig) -> Result<Self, ProfileError> {
        let footprint = config.footprint();
        let held = account.reserve(footprint)?;
        let history = History::new(account)?;
        let recorder = Recorder::new(&config).ok_or(ProfileError::NoMemory(footprint))?;
        let settings = Settings { seed: config.seed, depth: config.depth };
        let run = running::begin(Arc::new(Run::new(recorder, settings)))
            .map_err(|_| ProfileError::Running)?;
        Ok(Self {
            run,
            interval: config.interval,
            account: account.clone(),
            history: Mutex::new(history),
            _held: held,
        })
    }

    /// What is alive now. Each snapshot is also a step in the history that
    /// [`MemoryProfiler::leaks`] judges by.
    ///
    /// # Errors
    /// [`OverBudget`] where the snapshot, or what the history keeps of it, does not fit the
    /// profiler's account.
    ///
    /// # Cost
    /// One pass over the table of live samples, some ten nanoseconds each; the program goes on.
    pub fn snapshot(&self) -> Result<Snapshot, OverBudget> {
        hook::unsampled(|| {
            let mut history = lock(&self.history);
            let recorder = &self.run.recorder;
            let scan = Scan::of(recorder, self.run.now_us(), history.times_us());
            let snapshot = scan.snapshot(&self.run, self.interval, &self.account)?;
            history.push(&scan)?;
            Ok(snapshot)
        })
    }

    /// Which sites grow and never give back, as far as the snapshots taken so far tell.
    ///
    /// # Errors
    /// [`OverBudget`] where the report does not fit the profiler's account.
    pub fn leaks(&self) -> Result<LeakReport, OverBudget> {
        hook::unsampled(|| LeakReport::of(&self.run, &lock(&self.history), &self.account))
    }

    /// Stops; the tables go back.
    pub fn stop(self) {}
}

impl Drop for MemoryProfiler {
    fn drop(&mut self) {
        running::end(&self.run);
    }
}
