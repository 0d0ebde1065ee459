//! Peers in Python: faiss, usearch and turbovec on the same rows and queries.

use std::path::Path;

use serde::Deserialize;

use crate::error::BenchError;
use crate::peer;
use crate::row::Row;

/// Codes of one peer.
#[derive(Deserialize)]
pub struct Codes {
    name: String,
    recall: f64,
    cpu_ms: f64,
    #[serde(default)]
    encode_gb: Option<f64>,
}

/// What the Python peers print.
#[derive(Deserialize)]
pub struct Peers {
    versions: String,
    codes: Vec<Codes>,
    /// Milliseconds of processor time for a query of a block.
    batch_cpu_ms: f64,
}

/// Why there are none.
const ABSENT: &str = "no Python with faiss, usearch, turbovec: set AMBIT_PEERS_PYTHON after \
    pip install faiss-cpu usearch turbovec numpy";

pub fn run(base: &Path, queries: &Path) -> Result<Option<Peers>, BenchError> {
    let Some(python) = peer::python_with("faiss, usearch, turbovec") else {
        return Ok(None);
    };
    peer::run(&python, include_str!("../../../peers/codes.py"), &[base, queries]).map(Some)
}

impl Peers {
    /// The peer that encodes as `name` does, and its gigabytes a second.
    pub fn encoding(&self, name: &str) -> Option<(&str, f64)> {
        let peer = match name {
            "int8 by dimension" => "faiss SQ8",
            "float16" => "faiss SQfp16",
            _ => return None,
        };
        let codes = self.codes.iter().find(|codes| codes.name == peer)?;
        Some((&codes.name, codes.encode_gb?))
    }
}

/// Puts a peer's recall beside a row.
pub fn recall_beside(row: Row, peers: Option<&Peers>, name: &str) -> Row {
    beside(row, peers, name, |codes| codes.recall)
}

/// Puts a peer's time beside a row.
pub fn time_beside(row: Row, peers: Option<&Peers>, name: &str) -> Row {
    beside(row, peers, name, |codes| codes.cpu_ms)
}

fn beside(row: Row, peers: Option<&Peers>, name: &str, figure: impl Fn(&Codes) -> f64) -> Row {
    let Some(peers) = peers else {
        return row.absent_peer(name, ABSENT);
    };
    match peers.codes.iter().find(|codes| codes.name == name) {
        Some(codes) => row.peer(name, figure(codes)).note(&peers.versions),
        None => row.absent_peer(name, "it did not run"),
    }
}

/// Puts the time of faiss for a block of queries beside a row.
pub fn batch_beside(row: Row, peers: Option<&Peers>) -> Row {
    let name = "faiss IndexFlatIP, BLAS";
    match peers {
        Some(peers) => row.peer(name, peers.batch_cpu_ms).note(&peers.versions),
        None => row.absent_peer(name, ABSENT),
    }
}
