//! Which bytes are in this sealed file, and are they whole?
//!
//! A segment is one immutable file of named sections. It is written once, front to back,
//! under a temporary name ([`SegmentWriter`]), then synced and renamed; from then on it is
//! only read, and at last unlinked. Every byte of it is under a checksum: the sections and
//! their padding by blocks, the tables and the footer each by one of their own; a block's
//! checksum covers the file's id and the block's index, so that a block in the wrong place
//! is found out as surely as a flipped bit.
//!
//! A [`Segment`] reads either through a mapping or by `pread` ([`Io`]), with the same
//! answers. The mapping comes in by [`Windows`]: a window is charged to the budget before its
//! first page comes in, and its pages go back to the kernel before its bytes go back to the
//! budget. So resident pages never exceed what is charged.
//!
//! Numbers on disk are little-endian, and views hand out the bytes of the disk; a big-endian
//! target is refused at compile time. What the sections mean is the caller's matter.

#[cfg(target_endian = "big")]
compile_error!("segments are read in place as little-endian numbers; this target is big-endian");

mod format;
mod reader;
mod scrub;
mod view;
mod windows;
mod writer;

#[cfg(test)]
mod tests;

pub use format::{FORMAT_VERSION, Section, segment_name, temporary_name};
pub use reader::{Io, Segment};
pub use view::View;
pub use windows::Windows;
pub(crate) use writer::Names;
pub use writer::SegmentWriter;
