//! What more than one command reads from the command line.

use ambitdb::{Filter, Metric};

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

/// Reads a filter.
///
/// # Errors
/// The place and what was expected there.
pub fn filter(text: &str) -> Result<Filter, String> {
    Filter::parse(text).map_err(|error| error.to_string())
}
