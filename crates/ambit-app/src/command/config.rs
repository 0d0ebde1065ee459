//! `ambit config`: each setting, its value, and who set it.

use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    value: Option<&'a str>,
    source: String,
}

/// Prints the settings.
///
/// # Errors
/// A failed write.
pub fn run(session: &mut Session) -> Result<Code, Failure> {
    for (name, value, source) in session.settings.listed() {
        let source = source.to_string();
        if session.output.is_json() {
            session.output.json(&Row { name, value: value.as_deref(), source })?;
        } else {
            let value = value.unwrap_or_else(|| "a quarter of the memory, at most 2 GiB".into());
            session.output.line(format_args!("{name:<12} {value:<40} {source}"))?;
        }
    }
    Ok(Code::Done)
}
