//! What is done to a store, drawn from a seed.
//!
//! Few keys and small sizes, so that a short run overwrites, deletes, seals, merges, rotates
//! its log and rewrites its manifest; the mix of a run is itself drawn, so that some runs are
//! mostly writes and others mostly versions. Operations are drawn against the model: none is
//! invalid when it is made.

use std::fmt;

use crate::dice::Dice;
use crate::model::{Model, Row};

/// The table of entities: a cell of any length and one of [`FIXED`] bytes.
pub const ENTITIES: &str = "entities";
/// The table of relations: the same columns, keys of two names.
pub const RELATIONS: &str = "relations";
/// A table that comes and goes.
pub const SCRATCH: &str = "scratch";
/// Bytes of the fixed cell.
pub const FIXED: usize = 24;

const NAMES: usize = 24;
const VERSIONS: usize = 3;

/// One row that a batch puts, or deletes where `row` is `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Name of the table.
    pub table: &'static str,
    /// Key of the row.
    pub key: Vec<u8>,
    /// The cells, or a deletion.
    pub row: Option<Row>,
}

/// One operation. Each is atomic: after a crash all of it is there, or nothing.
#[derive(Clone, PartialEq, Eq)]
pub enum Op {
    /// Writes a batch.
    Write(Vec<Change>),
    /// Makes a table.
    CreateTable(&'static str),
    /// Drops a table.
    DropTable(&'static str),
    /// Seals the memtable.
    Seal,
    /// Names the state.
    CreateVersion(String),
    /// Forgets a name.
    DropVersion(String),
    /// Goes back to a name.
    Rollback(String),
    /// One step of merging, of at most so many rows.
    MergeStep(usize),
    /// Deletes what nobody needs.
    Reclaim,
    /// Closes the store and opens it again.
    Close,
    /// Drops the store as a killed process would, and opens it again.
    Kill,
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(changes) => {
                write!(f, "write")?;
                for Change { table, key, row } in changes {
                    let key = String::from_utf8_lossy(key);
                    match row {
                        Some(row) => {
                            let sizes: Vec<_> = row
                                .iter()
                                .map(|cell| cell.as_ref().map_or(-1, |c| c.len() as i64))
                                .collect();
                            write!(f, " +{table}/{key}{sizes:?}")?;
                        }
                        None => write!(f, " -{table}/{key}")?,
                    }
                }
                Ok(())
            }
            Self::CreateTable(table) => write!(f, "create table {table}"),
            Self::DropTable(table) => write!(f, "drop table {table}"),
            Self::Seal => write!(f, "seal"),
            Self::CreateVersion(name) => write!(f, "create version {name}"),
            Self::DropVersion(name) => write!(f, "drop version {name}"),
            Self::Rollback(name) => write!(f, "rollback to {name}"),
            Self::MergeStep(rows) => write!(f, "merge step of {rows} rows"),
            Self::Reclaim => write!(f, "reclaim"),
            Self::Close => write!(f, "close and reopen"),
            Self::Kill => write!(f, "kill and reopen"),
        }
    }
}

/// The share of each kind of operation in one run.
struct Mix {
    weights: [usize; 10],
    large_cells: u64,
}

impl Mix {
    fn draw(dice: &mut Dice) -> Self {
        // write, seal, version, drop version, rollback, merge, reclaim, close, kill, tables
        let weights = *dice.pick(&[
            [50, 8, 5, 3, 4, 14, 5, 3, 3, 5],
            [70, 6, 2, 2, 2, 8, 3, 3, 3, 1],
            [30, 12, 10, 6, 8, 16, 8, 4, 4, 2],
            [36, 14, 4, 2, 2, 26, 8, 3, 3, 2],
        ]);
        Self { weights, large_cells: *dice.pick(&[0, 10, 40]) }
    }

    fn kind(&self, dice: &mut Dice) -> usize {
        let mut left = dice.below(self.weights.iter().sum());
        for (kind, &weight) in self.weights.iter().enumerate() {
            if left < weight {
                return kind;
            }
            left -= weight;
        }
        0
    }
}

/// The `len` operations of `seed`, on an empty store; the first two make the tables.
pub fn draw(seed: u64, len: usize) -> Vec<Op> {
    let mut dice = Dice::stream(seed, 1);
    draw_more(&mut dice, &Model::default(), len)
}

/// `len` operations more on a store that holds `model`.
pub fn draw_more(dice: &mut Dice, model: &Model, len: usize) -> Vec<Op> {
    let mix = Mix::draw(dice);
    let mut model = model.clone();
    (0..len)
        .map(|_| {
            let op = draw_op(dice, &mix, &model);
            model = model.after(&op);
            op
        })
        .collect()
}

