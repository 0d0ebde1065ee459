//! Who holds the memory? The ledger's tree, the allocator's figure, the kernel's, and the rest.

use ambit_mem::process::Resident;
use ambit_mem::{AllocatorStats, Bytes, Owner};

use crate::store::Store;

/// Where the memory of this process is.
#[derive(Debug, Clone)]
pub struct MemoryReport {
    /// The budget.
    pub limit: Bytes,
    /// The owners, with what each holds; `owners.total` is their sum.
    pub owners: Owner,
    /// What the allocator has handed out, where the program counts it.
    pub allocator: Option<AllocatorStats>,
    /// What the kernel counts, where it tells.
    pub kernel: Option<Resident>,
    /// Resident bytes that no owner accounts for: the program itself, its stacks, the
    /// allocator's slack. Negative where owners reserved more than is resident yet.
    pub unexplained: Option<i64>,
}

impl Store {
    /// Says who holds the memory. `allocator` is what the program's global allocator counts,
    /// if it counts.
    ///
    /// # Cost
    /// One pass over the accounts, one file of `/proc`.
    pub fn explain_memory(&self, allocator: Option<AllocatorStats>) -> MemoryReport {
        let owners = self.budget().explain();
        let kernel = Resident::read();
        let unexplained =
            kernel.map(|kernel| kernel.rss.get().cast_signed() - owners.total.get().cast_signed());
        MemoryReport { limit: self.budget().limit(), owners, allocator, kernel, unexplained }
    }
}
