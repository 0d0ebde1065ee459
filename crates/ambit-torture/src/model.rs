//! What a store must hold, kept in the plainest way.
//!
//! Ordered maps of whole rows, and a copy of them for each version. The model knows nothing of
//! logs, segments or recovery; that is what makes it a judge.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::workload::{Change, Op};

/// The cells of one row; `None` where one is absent.
pub type Row = Vec<Option<Vec<u8>>>;

/// The rows of one table by key.
pub type Rows = BTreeMap<Vec<u8>, Row>;

/// All tables by name. Tables are shared between states until one changes them.
pub type Tables = BTreeMap<String, Arc<Rows>>;

/// Everything that a reader can see of a store.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// The tables as they are now.
    pub tables: Tables,
    /// The tables as they were when each version was made.
    pub versions: BTreeMap<String, Tables>,
}

impl Model {
    /// The state after `op`. Operations that only move bytes leave it as it is.
    pub fn after(&self, op: &Op) -> Self {
        let mut next = self.clone();
        match op {
            Op::Write(changes) => {
                for Change { table, key, row } in changes {
                    let rows = Arc::make_mut(next.tables.entry((*table).to_owned()).or_default());
                    match row {
                        Some(row) => rows.insert(key.clone(), row.clone()),
                        None => rows.remove(key),
                    };
                }
            }
            Op::CreateTable(table) => {
                next.tables.insert((*table).to_owned(), Arc::default());
            }
            Op::DropTable(table) => {
                next.tables.remove(*table);
            }
            Op::CreateVersion(name) => {
                next.versions.insert(name.clone(), next.tables.clone());
            }
            Op::DropVersion(name) => {
                next.versions.remove(name);
            }
            Op::Rollback(name) => {
                if let Some(tables) = next.versions.get(name) {
                    next.tables = tables.clone();
                }
            }
            Op::Seal | Op::MergeStep(_) | Op::Reclaim | Op::Close | Op::Kill => {}
        }
        next
    }

    /// Where two states first differ, in words; `None` if they are equal.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let tables = tables_differ(&self.tables, &other.tables);
        if let Some(difference) = tables {
            return Some(format!("now: {difference}"));
        }
        let names = |model: &Self| model.versions.keys().cloned().collect::<Vec<_>>();
        if names(self) != names(other) {
            return Some(format!("versions {:?} against {:?}", names(self), names(other)));
        }
        self.versions.iter().find_map(|(name, tables)| {
            let difference = tables_differ(tables, &other.versions[name])?;
            Some(format!("version {name}: {difference}"))
        })
    }
}

fn tables_differ(left: &Tables, right: &Tables) -> Option<String> {
    if left.keys().ne(right.keys()) {
        let names = |tables: &Tables| tables.keys().cloned().collect::<Vec<_>>();
        return Some(format!("tables {:?} against {:?}", names(left), names(right)));
    }
    left.iter().zip(right.values()).find_map(|((name, left), right)| {
        let key = left.keys().chain(right.keys()).find(|&key| left.get(key) != right.get(key))?;
        let show = |rows: &Rows| rows.get(key).map_or("no row".to_owned(), show_row);
        let key = String::from_utf8_lossy(key);
        Some(format!("table {name}, key {key}: {} against {}", show(left), show(right)))
    })
}

/// A row in a few characters: lengths and first bytes.
pub fn show_row(row: &Row) -> String {
    let cell = |cell: &Option<Vec<u8>>| match cell {
        None => "absent".to_owned(),
        Some(bytes) => format!("{} bytes {:02x?}", bytes.len(), &bytes[..bytes.len().min(4)]),
    };
    row.iter().map(cell).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |tables: &Tables| -> Vec<String> {
            tables.iter().map(|(name, rows)| format!("{name}: {} rows", rows.len())).collect()
        };
        write!(f, "{:?}", count(&self.tables))?;
        for (name, tables) in &self.versions {
            write!(f, ", {name} {:?}", count(tables))?;
        }
        Ok(())
    }
}
