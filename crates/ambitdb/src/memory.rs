//! Who holds the memory? The ledger's tree, the allocator's figure, the kernel's, and the rest.

use ambit_mem::AllocatorStats;
use ambit_mem::audit::MemorySnapshot;

use crate::store::Store;

impl Store {
    /// Says who holds the memory. `allocator` is what the program's global allocator counts,
    /// if it counts.
    ///
    /// # Cost
    /// One pass over the accounts, two files of `/proc`.
    pub fn explain_memory(&self, allocator: Option<AllocatorStats>) -> MemorySnapshot {
        MemorySnapshot::take(self.budget(), allocator)
    }
}
