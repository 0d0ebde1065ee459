//! The areas: which questions can be asked, and what the answers share.

mod bounded;
mod cli;
mod durable;
mod embed;
mod exact;
mod import;
mod index;
mod ledger;
mod open;
mod oracle;
mod scan;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::data::{Data, Vectors};
use crate::error::BenchError;
use crate::generate;
use crate::process::{self, Ran};
use crate::row::Table;
use crate::{Options, binary};

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    Ledger,
    Scan,
    Embed,
    Import,
    Exact,
    Cli,
    Index,
    Durable,
    Bounded,
    Open,
    Spine,
}

impl Area {
    /// Every area, in the order in which `spine` runs them.
    pub const ALL: [Self; 11] = [
        Self::Ledger,
        Self::Scan,
        Self::Embed,
        Self::Import,
        Self::Exact,
        Self::Cli,
        Self::Index,
        Self::Durable,
        Self::Bounded,
        Self::Open,
        Self::Spine,
    ];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Scan => "scan",
            Self::Embed => "embed",
            Self::Import => "import",
            Self::Exact => "exact",
            Self::Cli => "cli",
            Self::Index => "index",
            Self::Durable => "durable",
            Self::Bounded => "bounded",
            Self::Open => "open",
            Self::Spine => "spine",
        }
    }

    /// What it answers.
    pub fn question(self) -> &'static str {
        match self {
            Self::Ledger => "what does a reservation cost, on one thread and on two?",
            Self::Scan => "does an exact search read as fast as memory does, and as faiss?",
            Self::Embed => "how many texts a second does the built-in embedder take?",
            Self::Import => "how fast do vectors come in, durably?",
            Self::Exact => "do vectors come back bit for bit, and is the search exact?",
            Self::Cli => "how long does one search take, process start to exit?",
            Self::Index => "how fast are source files indexed?",
            Self::Durable => "does an acknowledged write survive kill -9?",
            Self::Bounded => "does the kernel's peak of memory stay within budget and base?",
            Self::Open => "how long does a store of a million rows take to open?",
            Self::Spine => "all of the above",
        }
    }

    /// The area of this name.
    pub fn from_name(name: &str) -> Result<Self, BenchError> {
        let named = Self::ALL.into_iter().find(|area| area.name() == name);
        named.ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|area| area.name()).collect();
            BenchError::new(format!("no area {name}; there are {}", all.join(", ")))
        })
    }

    /// The areas that it consists of.
    pub fn parts(self) -> Vec<Self> {
        match self {
            Self::Spine => Self::ALL.into_iter().filter(|area| *area != self).collect(),
            area => vec![area],
        }
    }

    /// Measures it.
    pub fn run(self, bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
        match self {
            Self::Ledger => ledger::run(table),
            Self::Scan => scan::run(bench, table),
            Self::Embed => embed::run(bench, table),
            Self::Import => import::run(bench, table),
            Self::Exact => exact::run(bench, table),
            Self::Cli => cli::run(bench, table),
            Self::Index => index::run(bench, table),
            Self::Durable => durable::run(bench, table),
            Self::Bounded => bounded::run(bench, table),
            Self::Open => open::run(bench, table),
            Self::Spine => Ok(()),
        }
    }
}

/// What the areas share: data, a place to work in, the binary, and stores that were made once.
pub struct Bench {
    pub data: Data,
    work: PathBuf,
    large_rows: usize,
    binary: Option<PathBuf>,
    glosses: Option<PathBuf>,
    large: Option<Large>,
}

/// A store of many generated rows, and how its import went.
#[derive(Clone)]
pub struct Large {
    pub store: PathBuf,
    pub rows: usize,
    pub bytes: u64,
    pub import: process::Figures,
}

/// The budget that the large store is imported and searched with.
pub const LARGE_BUDGET_MIB: u64 = 64;
/// Columns of the large array.
pub const LARGE_DIM: usize = 384;

