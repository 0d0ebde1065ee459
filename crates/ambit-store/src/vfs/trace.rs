//! The order in which a store touches its files.
//!
//! Each call is two events, its beginning and its end, numbered together with the notes that
//! the owner of the trace writes between them ("acknowledged key 17"). "A before B" then means
//! that the end of A stands before the beginning of B, whatever threads they ran on. Events
//! go to a sink as they happen, so that a killed process leaves all but its last one behind;
//! each is one line of text.

use std::fmt;
use std::io;
use std::ops::Range;
use std::str::FromStr;
use std::sync::{Arc, Mutex};

use super::{FileLock, LockKind, Mapping, OpenMode, Vfs, VfsFile};
use crate::sync::lock;

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Opens a file that exists.
    Open,
    /// Creates a file.
    Create,
    /// Renames a file.
    Rename,
    /// Removes an entry.
    Unlink,
    /// Lists the directory.
    List,
    /// Syncs the directory.
    SyncDir,
    /// Takes a lock.
    Lock,
    /// Reads a file.
    Read,
    /// Writes to a file.
    Write,
    /// Syncs a file.
    SyncData,
    /// Asks for a length.
    Len,
    /// Claims space.
    Preallocate,
    /// Maps a file.
    Map,
}

impl CallKind {
    /// Every kind, with its name in a trace.
    pub const ALL: [(Self, &'static str); 13] = [
        (Self::Open, "open"),
        (Self::Create, "create"),
        (Self::Rename, "rename"),
        (Self::Unlink, "unlink"),
        (Self::List, "list"),
        (Self::SyncDir, "sync-dir"),
        (Self::Lock, "lock"),
        (Self::Read, "read"),
        (Self::Write, "write"),
        (Self::SyncData, "sync-data"),
        (Self::Len, "len"),
        (Self::Preallocate, "preallocate"),
        (Self::Map, "map"),
    ];

    /// Does it change what a crash would leave, at once or by making it durable?
    pub fn changes(self) -> bool {
        self.leaves_pending() || matches!(self, Self::SyncDir | Self::SyncData)
    }

    /// Does it change files or entries in a way that waits for a sync?
    pub fn leaves_pending(self) -> bool {
        matches!(
            self,
            Self::Create
                | Self::Rename
                | Self::Unlink
                | Self::Lock
                | Self::Write
                | Self::Preallocate
        )
    }

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Index among the calls, from 0.
    pub index: u64,
    /// What it does.
    pub kind: CallKind,
    /// To which file, `-` for the directory. For a rename, the new name.
    pub file: String,
    /// For a rename, the old name; else `-`.
    pub from: String,
    /// First byte, for reads, writes and locks.
    pub offset: u64,
    /// Bytes asked for.
    pub len: u64,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A call is about to be made.
    Begin(Call),
    /// The call with this index has returned.
    End {
        /// Index of the call.
        index: u64,
        /// Did it succeed?
        ok: bool,
    },
    /// A remark of the trace's owner. One line.
    Note(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(Call { index, kind, file, from, offset, len }) => {
                write!(f, "begin {index} {} {file} {from} {offset} {len}", kind.name())
            }
            Self::End { index, ok } => {
                write!(f, "end {index} {}", if *ok { "ok" } else { "failed" })
            }
            Self::Note(text) => write!(f, "note {text}"),
        }
    }
}

/// A line that is no event of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAnEvent(String);

impl fmt::Display for NotAnEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no event of a trace", self.0)
    }
}

impl std::error::Error for NotAnEvent {}

impl FromStr for Event {
    type Err = NotAnEvent;

    fn from_str(line: &str) -> Result<Self, NotAnEvent> {
        parse(line).ok_or_else(|| NotAnEvent(line.to_owned()))
    }
}

fn parse(line: &str) -> Option<Event> {
    let (verb, rest) = line.split_once(' ')?;
    if verb == "note" {
        return Some(Event::Note(rest.to_owned()));
    }
    let mut words = rest.split(' ');
    let mut word = || words.next();
    let index = word()?.parse().ok()?;
    let event = match verb {
        "begin" => {
            let name = word()?;
            let kind = CallKind::ALL.iter().find(|(_, known)| *known == name)?.0;
            let (file, from) = (word()?.to_owned(), word()?.to_owned());
            let (offset, len) = (word()?.parse().ok()?, word()?.parse().ok()?);
            Event::Begin(Call { index, kind, file, from, offset, len })
        }
        "end" => match word()? {
            "ok" => Event::End { index, ok: true },
            "failed" => Event::End { index, ok: false },
            _ => return None,
        },
        _ => return None,
    };
    word().is_none().then_some(event)
}

type Sink = Box<dyn FnMut(&Event) + Send>;

