//! Runs the binary in an empty folder, with nothing of the outer environment's settings.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// A folder to run in.
pub struct Ambit {
    folder: tempfile::TempDir,
}

/// What a run printed and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ambit {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }

    /// The binary with `line` split at spaces; `'...'` keeps spaces together.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ambit"));
        command.current_dir(self.folder.path());
        // Where running commands are found: only those of this folder.
        command.env("XDG_RUNTIME_DIR", self.folder.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AMBIT_") {
                command.env_remove(name);
            }
        }
        for (place, part) in line.split('\'').enumerate() {
            if place % 2 == 1 {
                command.arg(part);
            } else {
                command.args(part.split_whitespace());
            }
        }
        command
    }

    pub fn run(&self, line: &str) -> Ran {
        self.fed(line, "")
    }

    /// Runs with `input` on standard input.
    pub fn fed(&self, line: &str, input: &str) -> Ran {
        let mut command = self.command(line);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        std::thread::scope(|scope| {
            // A run that does not read its input closes it; that is its right.
            scope.spawn(move || {
                let _ = stdin.write_all(input.as_bytes());
            });
            Ran::from(child.wait_with_output().unwrap())
        })
    }

    /// Runs and expects success.
    pub fn done(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}: {ran:?}");
        ran
    }

    /// Runs and expects exit code `code` with each of `words` in the message.
    pub fn fails(&self, line: &str, code: i32, words: &[&str]) -> Ran {
        let ran = self.run(line);
        ran.failed(code, words);
        ran
    }
}

impl Ran {
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "no '{word}' in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    /// Standard output as JSON lines.
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Standard output as the one JSON object that it must be.
    pub fn json(&self) -> Value {
        let lines = self.json_lines();
        assert_eq!(lines.len(), 1, "{self:?}");
        lines[0].clone()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// The names of a JSON object's fields, sorted.
pub fn fields(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
