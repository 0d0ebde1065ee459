//! `ambit delete KEY...`: takes entities away, all of them in one atomic batch.

use ambitdb::WriteBatch;
use clap::Args;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::output::counted;

/// Options of `ambit delete`.
#[derive(Debug, Args)]
pub struct Options {
    /// Keys of the entities
    #[arg(required = true)]
    keys: Vec<String>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    deleted: u64,
    missing: Vec<&'a str>,
}

/// Deletes those that exist; the rest makes the exit code 1.
///
/// # Errors
/// Not found: the collection. The facade's.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let store = session.write()?;
    let collection = session.collection(&store)?;
    let mut batch = WriteBatch::new();
    let mut found = std::collections::BTreeSet::new();
    let mut missing = Vec::new();
    for key in &options.keys {
        if found.contains(key.as_str()) {
            continue;
        }
        if collection.contains(key)? {
            batch.delete(session.name(), key);
            found.insert(key.as_str());
        } else {
            missing.push(key.as_str());
        }
    }
    let deleted = found.len() as u64;
    if deleted > 0 {
        store.write(&batch)?;
    }
    store.close()?;
    if session.output.is_json() {
        session.output.json(&Deleted { deleted, missing: missing.clone() })?;
    } else {
        session.output.line(format_args!("{} deleted", counted(deleted, "entity", "entities")))?;
    }
    if missing.is_empty() {
        return Ok(Code::Done);
    }
    Err(Failure::not_found(format!(
        "no entity {} in collection '{}'",
        missing
            .iter()
            .map(|key| format!("'{}'", key.escape_debug()))
            .collect::<Vec<_>>()
            .join(", "),
        session.name()
    )))
}
