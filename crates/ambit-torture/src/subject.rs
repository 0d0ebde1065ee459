//! The store under test, driven and read through its engine.
//!
//! The one module of this crate that knows the engine's calls. [`Subject::read`] reads
//! everything that a reader can see, each row by every path that leads to it (scan, look-up,
//! column blocks); two paths that disagree are a finding of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ambit_mem::{Budget, Bytes};
use ambit_store::bugs::Bugs;
use ambit_store::engine::{Access, Batch, Durability, Engine, EngineOptions, Snapshot, TableView};
use ambit_store::geometry::Geometry;
use ambit_store::host::Host;
use ambit_store::log::{CellLayout, Column, FileName, TableId, recover};
use ambit_store::segment::Io;
use ambit_store::vfs::{SimFs, Vfs};
use ambit_store::{ErrorKind, StoreError};

use crate::dice::Dice;
use crate::model::{Model, Row, Rows, Tables, show_row};
use crate::workload::{Change, FIXED, Op};

/// Column of [`FIXED`] bytes; column 0 has cells of any length.
const FIXED_COLUMN: usize = 1;
/// Rows of a scan's block: few, so that segments have several.
const BLOCK_ROWS: u64 = 5;

/// Why a store could not be read as it should.
#[derive(Debug)]
pub enum Trouble {
    /// It said so.
    Refused(StoreError),
    /// It did not, but two ways to the same row disagree.
    Inconsistent(String),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => write!(f, "{:?}: {error}", error.kind()),
            Self::Inconsistent(what) => write!(f, "inconsistent: {what}"),
        }
    }
}

/// Time and chance of a simulated run.
struct SimHost {
    micros: AtomicU64,
    chance: u64,
}

impl Host for SimHost {
    fn unix_micros(&self) -> u64 {
        self.micros.fetch_add(1000, Ordering::Relaxed)
    }

    fn random_u64(&self) -> u64 {
        Dice::stream(self.chance, self.micros.load(Ordering::Relaxed)).draw()
    }

    fn pid(&self) -> u32 {
        1
    }

    fn started_micros(&self) -> u64 {
        0
    }
}

/// How the store under test is opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening {
    /// The fault planted in it.
    pub bugs: Bugs,
    /// How it reads segments.
    pub io: Io,
    /// Read only?
    pub access: Access,
}

impl Default for Opening {
    fn default() -> Self {
        Self { bugs: Bugs::NONE, io: Io::Map, access: Access::Write }
    }
}

/// An open store.
pub struct Subject {
    engine: Engine,
}

impl Subject {
    /// Opens the store in `vfs` in the small geometry; for writing, makes one where there is
    /// none.
    pub fn open(vfs: Arc<dyn Vfs>, opening: Opening) -> Result<Self, StoreError> {
        let host = SimHost { micros: AtomicU64::new(1_700_000_000_000_000), chance: 7 };
        let options = EngineOptions {
            geometry: Geometry::SMALL,
            access: opening.access,
            create: opening.access == Access::Write,
            durability: Durability::Sync,
            io: opening.io,
            bugs: opening.bugs,
        };
        let budget = Budget::new(Bytes::mib(64));
        Ok(Self { engine: Engine::open(vfs, Arc::new(host), &budget, options)? })
    }

    /// Does `op`; it is acknowledged when this returns without an error. [`Op::Close`] only
    /// closes, [`Op::Kill`] does nothing: opening again is the caller's.
    pub fn apply(&self, op: &Op) -> Result<(), StoreError> {
        match op {
            Op::Write(changes) => self.engine.write(self.batch(changes)?).map(drop),
            Op::CreateTable(name) => {
                let columns = vec![
                    Column { name: "text".into(), layout: CellLayout::Var },
                    Column { name: "code".into(), layout: CellLayout::Fixed(FIXED as u32) },
                ];
                self.engine.create_table(name, name.as_bytes(), columns).map(drop)
            }
            Op::DropTable(name) => self.engine.drop_table(self.table(name)?),
            Op::Seal => self.engine.seal(),
            Op::CreateVersion(name) => self.engine.create_version(name).map(drop),
            Op::DropVersion(name) => self.engine.drop_version(name),
            Op::Rollback(name) => self.engine.rollback(name),
            Op::MergeStep(rows) => self.engine.merge_step(*rows as u32).map(drop),
            Op::Reclaim => self.engine.reclaim().map(drop),
            Op::Close => self.engine.close(),
            Op::Kill => Ok(()),
        }
    }

    /// Is there a table of that name?
    pub fn has_table(&self, name: &str) -> bool {
        self.engine.tables().iter().any(|table| table.name == name)
    }

    fn table(&self, name: &str) -> Result<TableId, StoreError> {
        let tables = self.engine.tables();
        let found = tables.iter().find(|table| table.name == name).map(|table| table.id);
        found.ok_or_else(|| {
            StoreError::new(ErrorKind::NotFound, format!("there is no table {name}"))
        })
    }

    fn batch(&self, changes: &[Change]) -> Result<Batch, StoreError> {
        let mut batch = Batch::new();
        for Change { table, key, row } in changes {
            let table = self.table(table)?;
            match row {
                Some(row) => {
                    let cells: Vec<Option<&[u8]>> = row.iter().map(Option::as_deref).collect();
                    batch.put(table, key, &cells);
                }
                None => batch.delete(table, key),
            }
        }
        Ok(batch)
    }

