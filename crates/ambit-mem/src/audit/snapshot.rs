//! Ledger, allocator and kernel at one moment.
//!
//! The kernel counts anonymous resident bytes (RssAnon). They are explained part by part:
//!
//! ```text
//! RssAnon = program data + stacks                      (the kernel's mappings)
//!         + heap that accounts hold                    (the ledger, less its mapped files)
//!         + heap that no account holds                 (the allocator, less the ledger)
//!         + slack: taken by malloc and not handed out  (malloc, less the allocator)
//!         - taken and not resident                     (malloc, less the kernel's mappings)
//!         + unexplained
//! ```
//!
//! Each line is measured by somebody else than the line above it, so the rest is a check: a mapping
//! that nobody claims, or bytes that somebody claims twice, stand in it. Where `malloc` does not
//! tell what it took, its slack is in the rest, too.

use super::{Malloc, Mappings, MemoryMetrics};
use crate::process::Resident;
use crate::{AllocatorStats, Budget, Bytes, Owner, pages};

/// Who holds the memory of this process.
#[derive(Debug, Clone)]
pub struct MemorySnapshot {
    /// The budget.
    pub limit: Bytes,
    /// The owners, with what each holds; `owners.total` is their sum.
    pub owners: Owner,
    /// What the allocator has handed out, where the program counts it.
    pub allocator: Option<AllocatorStats>,
    /// What the system's `malloc` took, where it tells.
    pub malloc: Option<Malloc>,
    /// What the kernel counts, where it tells.
    pub kernel: Option<Resident>,
    /// The parts of the anonymous resident memory; where allocator and kernel both tell.
    pub anonymous: Option<Anonymous>,
}

/// The parts of the anonymous resident memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Anonymous {
    /// What the kernel's mappings are for.
    pub mappings: Mappings,
    /// Heap that accounts hold.
    pub accounted: Bytes,
    /// Bytes that this crate mapped past the allocator: slabs, a profiler's tables.
    pub outside: Bytes,
    /// Heap that was handed out and that no account holds; negative where accounts hold more than
    /// was handed out yet.
    pub unaccounted: i64,
    /// What `malloc` took and did not hand out.
    pub slack: Option<Bytes>,
    /// What was taken and is not resident: never touched, or given back page by page.
    pub untouched: i64,
    /// What nobody can name; negative where more was claimed than is resident.
    pub unexplained: i64,
}

impl MemorySnapshot {
    /// Takes the figures now; `allocator` is what the program's global allocator counts, where it
    /// counts.
    ///
    /// # Cost
    /// One pass over the accounts; two files of `/proc` and `malloc`'s own count, again where they moved
    /// meanwhile, at most eight times.
    pub fn take(budget: &Budget, allocator: Option<AllocatorStats>) -> Self {
        let owners = budget.explain();
        let Look { malloc, kernel, mappings, .. } = Look::still();
        let anonymous = || {
            let parts = Parts {
                rss_anon: kernel?.rss_anon,
                mappings: mappings?,
                accounted: owners.total.saturating_sub(budget.mapped()),
                handed_out: allocator?.current,
                outside: pages::bytes(),
                malloc,
            };
            Some(parts.explain())
        };
        let anonymous = anonymous();
        let limit = budget.limit();
        Self { limit, owners, allocator, malloc, kernel, anonymous }
    }

    /// Resident bytes that nobody can name, where allocator and kernel both tell.
    pub fn unexplained(&self) -> Option<i64> {
        self.anonymous.map(|parts| parts.unexplained)
    }

    /// The six numbers that a dashboard wants; `None` where no allocator counts.
    pub fn metrics(&self) -> Option<MemoryMetrics> {
        MemoryMetrics::of(self)
    }
}

/// What `malloc` and the kernel said one after the other.
struct Look {
    malloc: Option<Malloc>,
    kernel: Option<Resident>,
    mappings: Option<Mappings>,
    /// By how many bytes the first figures had moved when the last was read.
    moved: u64,
}

impl Look {
    /// Most looks for one picture.
    const MOST: usize = 8;

    fn take() -> Self {
        let (malloc, kernel, mappings) = (Malloc::read(), Resident::read(), Mappings::read());
        let taken = |malloc: Option<Malloc>| malloc.map_or(0, |malloc| malloc.taken().get());
        let anon = |kernel: Option<Resident>| kernel.map_or(0, |kernel| kernel.rss_anon.get());
        let moved = anon(Resident::read()).abs_diff(anon(kernel))
            + taken(Malloc::read()).abs_diff(taken(malloc));
        Self { malloc, kernel, mappings, moved }
    }

