//! What a command prints: lines for people, or JSON with documented field names for programs.
//!
//! Results go to standard output, everything else (notes, progress, errors) to standard error,
//! so that `ambit ... --json | program` sees results only. Text that comes from the store is
//! cleaned of control characters before a terminal sees it. Colour is used only on a terminal
//! and never when `NO_COLOR` is set. A reader that goes away ends the command quietly.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use serde::Serialize;

use crate::exit::Failure;

/// Who reads the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A person.
    Human,
    /// A program: one JSON object, or one per line.
    Json,
}

/// Whether notes and progress are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Notes, and progress on a terminal.
    Normal,
    /// Results and errors only.
    Quiet,
}

/// The two output streams of a command.
#[derive(Debug)]
pub struct Output {
    format: Format,
    verbosity: Verbosity,
    colour: bool,
    out: BufWriter<StdoutLock<'static>>,
}

impl Output {
    /// Standard output in `format`.
    pub fn new(format: Format, verbosity: Verbosity) -> Self {
        let stdout = io::stdout();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let colour = format == Format::Human && wanted && stdout.is_terminal();
        Self { format, verbosity, colour, out: BufWriter::with_capacity(32 << 10, stdout.lock()) }
    }

    /// Whether results are JSON.
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether progress may be drawn: a person watches standard error and did not ask for quiet.
    pub fn shows_progress(&self) -> bool {
        self.verbosity == Verbosity::Normal && io::stderr().is_terminal()
    }

    /// Prints one line.
    ///
    /// # Errors
    /// A failed write; silent where the reader has gone away.
    pub fn line(&mut self, line: impl fmt::Display) -> Result<(), Failure> {
        writeln!(self.out, "{line}").map_err(|error| Failure::output(&error))
    }

    /// Prints `value` as JSON on one line.
    ///
    /// # Errors
    /// A failed write; silent where the reader has gone away.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        serde_json::to_writer(&mut self.out, value)
            .map_err(io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"))
            .map_err(|error| Failure::output(&error))
    }

    /// Hands everything printed so far to the reader.
    ///
    /// # Errors
    /// A failed write; silent where the reader has gone away.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| Failure::output(&error))
    }

    /// A remark on standard error, left out under `--quiet`.
    pub fn note(&self, note: impl fmt::Display) {
        if self.verbosity == Verbosity::Normal {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr(), "ambit: {note}");
        }
    }

    /// `text` in bold where colour is on.
    pub fn bold(&self, text: impl fmt::Display) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_string() }
    }

    /// `text` dimmed where colour is on.
    pub fn dim(&self, text: impl fmt::Display) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// Reports `failure` on standard error: a sentence, or a JSON object under `--json`.
pub fn report(failure: &Failure, format: Format) {
    #[derive(Serialize)]
    struct Report<'a> {
        error: &'a str,
        exit_code: u8,
        message: &'a str,
    }
    if failure.is_silent() {
        return;
    }
    let message = failure.to_string();
    let code = failure.code();
    let line = match format {
        Format::Human => format!("ambit: {}", clean(&message)),
        Format::Json => {
            let report = Report { error: code.name(), exit_code: code.status(), message: &message };
            serde_json::to_string(&report).unwrap_or(message)
        }
    };
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// `text` without characters that could steer a terminal; tabs stay.
pub fn clean(text: &str) -> String {
    let steers = |c: char| c.is_control() && c != '\t' && c != '\n';
    if !text.contains(steers) {
        return text.to_owned();
    }
    text.chars().map(|c| if steers(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `n` with thousands separated: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `n` things: `1 row`, `2,000 rows`.
pub fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(n), if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let cases = [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")];
        for (n, expected) in cases {
            assert_eq!(grouped(n), expected);
        }
        assert_eq!(counted(1, "row", "rows"), "1 row");
        assert_eq!(counted(2_000, "row", "rows"), "2,000 rows");
    }

    #[test]
    fn stored_text_cannot_steer_a_terminal() {
        assert_eq!(clean("a\x1b[2Jb\tc\nd"), "a\u{fffd}[2Jb\tc\nd");
        assert_eq!(clean("\u{9b}31m"), "\u{fffd}31m");
        assert_eq!(clean("plain é"), "plain é");
    }
}
