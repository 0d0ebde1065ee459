//! What more than one command reads from the command line.

use ambitdb::Metric;

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
