//! Can every byte be named while a store is indexed and searched?
//!
//! A child process with a counting allocator embeds texts and writes them, replaces and deletes some,
//! merges, and searches from another thread, for as long as it is told. Twice a second it holds
//! ledger, allocator and kernel against each other: what nobody can name may be [`SHARE`] of the
//! anonymous resident memory, what no account holds may be [`HEAP`], and the kernel's peak may
//! exceed the budget by the base of T14.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::{AllocatorStats, Bytes, Priority};
use ambitdb::{Config, Entity, Metric, SearchRequest, SpaceKind, Store, WriteBatch};

use crate::bounded::BASE;
use crate::dice::Dice;

/// Part of the anonymous resident memory that may be without a name: one twentieth.
pub const SHARE: u64 = 20;
/// Heap that may be handed out without an account: batches and answers in the hands of callers.
pub const HEAP: Bytes = Bytes::mib(4);

/// Entities of one batch.
const BATCH: u64 = 64;
/// Keys in use; later writes replace earlier ones.
const KEYS: u64 = 30_000;
/// Words of a text.
const WORDS: usize = 60;
/// Between two looks.
const TICK: Duration = Duration::from_millis(500);
/// Where the words of the texts come from.
const SOURCE: &str = include_str!("accounted.rs");

/// What the child measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Looks at the memory.
    pub looks: u64,
    /// Entities written.
    pub written: u64,
    /// Searches answered.
    pub searched: u64,
    /// Most bytes without a name, or named twice, at any look.
    pub unexplained: Bytes,
    /// Anonymous resident memory at that look.
    pub rss_anon: Bytes,
    /// Most heap without an account at any look.
    pub unaccounted: Bytes,
    /// The kernel's peak of resident memory.
    pub peak: Bytes,
}

/// A run of the child.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Budget of the store.
    pub budget: Bytes,
    /// How long it works.
    pub seconds: u64,
}

/// The child: works on a store in `directory`; `allocator` is what its allocator counts.
///
/// # Errors
/// What failed.
pub fn child(directory: &Path, run: Run, allocator: fn() -> AllocatorStats) -> Result<(), String> {
    let mut config = Config::new(directory);
    config.budget = Some(run.budget);
    let store = Store::open(&config).map_err(told)?;
    let account = store.budget().account("embedder", Priority::Write);
    let embedder = StaticEmbedder::built_in(&account).map_err(told)?;
    store.create_collection("texts").map_err(told)?;
    let kind = SpaceKind::Dense { dim: embedder.dim(), metric: Metric::Cosine };
    store.create_space("texts", "text", kind).map_err(told)?;
    let work = Work {
        store: &store,
        embedder: &embedder,
        words: SOURCE.split_whitespace().collect(),
        ended: AtomicBool::new(false),
        written: AtomicU64::new(0),
        searched: AtomicU64::new(0),
    };
    let watched = std::thread::scope(|scope| {
        let writer = scope.spawn(|| work.until_ended(Work::write));
        let searcher = scope.spawn(|| work.until_ended(Work::search));
        let watched = watch(&work, run, allocator);
        work.ended.store(true, Ordering::SeqCst);
        for worker in [writer, searcher] {
            worker.join().map_err(|_| "a worker panicked".to_owned())??;
        }
        watched
    })?;
    store.close().map_err(told)?;
    print_measured(&watched);
    Ok(())
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// What both threads work on.
struct Work<'a> {
    store: &'a Store,
    embedder: &'a StaticEmbedder,
    words: Vec<&'a str>,
    ended: AtomicBool,
    written: AtomicU64,
    searched: AtomicU64,
}