/// Can `op` be done on a store that holds `model`?
pub fn fits(op: &Op, model: &Model) -> bool {
    match op {
        Op::Write(changes) => changes.iter().all(|change| model.tables.contains_key(change.table)),
        Op::CreateTable(table) => !model.tables.contains_key(*table),
        Op::DropTable(table) => model.tables.contains_key(*table),
        Op::CreateVersion(name) => !model.versions.contains_key(name),
        Op::DropVersion(name) | Op::Rollback(name) => model.versions.contains_key(name),
        Op::Seal | Op::MergeStep(_) | Op::Reclaim | Op::Close | Op::Kill => true,
    }
}

fn draw_op(dice: &mut Dice, mix: &Mix, model: &Model) -> Op {
    for table in [ENTITIES, RELATIONS] {
        if !model.tables.contains_key(table) {
            return Op::CreateTable(table);
        }
    }
    let versions: Vec<&String> = model.versions.keys().collect();
    match mix.kind(dice) {
        1 => Op::Seal,
        2 => {
            let free = (0..VERSIONS).map(|n| format!("v{n}"));
            match free.into_iter().find(|name| !model.versions.contains_key(name)) {
                Some(name) => Op::CreateVersion(name),
                None => Op::DropVersion((*dice.pick(&versions)).clone()),
            }
        }
        3 if !versions.is_empty() => Op::DropVersion((*dice.pick(&versions)).clone()),
        4 if !versions.is_empty() => Op::Rollback((*dice.pick(&versions)).clone()),
        5 => Op::MergeStep(*dice.pick(&[1, 4, 16, 1000])),
        6 => Op::Reclaim,
        7 => Op::Close,
        8 => Op::Kill,
        9 if model.tables.contains_key(SCRATCH) => Op::DropTable(SCRATCH),
        9 => Op::CreateTable(SCRATCH),
        _ => draw_write(dice, mix, model),
    }
}

fn draw_write(dice: &mut Dice, mix: &Mix, model: &Model) -> Op {
    let count = *dice.pick(&[1, 1, 2, 3, 5, 8]);
    let mut changes: Vec<Change> = Vec::new();
    for _ in 0..count {
        let table = match dice.below(10) {
            0..6 => ENTITIES,
            6..9 => RELATIONS,
            _ if model.tables.contains_key(SCRATCH) => SCRATCH,
            _ => ENTITIES,
        };
        let key = if table == RELATIONS {
            format!("n{:02} knows n{:02}", dice.below(6), dice.below(5))
        } else {
            format!("n{:02}", dice.below(NAMES))
        };
        let row = (!dice.percent(25)).then(|| draw_row(dice, mix));
        changes.push(Change { table, key: key.into_bytes(), row });
    }
    // A batch that one log frame can hold in the small geometry.
    while changes.len() > 1 && changes.iter().map(size).sum::<usize>() > 1800 {
        changes.pop();
    }
    Op::Write(changes)
}

fn size(change: &Change) -> usize {
    let cells = change.row.iter().flatten().flatten().map(|cell| cell.len() + 5);
    change.key.len() + 16 + cells.sum::<usize>()
}

fn draw_row(dice: &mut Dice, mix: &Mix) -> Row {
    let longest = if dice.percent(mix.large_cells) { 1200 } else { 60 };
    let len = dice.below(longest);
    let text = (!dice.percent(5)).then(|| dice.bytes(len));
    let fixed = (!dice.percent(20)).then(|| dice.bytes(FIXED));
    vec![text, fixed]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_operations() {
        for seed in 0..20 {
            assert_eq!(draw(seed, 100), draw(seed, 100));
        }
        assert_ne!(draw(1, 100), draw(2, 100));
    }

    #[test]
    fn every_operation_fits_the_state_that_it_meets() {
        for seed in 0..50 {
            let mut model = Model::default();
            for op in draw(seed, 100) {
                assert!(fits(&op, &model), "seed {seed}: {op:?} on {model:?}");
                model = model.after(&op);
            }
        }
    }

    #[test]
    fn every_kind_of_operation_is_drawn() {
        let ops: Vec<Op> = (0..20).flat_map(|seed| draw(seed, 100)).collect();
        let seen = |fits: fn(&Op) -> bool| assert!(ops.iter().any(fits));
        seen(|op| matches!(op, Op::Write(changes) if changes.len() > 4));
        seen(|op| matches!(op, Op::Write(changes) if changes.iter().any(|c| c.row.is_none())));
        seen(|op| matches!(op, Op::Write(changes) if changes.iter().any(|c| c.table == SCRATCH)));
        seen(|op| matches!(op, Op::Seal));
        seen(|op| matches!(op, Op::DropTable(_)));
        seen(|op| matches!(op, Op::CreateVersion(_)));
        seen(|op| matches!(op, Op::DropVersion(_)));
        seen(|op| matches!(op, Op::Rollback(_)));
        seen(|op| matches!(op, Op::MergeStep(_)));
        seen(|op| matches!(op, Op::Reclaim));
        seen(|op| matches!(op, Op::Close));
        seen(|op| matches!(op, Op::Kill));
    }
}
