//! One indexing run: walk, prepare in parallel, write in order of arrival, remove what is gone.
//!
//! Workers take paths from the one walk, so that a large file holds up nobody else. What they
//! make goes through a short channel to the writing thread, which puts whatever is there into
//! one write: each file whole, several small ones sharing a sync.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use ambit_embed::Embedder;
use ambit_mem::Priority;
use ambitdb::{Entity, ListOptions, Store, Value, WriteBatch};
use xxhash_rust::xxh3::xxh3_128;

use super::books::{Books, Skip, Stays, Tally, is_under};
use super::room::{Held, Room};
use crate::command::search::TEXT_SPACE;
use crate::exit::{Code, Failure};
use crate::index::{Found, Problem, Walk, key_of, read, split};
use crate::interrupt::Interrupt;
use crate::keys;
use crate::progress::Progress;

/// Kind of the entity of a whole file.
const FILE: &str = "file";
/// Kind of the entity of a piece of a file.
const CHUNK: &str = "chunk";
/// Files that wait for the writing thread.
const WAITING: usize = 64;
/// Most bytes of entities that go into one write, about. Far below what a log frame holds.
const WRITE_BYTES: u64 = 2 << 20;
/// Part of the budget that a write may be, so that it fits the memtable, which is an eighth and takes
/// a good twice the bytes of a write.
const WRITE_SHARE: u64 = 48;
/// Changes after which a removal is written.
const REMOVALS: usize = 1024;

/// One indexing run.
pub struct Ingest<'a> {
    /// Where entities go.
    pub store: &'a Store,
    /// Name of the collection that takes them.
    pub collection: &'a str,
    /// Makes the vectors.
    pub embedder: &'a dyn Embedder,
    /// Ends the run between two files.
    pub interrupt: &'a Interrupt,
    /// Workers, at least 1.
    pub threads: usize,
}

/// What became of one path.
enum Outcome<'a> {
    Unchanged(String),
    Changed(Box<Prepared<'a>>),
    Skipped(Skip, Stays),
    /// The budget has no room for it.
    Refused(String, Failure),
}

/// A file on its way into the store.
struct Prepared<'a> {
    file: Entity,
    chunks: Vec<Entity>,
    /// Keys of chunks that the file had and has no more.
    outdated: Vec<String>,
    bytes: u64,
    /// Bytes that the entities take in a write, about.
    weight: usize,
    held: Held<'a>,
}

/// Files that are written together.
#[derive(Default)]
struct Write<'a> {
    batch: WriteBatch,
    weight: usize,
    /// Pays for the bytes until they are written.
    held: Vec<Held<'a>>,
}

type Prepares<'a> = Result<Outcome<'a>, Failure>;

