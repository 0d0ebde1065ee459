//! Shared by the tests of this folder: a small segment, and where it lives.

mod budget;
mod damage;
mod golden;
mod os;
mod round_trip;
mod writing;

use ambit_mem::{Account, Budget, Bytes, Priority};

use super::{Io, Segment, SegmentWriter, Windows, segment_name};
use crate::bugs::Bugs;
use crate::error::StoreError;
use crate::geometry::Geometry;
use crate::log::SegmentMeta;
use crate::sync::Arc;
use crate::vfs::{SimFs, Vfs};

const BOTH: [Io; 2] = [Io::Map, Io::Pread];

/// A directory and what is allowed in memory.
struct Bench {
    disk: SimFs,
    vfs: Arc<dyn Vfs>,
    budget: Budget,
    account: Account,
    windows: Arc<Windows>,
}

impl Bench {
    fn new(limit: Bytes) -> Self {
        let disk = SimFs::new();
        let vfs: Arc<dyn Vfs> = Arc::new(disk.clone());
        let budget = Budget::new(limit);
        let account = budget.account("segments", Priority::Query);
        let map = budget.account("map", Priority::Cache);
        let windows = Windows::new(&map, &Geometry::SMALL, Bytes::mib(1));
        Self { disk, vfs, budget, account, windows }
    }

    fn roomy() -> Self {
        Self::new(Bytes::mib(64))
    }

    fn writer(&self, id: u64) -> SegmentWriter {
        SegmentWriter::create(&self.vfs, id, &Geometry::SMALL, &self.account, Bugs::NONE).unwrap()
    }

    /// Writes a segment of the given sections: name, stride, bytes.
    fn write(&self, id: u64, sections: &[(&str, u32, &[u8])]) -> SegmentMeta {
        let mut writer = self.writer(id);
        for (name, stride, bytes) in sections {
            writer.begin(name, *stride).unwrap();
            writer.write(bytes).unwrap();
            writer.end().unwrap();
        }
        writer.finish(7).unwrap()
    }

    fn open(&self, meta: &SegmentMeta, io: Io) -> Result<Arc<Segment>, StoreError> {
        Segment::open(&self.vfs, meta, io, &self.windows, &self.account, Bugs::NONE)
    }

    fn bytes(&self, meta: &SegmentMeta) -> Vec<u8> {
        self.disk.peek(&segment_name(meta.id)).unwrap()
    }

    fn plant(&self, meta: &SegmentMeta, bytes: &[u8]) {
        self.disk.plant(&segment_name(meta.id), Some(bytes));
    }
}

/// `len` bytes without a pattern that a checksum of parts could miss.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Reads every byte of every section.
fn read_all(segment: &Segment) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    segment
        .sections()
        .map(|(name, section)| {
            let mut bytes = Vec::new();
            let mut from = 0;
            while from < section.len {
                let to = section.len.min(from + 3000);
                bytes.extend_from_slice(&segment.read(section, from..to)?);
                from = to;
            }
            Ok((name.to_owned(), bytes))
        })
        .collect()
}
