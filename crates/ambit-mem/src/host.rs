//! How much memory does this machine, or this container, have? The default budget.
//!
//! A process may hold what the smallest limit between it and the machine allows: physical
//! memory, and the memory limit of its control group and of each group above it (version 2:
//! `memory.max`; version 1: `memory.limit_in_bytes`). The default is a quarter of that, at most
//! 2 GiB.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Bytes;

/// Most that the default budget is.
pub const MOST_BY_DEFAULT: Bytes = Bytes::gib(2);
/// The default where the system tells nothing.
pub const WHEN_UNKNOWN: Bytes = Bytes::mib(512);

/// Where the default budget comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitSource {
    /// A quarter of the control group's limit.
    Cgroup,
    /// A quarter of physical memory.
    Physical,
    /// The most that the default is.
    Most,
    /// The system tells nothing.
    Unknown,
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cgroup => "a quarter of the control group's memory limit",
            Self::Physical => "a quarter of physical memory",
            Self::Most => "the most that is taken by default",
            Self::Unknown => "the system tells no memory size",
        })
    }
}

/// The default budget, and where it comes from.
///
/// # Cost
/// Reads a few files of `/proc` and `/sys`.
pub fn default_limit() -> (Bytes, LimitSource) {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    decide(physical(&read), cgroup(&read))
}

fn decide(physical: Option<Bytes>, cgroup: Option<Bytes>) -> (Bytes, LimitSource) {
    let (whole, source) = match (physical, cgroup) {
        (Some(physical), Some(cgroup)) if cgroup < physical => (cgroup, LimitSource::Cgroup),
        (Some(physical), _) => (physical, LimitSource::Physical),
        (None, Some(cgroup)) => (cgroup, LimitSource::Cgroup),
        (None, None) => return (WHEN_UNKNOWN, LimitSource::Unknown),
    };
    let quarter = Bytes::new(whole.get() / 4);
    if quarter > MOST_BY_DEFAULT { (MOST_BY_DEFAULT, LimitSource::Most) } else { (quarter, source) }
}

type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

fn physical(read: Read<'_>) -> Option<Bytes> {
    let text = read(Path::new("/proc/meminfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(Bytes::kib(line.trim().strip_suffix("kB")?.trim().parse().ok()?))
}

/// The smallest limit of this process's group and those above it.
fn cgroup(read: Read<'_>) -> Option<Bytes> {
    let text = read(Path::new("/proc/self/cgroup"))?;
    text.lines().filter_map(|line| smallest_up(line, read)).min()
}

fn smallest_up(line: &str, read: Read<'_>) -> Option<Bytes> {
    let mut parts = line.splitn(3, ':');
    let (_, controllers, group) = (parts.next()?, parts.next()?, parts.next()?);
    let (root, file) = match controllers {
        "" => ("/sys/fs/cgroup", "memory.max"),
        list if list.split(',').any(|one| one == "memory") => {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let group = PathBuf::from(root).join(group.trim_start_matches('/'));
    let groups = group.ancestors().take_while(|at| at.starts_with(root));
    groups.filter_map(|at| limit(&read(&at.join(file))?)).min()
}

/// A limit in bytes; `max`, and version 1's number for none, are no limit.
fn limit(text: &str) -> Option<Bytes> {
    let bytes: u64 = text.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(Bytes::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<'a>(files: &'a [(&str, &str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        move |path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    #[test]
    fn the_default_is_a_quarter_of_the_smaller_and_at_most_two_gib() {
        let gib = |n| Some(Bytes::gib(n));
        assert_eq!(decide(gib(4), gib(2)), (Bytes::mib(512), LimitSource::Cgroup));
        assert_eq!(decide(gib(4), gib(8)), (Bytes::gib(1), LimitSource::Physical));
        assert_eq!(decide(gib(64), None), (Bytes::gib(2), LimitSource::Most));
        assert_eq!(decide(None, gib(1)), (Bytes::mib(256), LimitSource::Cgroup));
        assert_eq!(decide(None, None), (WHEN_UNKNOWN, LimitSource::Unknown));
    }

    #[test]
    fn version_2_takes_the_smallest_limit_up_the_hierarchy() {
        let read = files(&[
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "1048576\n"),
        ]);
        assert_eq!(cgroup(&read), Some(Bytes::mib(1)));
    }

    #[test]
    fn version_1_reads_the_memory_controller_and_knows_no_limit() {
        let read = files(&[
            ("/proc/self/cgroup", "5:cpu:/x\n4:memory,hugetlb:/x\n"),
            ("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "2097152\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ]);
        assert_eq!(cgroup(&read), Some(Bytes::mib(2)));
        assert_eq!(limit("9223372036854771712"), None);
    }

    #[test]
    fn files_that_say_nothing_are_no_limit() {
        let read = files(&[("/proc/self/cgroup", "nonsense\n0::/\n"), ("/proc/meminfo", "x\n")]);
        assert_eq!(cgroup(&read), None);
        assert_eq!(physical(&read), None);
        let read = files(&[("/proc/meminfo", "MemTotal:       1024 kB\n")]);
        assert_eq!(physical(&read), Some(Bytes::mib(1)));
    }
}
