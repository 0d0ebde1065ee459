//! A step whose results are kept.
//!
//! Looked up by the step and its exact inputs; where nothing is found, one run works and those that
//! ask the same meanwhile wait for it. What failed is not kept, nor what came of a failure that the
//! graph inside the step took up. Where bytes for the key or for the copy are short, the step
//! runs as if nothing were kept.

use std::sync::Arc;

use ambit_mem::Bytes;

use super::metrics::Lookup;
use super::step::{Bench, NO_BRANCH, Report};
use crate::graph::Step;
use crate::node::{Control, NodeError};
use crate::results::{Boarding, CachedResult, Kept, Lead, Waited, encode};

/// Gives the result that is kept, or does `work` and keeps what that gives. `control` is the
/// run's, with the step's own deadline.
pub(super) fn run(
    kept: &Kept,
    step: &Step,
    bench: &mut Bench<'_>,
    control: &Control<'_>,
    work: impl Fn(&mut Bench<'_>) -> Report,
) -> Report {
    let account = bench.context.account();
    let Ok(key) = encode(kept.step, bench.context, &step.reads, bench.arena) else {
        return missed(work(bench));
    };
    if let Some(found) = kept.cache.get(key) {
        return give(&found, bench);
    }
    // The key, and the flight that goes by it.
    let Ok(_charge) = account.reserve(Bytes::of(2 * key.len() + 256)) else {
        return missed(work(bench));
    };
    let key: Arc<[u8]> = key.into();
    let lead = match kept.flights.board(&key) {
        Boarding::Lead(lead) => Some(lead),
        Boarding::Alone => None,
        Boarding::Wait(flight) => match flight.wait(control) {
            Waited::Landed(result) => return give(&result, bench),
            Waited::Over => return missed(Report::new(Err(NodeError::CalledOff))),
            Waited::Lost => None,
        },
    };
    // Somebody may have landed between the look-up and the lead.
    if let Some(found) = lead.as_ref().and_then(|_| kept.cache.get(&key)) {
        let report = give(&found, bench);
        land(lead, found);
        return report;
    }
    // What runs inside stays on this thread: nobody who waits for it may hold up its workers.
    let workers = bench.control.workers.take();
    let report = missed(work(bench));
    bench.control.workers = workers;
    if report.result.is_ok()
        && let Ok(_charge) = account.reserve(Bytes::of(bench.outputs.given_bytes()))
        && let Some(result) = bench.outputs.copy(step.writes.len())
    {
        kept.cache.insert(key, result.clone(), kept.ttl);
        land(lead, result);
    }
    report
}

fn land(lead: Option<Lead<'_>>, result: CachedResult) {
    if let Some(lead) = lead {
        lead.land(result);
    }
}

fn missed(report: Report) -> Report {
    Report { lookup: Lookup::Miss, ..report }
}

fn give(result: &CachedResult, bench: &mut Bench<'_>) -> Report {
    let given = bench.outputs.give(result).map(|()| NO_BRANCH);
    Report { lookup: Lookup::Hit, ..Report::new(given.map_err(NodeError::from)) }
}
