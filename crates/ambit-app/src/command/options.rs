//! What more than one command reads from the command line or prints of an answer.

use ambitdb::{Exactness, Metric};

/// Parses the name of a metric.
///
/// # Errors
/// The names that there are.
pub fn metric(name: &str) -> Result<Metric, String> {
    Metric::from_name(name).ok_or_else(|| {
        let names = Metric::ALL.map(Metric::name).join(", ");
        format!("expected one of {names}")
    })
}

/// Rows that a search read, and rows that it scored again in float64; zeros where the answer
/// does not say.
pub fn scanned_and_rescored(exactness: Exactness) -> (u64, u64) {
    match exactness {
        Exactness::Exact { scanned, rescored } => (scanned, rescored),
        _ => (0, 0),
    }
}
