//! What more than one command reads from the command line.

use ambitdb::{Filter, Metric, Probes};
use clap::Args;

/// How much an approximate answer looks at; without it answers are exact.
#[derive(Debug, Clone, Copy, Args)]
pub struct ProbeOptions {
    /// Approximate: as many lists as found this share of held-out rows' neighbours, above 0, up to 1
    #[arg(long, value_name = "R", conflicts_with = "probes")]
    recall: Option<f64>,
    /// Approximate: so many lists of each segment
    #[arg(long, value_name = "N")]
    probes: Option<usize>,
}

impl ProbeOptions {
    /// What is to be probed; none where answers are to be exact.
    pub fn probes(self) -> Option<Probes> {
        self.recall.map(Probes::Recall).or(self.probes.map(Probes::Lists))
    }
}

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
