//! A snapshot as folded stacks, and as a flame graph.

use std::io::{self, Write};

use inferno::flamegraph;

use super::site::Metric;
use super::snapshot::Snapshot;
use super::symbol::Symbols;
use crate::Tag;
use crate::tracking::hook;

impl Snapshot {
    /// One line for each site with a value: its functions, outermost first, joined by `;`, a
    /// space, and the value. A tag comes first, as `[tag]`.
    pub fn folded(&self, metric: Metric) -> Vec<String> {
        hook::unsampled(|| self.fold(metric))
    }

    fn fold(&self, metric: Metric) -> Vec<String> {
        let mut symbols = Symbols::default();
        let mut lines = Vec::new();
        for site in self.sites().iter().filter(|site| site.value(metric) > 0) {
            let mut functions: Vec<String> = Vec::new();
            if site.site.tag != Tag::UNTAGGED {
                functions.push(format!("[{}]", site.site.tag.name()));
            }
            let stack = symbols.stack(&site.site);
            functions.extend(stack.iter().rev().map(|frame| frame.function.replace(';', ":")));
            if site.site.is_others() {
                functions.push(symbols.place(&site.site));
            }
            lines.push(format!("{} {}", functions.join(";"), site.value(metric)));
        }
        lines
    }

    /// Writes a flame graph as SVG: the wider a function, the more of `metric` it stands for.
    ///
    /// # Errors
    /// Those of the writer; and where no site has a value.
    pub fn write_flame_graph(&self, metric: Metric, writer: impl Write) -> io::Result<()> {
        hook::unsampled(|| {
            let mut options = flamegraph::Options::default();
            let (title, count_name) = match metric {
                Metric::LiveBytes => ("Bytes alive", "bytes"),
                Metric::LiveCount => ("Allocations alive", "allocations"),
                Metric::AllocatedBytes => ("Bytes allocated", "bytes"),
                Metric::AllocatedCount => ("Allocations", "allocations"),
            };
            options.title = title.to_owned();
            options.count_name = count_name.to_owned();
            let lines = self.fold(metric);
            flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), writer)
        })
    }
}
