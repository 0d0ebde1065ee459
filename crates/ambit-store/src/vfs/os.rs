//! A directory of the operating system.
//!
//! Everything goes through the descriptor of the directory (`openat`, `renameat`), so a store
//! keeps working when its path is renamed or the process changes its own directory. Reads and
//! writes carry their offset (`pread`, `pwrite`); a sync of a file is `fdatasync`, which also
//! makes its length durable; a sync of the directory is an `fsync` of its descriptor.
//!
//! Left out: network file systems, whose locks and syncs promise less than this code needs.

mod lock;
mod map;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, FallocateFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{FileLock, LockKind, Mapping, OpenMode, Vfs, VfsFile};

/// What is written at a time where the file system cannot claim space in one call.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A real directory.
#[derive(Debug)]
pub struct OsFs {
    directory: File,
    path: PathBuf,
}

impl OsFs {
    /// Opens the directory at `path`, which must exist.
    ///
    /// # Errors
    /// No such directory; a file of that name; no permission. The message names the path.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
            let error = io::Error::from(errno);
            let what = match errno {
                Errno::NOTDIR => "is a file; a store is a directory".to_owned(),
                Errno::NOENT => "does not exist".to_owned(),
                Errno::ACCESS => "may not be read by this user".to_owned(),
                _ => error.to_string(),
            };
            io::Error::new(error.kind(), format!("{}: {what}", path.display()))
        })?;
        Ok(Self { directory: File::from(directory), path: path.to_path_buf() })
    }

    /// Opens the directory at `path`, creating it and its parents where they are missing, each
    /// of them durably.
    ///
    /// # Errors
    /// As [`OsFs::open`], or a parent that cannot be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        for directory in missing.into_iter().rev() {
            match std::fs::create_dir(directory) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let message = format!("cannot create {}: {error}", directory.display());
                    return Err(io::Error::new(error.kind(), message));
                }
            }
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            Self::open(parent.unwrap_or(Path::new(".")))?.sync_dir()?;
        }
        Self::open(path)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        flat(name)?;
        let mode = Mode::from_raw_mode(0o644);
        loop {
            match rustix::fs::openat(&self.directory, name, flags | OFlags::CLOEXEC, mode) {
                Ok(file) => return Ok(File::from(file)),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Refuses everything but a plain file name.
pub(super) fn flat(name: &str) -> io::Result<()> {
    let plain = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if plain {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{name:?} is not a plain file name: empty, a dot name, or with a slash or NUL"),
    ))
}

impl Vfs for OsFs {
    fn open(&self, name: &str, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let flags = match mode {
            OpenMode::Read => OFlags::RDONLY,
            OpenMode::Write => OFlags::RDWR,
            OpenMode::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
        };
        Ok(Arc::new(OsFile { file: self.open_file(name, flags)? }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        flat(from)?;
        flat(to)?;
        Ok(rustix::fs::renameat(&self.directory, from, &self.directory, to)?)
    }

    fn unlink(&self, name: &str) -> io::Result<()> {
        flat(name)?;
        Ok(rustix::fs::unlinkat(&self.directory, name, AtFlags::empty())?)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let entry = entry?;
            // A name that is not UTF-8 is none of ours.
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            let kind = match entry.file_type() {
                FileType::Unknown => {
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    let stat = rustix::fs::statat(&self.directory, name, flags)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            if kind == FileType::RegularFile {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.directory.sync_all()
    }

    fn lock(
        &self,
        name: &str,
        range: Range<u64>,
        kind: LockKind,
    ) -> io::Result<Option<Box<dyn FileLock>>> {
        let file = match self.open_file(name, OFlags::RDWR | OFlags::CREATE) {
            // A reader of a directory that it may not write to can still pin a version.
            Err(error)
                if kind == LockKind::Shared
                    && matches!(
                        error.kind(),
                        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                    ) =>
            {
                self.open_file(name, OFlags::RDONLY)?
            }
            opened => opened?,
        };
        Ok(lock::try_lock(file, range, kind)?.map(|held| Box::new(held) as Box<dyn FileLock>))
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }
}

struct OsFile {
    file: File,
}

impl OsFile {
    fn claim_with_zeros(&self, from: u64, len: u64) -> io::Result<()> {
        let mut at = from;
        while at < len {
            let step = usize::try_from(len - at).unwrap_or(usize::MAX).min(ZEROS.len());
            super::write_all_at(self, at, &ZEROS[..step])?;
            at += step as u64;
        }
        Ok(())
    }
}

impl VfsFile for OsFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn preallocate(&self, len: u64) -> io::Result<()> {
        let from = self.len()?;
        if from >= len {
            return Ok(());
        }
        loop {
            match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), from, len - from) {
                Ok(()) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => return self.claim_with_zeros(from, len),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn map(&self) -> io::Result<Arc<dyn Mapping>> {
        Ok(Arc::new(map::FileMap::new(&self.file)?))
    }
}

#[cfg(test)]
mod tests;
