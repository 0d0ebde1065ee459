//! What a simulated disk holds: what would survive a cut now, and what only might.
//!
//! Data and directory entries are kept apart, as file systems do: a synced file whose entry
//! was never synced has no name after a cut, and a synced entry may lead to unsynced data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content::Content;

/// Number of a file, whatever its names.
pub(super) type Inode = u64;

/// A change of one file that no sync has covered.
#[derive(Clone)]
pub(super) enum Pending {
    /// These bytes at this offset.
    Write {
        offset: usize,
        bytes: Arc<[u8]>,
        /// A sync that should have covered it failed: the kernel forgot that the pages are
        /// dirty, and no later sync writes them.
        forgotten: bool,
    },
    /// At least this long.
    Grow { len: usize, forgotten: bool },
}

impl Pending {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { offset, bytes, .. } => content.write(*offset, bytes),
            Self::Grow { len, .. } => content.grow(*len),
        }
    }

    pub(super) fn end(&self) -> usize {
        match self {
            Self::Write { offset, bytes, .. } => offset + bytes.len(),
            Self::Grow { len, .. } => *len,
        }
    }

    fn forgotten(&self) -> bool {
        match self {
            Self::Write { forgotten, .. } | Self::Grow { forgotten, .. } => *forgotten,
        }
    }

    fn forget(&mut self) {
        match self {
            Self::Write { forgotten, .. } | Self::Grow { forgotten, .. } => *forgotten = true,
        }
    }

    /// Does `self`, written later, cover a byte of `earlier`?
    fn touches(&self, earlier: &Self) -> bool {
        let start = |change: &Self| match change {
            Self::Write { offset, .. } => *offset,
            Self::Grow { .. } => change.end(),
        };
        start(self) < earlier.end() && start(earlier) < self.end()
    }
}

/// One file.
#[derive(Clone, Default)]
pub(super) struct Node {
    /// What every reader sees.
    pub(super) current: Content,
    /// What a cut cannot take.
    pub(super) durable: Content,
    /// What leads from `durable` to `current`, in order.
    pub(super) pending: Vec<Pending>,
}

impl Node {
    pub(super) fn change(&mut self, change: Pending) {
        change.apply(&mut self.current);
        self.pending.push(change);
    }

    fn sync(&mut self) {
        if !self.pending.iter().any(Pending::forgotten) {
            self.durable = self.current.clone();
            self.pending.clear();
            return;
        }
        let (lost, covered): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pending).into_iter().partition(Pending::forgotten);
        for change in &covered {
            change.apply(&mut self.durable);
        }
        // What was written again since is dirty again, and this sync covered it.
        self.pending = lost
            .into_iter()
            .filter(|lost| !covered.iter().any(|change| change.touches(lost)))
            .collect();
    }
}

/// A change of the directory that no sync has covered.
#[derive(Clone)]
pub(super) enum Entry {
    Create { name: String, inode: Inode },
    Rename { from: String, to: String, inode: Inode },
    Unlink { name: String, inode: Inode },
}

impl Entry {
    /// Applies this change to `names`, also where changes before it were lost.
    pub(super) fn apply(&self, names: &mut Names) {
        match self {
            Self::Create { name, inode } => {
                names.insert(name.clone(), *inode);
            }
            Self::Rename { from, to, inode } => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
            Self::Unlink { name, inode } => {
                if names.get(name) == Some(inode) {
                    names.remove(name);
                }
            }
        }
    }

    fn inode(&self) -> Inode {
        match self {
            Self::Create { inode, .. }
            | Self::Rename { inode, .. }
            | Self::Unlink { inode, .. } => *inode,
        }
    }
}

pub(super) type Names = BTreeMap<String, Inode>;

/// A directory of files. Copies are cheap.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) nodes: BTreeMap<Inode, Arc<Node>>,
    pub(super) names: Arc<Names>,
    pub(super) durable_names: Arc<Names>,
    pub(super) pending: Vec<Entry>,
    next_inode: Inode,
}

impl Disk {
    /// A disk on which `names` and `nodes` are all durable.
    pub(super) fn settled(names: Names, contents: BTreeMap<Inode, Content>) -> Self {
        let next_inode = contents.keys().next_back().map_or(0, |last| last + 1);
        let settle = |content: Content| {
            Arc::new(Node { durable: content.clone(), current: content, pending: Vec::new() })
        };
        let nodes = contents.into_iter().map(|(inode, bytes)| (inode, settle(bytes))).collect();
        let names = Arc::new(names);
        Self { nodes, durable_names: Arc::clone(&names), names, pending: Vec::new(), next_inode }
    }

    pub(super) fn node(&self, inode: Inode) -> Option<&Node> {
        self.nodes.get(&inode).map(Arc::as_ref)
    }

    pub(super) fn change(&mut self, inode: Inode, change: Pending) {
        if let Some(node) = self.nodes.get_mut(&inode) {
            Arc::make_mut(node).change(change);
        }
    }

    pub(super) fn sync(&mut self, inode: Inode) {
        if let Some(node) = self.nodes.get_mut(&inode)
            && !node.pending.is_empty()
        {
            Arc::make_mut(node).sync();
        }
    }

    /// A new empty file under `name`.
    pub(super) fn create(&mut self, name: &str) -> Inode {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.nodes.insert(inode, Arc::default());
        self.enter(Entry::Create { name: name.to_owned(), inode });
        inode
    }

    pub(super) fn enter(&mut self, entry: Entry) {
        entry.apply(Arc::make_mut(&mut self.names));
        self.pending.push(entry);
    }

    /// Makes all entries durable and forgets files that nobody can reach any more.
    pub(super) fn sync_names(&mut self, open: &BTreeSet<Inode>) {
        self.pending.clear();
        self.durable_names = Arc::clone(&self.names);
        let named: BTreeSet<Inode> = self.names.values().copied().collect();
        self.nodes.retain(|inode, _| named.contains(inode) || open.contains(inode));
    }

    /// No later sync writes what is pending now.
    pub(super) fn forget_pending(&mut self) {
        for node in self.nodes.values_mut().filter(|node| !node.pending.is_empty()) {
            Arc::make_mut(node).pending.iter_mut().for_each(Pending::forget);
        }
    }

    /// Is there anything that a cut could take?
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty() && self.nodes.values().all(|node| node.pending.is_empty())
    }

    /// Inodes that any entry, kept or lost, can lead to.
    pub(super) fn reachable(&self) -> BTreeSet<Inode> {
        let pending = self.pending.iter().map(Entry::inode);
        self.durable_names.values().copied().chain(pending).collect()
    }
}
