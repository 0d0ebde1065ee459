//! `ambit memory`: who holds how many bytes, held against the allocator and the kernel.

use ambit_mem::{Bytes, Owner};
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::output::{Output, clean, grouped};

#[derive(Serialize)]
struct Memory {
    limit: u64,
    ledger_total: u64,
    owners: OwnerRow,
    allocator: Option<AllocatorRow>,
    kernel: Option<KernelRow>,
    unexplained: Option<i64>,
}

#[derive(Serialize)]
struct OwnerRow {
    name: String,
    bytes: u64,
    total: u64,
    children: Vec<OwnerRow>,
}

#[derive(Serialize)]
struct AllocatorRow {
    current: u64,
    peak: u64,
    allocations: u64,
    frees: u64,
}

#[derive(Serialize)]
struct KernelRow {
    rss: u64,
    rss_anon: u64,
    rss_file: u64,
    vm_hwm: u64,
}

/// Opens the store and prints what that takes.
///
/// # Errors
/// The facade's. A failed write.
pub fn run(session: &mut Session) -> Result<Code, Failure> {
    let store = session.read()?;
    // A collection that is open is what a search would hold.
    let collection = store.collection(session.name()).ok();
    let report = store.explain_memory(Some((session.allocator)()));
    let memory = Memory {
        limit: report.limit.get(),
        ledger_total: report.owners.total.get(),
        owners: row(&report.owners),
        allocator: report.allocator.map(|stats| AllocatorRow {
            current: stats.current.get(),
            peak: stats.peak.get(),
            allocations: stats.allocations,
            frees: stats.frees,
        }),
        kernel: report.kernel.map(|kernel| KernelRow {
            rss: kernel.rss.get(),
            rss_anon: kernel.rss_anon.get(),
            rss_file: kernel.rss_file.get(),
            vm_hwm: kernel.vm_hwm.get(),
        }),
        unexplained: report.unexplained,
    };
    drop(collection);
    if session.output.is_json() {
        session.output.json(&memory)?;
    } else {
        print(&memory, &mut session.output)?;
    }
    Ok(Code::Done)
}

fn row(owner: &Owner) -> OwnerRow {
    OwnerRow {
        name: owner.name.clone(),
        bytes: owner.bytes.get(),
        total: owner.total.get(),
        children: owner.children.iter().map(row).collect(),
    }
}

fn print(memory: &Memory, output: &mut Output) -> Result<(), Failure> {
    print_owner(&memory.owners, 0, output)?;
    output.line("")?;
    line("budget", memory.limit, output)?;
    line("held, by the ledger", memory.ledger_total, output)?;
    if let Some(allocator) = &memory.allocator {
        line("in use, by the allocator", allocator.current, output)?;
        line("peak, by the allocator", allocator.peak, output)?;
    }
    if let Some(kernel) = &memory.kernel {
        line("RssAnon, by the kernel", kernel.rss_anon, output)?;
        line("RssFile, by the kernel", kernel.rss_file, output)?;
        line("VmHWM, by the kernel", kernel.vm_hwm, output)?;
    }
    if let Some(unexplained) = memory.unexplained {
        let sign = if unexplained < 0 { "-" } else { "" };
        let bytes = Bytes::new(unexplained.unsigned_abs()).to_string();
        let exact = grouped(unexplained.unsigned_abs());
        output.line(format_args!(
            "{:<26} {:>12} {sign}{exact}",
            "unexplained",
            format!("{sign}{bytes}")
        ))?;
    }
    Ok(())
}

fn line(name: &str, bytes: u64, output: &mut Output) -> Result<(), Failure> {
    let short = Bytes::new(bytes).to_string();
    output.line(format_args!("{name:<26} {short:>12} {}", grouped(bytes)))
}

fn print_owner(owner: &OwnerRow, depth: usize, output: &mut Output) -> Result<(), Failure> {
    let name = if depth == 0 { "all" } else { owner.name.as_str() };
    let name = format!("{:indent$}{}", "", clean(name), indent = 2 * depth);
    line(&name, owner.total, output)?;
    owner.children.iter().try_for_each(|child| print_owner(child, depth + 1, output))
}
