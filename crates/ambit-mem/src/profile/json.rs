//! Snapshots and leak reports as JSON.
//!
//! Numbers carry their unit in their name. Stacks are lists of functions, innermost first.

use std::io::{self, Write};

use serde::Serialize;

use super::age::AgeBucket;
use super::leak::LeakReport;
use super::series::Point;
use super::site::{Estimate, Site};
use super::snapshot::Snapshot;
use super::symbol::Symbols;
use crate::tracking::hook;

#[derive(Serialize)]
struct SnapshotView<'a> {
    at_us: u64,
    interval_bytes: u64,
    live: EstimateView,
    peak_bytes: u64,
    lost_samples: u64,
    ages: Vec<AgeBucket>,
    series: &'a [Point],
    threads: Vec<ThreadView>,
    sites: Vec<SiteView>,
}

#[derive(Serialize)]
struct EstimateView {
    samples: u64,
    count: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct ThreadView {
    number: u16,
    live: EstimateView,
}

#[derive(Serialize)]
struct SiteView {
    tag: &'static str,
    allocated: EstimateView,
    freed: EstimateView,
    live: EstimateView,
    oldest_us: u64,
    stack: Vec<FrameView>,
}

#[derive(Serialize)]
struct FrameView {
    function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
}

#[derive(Serialize)]
struct LeaksView {
    snapshots: usize,
    over_us: u64,
    likely_confidence: f64,
    sites: Vec<SuspectView>,
}

#[derive(Serialize)]
struct SuspectView {
    tag: &'static str,
    confidence: f64,
    growing: f64,
    rising: f64,
    lasting: f64,
    ongoing: f64,
    growth_bytes_per_minute: f64,
    live: EstimateView,
    oldest_us: u64,
    median_age_us: u64,
    stack: Vec<FrameView>,
}

impl From<Estimate> for EstimateView {
    fn from(estimate: Estimate) -> Self {
        let Estimate { samples, count, bytes } = estimate;
        Self { samples, count, bytes: bytes.get() }
    }
}

fn stack(symbols: &mut Symbols, site: &Site) -> Vec<FrameView> {
    let frames = symbols.stack(site).into_iter();
    frames
        .map(|frame| FrameView { function: frame.function, file: frame.file, line: frame.line })
        .collect()
}

impl Snapshot {
    /// Writes the snapshot as one JSON object.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_json(&self, writer: impl Write) -> io::Result<()> {
        hook::unsampled(|| {
            let mut symbols = Symbols::default();
            let sites = self.sites().iter().map(|site| SiteView {
                tag: site.site.tag.name(),
                allocated: site.allocated.into(),
                freed: site.freed.into(),
                live: site.live.into(),
                oldest_us: site.oldest.as_micros() as u64,
                stack: stack(&mut symbols, &site.site),
            });
            let threads = self.threads().iter();
            let view = SnapshotView {
                at_us: self.at_us,
                interval_bytes: self.interval().get(),
                live: self.live().into(),
                peak_bytes: self.peak().get(),
                lost_samples: self.lost(),
                ages: self.ages().buckets().collect(),
                series: self.series(),
                threads: threads
                    .map(|thread| ThreadView { number: thread.number, live: thread.live.into() })
                    .collect(),
                sites: sites.collect(),
            };
            Ok(serde_json::to_writer(writer, &view)?)
        })
    }
}

impl LeakReport {
    /// Writes the report as one JSON object.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write_json(&self, writer: impl Write) -> io::Result<()> {
        hook::unsampled(|| {
            let mut symbols = Symbols::default();
            let sites = self.sites().iter().map(|suspect| SuspectView {
                tag: suspect.site.tag.name(),
                confidence: suspect.confidence,
                growing: suspect.evidence.growing,
                rising: suspect.evidence.rising,
                lasting: suspect.evidence.lasting,
                ongoing: suspect.evidence.ongoing,
                growth_bytes_per_minute: suspect.growth_per_minute,
                live: suspect.live.into(),
                oldest_us: suspect.oldest.as_micros() as u64,
                median_age_us: suspect.median_age.as_micros() as u64,
                stack: stack(&mut symbols, &suspect.site),
            });
            let view = LeaksView {
                snapshots: self.snapshots(),
                over_us: self.over().as_micros() as u64,
                likely_confidence: Self::LIKELY,
                sites: sites.collect(),
            };
            Ok(serde_json::to_writer(writer, &view)?)
        })
    }
}
