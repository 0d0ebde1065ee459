//! Where commands listen: a directory that only this user can enter.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

/// The directory of sockets, made if it is new: `ambit` in `XDG_RUNTIME_DIR`, or `ambit-UID` where
/// temporary files go.
///
/// # Errors
/// The system's; a directory of this name that others own or may enter.
pub fn directory() -> io::Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let path = match std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()) {
        Some(runtime) => PathBuf::from(runtime).join("ambit"),
        None => std::env::temp_dir().join(format!("ambit-{uid}")),
    };
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(&path)?;
    if !found.is_dir() || found.uid() != uid || found.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{}: is no directory that only this user may enter", path.display()),
        ));
    }
    Ok(path)
}
