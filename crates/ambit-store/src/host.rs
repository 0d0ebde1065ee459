//! What the store wants to know of the world outside its files: time, chance, identity.
//!
//! Nothing else in the crate reads a clock, a random number or the environment; a simulated
//! host makes a run repeatable from its seed.

/// Clock, entropy and the name of this process.
pub trait Host: Send + Sync {
    /// Microseconds since 1970-01-01 UTC.
    fn unix_micros(&self) -> u64;
    /// A number that nobody can foretell.
    fn random_u64(&self) -> u64;
    /// Id of this process.
    fn pid(&self) -> u32;
    /// When this process started, in microseconds since 1970-01-01 UTC.
    fn started_micros(&self) -> u64;
}

/// The real host.
#[derive(Debug)]
pub struct OsHost {
    started_micros: u64,
}

impl OsHost {
    /// Reads this process's start time once.
    pub fn new() -> Self {
        Self { started_micros: process_start_micros().unwrap_or_else(unix_micros) }
    }
}

impl Default for OsHost {
    fn default() -> Self {
        Self::new()
    }
}

impl Host for OsHost {
    fn unix_micros(&self) -> u64 {
        unix_micros()
    }

    fn random_u64(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        // Each `RandomState` is keyed by the operating system's entropy.
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn started_micros(&self) -> u64 {
        self.started_micros
    }
}

fn unix_micros() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// Start of this process by `/proc`: boot time plus field 22 of `stat` in clock ticks.
fn process_start_micros() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let ticks: u64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot_seconds: u64 =
        boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    let per_second = rustix::param::clock_ticks_per_second();
    Some(boot_seconds * 1_000_000 + ticks * 1_000_000 / per_second.max(1))
}
