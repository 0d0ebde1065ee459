//! What the kernel says of this process's memory.

use crate::Bytes;

/// Resident memory of this process: by `/proc/self/status` on Linux; elsewhere only `rss`, and the
/// other figures are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resident {
    /// All resident pages.
    pub rss: Bytes,
    /// Anonymous pages: heap, stacks.
    pub rss_anon: Bytes,
    /// Pages of mapped files, the program itself among them.
    pub rss_file: Bytes,
    /// Pages of shared memory.
    pub rss_shmem: Bytes,
    /// The most that was ever resident.
    pub vm_hwm: Bytes,
}

impl Resident {
    /// Reads the numbers now; `None` where the system does not tell.
    #[cfg(target_os = "linux")]
    pub fn read() -> Option<Self> {
        std::fs::read_to_string("/proc/self/status").ok().map(|status| Self::parse(&status))
    }

    /// Reads the numbers now; `None` where the system does not tell.
    #[cfg(not(target_os = "linux"))]
    pub fn read() -> Option<Self> {
        let told = memory_stats::memory_stats()?;
        Some(Self { rss: Bytes::of(told.physical_mem), ..Self::default() })
    }

    #[cfg(any(target_os = "linux", test))]
    fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            Bytes::kib(kib.unwrap_or(0))
        };
        Self {
            rss: field("VmRSS"),
            rss_anon: field("RssAnon"),
            rss_file: field("RssFile"),
            rss_shmem: field("RssShmem"),
            vm_hwm: field("VmHWM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_of_status_are_read_in_kib() {
        let status = "Name:\tambit\nVmHWM:\t    2048 kB\nVmRSS:\t 1024 kB\nRssAnon:\t 512 kB\n\
                      RssFile:\t 500 kB\nRssShmem:\t 12 kB\n";
        let resident = Resident::parse(status);
        assert_eq!(resident.vm_hwm, Bytes::mib(2));
        assert_eq!(resident.rss, Bytes::mib(1));
        assert_eq!(resident.rss_anon, Bytes::kib(512));
        assert_eq!(resident.rss_file, Bytes::kib(500));
        assert_eq!(resident.rss_shmem, Bytes::kib(12));
    }

    #[test]
    fn a_status_without_the_fields_is_zero() {
        assert_eq!(Resident::parse("Name: x\nVmHWM: lots\n"), Resident::default());
    }
}
