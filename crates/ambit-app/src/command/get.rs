//! `ambit get KEY`: one entity, with `--vector` every bit of its embeddings.

use clap::Args;

use super::Session;
use crate::exit::{Code, Failure};
use crate::output::clean;
use crate::record::{Printed, PrintedRow, PrintedSparse, PrintedValue, Vectors};

/// Options of `ambit get`.
#[derive(Debug, Args)]
pub struct Options {
    /// Key of the entity
    key: String,
    /// Print the numbers of its embeddings
    #[arg(long)]
    vector: bool,
}

/// Prints the entity.
///
/// # Errors
/// Not found: the collection or the key.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    let store = session.read()?;
    let collection = session.collection(&store)?;
    let Some(entity) = collection.get(&options.key)? else {
        return Err(Failure::not_found(format!(
            "no entity '{}' in collection '{}'; `ambit list` shows the keys",
            options.key.escape_debug(),
            session.name()
        )));
    };
    let output = &mut session.output;
    if output.is_json() {
        let vectors = if options.vector { Vectors::Shown } else { Vectors::Hidden };
        output.json(&Printed { entity: &entity, vectors })?;
        return Ok(Code::Done);
    }
    output.line(output.bold(clean(&entity.key)))?;
    output.line(format_args!("kind: {}", clean(&entity.kind)))?;
    for (name, value) in &entity.properties {
        let value = as_json(&PrintedValue(value));
        output.line(format_args!("{}: {}", clean(name), clean(&value)))?;
    }
    for (space, row) in &entity.embeddings {
        let space = clean(space);
        if options.vector {
            output.line(format_args!("{space}: {}", as_json(&PrintedRow(row))))?;
        } else {
            output.line(format_args!("{space}: {} numbers (--vector prints them)", row.len()))?;
        }
    }
    for (space, vector) in &entity.sparse {
        let space = clean(space);
        if options.vector {
            output.line(format_args!("{space}: {}", as_json(&PrintedSparse(vector))))?;
        } else {
            let terms = vector.ids.len();
            output.line(format_args!("{space}: {terms} terms (--vector prints them)"))?;
        }
    }
    if let Some(text) = &entity.text {
        output.line(format_args!("\n{}", clean(text)))?;
    }
    Ok(Code::Done)
}

/// `value` on one line; what is printed here has no part that JSON could refuse.
fn as_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
