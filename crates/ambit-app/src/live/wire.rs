//! What is said over the socket: one JSON object a line, and bytes behind a reply.
//!
//! The server begins with [`Hello`]. Then the client sends a [`Request`] and gets a [`Reply`] with
//! as many bytes behind it as it says, any number of times. A client that closes its sending side
//! while a profile is made gets it as it is then. Both ends are of one version: the binary's.

#[cfg(unix)]
use std::io::{self, ErrorKind};

use serde::{Deserialize, Serialize};

/// Bytes of a request, at most.
#[cfg(unix)]
pub const MAX_REQUEST: u64 = 1024;

/// Who is at the other end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// Process id.
    pub pid: u32,
    /// Name of the command.
    pub command: String,
    /// Absolute path of its store.
    pub store: String,
}

/// What a client wants.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Request {
    /// Who holds the memory now, as JSON.
    Memory,
    /// What is allocated from now on, for some seconds or until the command ends.
    Profile {
        /// How long.
        seconds: f64,
        /// How it is written.
        form: Form,
    },
    /// Which sites grow from now on.
    Leaks {
        /// How long.
        seconds: f64,
        /// From snapshot to snapshot.
        every: f64,
        /// How it is written: text or JSON.
        form: Form,
    },
}

/// How a profile is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A table for people.
    Text,
    /// One JSON object.
    Json,
    /// The protocol buffer that `pprof` reads.
    Pprof,
    /// A picture.
    FlameGraph,
}

/// What comes before the bytes that were asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Reply {
    /// Why there are none.
    pub error: Option<Refusal>,
    /// How many there are.
    pub bytes: u64,
}

/// Why a request was refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of reason it is.
    pub reason: Reason,
    /// A sentence.
    pub message: String,
}

/// Kinds of reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The budget does not allow it.
    OverBudget,
    /// Another client's profiler is at work.
    Busy,
    /// There is nothing to show.
    Empty,
    /// It could not be made.
    Failed,
}

/// Has a read only waited in vain for this long, so that it can go on?
#[cfg(unix)]
pub fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
