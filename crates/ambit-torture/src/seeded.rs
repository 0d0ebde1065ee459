//! T2: would the crash test notice if the store were wrong?
//!
//! The store carries planted faults, each the kind of mistake that such code is known for.
//! With one of them planted, T1 must find a broken promise within [`WITHIN`] images. Some
//! faults cannot be seen in any image, because what they leave out (a checksum) only matters
//! for bytes that no power cut makes; T5, which damages bytes, must find those.

use ambit_store::bugs::{Bugs, SeededBug};

use crate::crash;
use crate::damage;

/// Images, or damages, after which a fault counts as missed.
pub const WITHIN: u64 = 20_000;

/// How a planted fault came out.
#[derive(Debug, Clone)]
pub struct Hunt {
    /// The fault.
    pub bug: SeededBug,
    /// The test that looked for it.
    pub test: &'static str,
    /// Images or damages tried.
    pub tried: u64,
    /// What gave it away; `None` if nothing did.
    pub caught: Option<String>,
}

/// Plants `bug` and looks for it from `seed` on.
pub fn hunt(bug: SeededBug, seed: u64) -> Hunt {
    let bugs = Bugs::plant(bug);
    match bug {
        SeededBug::SkipBlockChecksum | SeededBug::SkipFrameChecksum | SeededBug::WrongTailRule => {
            let (tally, failed) = damage::sample(seed, WITHIN, bugs);
            let caught = failed.map(|failure| failure.what);
            Hunt { bug, test: "T5", tried: tally.damages, caught }
        }
        _ => {
            let (tally, failed) = crash::torture(seed, WITHIN, bugs);
            let caught = failed.map(|failure| failure.what);
            Hunt { bug, test: "T1", tried: tally.images, caught }
        }
    }
}