impl Work<'_> {
    fn until_ended(&self, step: fn(&Self, u64) -> Result<(), String>) -> Result<(), String> {
        let result = (0..).take_while(|_| !self.ended.load(Ordering::SeqCst));
        let result = result.map(|number| step(self, number)).find(Result::is_err);
        self.ended.store(true, Ordering::SeqCst);
        result.unwrap_or(Ok(()))
    }

    fn text(&self, dice: &mut Dice, words: usize) -> (String, Vec<f32>) {
        let picked: Vec<&str> = (0..words).map(|_| *dice.pick(&self.words)).collect();
        let text = picked.join(" ");
        let mut vector = vec![0.0; self.embedder.dim()];
        // A text without a known word keeps its zeros.
        let _ = self.embedder.embed(&text, &mut vector);
        (text, vector)
    }

    fn write(&self, number: u64) -> Result<(), String> {
        let mut dice = Dice::stream(15, number);
        let mut batch = WriteBatch::new();
        for index in 0..BATCH {
            let key = format!("text-{}", (number * BATCH + index) % KEYS);
            if dice.percent(5) {
                batch.delete("texts", &key);
                continue;
            }
            let (text, vector) = self.text(&mut dice, WORDS);
            let embeddings = [("text".to_owned(), vector)].into();
            let text = Some(text);
            batch.put("texts", Entity { key, text, embeddings, ..Entity::default() });
        }
        self.store.write(&batch).map_err(told)?;
        while !self.store.merge_step(1000).map_err(told)?.done {}
        if number.is_multiple_of(50) {
            self.store.reclaim().map_err(told)?;
        }
        self.written.fetch_add(BATCH, Ordering::Relaxed);
        Ok(())
    }

    fn search(&self, number: u64) -> Result<(), String> {
        let (_, query) = self.text(&mut Dice::stream(16, number), 3);
        let collection = self.store.collection("texts").map_err(told)?;
        let request = SearchRequest::new("text", &query, 10);
        let answer = collection.search(&request).map_err(told)?;
        for hit in &answer.hits {
            collection.get(&hit.key).map_err(told)?.ok_or("a hit has no entity")?;
        }
        self.searched.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn watch(work: &Work<'_>, run: Run, allocator: fn() -> AllocatorStats) -> Result<Measured, String> {
    let mut worst = Measured {
        looks: 0,
        written: 0,
        searched: 0,
        unexplained: Bytes::ZERO,
        rss_anon: Bytes::ZERO,
        unaccounted: Bytes::ZERO,
        peak: Bytes::ZERO,
    };
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(run.seconds) && !work.ended.load(Ordering::SeqCst) {
        std::thread::sleep(TICK);
        let snapshot = work.store.explain_memory(Some(allocator()));
        let (Some(parts), Some(kernel)) = (snapshot.anonymous, snapshot.kernel) else {
            return Err("allocator or kernel do not tell".to_owned());
        };
        let unexplained = Bytes::new(parts.unexplained.unsigned_abs());
        if unexplained > worst.unexplained {
            (worst.unexplained, worst.rss_anon) = (unexplained, kernel.rss_anon);
        }
        let unaccounted = Bytes::new(parts.unaccounted.max(0).cast_unsigned());
        worst.unaccounted = worst.unaccounted.max(unaccounted);
        worst.peak = kernel.vm_hwm;
        worst.looks += 1;
    }
    worst.written = work.written.load(Ordering::Relaxed);
    worst.searched = work.searched.load(Ordering::Relaxed);
    Ok(worst)
}

#[expect(clippy::print_stdout, reason = "the child answers its parent on standard output")]
fn print_measured(measured: &Measured) {
    let Measured { looks, written, searched, .. } = measured;
    let Measured { unexplained, rss_anon, unaccounted, peak, .. } = measured;
    let bytes = [unexplained, rss_anon, unaccounted, peak].map(|bytes| bytes.get().to_string());
    println!("{looks} {written} {searched} {}", bytes.join(" "));
}

/// Runs the child of `binary` on a store in `directory`.
///
/// # Errors
/// What the child said, or figures above their limits.
pub fn measure(binary: &Path, directory: &Path, run: Run) -> Result<Measured, String> {
    let output = Command::new(binary)
        .arg("child-accounted")
        .arg(directory)
        .args([run.budget.get().to_string(), run.seconds.to_string()])
        .output()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    let [looks, written, searched, unexplained, rss_anon, unaccounted, peak] = numbers[..] else {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("the child said {said:?} and {why:?}, {}", output.status));
    };
    let measured = Measured {
        looks,
        written,
        searched,
        unexplained: Bytes::new(unexplained),
        rss_anon: Bytes::new(rss_anon),
        unaccounted: Bytes::new(unaccounted),
        peak: Bytes::new(peak),
    };
    if unexplained * SHARE > rss_anon {
        return Err(format!("more than a twentieth of RssAnon is unexplained: {measured:?}"));
    }
    if measured.unaccounted > HEAP {
        return Err(format!("more heap than {HEAP} has no account: {measured:?}"));
    }
    if peak > run.budget.get() + BASE.get() {
        return Err(format!("the peak is above {} and a base of {BASE}: {measured:?}", run.budget));
    }
    Ok(measured)
}