struct Tape {
    next: u64,
    sink: Sink,
}

/// A directory whose calls are written down.
#[derive(Clone)]
pub struct TraceFs {
    inner: Arc<dyn Vfs>,
    tape: Arc<Mutex<Tape>>,
}

impl TraceFs {
    /// Hands each event to `sink` as it happens, one at a time and in order.
    pub fn new(inner: Arc<dyn Vfs>, sink: impl FnMut(&Event) + Send + 'static) -> Self {
        let tape = Tape { next: 0, sink: Box::new(sink) };
        Self { inner, tape: Arc::new(Mutex::new(tape)) }
    }

    /// Keeps the events in the list that is returned.
    pub fn collect(inner: Arc<dyn Vfs>) -> (Self, Arc<Mutex<Vec<Event>>>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&events);
        (Self::new(inner, move |event| lock(&list).push(event.clone())), events)
    }

    /// Writes a remark into the trace, in order with the calls. Newlines become spaces.
    pub fn note(&self, text: &str) {
        let note = Event::Note(text.replace('\n', " "));
        (lock(&self.tape).sink)(&note);
    }

    fn call<T>(&self, call: Call, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let index = {
            let mut tape = lock(&self.tape);
            let index = tape.next;
            tape.next += 1;
            (tape.sink)(&Event::Begin(Call { index, ..call }));
            index
        };
        let done = act();
        (lock(&self.tape).sink)(&Event::End { index, ok: done.is_ok() });
        done
    }
}

fn plain(kind: CallKind, file: &str) -> Call {
    Call { index: 0, kind, file: file.to_owned(), from: "-".to_owned(), offset: 0, len: 0 }
}

impl Vfs for TraceFs {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let kind = if mode == OpenMode::Create { CallKind::Create } else { CallKind::Open };
        let inner = self.call(plain(kind, name), || self.inner.open(name, mode))?;
        Ok(Arc::new(TraceFile { fs: self.clone(), name: name.to_owned(), inner }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let call = Call { from: from.to_owned(), ..plain(CallKind::Rename, to) };
        self.call(call, || self.inner.rename(from, to))
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        self.call(plain(CallKind::Unlink, name), || self.inner.unlink(name))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.call(plain(CallKind::List, "-"), || self.inner.list())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.call(plain(CallKind::SyncDir, "-"), || self.inner.sync_dir())
    }

    fn lock(
        &self,
        name: &str,
        range: Range<u64>,
        kind: LockKind,
    ) -> io::Result<Option<Box<dyn FileLock>>> {
        let len = range.end.saturating_sub(range.start);
        let call = Call { offset: range.start, len, ..plain(CallKind::Lock, name) };
        self.call(call, || self.inner.lock(name, range, kind))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

struct TraceFile {
    fs: TraceFs,
    name: String,
    inner: Arc<dyn VfsFile>,
}

impl TraceFile {
    fn span(&self, kind: CallKind, offset: u64, len: usize) -> Call {
        Call { offset, len: len as u64, ..plain(kind, &self.name) }
    }
}

impl VfsFile for TraceFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let call = self.span(CallKind::Read, offset, into.len());
        self.fs.call(call, || self.inner.read_at(offset, into))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let call = self.span(CallKind::Write, offset, bytes.len());
        self.fs.call(call, || self.inner.write_at(offset, bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.call(plain(CallKind::SyncData, &self.name), || self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.fs.call(plain(CallKind::Len, &self.name), || self.inner.len())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let call = Call { len, ..plain(CallKind::Preallocate, &self.name) };
        self.fs.call(call, || self.inner.preallocate(len))
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        self.fs.call(plain(CallKind::Map, &self.name), || self.inner.map())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::SimFs;

    #[test]
    fn events_survive_the_way_through_text() {
        let (fs, events) = TraceFs::collect(Arc::new(SimFs::new()));
        let file = fs.open("a", OpenMode::Create).unwrap();
        file.write_at(3, b"four").unwrap();
        file.sync_data().unwrap();
        fs.note("key 17 is\ndurable");
        fs.rename("a", "b").unwrap();
        assert!(fs.unlink("a").is_err());
        let events = lock(&events).clone();
        assert_eq!(events.len(), 11);
        assert_eq!(events[2].to_string(), "begin 1 write a - 3 4");
        assert_eq!(events[6], Event::Note("key 17 is durable".to_owned()));
        assert_eq!(events[10], Event::End { index: 4, ok: false });
        for event in events {
            assert_eq!(event.to_string().parse(), Ok(event));
        }
        assert!("begin 1 dance a - 0 0".parse::<Event>().is_err());
        assert!("end 1 ok then".parse::<Event>().is_err());
    }
}
