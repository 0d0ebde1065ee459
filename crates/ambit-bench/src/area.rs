//! The areas: which questions can be asked, and what the answers share.

mod arena;
mod blocks;
mod bounded;
mod cache;
mod certified;
mod cli;
mod codes;
mod durable;
mod embed;
mod epoch;
mod exact;
mod flow;
mod import;
mod index;
mod intern;
mod keys;
mod ledger;
mod lossless;
mod open;
mod oracle;
mod pool;
mod profile;
mod scan;
mod text;
mod tiers;
mod tracking;

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
#[derive(Debug, Clone, Copy)]
pub struct Area {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it answers.
    pub question: &'static str,
    work: Work,
}

type Run = fn(&mut Bench, &mut Table) -> Result<(), BenchError>;

#[derive(Debug, Clone, Copy)]
enum Work {
    /// Measures.
    Run(Run),
    /// Stands for other areas, in this order.
    Group(&'static [&'static str]),
}

const fn area(name: &'static str, question: &'static str, run: Run) -> Area {
    Area { name, question, work: Work::Run(run) }
}

const fn group(name: &'static str, question: &'static str, parts: &'static [&'static str]) -> Area {
    Area { name, question, work: Work::Group(parts) }
}

impl Area {
    /// Every area.
    pub const ALL: &'static [Self] = &[
        area("ledger", "what does a reservation cost, on one thread and on two?", ledger::run),
        area("scan", "does an exact search read as fast as memory does, and as faiss?", scan::run),
        area("embed", "how many texts a second does the built-in embedder take?", embed::run),
        area("import", "how fast do vectors come in, durably?", import::run),
        area("exact", "do vectors come back bit for bit, and is the search exact?", exact::run),
        area("cli", "how long does one search take, process start to exit?", cli::run),
        area("index", "how fast are source files indexed?", index::run),
        area("durable", "does an acknowledged write survive kill -9?", durable::run),
        area("bounded", "does the kernel's peak of memory stay within budget?", bounded::run),
        area("keys", "what does a key cost that is not there?", keys::run),
        area("open", "how long does a store of a million rows take to open?", open::run),
        area("pool", "what does a pooled object cost, and what does it save?", pool::run),
        area("blocks", "what does a block of a pool cost, in time and in bytes?", blocks::run),
        area("arena", "what does a slot of an arena cost?", arena::run),
        area("epoch", "what does a pin cost, and what does a stalled reader hold?", epoch::run),
        area("intern", "what does an interned string cost, in time and bytes?", intern::run),
        area("tracking", "what does counting every allocation cost?", tracking::run),
        area("profile", "what does the profiler cost, and does it find leaks?", profile::run),
        area("codes", "what do codes cost, in bytes, time and answers?", codes::run),
        area("flow", "what does a run of a graph of steps cost?", flow::run),
        area(
            "learned",
            "what do RaBitQ and product codes, rotations and k-means cost, and find?",
            codes::learned::run,
        ),
        area("certified", "what does an exact answer with a certificate cost?", certified::run),
        area("text", "what does a search by words cost, and find?", text::run),
        area("lossless", "how many bits does a value take, and how fast?", lossless::run),
        area(
            "cache",
            "what does a cache hit, what does a hit cost, does the cap hold?",
            cache::run,
        ),
        area("tiers", "what do packed rows below decoded ones bring, and cost?", tiers::run),
        group(
            "spine",
            "the store from end to end",
            &[
                "ledger", "scan", "embed", "import", "exact", "cli", "index", "durable", "bounded",
                "open",
            ],
        ),
        group(
            "mem",
            "the memory toolkit",
            &["ledger", "pool", "blocks", "arena", "epoch", "intern", "tracking", "profile"],
        ),
        group(
            "vector",
            "vectors in fewer bytes",
            &["scan", "codes", "learned", "certified", "lossless"],
        ),
    ];

    /// The area of this name.
    pub fn from_name(name: &str) -> Result<Self, BenchError> {
        let named = Self::ALL.iter().find(|area| area.name == name);
        named.copied().ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|area| area.name).collect();
            BenchError::new(format!("no area {name}; there are {}", all.join(", ")))
        })
    }

    /// Measures it; an area that cannot be measured is a row that says so.
    pub fn run(self, bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
        match self.work {
            Work::Run(run) => run(bench, table).or_else(|error| table.failed(self.name, &error)),
            Work::Group(parts) => {
                parts.iter().try_for_each(|part| Self::from_name(part)?.run(bench, table))
            }
        }
    }
}

/// What the areas share: data, a place to work in, the binary, and stores that were made once.
pub struct Bench {
    pub data: Data,
    /// Only the traces of this folder are asked for.
    pub traces: Option<PathBuf>,
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
            traces: options.traces,
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
        self.import(&store, &glosses.path, &["--metric", "inner-product", "--codes", "later"])?;
        self.glosses = Some(store.clone());
        Ok(store)
    }

    /// A store of many generated rows, made once, with a budget of [`LARGE_BUDGET_MIB`].
    pub fn large_store(&mut self) -> Result<Large, BenchError> {
        if let Some(large) = &self.large {
            return Ok(large.clone());
        }
        let (file, rows) = self.large_file()?;
        let bytes = (rows * LARGE_DIM * size_of::<f32>()) as u64;
        let store = self.fresh("large")?;
        let budget = format!("{LARGE_BUDGET_MIB}MiB");
        let ran = self.import(&store, &file, &["--budget", &budget])?;
        let large = Large { store, rows, bytes, import: ran.figures };
        self.large = Some(large.clone());
        Ok(large)
    }

    /// The array of many generated rows, written once; it stays for later runs.
    pub fn large_file(&self) -> Result<(PathBuf, usize), BenchError> {
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
        Ok((file, rows))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for name in [
            "glosses", "large", "import", "bounded", "exact", "durable", "index", "sources",
            "flow", "keys",
        ] {
            // What is left is found in the work directory, and made anew by the next run.
            let _ = std::fs::remove_dir_all(self.work.join(name));
        }
    }
}
