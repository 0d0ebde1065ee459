//! What a power cut leaves of a simulated disk.
//!
//! Of the data that no sync covered, each 512-byte sector is old, new, or any state that it
//! had in between; it may be torn at a byte, and the bytes that were in flight may come out as
//! garbage. Of the directory changes that no sync covered, any subset is kept; only a single
//! rename is atomic. Bytes that a sync covered never change, also where they share a sector
//! with bytes in flight: disks write a sector whole or not at all, and what is written there
//! over old bytes is the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content::Content;
use super::disk::{Disk, Node, Pending};

/// Bytes that a disk writes at once.
const SECTOR: usize = 512;

/// How much of what is pending a crash keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// The process died, the machine did not: everything is kept, and what was not synced
    /// still is not.
    Process,
    /// The power failed before anything unsynced was written: all of it is lost.
    LoseUnsynced,
    /// The power failed; a choice drawn from this seed is kept, torn, or garbage.
    Power(u64),
}

/// Repeatable draws: SplitMix64 (Steele, Lea and Flood, 2014).
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// True in `percent` of 100 draws.
    fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// The odds of one crash: drawn once, so that images range from "almost nothing was written"
/// to "almost everything was".
struct Odds {
    keep_sector: u64,
    keep_entry: u64,
    tear: u64,
    garbage: u64,
}

impl Odds {
    fn draw(draw: &mut Draw) -> Self {
        const KEEP: [u64; 5] = [0, 10, 50, 90, 100];
        Self {
            keep_sector: KEEP[draw.below(KEEP.len())],
            keep_entry: KEEP[draw.below(KEEP.len())],
            tear: [0, 0, 10, 50][draw.below(4)],
            garbage: [0, 0, 5, 25][draw.below(4)],
        }
    }
}

/// The disk after `crash`.
pub(super) fn image(disk: &Disk, crash: Crash) -> Disk {
    if crash == Crash::Process {
        return disk.clone();
    }
    let mut draw = Draw::new(if let Crash::Power(seed) = crash { seed } else { 0 });
    let odds = match crash {
        Crash::Power(_) => Odds::draw(&mut draw),
        _ => Odds { keep_sector: 0, keep_entry: 0, tear: 0, garbage: 0 },
    };
    let lose_all = crash == Crash::LoseUnsynced;

    let mut names = (*disk.durable_names).clone();
    for entry in &disk.pending {
        if !lose_all && draw.percent(odds.keep_entry) {
            entry.apply(&mut names);
        }
    }
    let mut contents = BTreeMap::new();
    for inode in disk.reachable() {
        let Some(node) = disk.node(inode) else {
            continue;
        };
        let bytes = if lose_all { node.durable.clone() } else { survive(node, &odds, &mut draw) };
        contents.insert(inode, bytes);
    }
    let named: BTreeSet<u64> = names.values().copied().collect();
    contents.retain(|inode, _| named.contains(inode));
    Disk::settled(names, contents)
}

/// What is left of one file.
fn survive(node: &Node, odds: &Odds, draw: &mut Draw) -> Content {
    let mut content = node.durable.clone();
    if node.pending.is_empty() {
        return content;
    }
    let sectors: BTreeSet<usize> = node
        .pending
        .iter()
        .filter_map(|change| match change {
            Pending::Write { offset, .. } => Some(offset / SECTOR..change.end().div_ceil(SECTOR)),
            Pending::Grow { .. } => None,
        })
        .flatten()
        .collect();
    for sector in sectors {
        write_sector(&mut content, sector, &node.pending, odds, draw);
    }
    // The length is a separate change: any that the file had, or one on the way.
    let len = if draw.percent(odds.keep_sector) {
        node.current.len()
    } else {
        let seen = draw.below(node.pending.len() + 2);
        let longest = |until: usize| {
            let ends = node.pending[..until].iter().map(Pending::end);
            ends.fold(node.durable.len(), usize::max)
        };
        match node.pending.len().checked_sub(seen) {
            Some(_) => longest(seen),
            None => {
                let span = (node.current.len() - node.durable.len()) / SECTOR;
                let to = (node.durable.len() / SECTOR + draw.below(span + 1)) * SECTOR;
                to.clamp(node.durable.len(), node.current.len())
            }
        }
    };
    content.grow(len);
    content.cut(len);
    content
}

/// Draws the state of one sector and puts it into `content`.
fn write_sector(
    content: &mut Content,
    sector: usize,
    pending: &[Pending],
    odds: &Odds,
    draw: &mut Draw,
) {
    let bounds = sector * SECTOR..(sector + 1) * SECTOR;
    let parts: Vec<(usize, &[u8])> = pending
        .iter()
        .filter_map(|change| match change {
            Pending::Write { offset, bytes, .. } => part_within(*offset, bytes, &bounds),
            Pending::Grow { .. } => None,
        })
        .collect();
    let kept =
        if draw.percent(odds.keep_sector) { parts.len() } else { draw.below(parts.len().max(1)) };
    for (index, (at, bytes)) in parts[..kept].iter().enumerate() {
        if index + 1 < kept || !draw.percent(odds.tear) {
            content.write(*at, bytes);
            continue;
        }
        let tear = draw.below(bytes.len() + 1);
        if draw.percent(50) {
            content.write(*at, &bytes[..tear]);
        } else {
            content.write(*at + tear, &bytes[tear..]);
        }
    }
    if draw.percent(odds.garbage) && !parts.is_empty() {
        let (at, bytes) = parts[draw.below(parts.len())];
        content.write(at, &garbage(bytes, draw));
    }
}

/// The part of a write that lies in a sector.
fn part_within<'a>(
    offset: usize,
    bytes: &'a Arc<[u8]>,
    bounds: &std::ops::Range<usize>,
) -> Option<(usize, &'a [u8])> {
    let start = offset.max(bounds.start);
    let end = (offset + bytes.len()).min(bounds.end);
    (start < end).then(|| (start, &bytes[start - offset..end - offset]))
}

/// Bytes of the same length that nobody wrote.
fn garbage(bytes: &[u8], draw: &mut Draw) -> Vec<u8> {
    match draw.below(4) {
        0 => vec![0; bytes.len()],
        1 => vec![0xff; bytes.len()],
        2 => {
            let mut flipped = bytes.to_vec();
            let bit = draw.below(bytes.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        }
        _ => (0..bytes.len()).map(|_| draw.next() as u8).collect(),
    }
}
