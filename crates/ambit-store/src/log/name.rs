//! The names of a store's files.
//!
//! Ids come from one counter and are never given out twice, so a name tells one file for
//! ever. A name is ours only if it is spelled exactly as we would spell it; all other files
//! in the directory are somebody else's and are never touched.

use std::fmt;

/// A file that a store may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileName {
    /// The two superblocks.
    Super,
    /// The file whose byte ranges are locked.
    Lock,
    /// A manifest.
    Manifest(u64),
    /// A log file.
    Log(u64),
    /// A sealed segment.
    Segment(u64),
    /// What was computed from a segment and can be again.
    Derived {
        /// The segment.
        segment: u64,
        /// Which of the files derived from it.
        slot: u16,
    },
    /// A file being made, of any kind.
    Temporary(u64),
}

impl FileName {
    /// The file of that name, if it is one of a store.
    pub fn parse(name: &str) -> Option<Self> {
        let parsed = match name.split_once('-') {
            None if name == "SUPER" => Self::Super,
            None if name == "LOCK" => Self::Lock,
            None => return None,
            Some(("derived", rest)) => {
                let (segment, slot) = rest.split_once('-')?;
                let segment = u64::from_str_radix(segment, 16).ok()?;
                Self::Derived { segment, slot: u16::from_str_radix(slot, 16).ok()? }
            }
            Some((kind, digits)) => {
                let id = u64::from_str_radix(digits, 16).ok()?;
                match kind {
                    "manifest" => Self::Manifest(id),
                    "log" => Self::Log(id),
                    "segment" => Self::Segment(id),
                    "tmp" => Self::Temporary(id),
                    _ => return None,
                }
            }
        };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// The id in the name; of a derived file, that of its segment.
    pub fn id(self) -> Option<u64> {
        match self {
            Self::Super | Self::Lock => None,
            Self::Manifest(id) | Self::Log(id) | Self::Segment(id) | Self::Temporary(id) => {
                Some(id)
            }
            Self::Derived { segment, .. } => Some(segment),
        }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Super => f.write_str("SUPER"),
            Self::Lock => f.write_str("LOCK"),
            Self::Manifest(id) => write!(f, "manifest-{id:08x}"),
            Self::Log(id) => write!(f, "log-{id:08x}"),
            Self::Segment(id) => write!(f, "segment-{id:08x}"),
            Self::Derived { segment, slot } => write!(f, "derived-{segment:08x}-{slot:04x}"),
            Self::Temporary(id) => write!(f, "tmp-{id:08x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_read_back_and_no_other_spelling_is() {
        for id in [0, 1, 0xab, u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX] {
            for name in [
                FileName::Manifest(id),
                FileName::Log(id),
                FileName::Segment(id),
                FileName::Derived { segment: id, slot: 0 },
                FileName::Derived { segment: id, slot: u16::MAX },
                FileName::Temporary(id),
                FileName::Super,
                FileName::Lock,
            ] {
                assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }
        for foreign in [
            "",
            "-",
            "SUPER-",
            "super",
            "log",
            "log-",
            "log-1",
            "log-0000000A",
            "log-+0000001",
            "log-000000001",
            "log-00000001.bak",
            "Log-00000001",
            "notes.txt",
            "tmp-0000000g",
            "derived-00000001",
            "derived-00000001-1",
            "derived-1-0001",
            "derived-00000001-00001",
            "derived-00000001-0001-0001",
        ] {
            assert_eq!(FileName::parse(foreign), None, "{foreign}");
        }
    }
}
