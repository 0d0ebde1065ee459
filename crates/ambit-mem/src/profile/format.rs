//! Snapshots, diffs and leak reports as text for people.

use std::fmt::{self, Write as _};

use super::diff::SnapshotDiff;
use super::leak::{LeakReport, SuspectSite};
use super::scope::ProfileReport;
use super::site::{Metric, Site};
use super::snapshot::Snapshot;
use super::symbol::Symbols;
use crate::tracking::hook;
use crate::{Bytes, Tag};

/// How much of a report is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatOptions {
    /// Sites, at most. Default: 10.
    pub sites: usize,
    /// Functions below each site, at most. Default: 0.
    pub frames: usize,
}

impl Default for FormatOptions {
    fn default() -> Self {
        Self { sites: 10, frames: 0 }
    }
}

/// A text in the making.
struct Text {
    out: String,
    symbols: Symbols,
    options: FormatOptions,
}

impl Text {
    fn new(options: FormatOptions) -> Self {
        Self { out: String::new(), symbols: Symbols::default(), options }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "{line}");
    }

    /// The place of a site behind its figures, and its functions below.
    fn site(&mut self, figures: &str, site: &Site) {
        let place = self.symbols.place(site);
        let tag = if site.tag == Tag::UNTAGGED {
            String::new()
        } else {
            format!("[{}] ", site.tag.name())
        };
        self.line(format_args!("{figures}  {tag}{place}"));
        if self.options.frames > 0 {
            let stack = self.symbols.stack(site);
            for frame in stack.iter().take(self.options.frames) {
                self.line(format_args!("{:>12}{frame}", "at "));
            }
        }
    }

    fn rest(&mut self, all: usize) {
        if let more @ 1.. = all.saturating_sub(self.options.sites) {
            self.line(format_args!("... and {more} more"));
        }
    }
}

/// Bytes with a sign.
fn signed(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", Bytes::new(bytes.unsigned_abs()))
}

/// Bytes as text, so that they can be aligned.
fn text(bytes: Bytes) -> String {
    bytes.to_string()
}

impl Snapshot {
    /// A text for people: what is alive, by site and by age.
    pub fn format(&self, options: FormatOptions) -> String {
        hook::unsampled(|| {
            let mut report = Text::new(options);
            let live = self.live();
            report.line(format_args!(
                "{:.1} s: {} alive in {} allocations (peak {}), from {} samples of one in {}; \
                 {} lost",
                self.at().as_secs_f64(),
                live.bytes,
                live.count,
                self.peak(),
                live.samples,
                self.interval(),
                self.lost()
            ));
            report.line(format_args!(
                "{:>10} {:>10} {:>10} {:>10} {:>9}  site",
                "live", "count", "allocated", "count", "oldest"
            ));
            for site in self.hot_sites(Metric::LiveBytes, options.sites) {
                let figures = format!(
                    "{:>10} {:>10} {:>10} {:>10} {:>7.1} s",
                    text(site.live.bytes),
                    site.live.count,
                    text(site.allocated.bytes),
                    site.allocated.count,
                    site.oldest.as_secs_f64()
                );
                report.site(&figures, &site.site);
            }
            report.rest(self.sites().iter().filter(|site| site.live.samples > 0).count());
            for bucket in self.ages().buckets() {
                let to = bucket.to_ms.map_or("older".to_owned(), |to| format!("to {to} ms"));
                let live = Bytes::new(bucket.live_bytes);
                report.line(format_args!("{:>10} {} ms {to}", text(live), bucket.from_ms));
            }
            report.out
        })
    }
}

impl SnapshotDiff {
    /// A text for people: what changed, by site.
    pub fn format(&self, options: FormatOptions) -> String {
        hook::unsampled(|| {
            let mut report = Text::new(options);
            let [before, after] = self.live();
            report.line(format_args!(
                "in {:.1} s: {} ({} before, {} after)",
                self.between().as_secs_f64(),
                signed(self.growth()),
                before.bytes,
                after.bytes
            ));
            report.line(format_args!("{:>11} {:>10} {:>10}  site", "growth", "allocated", "freed"));
            for change in self.sites().iter().take(options.sites) {
                let figures = format!(
                    "{:>11} {:>10} {:>10}",
                    signed(change.growth()),
                    text(change.allocated.bytes),
                    text(change.freed.bytes)
                );
                report.site(&figures, &change.site);
            }
            report.rest(self.sites().len());
            report.out
        })
    }
}

impl ProfileReport {
    /// A text for people: what a piece of work allocated, by site.
    pub fn format(&self, options: FormatOptions) -> String {
        hook::unsampled(|| {
            let mut report = Text::new(options);
            let (allocated, freed) = (self.allocated(), self.freed());
            report.line(format_args!(
                "{}: {:.3} s, {} allocations of {}, {} frees of {}, from {} samples",
                self.name(),
                self.took().as_secs_f64(),
                allocated.count,
                allocated.bytes,
                freed.count,
                freed.bytes,
                allocated.samples
            ));
            for change in self.sites().iter().take(options.sites) {
                let figures = format!(
                    "{:>10} {:>10} {:>11}",
                    text(change.allocated.bytes),
                    change.allocated.count,
                    signed(change.growth())
                );
                report.site(&figures, &change.site);
            }
            report.rest(self.sites().len());
            report.out
        })
    }
}

impl LeakReport {
    /// A text for people: the sites that leak, how sure that is, and why.
    pub fn format(&self, options: FormatOptions) -> String {
        hook::unsampled(|| {
            let mut report = Text::new(options);
            if self.snapshots() < Self::SNAPSHOTS {
                report.line(format_args!(
                    "{} of {} snapshots: too few to tell a leak",
                    self.snapshots(),
                    Self::SNAPSHOTS
                ));
                return report.out;
            }
            let likely = self.likely();
            report.line(format_args!(
                "{} sites leak, as far as {} snapshots in {:.1} s tell",
                likely.len(),
                self.snapshots(),
                self.over().as_secs_f64()
            ));
            if !likely.is_empty() {
                report.line(format_args!(
                    "{:>5} {:>10} {:>9} {:>11} {:>9} {:>9}  site",
                    "sure", "live", "count", "a minute", "oldest", "median"
                ));
            }
            for suspect in likely.iter().take(options.sites) {
                report.site(&figures(suspect), &suspect.site);
                report.line(format_args!("      {}", suspect.why()));
            }
            report.rest(likely.len());
            report.out
        })
    }
}

fn figures(suspect: &SuspectSite) -> String {
    format!(
        "{:>4.0}% {:>10} {:>9} {:>11} {:>7.1} s {:>7.1} s",
        suspect.confidence * 100.0,
        text(suspect.live.bytes),
        suspect.live.count,
        signed(suspect.growth_per_minute as i64),
        suspect.oldest.as_secs_f64(),
        suspect.median_age.as_secs_f64()
    )
}

impl SuspectSite {
    /// Why it is suspected, in one sentence.
    pub fn why(&self) -> String {
        let evidence = self.evidence;
        format!(
            "in the last third {} samples came to stay and {} went (growing {:.2}); it rises \
             (rising {:.2}), what is old stays (lasting {:.2}), and it does not slow down \
             (ongoing {:.2})",
            evidence.settled,
            evidence.given_back,
            evidence.growing,
            evidence.rising,
            evidence.lasting,
            evidence.ongoing
        )
    }
}

macro_rules! display {
    ($($report:ty),*) => {
        $(impl fmt::Display for $report {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.format(FormatOptions::default()))
            }
        })*
    };
}

display!(Snapshot, SnapshotDiff, LeakReport, ProfileReport);
