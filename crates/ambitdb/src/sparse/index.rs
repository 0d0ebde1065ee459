//! The index of one space in one segment, as a search reads it.
//!
//! | section | content |
//! |---|---|
//! | `index.info` | u32 version of the words, then 40 bytes a run ([`RunInfo`]) |
//! | `run.N.postings`, `run.N.terms`, `run.N.index`, `run.N.lengths` | the areas of run N |

use std::ops::Range;
use std::sync::Arc;

use ambit_mem::{Bytes, Priority, Reservation};
use ambit_search::SourceError;
use ambit_search::sparse::{Area, IndexedRun, RunInfo};
use ambit_store::StoreError;
use ambit_store::engine::{Derived, TableView};
use ambit_store::segment::{Section, Segment};

use crate::store::Store;

/// Runs of an index, at most: a file has 4,096 sections.
pub(super) const MAX_RUNS: usize = 1000;
/// Section of what the runs hold.
pub(super) const INFO: &str = "index.info";
/// How texts are cut into words; an index of another version is built again.
pub(super) const WORDS_VERSION: u32 = 1;

/// The slot of a space's index; those of codes are below.
pub(super) fn slot(space: usize) -> u16 {
    0x4000 + space as u16
}

/// The section of an area of a run.
pub(super) fn section_name(run: usize, area: Area) -> String {
    let area = match area {
        Area::Postings => "postings",
        Area::Terms => "terms",
        Area::Index => "index",
        Area::Lengths => "lengths",
    };
    format!("run.{run}.{area}")
}

/// An opened index.
pub(super) struct SegmentIndex {
    segment: Arc<Segment>,
    pub(super) runs: Vec<RunFile>,
    _charge: Reservation,
}

/// Where a run lies.
#[derive(Debug)]
pub(super) struct RunFile {
    pub(super) info: RunInfo,
    /// In the order of [`Area::ALL`].
    sections: [Section; 4],
}

impl SegmentIndex {
    /// The index of a space in a segment, if it was built.
    ///
    /// # Errors
    /// Over budget, I/O. Damage is none.
    pub(super) fn of(
        store: &Store,
        view: &TableView,
        part: u32,
        space: usize,
    ) -> Result<Derived<Self>, StoreError> {
        let rows = view.rows_in(part);
        view.derived(part, slot(space), &|segment| {
            let file = name(view, part, slot(space));
            let damaged = |what: String| {
                StoreError::corrupt(&file, 0, format!("{what}; build the index again"))
            };
            let section = segment.section(INFO).filter(|info| info.len >= 4 && info.len % 40 == 4);
            let section = section.ok_or_else(|| damaged(format!("section {INFO}")))?;
            let info = segment.read(section, 0..section.len)?.to_vec();
            if info[..4] != WORDS_VERSION.to_le_bytes() {
                return Err(damaged("its words are of another version".to_owned()));
            }
            let (infos, _) = info[4..].as_chunks::<{ RunInfo::LEN }>();
            let account = store.budget().account("store/indexes", Priority::Query);
            let charge = account.reserve(Bytes::of(infos.len() * size_of::<RunFile>()))?;
            let mut runs = Vec::with_capacity(infos.len());
            let mut next = 0;
            for (number, info) in infos.iter().enumerate() {
                let info = RunInfo::decode(info).filter(|info| info.first_row == next);
                let info = info.ok_or_else(|| damaged(format!("run {number}")))?;
                next = info.end();
                runs.push(run_of(&segment, number, info).map_err(damaged)?);
            }
            if u64::from(next) != rows {
                return Err(damaged(format!("it covers {next} rows of {rows}")));
            }
            Ok(Self { segment, runs, _charge: charge })
        })
    }
}

fn run_of(segment: &Segment, number: usize, info: RunInfo) -> Result<RunFile, String> {
    let mut sections = Vec::with_capacity(4);
    for area in Area::ALL {
        let name = section_name(number, area);
        sections.extend(segment.section(&name));
    }
    let sections: [Section; 4] =
        sections.try_into().map_err(|_| format!("run {number} lacks a section"))?;
    if sections[3].len != info.lengths_len() {
        return Err(format!("the lengths of run {number}"));
    }
    Ok(RunFile { info, sections })
}

/// The file in a slot, for messages.
fn name(view: &TableView, part: u32, slot: u16) -> String {
    format!("derived-{:08x}-{slot:04x}", view.segment_id(part).unwrap_or_default())
}

/// One run in one snapshot.
pub(super) struct SegmentRun<'a> {
    pub(super) view: &'a TableView,
    pub(super) part: u32,
    pub(super) index: Arc<SegmentIndex>,
    pub(super) number: usize,
}

impl SegmentRun<'_> {
    fn run(&self) -> &RunFile {
        &self.index.runs[self.number]
    }

    fn rows(&self) -> Range<u32> {
        self.run().info.first_row..self.run().info.end()
    }
}

impl IndexedRun for SegmentRun<'_> {
    fn part(&self) -> u32 {
        self.part
    }

    fn info(&self) -> &RunInfo {
        &self.run().info
    }

    fn len(&self, area: Area) -> u64 {
        self.run().sections[area as usize].len
    }

    fn read(
        &self,
        area: Area,
        range: Range<u64>,
        take: &mut dyn FnMut(&[u8]),
    ) -> Result<(), SourceError> {
        take(&self.index.segment.read(self.run().sections[area as usize], range)?);
        Ok(())
    }

    fn deleted(&self, each: &mut dyn FnMut(u32) -> bool) {
        self.view.dead_rows(self.part, self.rows(), each);
    }

    fn deleted_len(&self) -> u64 {
        self.view.dead_len(self.part, self.rows())
    }

    fn is_deleted(&self, row: u32) -> bool {
        self.view.is_dead(self.part, row)
    }
}
