//! How far a long command is: a bar with rate, time left and the kernel's peak memory.
//!
//! Drawn on standard error, only where a person watches and did not ask for quiet; everywhere
//! else it costs one branch per step.

use ambit_mem::process::Resident;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::output::Output;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Rows, files, queries: plain numbers.
    Items(&'static str),
    /// Bytes.
    Bytes,
}

/// A bar, or nothing.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar for `what`, up to `total` where that is known.
    pub fn new(output: &Output, what: &'static str, unit: Unit, total: Option<u64>) -> Self {
        if !output.shows_progress() {
            return Self { bar: None };
        }
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
        // A template that does not parse would be a slip in this file; the default style then
        // still shows where the command is.
        if let Ok(style) = ProgressStyle::with_template(&template(unit, total)) {
            bar.set_style(style.with_key("peak", write_peak));
        }
        bar.set_message(what);
        Self { bar: Some(bar) }
    }

    /// `done` of the total are done.
    pub fn set(&self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
        }
    }

    /// The total is now known to be `total`.
    pub fn set_total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// Takes the bar off the screen, so that the result can be printed.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn template(unit: Unit, total: Option<u64>) -> String {
    let mut template = String::from("{msg} ");
    match (unit, total) {
        (Unit::Bytes, Some(_)) => {
            template
                .push_str("[{bar:24}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}");
        }
        (Unit::Bytes, None) => template.push_str("{binary_bytes} {binary_bytes_per_sec}"),
        (Unit::Items(name), Some(_)) => {
            template.push_str("[{bar:24}] {human_pos}/{human_len} ");
            template.push_str(name);
            template.push_str(" {per_sec}");
        }
        (Unit::Items(name), None) => {
            template.push_str("{human_pos} ");
            template.push_str(name);
            template.push_str(" {per_sec}");
        }
    }
    if total.is_some() {
        template.push_str(" ETA {eta}");
    }
    template.push_str(" peak {peak}");
    template
}

fn write_peak(_: &ProgressState, text: &mut dyn std::fmt::Write) {
    let _ = match Resident::read() {
        Some(resident) => write!(text, "{}", resident.vm_hwm),
        None => text.write_char('?'),
    };
}