    /// Everything that a reader sees, now and in each version.
    pub fn read(&self) -> Result<Model, Trouble> {
        let tables = read_snapshot(&self.engine.snapshot())?;
        let mut versions = BTreeMap::new();
        for version in self.engine.versions() {
            let snapshot = self.engine.snapshot_of(&version.name)?;
            versions.insert(version.name, read_snapshot(&snapshot)?);
        }
        Ok(Model { tables, versions })
    }

    /// Merges until nothing is left to merge, and says how many steps that took.
    pub fn merge_all(&self) -> Result<u64, StoreError> {
        let mut steps = 0;
        while !self.engine.merge_step(u32::MAX)?.done {
            steps += 1;
        }
        Ok(steps)
    }

    /// Holds every checksum and invariant: the problems found.
    pub fn verify(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.engine.verify(&mut |_, _| true)?.problems)
    }
}

fn read_snapshot(snapshot: &Snapshot) -> Result<Tables, Trouble> {
    let mut tables = Tables::new();
    for info in snapshot.tables() {
        let view = snapshot.table(info.id)?.ok_or_else(|| {
            Trouble::Inconsistent(format!("table {} is listed but cannot be had", info.name))
        })?;
        if view.schema() != info.name.as_bytes() {
            return Err(Trouble::Inconsistent(format!("table {} has a foreign schema", info.name)));
        }
        let rows = read_table(&info.name, &view)?;
        if tables.insert(info.name.clone(), Arc::new(rows)).is_some() {
            return Err(Trouble::Inconsistent(format!("two tables {}", info.name)));
        }
    }
    Ok(tables)
}

fn read_table(name: &str, view: &TableView) -> Result<Rows, Trouble> {
    let mut rows = Rows::new();
    let mut places = BTreeMap::new();
    for part in 0..view.parts() {
        let mut found = Vec::new();
        view.scan_part(part, 0, &mut |at| {
            found.push(at);
            Ok(true)
        })?;
        for at in found {
            let key = view.key(at)?;
            let mut row: Row = Vec::new();
            for column in 0..view.columns().len() {
                row.push(view.cell(at, column)?);
            }
            if row[FIXED_COLUMN].is_some() {
                places.insert(at, row[FIXED_COLUMN].clone());
            }
            if view.find(&key)? != Some(at) {
                let key = String::from_utf8_lossy(&key);
                return Err(Trouble::Inconsistent(format!(
                    "table {name}: the scan finds key {key} at {at:?}, the look-up does not"
                )));
            }
            if let Some(twice) = rows.insert(key.clone(), row) {
                return Err(Trouble::Inconsistent(format!(
                    "table {name}: key {} is there twice, also as {}",
                    String::from_utf8_lossy(&key),
                    show_row(&twice)
                )));
            }
        }
    }
    if view.len() != rows.len() as u64 {
        let what = format!("table {name}: counts {} rows, shows {}", view.len(), rows.len());
        return Err(Trouble::Inconsistent(what));
    }
    for key in [&b"n99"[..], b"n00 knows n99"] {
        if view.find(key)?.is_some() {
            return Err(Trouble::Inconsistent(format!("table {name}: finds what was never put")));
        }
    }
    let blocks = read_blocks(view)?;
    if blocks != places {
        return Err(Trouble::Inconsistent(format!(
            "table {name}: blocks show {} fixed cells, rows have {}",
            blocks.len(),
            places.len()
        )));
    }
    Ok(rows)
}

type Cells = BTreeMap<ambit_store::engine::RowRef, Option<Vec<u8>>>;

/// The fixed cells by the path that a vector scan takes.
fn read_blocks(view: &TableView) -> Result<Cells, Trouble> {
    let mut cells = Cells::new();
    for block in view.blocks(FIXED_COLUMN, BLOCK_ROWS) {
        view.visit(&block, &[FIXED_COLUMN], &mut |seen| {
            for index in (0..seen.rows.len()).filter(|&index| !seen.is_dead(index)) {
                let row = seen.rows.row(index);
                let cell = seen.cells[0][index * FIXED..(index + 1) * FIXED].to_vec();
                let at = ambit_store::engine::RowRef { part: block.part, row };
                cells.insert(at, Some(cell));
            }
        })?;
    }
    Ok(cells)
}

/// Files in `disk` that the state on it does not account for; the store must be closed.
pub fn orphans(disk: &SimFs) -> Result<Vec<String>, StoreError> {
    let vfs: Arc<dyn Vfs> = Arc::new(disk.fork());
    let recovered = recover(&vfs, &Geometry::SMALL, Bugs::NONE)?;
    let state = recovered.state();
    let versions = state.versions.values().flat_map(|version| version.tables.values());
    let segments = state.tables.values().chain(versions).flat_map(|table| &table.segments);
    let named: std::collections::BTreeSet<FileName> = segments
        .map(|segment| FileName::Segment(segment.id))
        .chain(state.logs.iter().chain(&state.free_logs).map(|log| FileName::Log(log.id)))
        .chain([FileName::Super, FileName::Lock])
        .collect();
    let files: Vec<String> = disk.files().into_iter().map(|(name, _)| name).collect();
    let manifests = files.iter().filter(|name| name.starts_with("manifest-")).count();
    let strange = files.into_iter().filter(|name| match FileName::parse(name) {
        Some(FileName::Manifest(_)) => manifests > 1,
        Some(FileName::Derived { segment, .. }) => !named.contains(&FileName::Segment(segment)),
        Some(file) => !named.contains(&file),
        None => true,
    });
    Ok(strange.collect())
}