    /// A look during which nothing moved, or the one of the first few in which least did: memory that
    /// comes or goes between two figures would stand in the rest.
    fn still() -> Self {
        let mut stillest = Self::take();
        for _ in 1..Self::MOST {
            if stillest.moved == 0 {
                break;
            }
            let look = Self::take();
            if look.moved < stillest.moved {
                stillest = look;
            }
        }
        stillest
    }
}

/// What the explanation starts from.
struct Parts {
    rss_anon: Bytes,
    mappings: Mappings,
    accounted: Bytes,
    handed_out: Bytes,
    outside: Bytes,
    malloc: Option<Malloc>,
}

impl Parts {
    fn explain(self) -> Anonymous {
        let Self { mappings, accounted, outside, .. } = self;
        let signed = |bytes: Bytes| i64::try_from(bytes.get()).unwrap_or(i64::MAX);
        let heap = signed(self.handed_out) + signed(outside);
        // An allocator other than the system's takes its memory past `malloc`.
        let malloc = self.malloc.filter(|malloc| malloc.taken() >= self.handed_out);
        let slack = malloc.map(|malloc| malloc.taken().saturating_sub(self.handed_out));
        let untouched = malloc.map_or(0, |malloc| {
            let single = signed(mappings.single_size) - signed(mappings.single);
            signed(malloc.arenas) - signed(mappings.arenas) + single
        });
        let named = signed(mappings.program) + signed(mappings.stacks) + heap - untouched
            + slack.map_or(0, signed);
        Anonymous {
            mappings,
            accounted,
            outside,
            unaccounted: heap - signed(accounted),
            slack,
            untouched,
            unexplained: signed(self.rss_anon) - named,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Priority;

    fn parts() -> Parts {
        Parts {
            rss_anon: Bytes::mib(100),
            mappings: Mappings {
                program: Bytes::mib(2),
                stacks: Bytes::mib(1),
                arenas: Bytes::mib(27),
                single: Bytes::mib(70),
                single_size: Bytes::mib(95),
            },
            accounted: Bytes::mib(60),
            handed_out: Bytes::mib(80),
            outside: Bytes::mib(8),
            malloc: Some(Malloc {
                arenas: Bytes::mib(32),
                single: Bytes::mib(87),
                in_use: Bytes::mib(90),
            }),
        }
    }

    #[test]
    fn the_parts_sum_to_what_is_resident() {
        let found = parts().explain();
        assert_eq!(found.unaccounted, 28 << 20);
        assert_eq!(found.slack, Some(Bytes::mib(39)));
        assert_eq!((found.untouched, found.unexplained), (30 << 20, 0));
    }

    #[test]
    fn what_an_arena_gave_back_page_by_page_is_not_unexplained() {
        let mut parts = parts();
        parts.rss_anon = Bytes::mib(98);
        parts.mappings.arenas = Bytes::mib(25);
        assert_eq!(parts.explain().unexplained, 0);
    }

    #[test]
    fn a_mapping_that_nobody_claims_is_unexplained() {
        let mut parts = parts();
        parts.rss_anon = Bytes::mib(105);
        parts.mappings.single = Bytes::mib(75);
        parts.mappings.single_size = Bytes::mib(100);
        assert_eq!(parts.explain().unexplained, 5 << 20);
    }

    #[test]
    fn without_malloc_its_slack_is_unexplained() {
        let mut parts = parts();
        parts.malloc = None;
        let found = parts.explain();
        assert_eq!((found.slack, found.unexplained), (None, 9 << 20));
    }

    #[test]
    fn mapped_accounts_are_not_heap() {
        let budget = Budget::new(Bytes::mib(1));
        let _rows = budget.account("store/rows", Priority::Write).reserve(Bytes::kib(5)).unwrap();
        let map = budget.account("map/docs", Priority::Cache);
        let _map = map.reserve(Bytes::kib(64)).unwrap();
        let accounted = || {
            let stats = AllocatorStats::default();
            MemorySnapshot::take(&budget, Some(stats)).anonymous.map(|parts| parts.accounted)
        };
        assert!(accounted().is_none_or(|bytes| bytes == Bytes::kib(69)));
        map.set_mapped();
        assert!(accounted().is_none_or(|bytes| bytes == Bytes::kib(5)));
        assert_eq!(budget.mapped(), Bytes::kib(64));
    }

    #[test]
    fn a_snapshot_without_an_allocator_leaves_its_parts_out() {
        let snapshot = MemorySnapshot::take(&Budget::new(Bytes::mib(1)), None);
        assert_eq!(snapshot.anonymous, None);
        assert_eq!(snapshot.metrics(), None);
    }
}
