//! Tests of the whole module: a scripted writer, and a model of what it was promised.
//!
//! The [`Model`] knows what was acknowledged and what was being attempted when the script was
//! cut off. [`Model::check`] holds a directory against it and answers with the first thing
//! that is wrong, so that the same script shows that a planted fault is found.

mod access;
mod crash;
mod damage;
mod faults;
mod journal;
mod limits;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use ambit_mem::{Account, Budget, Bytes, Priority};

use super::{
    CellLayout, Column, Edit, Journal, LogFile, Recovered, SegmentMeta, State, Table, TableId,
    Version, recover,
};
use crate::bugs::Bugs;
use crate::error::{ErrorKind, StoreError};
use crate::geometry::Geometry;
use crate::vfs::{SimFs, Vfs};

const STORE_ID: u128 = 0x1122_3344_5566_7788_99aa_bbcc_ddee_ff00;

/// Repeatable draws: SplitMix64 (Steele, Lea and Flood, 2014).
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn vfs(sim: &SimFs) -> Arc<dyn Vfs> {
    Arc::new(sim.clone())
}

fn account() -> Account {
    Budget::new(Bytes::mib(64)).account("test", Priority::Write)
}

fn create(sim: &SimFs) -> Journal {
    Journal::create(vfs(sim), Geometry::SMALL, STORE_ID, Bugs::NONE).unwrap()
}

fn recovered(sim: &SimFs) -> Result<Recovered, StoreError> {
    recover(&vfs(sim), &Geometry::SMALL, Bugs::NONE)
}

fn reopen(sim: &SimFs) -> Journal {
    let recovered = recovered(sim).unwrap();
    Journal::resume(vfs(sim), Geometry::SMALL, &recovered, Bugs::NONE).unwrap()
}

fn write(journal: &mut Journal, payload: &[u8]) -> u64 {
    let seq = journal.append(payload).unwrap();
    journal.sync().unwrap();
    seq
}

fn frames(recovered: &Recovered) -> Result<BTreeMap<u64, Vec<u8>>, StoreError> {
    let mut frames = BTreeMap::new();
    recovered.replay(&account(), &mut |seq, payload| {
        frames.insert(seq, payload.to_vec());
        Ok(())
    })?;
    Ok(frames)
}

fn column(name: &str, layout: CellLayout) -> Column {
    Column { name: name.into(), layout }
}

fn table(id: u32, name: &str) -> Edit {
    let columns = vec![column("vector", CellLayout::Fixed(16)), column("text", CellLayout::Var)];
    Edit::CreateTable { id: TableId(id), name: name.into(), schema: vec![1, 2, 3], columns }
}

fn segment(id: u64) -> SegmentMeta {
    SegmentMeta { id, len: 4096 + id, footer_crc: id as u32 ^ 0xffff, rows: 7 }
}

fn seal(journal: &Journal) -> Edit {
    Edit::Sealed { seq: journal.durable_seq(), replay_from: journal.position() }
}

/// What of a state the caller asked for, without the journal's own book-keeping.
#[derive(Debug, Clone, PartialEq, Default)]
struct Asked {
    sealed_seq: u64,
    tables: BTreeMap<TableId, Table>,
    versions: BTreeMap<u64, Version>,
}

impl Asked {
    fn of(state: &State) -> Self {
        let (tables, versions) = (state.tables.clone(), state.versions.clone());
        Self { sealed_seq: state.sealed_seq, tables, versions }
    }
}

/// What a writer was promised, and what it was about to do.
#[derive(Debug, Clone, Default)]
struct Model {
    exists: bool,
    /// Payloads of the acknowledged frames; frame 1 first.
    frames: Vec<Vec<u8>>,
    frame_in_flight: Option<Vec<u8>>,
    asked: Asked,
    commit_in_flight: Option<Asked>,
}

impl Model {
    /// Holds the store in `vfs` against the model, which learns what became of what was in
    /// flight. `None`: there is no store, and need not be.
    fn check(&mut self, vfs: &Arc<dyn Vfs>, bugs: Bugs) -> Result<Option<Recovered>, String> {
        let recovered = match recover(vfs, &Geometry::SMALL, bugs) {
            Ok(recovered) => recovered,
            Err(error) if error.kind() == ErrorKind::NotFound && !self.exists => return Ok(None),
            Err(error) => return Err(format!("does not open: {error}")),
        };
        self.exists = true;
        let asked = Asked::of(recovered.state());
        match self.commit_in_flight.take() {
            _ if asked == self.asked => {}
            Some(attempt) if asked == attempt => self.asked = attempt,
            _ => {
                return Err(format!("state is {asked:?}, committed was {:?}", self.asked));
            }
        }
        let acknowledged = self.frames.len() as u64;
        if recovered.last_seq() == acknowledged + 1 {
            let Some(frame) = self.frame_in_flight.take() else {
                return Err(format!("frame {} was never written", acknowledged + 1));
            };
            self.frames.push(frame);
        } else if recovered.last_seq() != acknowledged {
            return Err(format!("last is {}, promised {acknowledged}", recovered.last_seq()));
        }
        self.frame_in_flight = None;
        let found = frames(&recovered).map_err(|error| format!("does not replay: {error}"))?;
        let first = asked.sealed_seq + 1;
        let numbers: Vec<u64> = found.keys().copied().collect();
        if numbers != (first..=recovered.last_seq()).collect::<Vec<_>>() {
            return Err(format!("replayed {numbers:?} from {first} on"));
        }
        for (seq, payload) in found {
            if self.frames[seq as usize - 1] != payload {
                return Err(format!("frame {seq} is not what was written"));
            }
        }
        Ok(Some(recovered))
    }