impl Ingest<'_> {
    /// Brings the collection up to date with the files under `roots`.
    ///
    /// # Errors
    /// A path that neither exists nor was indexed before; the facade's. What was written before
    /// stays.
    pub fn run(&self, roots: &[PathBuf], progress: &Progress) -> Result<Tally, Failure> {
        let budget = self.store.budget();
        let mut books = Books::new(&budget.account("index/paths", Priority::Write))?;
        let room = Room::new(budget);
        let walk = Mutex::new(Walk::new(roots));
        let (sender, receiver) = sync_channel(WAITING);
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                let (sender, walk, room) = (sender.clone(), &walk, &room);
                scope.spawn(move || self.work(walk, room, &sender));
            }
            drop(sender);
            // Dropped on return, so that workers that wait for the channel or for room end.
            let receiver = receiver;
            self.write_all(&receiver, &mut books, progress)
        })?;
        if !self.interrupt.requested() {
            self.remove_gone(roots, &mut books)?;
        }
        Ok(books.tally)
    }

    /// Prepares files until the walk or the writing thread ends.
    fn work<'a>(&self, walk: &Mutex<Walk>, room: &'a Room, sender: &SyncSender<Prepares<'a>>) {
        while !self.interrupt.requested() {
            let next = walk.lock().unwrap_or_else(PoisonError::into_inner).next();
            let outcome = match next {
                Some(Ok(found)) => self.prepare(&found, room),
                Some(Err(Problem { path, reason })) => Ok(skipped(&path, &reason, Stays::Yes)),
                None => return,
            };
            if sender.send(outcome).is_err() {
                return;
            }
        }
    }

    fn prepare<'a>(&self, found: &Found, room: &'a Room) -> Prepares<'a> {
        let path = found.key.as_str();
        if let Some(fault) = keys::fault(path) {
            return Ok(skipped(path, &fault, Stays::No));
        }
        // A file that is too large to be read takes nothing.
        let len = if found.len > read::MAX_FILE.get() { 0 } else { found.len };
        let held = match room.take(len) {
            Ok(held) => held,
            Err(refusal) if refusal.code() == Code::OverBudget => {
                return Ok(Outcome::Refused(path.to_owned(), refusal));
            }
            Err(failure) => return Err(failure),
        };
        let document = match read::read(&found.path) {
            Ok(document) => document,
            Err(refusal) => {
                let stays = if refusal.is_passing() { Stays::Yes } else { Stays::No };
                return Ok(skipped(path, &refusal.to_string(), stays));
            }
        };
        let hash = format!("{:032x}", xxh3_128(document.as_bytes()));
        // Looked up afresh for each file: a collection that is kept keeps the memtable that was.
        let before = self.store.collection(self.collection)?.info_of(path)?;
        let property = |name: &str| before.as_ref().and_then(|info| info.properties.get(name));
        let is = |name: &str, value: &str| matches!(property(name), Some(Value::String(found)) if found == value);
        if is("hash", &hash) && is("embedder", self.embedder.name()) {
            return Ok(Outcome::Unchanged(path.to_owned()));
        }
        let chunks = self.chunks(path, &found.path, &document)?;
        let names: HashSet<&str> = chunks.iter().map(|chunk| chunk.key.as_str()).collect();
        let had = chunks_of(path, property("chunks")).into_iter();
        let outdated: Vec<String> = had.filter(|key| !names.contains(key.as_str())).collect();
        let file = self.file(path, hash, &chunks);
        let bytes = document.len() as u64;
        // The entity of the file names each chunk.
        let weight = chunks.iter().map(|chunk| weight(chunk) + chunk.key.len() - path.len());
        let weight = weight.chain(outdated.iter().map(String::len)).sum();
        let prepared = Prepared { file, chunks, outdated, bytes, weight, held };
        Ok(Outcome::Changed(Box::new(prepared)))
    }

    /// The entity of the whole file: what it held, so that the next run can tell.
    fn file(&self, path: &str, hash: String, chunks: &[Entity]) -> Entity {
        let names = chunks.iter().filter_map(|chunk| chunk.key.get(path.len() + 1..));
        let names = names.map(|name| Value::String(name.to_owned())).collect();
        let properties = [
            ("hash", Value::String(hash)),
            ("embedder", Value::String(self.embedder.name().to_owned())),
            ("chunks", Value::List(names)),
        ];
        Entity {
            key: path.to_owned(),
            kind: FILE.to_owned(),
            properties: properties.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Entity::default()
        }
    }

    /// One entity per piece of `document`; a piece without a known word has no vector.
    fn chunks(&self, key: &str, path: &Path, document: &str) -> Result<Vec<Entity>, Failure> {
        let mut chunks: Vec<Entity> = Vec::new();
        let mut last = (String::new(), 1_u32);
        for piece in split::split(path, document) {
            let name = format!("{key}#L{}-L{}", piece.first_line, piece.last_line);
            // Pieces of one long line have the same lines; the second is `...#L7-L7.2`.
            let again = if last.0 == name { last.1 + 1 } else { 1 };
            let unique = if again == 1 { name.clone() } else { format!("{name}.{again}") };
            last = (name, again);
            let mut vector = vec![0.0; self.embedder.dim()];
            let embedded = self.embedder.embed(piece.text, &mut vector)?;
            let mut embeddings = BTreeMap::new();
            if !embedded.is_zero {
                embeddings.insert(TEXT_SPACE.to_owned(), vector);
            }
            let lines = [piece.first_line, piece.last_line].map(|line| Value::Integer(line as i64));
            let properties = [
                ("path".to_owned(), Value::String(key.to_owned())),
                ("lines".to_owned(), Value::List(lines.into())),
            ];
            chunks.push(Entity {
                key: unique,
                kind: CHUNK.to_owned(),
                text: Some(piece.text.to_owned()),
                properties: properties.into(),
                embeddings,
                ..Entity::default()
            });
        }
        Ok(chunks)
    }

    /// Bytes of entities that go into one write, about.
    fn most_of_a_write(&self) -> usize {
        let share = self.store.budget().limit().get() / WRITE_SHARE;
        usize::try_from(share.min(WRITE_BYTES)).unwrap_or(usize::MAX)
    }

    /// Writes what the workers send, several small files at a time, until they are done.
    fn write_all(
        &self,
        receiver: &Receiver<Prepares<'_>>,
        books: &mut Books,
        progress: &Progress,
    ) -> Result<(), Failure> {
        let most = self.most_of_a_write();
        while let Ok(first) = receiver.recv() {
            let mut write = Write::default();
            let mut next = Some(first);
            while let Some(outcome) = next {
                match outcome? {
                    Outcome::Changed(prepared) => {
                        let chunks = prepared.chunks.len() as u64;
                        books.changed(&prepared.file.key, chunks, prepared.bytes)?;
                        if write.weight + prepared.weight > most {
                            self.flush(&mut write)?;
                        }
                        if prepared.weight > most {
                            self.write_large(*prepared, most)?;
                        } else {
                            self.put(*prepared, &mut write);
                        }
                    }
                    Outcome::Unchanged(path) => books.unchanged(&path)?,
                    Outcome::Skipped(skip, stays) => books.skipped(skip, stays),
                    Outcome::Refused(path, refusal) => books.refused(path, &refusal),
                }
                progress.set(books.tally.files);
                next = receiver.try_recv().ok();
            }
            self.flush(&mut write)?;
        }
        Ok(())
    }

    /// Writes the files that were put together, if there are any, and gives back what pays for them.
    fn flush(&self, write: &mut Write<'_>) -> Result<(), Failure> {
        let write = std::mem::take(write);
        if !write.batch.is_empty() {
            self.store.write(&write.batch)?;
        }
        Ok(())
    }

    /// Moves a file into `write`.
    fn put<'a>(&self, prepared: Prepared<'a>, write: &mut Write<'a>) {
        let name = self.collection;
        let batch = &mut write.batch;
        for key in &prepared.outdated {
            batch.delete(name, key);
        }
        for chunk in prepared.chunks {
            batch.put(name, chunk);
        }
        batch.put(name, prepared.file);
        write.weight += prepared.weight;
        write.held.push(prepared.held);
    }

    /// Writes a file that is too large for one batch in several, each of `most` bytes, about. Until the last of them its entity
    /// has no hash and names the chunks of before and of now, so that a run that ends in between is
    /// made good by the next.
    fn write_large(&self, prepared: Prepared<'_>, most: usize) -> Result<(), Failure> {
        let Prepared { file, chunks, outdated, held, .. } = prepared;
        let name = self.collection;
        let mut begun = file.clone();
        begun.properties.remove("hash");
        if let Some(Value::List(names)) = begun.properties.get_mut("chunks") {
            let old = outdated.iter().filter_map(|key| key.get(file.key.len() + 1..));
            names.extend(old.map(|name| Value::String(name.to_owned())));
        }
        let mut batch = WriteBatch::new();
        batch.put(name, begun);
        let mut filled = 0;
        for chunk in chunks {
            filled += weight(&chunk);
            batch.put(name, chunk);
            if filled >= most {
                self.store.write(&std::mem::take(&mut batch))?;
                filled = 0;
            }
        }
        for key in &outdated {
            batch.delete(name, key);
            if batch.len() >= REMOVALS {
                self.store.write(&std::mem::take(&mut batch))?;
            }
        }
        batch.put(name, file);
        self.store.write(&batch)?;
        drop(held);
        Ok(())
    }

    /// Removes the files under `roots` that the walk did not come by.
    fn remove_gone(&self, roots: &[PathBuf], books: &mut Books) -> Result<(), Failure> {
        let keys: Vec<String> = roots.iter().filter_map(|root| key_of(root)).collect();
        let name = self.collection;
        let files = ListOptions { kind: Some(FILE.into()), ..ListOptions::default() };
        let mut gone = WriteBatch::new();
        let mut removed = 0;
        let mut ended = Ok(());
        self.store.collection(name)?.scan(&files, &mut |file| {
            let is_ours = keys.iter().any(|root| is_under(&file.key, root));
            if !is_ours || !books.is_gone(&file.key) {
                return true;
            }
            for key in chunks_of(&file.key, file.properties.get("chunks")) {
                gone.delete(name, &key);
            }
            gone.delete(name, &file.key);
            removed += 1;
            if gone.len() >= REMOVALS {
                ended = self.store.write(&std::mem::take(&mut gone));
            }
            ended.is_ok()
        })?;
        ended?;
        if !gone.is_empty() {
            self.store.write(&gone)?;
        }
        books.tally.removed = removed;
        let missing = roots.iter().find(|root| root.symlink_metadata().is_err());
        match missing {
            Some(root) if removed == 0 => Err(Failure::not_found(format!(
                "{}: there is no such file or folder, and none was indexed",
                root.display()
            ))),
            _ => Ok(()),
        }
    }
}

fn skipped<'a>(path: &str, reason: &str, stays: Stays) -> Outcome<'a> {
    Outcome::Skipped(Skip { path: path.to_owned(), reason: reason.to_owned() }, stays)
}

/// Bytes that an entity takes in a write, about: key and text, the vectors, and the properties of a
/// chunk, which name its file.
fn weight(chunk: &Entity) -> usize {
    let values: usize = chunk.embeddings.values().map(Vec::len).sum();
    2 * chunk.key.len() + chunk.text.as_ref().map_or(0, String::len) + 4 * values + 128
}

/// Keys of the chunks that the entity of the file at `path` names.
fn chunks_of(path: &str, names: Option<&Value>) -> Vec<String> {
    let Some(Value::List(names)) = names else { return Vec::new() };
    let names = names.iter().filter_map(|name| match name {
        Value::String(name) => Some(format!("{path}#{name}")),
        _ => None,
    });
    names.collect()
}
