//! A figure: one row of the table, or one line of JSON.

use std::io::Write as _;

use serde::Serialize;

use crate::error::BenchError;

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
        }
    }
}

/// One figure. `target` is held against `ratio` where `on_ratio` is set, else against `value`.
#[derive(Debug, Clone, Default)]
pub struct Row {
    case: String,
    metric: String,
    value: Option<f64>,
    unit: String,
    peer: Option<String>,
    peer_value: Option<f64>,
    target: Option<Target>,
    on_ratio: bool,
    note: Option<String>,
}

#[derive(Serialize)]
struct Line<'a> {
    case: &'a str,
    metric: &'a str,
    value: Option<f64>,
    unit: &'a str,
    peer: Option<&'a str>,
    peer_value: Option<f64>,
    ratio: Option<f64>,
    target: Option<String>,
    met: Option<bool>,
    note: Option<&'a str>,
}

impl Row {
    pub fn new(case: &str, metric: &str, value: f64, unit: &str) -> Self {
        Self {
            case: case.into(),
            metric: metric.into(),
            value: Some(value),
            unit: unit.into(),
            ..Self::default()
        }
    }

    /// The peer's figure, of the same unit, from the same run.
    pub fn peer(mut self, name: &str, value: f64) -> Self {
        self.peer = Some(name.into());
        self.peer_value = Some(value);
        self
    }

    /// A peer that is not here.
    pub fn absent_peer(mut self, name: &str, why: &str) -> Self {
        self.peer = Some(name.into());
        self.note(why)
    }

    /// What `value` must reach.
    pub fn target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// What `value / peer_value` must reach.
    pub fn ratio_target(mut self, target: Target) -> Self {
        self.target = Some(target);
        self.on_ratio = true;
        self
    }

    /// Adds a remark: other data than asked for, or why a target is missed.
    pub fn note(mut self, note: impl AsRef<str>) -> Self {
        let note = note.as_ref();
        if !note.is_empty() {
            self.note = Some(match self.note.take() {
                Some(before) => format!("{before}; {note}"),
                None => note.to_owned(),
            });
        }
        self
    }

    fn ratio(&self) -> Option<f64> {
        self.value.zip(self.peer_value).map(|(value, peer)| value / peer)
    }

    /// Is the target reached? None where there is none.
    pub fn met(&self) -> Option<bool> {
        let target = self.target?;
        let held = if self.on_ratio { self.ratio() } else { self.value };
        Some(held.is_some_and(|held| target.met(held)))
    }

    fn target_text(&self) -> Option<String> {
        let target = self.target?;
        Some(if self.on_ratio { format!("ratio {target}") } else { target.to_string() })
    }

    fn json(&self) -> Result<String, BenchError> {
        Ok(serde_json::to_string(&Line {
            case: &self.case,
            metric: &self.metric,
            value: self.value,
            unit: &self.unit,
            peer: self.peer.as_deref(),
            peer_value: self.peer_value,
            ratio: self.ratio(),
            target: self.target_text(),
            met: self.met(),
            note: self.note.as_deref(),
        })?)
    }
}

const HEADINGS: [&str; 10] =
    ["case", "metric", "value", "unit", "peer", "peer_value", "ratio", "target", "met", "note"];

/// Rows, printed as they come (JSON lines) or together at the end (a table).
pub struct Table {
    json: bool,
    rows: Vec<Row>,
    failures: bool,
}

impl Table {
    pub fn new(json: bool) -> Self {
        Self { json, rows: Vec::new(), failures: false }
    }

    /// Are rows printed as lines of JSON?
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Takes a row in.
    pub fn add(&mut self, row: Row) -> Result<(), BenchError> {
        if self.json {
            writeln!(std::io::stdout().lock(), "{}", row.json()?)?;
        } else {
            writeln!(std::io::stderr().lock(), "measured {}: {}", row.case, row.metric)?;
        }
        self.rows.push(row);
        Ok(())
    }

    /// An area that could not be measured is a row too.
    pub fn failed(&mut self, area: &str, error: &BenchError) -> Result<(), BenchError> {
        self.failures = true;
        let row = Row::new(area, "measured", 0.0, "")
            .target(Target::AtLeast(1.0))
            .note(error.to_string());
        self.add(row)
    }

    /// Was an area not measured?
    pub fn failures(&self) -> bool {
        self.failures
    }

    /// Prints the table.
    pub fn finish(&self) -> Result<(), BenchError> {
        if self.json {
            return Ok(());
        }
        let cells: Vec<[String; 10]> = std::iter::once(HEADINGS.map(str::to_owned))
            .chain(self.rows.iter().map(cells))
            .collect();
        let width = |column: usize| cells.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        let mut out = std::io::stdout().lock();
        for row in &cells {
            let padded: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(out, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

fn cells(row: &Row) -> [String; 10] {
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), short);
    let text = |text: Option<&str>| text.unwrap_or("-").to_owned();
    [
        row.case.clone(),
        row.metric.clone(),
        number(row.value),
        row.unit.clone(),
        text(row.peer.as_deref()),
        number(row.peer_value),
        number(row.ratio()),
        text(row.target_text().as_deref()),
        match row.met() {
            Some(true) => "yes".into(),
            Some(false) => "NO".into(),
            None => "-".into(),
        },
        row.note.clone().unwrap_or_default(),
    ]
}

/// A number with about four digits that mean something.
fn short(value: f64) -> String {
    match value.abs() {
        magnitude if magnitude >= 1000.0 || value.fract() == 0.0 => format!("{value:.0}"),
        magnitude if magnitude >= 100.0 => format!("{value:.1}"),
        magnitude if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_held_against_the_value_or_the_ratio() {
        let row = Row::new("scan", "bandwidth", 9.0, "GB/s").peer("limit", 10.0);
        assert_eq!(row.met(), None);
        assert_eq!(row.clone().target(Target::AtLeast(10.0)).met(), Some(false));
        assert_eq!(row.clone().ratio_target(Target::AtLeast(0.8)).met(), Some(true));
        assert_eq!(row.ratio_target(Target::AtMost(0.8)).met(), Some(false));
    }

    #[test]
    fn a_ratio_without_its_peer_is_not_met() {
        let row = Row::new("scan", "cpu", 1.0, "ms").absent_peer("faiss", "not installed");
        assert_eq!(row.ratio_target(Target::AtMost(1.0)).met(), Some(false));
    }

    #[test]
    fn a_line_of_json_has_every_field_of_the_contract() {
        let json = Row::new("a", "b", 1.5, "ms").json().unwrap();
        let line: serde_json::Value = serde_json::from_str(&json).unwrap();
        for field in HEADINGS {
            assert!(line.get(field).is_some(), "{field} in {json}");
        }
    }
}
