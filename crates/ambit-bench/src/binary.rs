//! The real `ambit` binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::BenchError;

/// Where `ambit` is: `AMBIT_BIN`, or freshly built beside this program.
///
/// # Errors
/// It does not build, and none was built before.
pub fn find() -> Result<PathBuf, BenchError> {
    if let Some(named) = std::env::var_os("AMBIT_BIN") {
        return Ok(PathBuf::from(named));
    }
    let this = std::env::current_exe()?;
    let folder = this.parent().ok_or_else(|| BenchError::at(&this, "has no folder"))?;
    let beside = folder.join("ambit");
    let built = build(folder);
    match built {
        Ok(()) => Ok(beside),
        // Without a toolchain, one that is there already.
        Err(_) if beside.exists() => Ok(beside),
        Err(error) => Err(error),
    }
}

/// Builds the binary with the profile that this program was built with.
fn build(folder: &Path) -> Result<(), BenchError> {
    let target = folder.parent().unwrap_or(folder);
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--quiet", "--package", "ambit-app", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml"))
        .arg("--target-dir")
        .arg(target);
    if folder.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let output = cargo
        .output()
        .map_err(|error| BenchError::new(format!("cannot run cargo: {error}; set AMBIT_BIN")))?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = told.lines().rev().take(3).collect();
    Err(BenchError::new(format!("ambit does not build: {}; set AMBIT_BIN", last.join(" | "))))
}
