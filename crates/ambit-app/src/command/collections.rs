//! `ambit collections`: names, spaces and sizes.

use ambitdb::{Language, SpaceKind};
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::output::{clean, counted, grouped};

#[derive(Serialize)]
struct Row {
    name: String,
    entities: u64,
    segments: u64,
    disk_bytes: u64,
    spaces: Vec<SpaceRow>,
}

#[derive(Serialize)]
struct SpaceRow {
    name: String,
    kind: &'static str,
    dim: u64,
    metric: String,
    /// Of a text space, the language of its stems.
    #[serde(skip_serializing_if = "Option::is_none")]
    stem: Option<&'static str>,
    vectors: u64,
}

/// Prints the collections, one JSON object per collection under `--json`.
///
/// # Errors
/// The facade's. A failed write.
pub fn run(session: &mut Session) -> Result<Code, Failure> {
    let store = session.read()?;
    let output = &mut session.output;
    for collection in store.collections()? {
        let view = store.collection(&collection.name)?;
        let mut spaces = Vec::with_capacity(collection.spaces.len());
        for space in collection.spaces {
            let vectors = view.vectors_in(&space.name)?;
            let (dim, metric) = (space.dim as u64, space.metric.to_string());
            let (kind, stem) = match space.kind {
                SpaceKind::Sparse { .. } => ("sparse", None),
                SpaceKind::Text { stem } => ("text", stem.map(Language::name)),
                _ => ("dense", None),
            };
            spaces.push(SpaceRow { name: space.name, kind, dim, metric, stem, vectors });
        }
        let row = Row {
            name: collection.name,
            entities: collection.entities,
            segments: collection.segments as u64,
            disk_bytes: collection.disk.get(),
            spaces,
        };
        if output.is_json() {
            output.json(&row)?;
            continue;
        }
        output.line(format_args!(
            "{}  {}, {}, {} on disk",
            output.bold(clean(&row.name)),
            counted(row.entities, "entity", "entities"),
            counted(row.segments, "segment", "segments"),
            collection.disk
        ))?;
        for space in &row.spaces {
            if space.kind == "text" {
                let stems = space.stem.map_or_else(String::new, |stem| format!(", {stem} stems"));
                output.line(format_args!("  {}  words of texts{stems}", clean(&space.name)))?;
                continue;
            }
            output.line(format_args!(
                "  {}  {}dim {}, {}, {}",
                clean(&space.name),
                if space.kind == "sparse" { "sparse, " } else { "" },
                grouped(space.dim),
                space.metric,
                counted(space.vectors, "vector", "vectors")
            ))?;
        }
    }
    Ok(Code::Done)
}
