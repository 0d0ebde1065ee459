//! Who allocates, who keeps, and who leaks? A sampling profiler.
//!
//! [`MemoryProfiler`] looks at one byte in so many that the process allocates (unbiased:
//! `sampling`) and remembers which stack allocated it, under which tag, and when (`recorder`: a
//! table of live samples, `live`, and one of stacks, `stacks`, both of a fixed size, without
//! locks). A [`Snapshot`] says what is alive, where it came from and how old it is; two of them
//! make a [`SnapshotDiff`]; all of them (`history`) make a [`LeakReport`]. What the allocator
//! calls, and how a run ends safely meanwhile, is in `running`.

mod age;
#[allow(unsafe_code)]
mod capture;
mod config;
mod diff;
mod flame;
mod format;
mod history;
mod json;
mod leak;
mod live;
mod pprof;
mod profiler;
mod recorder;
#[allow(unsafe_code)]
mod running;
mod sampling;
mod scope;
mod series;
mod site;
mod snapshot;
mod stacks;
mod symbol;
mod tracker;
#[allow(unsafe_code)]
mod words;

pub use age::{AgeBucket, AgeHistogram};
pub use config::{ProfileConfig, ProfileError};
pub use diff::{SiteChange, SnapshotDiff};
pub use format::FormatOptions;
pub use leak::{Evidence, LeakReport, SuspectSite};
pub use profiler::MemoryProfiler;
pub use scope::ProfileReport;
pub use series::Point;
pub use site::{Estimate, Metric, Site, SiteUse, ThreadUse};
pub use snapshot::Snapshot;
pub use symbol::{Frame, forget_names};
pub use tracker::{AllocationCounts, AllocationTracker, TrackerReport};
