//! Files that are computed from a segment, and can be again: indexes as caches.
//!
//! A derived file lies beside its segment, in the same format, with checksums of its own; its
//! name says which segment it belongs to and in which of its slots. No manifest speaks of it.
//! It is written under a temporary name and renamed when it is whole, so it is there or not;
//! it says which segment it was computed from, and one that says otherwise is as good as
//! damaged. It goes when its segment goes. Losing it loses nothing.
//!
//! What its reader makes of it is kept with the opened segment, so it is read once.

use std::any::Any;
use std::collections::HashMap;
use std::io;

use super::commit::{Engine, read_only};
use super::sealed::SealedPart;
use super::snapshot::TableView;
use super::table::Shelf;
use crate::error::{ErrorKind, StoreError};
use crate::log::{FileName, SegmentMeta};
use crate::segment::{Names, Segment, SegmentWriter, temporary_name};
use crate::sync::{Arc, Mutex, lock};
use crate::vfs::OpenMode;
use crate::wire::Put;

/// The section that says what a derived file was computed from: id, length, footer checksum and
/// rows of the segment.
const SOURCE: &str = "derived.from";

/// Segments whose ids are not below this have no derived files: the id in a derived file's header
/// is the segment's, with the slot above it.
const MOST_SEGMENTS: u64 = 1 << 47;

type Kept = Arc<dyn Any + Send + Sync>;

/// What there is in a slot.
#[derive(Debug)]
pub enum Derived<T> {
    /// The file, as its reader made it.
    Ready(Arc<T>),
    /// There is none.
    Missing,
    /// There is one, but it is not what was written, or is of another segment.
    Damaged(String),
}

/// What is known of the slots of an opened segment.
#[derive(Default)]
pub(super) struct Slots(Mutex<HashMap<u16, Slot>>);

enum Slot {
    Ready(Kept),
    Missing,
    Damaged(String),
}

/// Writes one derived file.
pub struct DerivedWriter {
    /// Its sections: begin, write, end.
    pub file: SegmentWriter,
    part: Arc<SealedPart>,
    slot: u16,
}

impl Engine {
    /// Begins to write the file in `slot` of segment `part` of `view`.
    ///
    /// # Errors
    /// Read only, over budget, I/O; invalid where `part` is not a segment.
    pub fn derive(
        &self,
        view: &TableView,
        part: u32,
        slot: u16,
    ) -> Result<DerivedWriter, StoreError> {
        let Some(part) = view.sealed(part).filter(|part| part.id() < MOST_SEGMENTS) else {
            return Err(StoreError::invalid(format!("part {part} is no segment")));
        };
        let temporary = {
            let mut guard = self.writing()?;
            let Some(writer) = guard.as_mut() else {
                return Err(read_only());
            };
            temporary_name(writer.journal.allocate_file())
        };
        let to = FileName::Derived { segment: part.id(), slot }.to_string();
        let names = Names { id: header_id(part.id(), slot), temporary, to };
        let account = self.account.child("derive");
        let (vfs, options) = (&self.shelf.vfs, &self.options);
        let mut file =
            SegmentWriter::create_as(vfs, names, &options.geometry, &account, options.bugs)?;
        file.begin(SOURCE, 0)?;
        file.write(&source_of(part.segment().meta()))?;
        file.end()?;
        Ok(DerivedWriter { file, part: Arc::clone(part), slot })
    }
}

impl DerivedWriter {
    /// Completes the file, which replaces one that may be there.
    ///
    /// # Errors
    /// As [`SegmentWriter::finish`]; the file is not there then.
    pub fn finish(self) -> Result<(), StoreError> {
        self.file.finish(self.part.rows())?;
        lock(&self.part.slots().0).remove(&self.slot);
        Ok(())
    }
}

impl TableView {
    /// What there is in `slot` of segment `part`. `make` reads the file when it is touched for the first
    /// time; what it makes is kept as long as the segment is open.
    ///
    /// # Errors
    /// Over budget, I/O; invalid where `part` is not a segment, or `make` makes another type than
    /// before. Damage is no error.
    ///
    /// # Cost
    /// One lock and one look-up; the first time, one open file.
    pub fn derived<T: Send + Sync + 'static>(
        &self,
        part: u32,
        slot: u16,
        make: &dyn Fn(Arc<Segment>) -> Result<T, StoreError>,
    ) -> Result<Derived<T>, StoreError> {
        let Some(sealed) = self.sealed(part) else {
            return Err(StoreError::invalid(format!("part {part} is no segment")));
        };
        let mut slots = lock(&sealed.slots().0);
        let known = match slots.entry(slot) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(unknown) => {
                let opened = open(self.shelf(), sealed.segment().meta(), slot);
                let made = opened.and_then(|segment| segment.map(make).transpose());
                unknown.insert(match made {
                    Ok(Some(made)) => Slot::Ready(Arc::new(made)),
                    Ok(None) => Slot::Missing,
                    Err(error) if is_damage(&error) => Slot::Damaged(error.to_string()),
                    Err(error) => return Err(error),
                })
            }
        };
        match known {
            Slot::Missing => Ok(Derived::Missing),
            Slot::Damaged(what) => Ok(Derived::Damaged(what.clone())),
            Slot::Ready(kept) => Arc::clone(kept).downcast().map(Derived::Ready).map_err(|_| {
                StoreError::invalid(format!("slot {slot} was read as another type before"))
            }),
        }
    }

    /// Forgets what was read from `slot` of segment `part`, which turned out to be damaged: `what`.
    pub fn forget_derived(&self, part: u32, slot: u16, what: &str) {
        if let Some(sealed) = self.sealed(part) {
            lock(&sealed.slots().0).insert(slot, Slot::Damaged(what.to_owned()));
        }
    }
}

/// Opens a file derived from the segment `of`; none where there is none.
pub(super) fn open(
    shelf: &Shelf,
    of: &SegmentMeta,
    slot: u16,
) -> Result<Option<Arc<Segment>>, StoreError> {
    let name = FileName::Derived { segment: of.id, slot }.to_string();
    let file = match shelf.vfs.open(&name, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::io("open", &name, error)),
    };
    let meta = Segment::own_meta(&*file, &name, header_id(of.id, slot))?;
    let Shelf { io, windows, account, bugs, .. } = shelf;
    let segment = Segment::open_file(file, name.clone(), &meta, *io, windows, account, *bugs)?;
    let expected = source_of(of);
    let found = match segment.section(SOURCE) {
        Some(section) if section.len == expected.len() as u64 => {
            segment.read(section, 0..section.len)?.to_vec()
        }
        _ => Vec::new(),
    };
    if found != expected {
        let what = format!("it was not computed from this segment-{:08x}; build it again", of.id);
        return Err(StoreError::corrupt(&name, 0, what));
    }
    Ok(Some(segment))
}

fn is_damage(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat)
}

fn header_id(segment: u64, slot: u16) -> u64 {
    // The slot plus one, so that no derived file has the id of a segment.
    segment | (u64::from(slot) + 1) << 47
}

fn source_of(meta: &SegmentMeta) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_u64(meta.id);
    bytes.put_u64(meta.len);
    bytes.put_u32(meta.footer_crc);
    bytes.put_u32(meta.rows);
    bytes
}
