//! Peers in Python: found, run, and read back.

use std::path::Path;
use std::process::Command;

use serde::de::DeserializeOwned;

use crate::error::BenchError;

/// A Python that can import `module`: `AMBIT_PEERS_PYTHON`, or `python3` on the path.
pub fn python_with(module: &str) -> Option<String> {
    let named = std::env::var("AMBIT_PEERS_PYTHON").ok();
    named.into_iter().chain(["python3".to_owned()]).find(|python| {
        Command::new(python)
            .args(["-c", &format!("import {module}")])
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

/// Runs `script` with `arguments` and reads the JSON that it prints.
pub fn run<T: DeserializeOwned>(
    python: &str,
    script: &str,
    arguments: &[&Path],
) -> Result<T, BenchError> {
    let output = Command::new(python)
        .args(["-c", script])
        .args(arguments)
        .env("OMP_NUM_THREADS", "1")
        .output()
        .map_err(|error| BenchError::new(format!("cannot run {python}: {error}")))?;
    if !output.status.success() {
        let told = String::from_utf8_lossy(&output.stderr);
        return Err(BenchError::new(format!("{python}: {}", told.trim())));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