impl Bench {
    pub fn new(options: Options) -> Result<Self, BenchError> {
        let work = match options.work {
            Some(work) => work,
            None => {
                let this = std::env::current_exe()?;
                let target = this.ancestors().nth(2).unwrap_or(Path::new("."));
                target.join("ambit-bench")
            }
        };
        std::fs::create_dir_all(&work).map_err(|error| BenchError::at(&work, error))?;
        Ok(Self {
            data: Data::new(options.data, &work)?,
            work,
            large_rows: options.large_rows,
            binary: None,
            glosses: None,
            large: None,
        })
    }

    /// A path in the work directory that nothing is at.
    pub fn fresh(&self, name: &str) -> Result<PathBuf, BenchError> {
        let path = self.work.join(name);
        if path.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else if path.exists() {
            std::fs::remove_file(&path)?;
        }
        Ok(path)
    }

    /// `ambit` on `store`, quiet, with JSON.
    pub fn ambit<I: AsRef<OsStr>>(
        &mut self,
        store: &Path,
        arguments: impl IntoIterator<Item = I>,
    ) -> Result<Command, BenchError> {
        let binary = match &self.binary {
            Some(binary) => binary.clone(),
            None => self.binary.insert(binary::find()?).clone(),
        };
        let mut command = Command::new(binary);
        command.args(arguments).arg("--store").arg(store).args(["--json", "--quiet"]);
        Ok(command)
    }

    /// Imports `file` as space `v` of collection `bench`.
    pub fn import(
        &mut self,
        store: &Path,
        file: &Path,
        options: &[&str],
    ) -> Result<Ran, BenchError> {
        let mut command = self.ambit(store, ["import"])?;
        command.arg(file).args(["--collection", "bench", "--space", "v"]).args(options);
        process::run(&command)
    }

    /// Searches space `v` of collection `bench` for each row of `file`.
    pub fn query(
        &mut self,
        store: &Path,
        file: &Path,
        options: &[&str],
    ) -> Result<Ran, BenchError> {
        let mut command = self.ambit(store, ["query"])?;
        command.arg(file).args(["--collection", "bench", "--space", "v", "-k", "10"]).args(options);
        process::run(&command)
    }

    /// A store that holds the glosses, made once.
    pub fn gloss_store(&mut self, glosses: &Vectors) -> Result<PathBuf, BenchError> {
        if let Some(store) = &self.glosses {
            return Ok(store.clone());
        }
        let store = self.fresh("glosses")?;
        self.import(&store, &glosses.path, &["--metric", "inner-product"])?;
        self.glosses = Some(store.clone());
        Ok(store)
    }

    /// A store of many generated rows, made once, with a budget of [`LARGE_BUDGET_MIB`]. The array
    /// stays in the work directory for later runs.
    pub fn large_store(&mut self) -> Result<Large, BenchError> {
        if let Some(large) = &self.large {
            return Ok(large.clone());
        }
        let rows = self.large_rows;
        let file = self.work.join(format!("generated-{rows}x{LARGE_DIM}.npy"));
        let bytes = (rows * LARGE_DIM * size_of::<f32>()) as u64;
        if std::fs::metadata(&file).map_or(0, |metadata| metadata.len()) <= bytes {
            let glosses = self.data.glosses()?;
            let options = generate::Options {
                rows,
                dim: LARGE_DIM,
                seed: 1,
                noise: 0.01,
                from: None,
                out: file.clone(),
            };
            generate::write(&options, Some(&glosses.array), &file)?;
        }
        let store = self.fresh("large")?;
        let budget = format!("{LARGE_BUDGET_MIB}MiB");
        let ran = self.import(&store, &file, &["--budget", &budget])?;
        let large = Large { store, rows, bytes, import: ran.figures };
        self.large = Some(large.clone());
        Ok(large)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in
            ["glosses", "large", "import", "bounded", "exact", "durable", "index", "sources"]
        {
            // What is left is found in the work directory, and made anew by the next run.
            let _ = std::fs::remove_dir_all(self.work.join(name));
        }
    }
}
