//! The figures of `ambit memory`, as they are printed and as they go from process to process.
//!
//! Field names are those of `docs/cli.md`. Sizes are bytes.

use ambit_mem::audit::MemorySnapshot;
use ambit_mem::{AllocatorStats, Bytes, Owner};
use serde::{Deserialize, Serialize};

use crate::exit::Failure;
use crate::output::{Output, clean, grouped};

/// Who holds the memory of a process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Memory {
    /// The budget.
    pub limit: u64,
    /// Sum of the owners.
    pub ledger_total: u64,
    /// The owners.
    pub owners: OwnerRow,
    /// What the allocator handed out.
    pub allocator: Option<AllocatorRow>,
    /// What the kernel counts.
    pub kernel: Option<KernelRow>,
    /// The parts of the anonymous resident memory.
    pub anonymous: Option<AnonymousRow>,
    /// What is left of it.
    pub unexplained: Option<i64>,
}

/// An owner and those below it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OwnerRow {
    name: String,
    bytes: u64,
    total: u64,
    children: Vec<Self>,
}

/// What the allocator handed out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AllocatorRow {
    /// Bytes in use.
    pub current: u64,
    /// The most ever in use.
    pub peak: u64,
    allocations: u64,
    frees: u64,
    allocated: u64,
    freed: u64,
    /// Bytes allocated per second since the start.
    allocation_rate: f64,
    /// Share of the heap that is resident and not handed out.
    fragmentation_ratio: f64,
}

/// What the kernel counts.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KernelRow {
    rss: u64,
    /// Anonymous pages.
    pub rss_anon: u64,
    rss_file: u64,
    /// The most that was ever resident.
    pub vm_hwm: u64,
}

/// The parts of the anonymous resident memory; they sum to it with `unexplained`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AnonymousRow {
    program: u64,
    stacks: u64,
    accounted: u64,
    unaccounted: i64,
    slack: Option<u64>,
    untouched: i64,
}

impl From<&MemorySnapshot> for Memory {
    fn from(snapshot: &MemorySnapshot) -> Self {
        let fragmentation_ratio = snapshot.metrics().map_or(0.0, |all| all.fragmentation_ratio);
        let allocator = |stats: AllocatorStats| AllocatorRow {
            current: stats.current.get(),
            peak: stats.peak.get(),
            allocations: stats.allocations,
            frees: stats.frees,
            allocated: stats.allocated.get(),
            freed: stats.freed.get(),
            allocation_rate: stats.rate().bytes,
            fragmentation_ratio,
        };
        Self {
            limit: snapshot.limit.get(),
            ledger_total: snapshot.owners.total.get(),
            owners: (&snapshot.owners).into(),
            allocator: snapshot.allocator.map(allocator),
            kernel: snapshot.kernel.map(|kernel| KernelRow {
                rss: kernel.rss.get(),
                rss_anon: kernel.rss_anon.get(),
                rss_file: kernel.rss_file.get(),
                vm_hwm: kernel.vm_hwm.get(),
            }),
            anonymous: snapshot.anonymous.map(|parts| AnonymousRow {
                program: parts.mappings.program.get(),
                stacks: parts.mappings.stacks.get(),
                accounted: parts.accounted.get(),
                unaccounted: parts.unaccounted,
                slack: parts.slack.map(Bytes::get),
                untouched: parts.untouched,
            }),
            unexplained: snapshot.unexplained(),
        }
    }
}

impl From<&Owner> for OwnerRow {
    fn from(owner: &Owner) -> Self {
        Self {
            name: owner.name.clone(),
            bytes: owner.bytes.get(),
            total: owner.total.get(),
            children: owner.children.iter().map(Self::from).collect(),
        }
    }
}

impl Memory {
    /// Prints the tree of owners, and then how ledger, allocator and kernel agree.
    ///
    /// # Errors
    /// A failed write.
    pub fn print(&self, output: &mut Output) -> Result<(), Failure> {
        self.owners.print(0, output)?;
        output.line("")?;
        line("budget", self.limit, output)?;
        line("held, by the ledger", self.ledger_total, output)?;
        if let Some(allocator) = &self.allocator {
            line("in use, by the allocator", allocator.current, output)?;
            line("peak, by the allocator", allocator.peak, output)?;
        }
        if let Some(kernel) = &self.kernel {
            line("VmHWM, by the kernel", kernel.vm_hwm, output)?;
            line("RssFile, by the kernel", kernel.rss_file, output)?;
            line("RssAnon, by the kernel", kernel.rss_anon, output)?;
        }
        if let Some(parts) = &self.anonymous {
            line("  heap with an account", parts.accounted, output)?;
            signed("  heap without an account", parts.unaccounted, output)?;
            if let Some(slack) = parts.slack {
                line("  free in the allocator", slack, output)?;
                signed("  taken and not resident", -parts.untouched, output)?;
            }
            line("  data of the program", parts.program, output)?;
            line("  stacks", parts.stacks, output)?;
        }
        if let Some(unexplained) = self.unexplained {
            signed("  unexplained", unexplained, output)?;
        }
        Ok(())
    }
}

impl OwnerRow {
    fn print(&self, depth: usize, output: &mut Output) -> Result<(), Failure> {
        let name = if depth == 0 { "all" } else { self.name.as_str() };
        let name = format!("{:indent$}{}", "", clean(name), indent = 2 * depth);
        line(&name, self.total, output)?;
        self.children.iter().try_for_each(|child| child.print(depth + 1, output))
    }
}

fn line(name: &str, bytes: u64, output: &mut Output) -> Result<(), Failure> {
    let short = Bytes::new(bytes).to_string();
    output.line(format_args!("{name:<26} {short:>12} {}", grouped(bytes)))
}

fn signed(name: &str, bytes: i64, output: &mut Output) -> Result<(), Failure> {
    let sign = if bytes < 0 { "-" } else { "" };
    let short = format!("{sign}{}", Bytes::new(bytes.unsigned_abs()));
    output.line(format_args!("{name:<26} {short:>12} {sign}{}", grouped(bytes.unsigned_abs())))
}