    /// Opens, or creates where there is none. What was in flight is settled only if that
    /// comes to its end.
    fn open(
        &mut self,
        vfs: &Arc<dyn Vfs>,
        bugs: Bugs,
    ) -> Result<Result<Journal, StoreError>, String> {
        let mut settled = self.clone();
        let opened = match settled.check(vfs, bugs)? {
            Some(recovered) => Journal::resume(Arc::clone(vfs), Geometry::SMALL, &recovered, bugs),
            None => Journal::create(Arc::clone(vfs), Geometry::SMALL, STORE_ID, bugs),
        };
        if opened.is_ok() {
            *self = Self { exists: true, ..settled };
        }
        Ok(opened)
    }

    /// One random act of the writer.
    fn act(&mut self, journal: &mut Journal, draw: &mut Draw) -> Result<(), StoreError> {
        match draw.below(12) {
            0..=7 => {
                let len = [0, 1, 31, 32, 33, 200, 900, 3000][draw.below(8) as usize];
                let payload = draw.bytes(len);
                self.frame_in_flight = Some(payload.clone());
                journal.append(&payload)?;
                journal.sync()?;
                self.frame_in_flight = None;
                self.frames.push(payload);
                Ok(())
            }
            8 => self.commit(journal, &[seal(journal)]),
            9 => {
                let id = journal.state().next_table;
                self.commit(journal, &[table(id, &format!("table {id}"))])
            }
            10 => match journal.state().tables.keys().next().copied() {
                Some(table) => {
                    let segment = segment(journal.allocate_file());
                    let add = Edit::AddSegment { table, segment };
                    self.commit(journal, &[add, seal(journal)])
                }
                None => Ok(()),
            },
            _ => {
                let state = journal.state();
                let id = state.next_version;
                let edits = match state.versions.keys().next() {
                    Some(&version) if draw.below(2) == 0 => {
                        let (seq, replay_from) = (journal.durable_seq(), journal.position());
                        vec![
                            Edit::Rollback { version, sealed_seq: seq, replay_from },
                            Edit::DropVersion { id: version },
                        ]
                    }
                    _ => {
                        vec![Edit::CreateVersion { id, name: format!("v{id}"), created_micros: 9 }]
                    }
                };
                self.commit(journal, &edits)
            }
        }
    }

    fn commit(&mut self, journal: &mut Journal, edits: &[Edit]) -> Result<(), StoreError> {
        let mut next = journal.state().clone();
        let applied = next.apply_all(edits);
        applied.map_err(|error| StoreError::invalid(error.to_string()))?;
        self.commit_in_flight = Some(Asked::of(&next));
        journal.commit(edits)?;
        self.asked = Asked::of(&next);
        self.commit_in_flight = None;
        Ok(())
    }

    /// Opens and acts `acts` times, or until the first failure.
    fn run(
        &mut self,
        vfs: &Arc<dyn Vfs>,
        (acts, draw): (u64, &mut Draw),
        bugs: Bugs,
    ) -> Result<Result<(), StoreError>, String> {
        let mut journal = match self.open(vfs, bugs)? {
            Ok(journal) => journal,
            Err(error) => return Ok(Err(error)),
        };
        for _ in 0..acts {
            if let Err(error) = self.act(&mut journal, draw) {
                return Ok(Err(error));
            }
        }
        Ok(if draw.below(2) == 0 { journal.close() } else { Ok(()) })
    }
}

fn log_file(id: u64, epoch: u64, first_seq: u64) -> LogFile {
    LogFile { id, epoch, first_seq, len: Geometry::SMALL.log_file }
}

/// Changes the bytes of one file.
fn spoil(sim: &SimFs, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> SimFs {
    let image = sim.fork();
    let mut bytes = image.peek(name).unwrap();
    change(&mut bytes);
    image.plant(name, Some(&bytes));
    image
}

fn only(sim: &SimFs, kind: &str) -> String {
    let mut names = sim.files().into_iter().map(|(name, _)| name);
    names.find(|name| name.starts_with(kind)).unwrap()
}
