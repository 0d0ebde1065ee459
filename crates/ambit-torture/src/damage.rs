//! T5: bytes that are not what was written.
//!
//! A store is filled and closed in good order; then one thing is wrong with one file: a bit
//! flipped, an end cut off or added, blocks zeroed or swapped, an older or a foreign file in its
//! place, no file at all. Reading everything must then either be refused with a typed error or
//! give the identical answer. A wrong answer without an error is the one thing that may not be.
//!
//! A refused opening must not have made it worse: with the file put back, all is there.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::AddAssign;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use ambit_store::bugs::Bugs;
use ambit_store::engine::Access;
use ambit_store::segment::Io;
use ambit_store::vfs::{OsFs, SimFs};
use ambit_store::{ErrorKind, StoreError};

use crate::dice::Dice;
use crate::fleet::{self, Outcome};
use crate::model::Model;
use crate::subject::{Opening, Subject, Trouble};
use crate::workload::{self, Op};

/// Operations that fill one store.
const OPS: usize = 50;
/// Damages per store.
const PER_STORE: u64 = 250;
/// Bytes of the blocks that are zeroed and swapped.
const BLOCKS: [usize; 4] = [64, 512, 4096, 8192];

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Stores filled.
    pub stores: u64,
    /// Damages tried.
    pub damages: u64,
    /// Of these, refused with a typed error.
    pub refused: u64,
    /// Of these, without any effect on the answer.
    pub identical: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.stores += other.stores;
        self.damages += other.damages;
        self.refused += other.refused;
        self.identical += other.identical;
    }
}

/// One thing that is wrong with one file.
#[derive(Clone, PartialEq, Eq)]
pub enum Damage {
    /// A bit is flipped.
    Flip {
        /// Number of the bit, from the first of byte 0.
        bit: usize,
    },
    /// The file ends early.
    Cut {
        /// Its length.
        len: usize,
    },
    /// The file goes on.
    Extend {
        /// What was added.
        bytes: Vec<u8>,
    },
    /// Some bytes are zero.
    Zero {
        /// The first.
        from: usize,
        /// How many.
        len: usize,
    },
    /// Two blocks stand in each other's place.
    Swap {
        /// Number of the first.
        first: usize,
        /// Number of the second.
        second: usize,
        /// Bytes of a block.
        block: usize,
    },
    /// A block of another file, written to the wrong place.
    Misdirected {
        /// Where it lies.
        from: usize,
        /// The block.
        bytes: Vec<u8>,
    },
    /// Another file's bytes under this name.
    Replaced {
        /// Where they come from.
        source: String,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// No file of the name.
    Removed,
}

impl fmt::Debug for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { bit } => write!(f, "bit {} of byte {} flipped", bit % 8, bit / 8),
            Self::Cut { len } => write!(f, "cut to {len} bytes"),
            Self::Extend { bytes } => write!(f, "{} bytes added", bytes.len()),
            Self::Zero { from, len } => write!(f, "{len} bytes from {from} zeroed"),
            Self::Swap { first, second, block } => {
                write!(f, "blocks {first} and {second} of {block} bytes swapped")
            }
            Self::Misdirected { from, bytes } => {
                write!(f, "{} bytes of another file at {from}", bytes.len())
            }
            Self::Replaced { source, bytes } => {
                write!(f, "replaced by {source}, {} bytes", bytes.len())
            }
            Self::Removed => write!(f, "removed"),
        }
    }
}

impl Damage {
    /// The damaged bytes; `None` if there is no file any more.
    pub fn apply(&self, whole: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = whole.to_vec();
        match self {
            Self::Flip { bit } => {
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Cut { len } => bytes.truncate(*len),
            Self::Extend { bytes: more } => bytes.extend_from_slice(more),
            Self::Zero { from, len } => {
                let end = (from + len).min(bytes.len());
                bytes[(*from).min(end)..end].fill(0);
            }
            Self::Swap { first, second, block } => {
                let (low, high) = (*first.min(second) * block, *first.max(second) * block);
                if low + block <= high && high + block <= bytes.len() {
                    let (left, right) = bytes.split_at_mut(high);
                    left[low..low + block].swap_with_slice(&mut right[..*block]);
                }
            }
            Self::Misdirected { from, bytes: other } => {
                let end = (from + other.len()).min(bytes.len());
                if *from < end {
                    bytes[*from..end].copy_from_slice(&other[..end - from]);
                }
            }
            Self::Replaced { bytes: other, .. } => bytes.clone_from(other),
            Self::Removed => return None,
        }
        Some(bytes)
    }
}

/// A store that was filled and closed, and what it holds.
pub struct Filled {
    disk: SimFs,
    holds: Model,
    /// Contents that files had earlier, also those that are gone.
    earlier: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Filled {
    /// Fills a store with the workload of `seed` and closes it.
    ///
    /// # Errors
    /// What went wrong without any damage.
    pub fn new(seed: u64) -> Result<Self, String> {
        let disk = SimFs::new();
        let told = |error: StoreError| format!("seed {seed}: without damage: {error}");
        let open = || Subject::open(Arc::new(disk.clone()), Opening::default()).map_err(told);
        let (mut holds, mut earlier) = (Model::default(), BTreeMap::new());
        let mut subject = Some(open()?);
        for op in workload::draw(seed, OPS) {
            if let Some(subject) = &subject {
                subject.apply(&op).map_err(told)?;
            }
            if matches!(op, Op::Close | Op::Kill) {
                drop(subject.take());
                subject = Some(open()?);
            }
            holds = holds.after(&op);
            remember(&disk, &mut earlier);
        }
        if let Some(subject) = subject {
            subject.apply(&Op::Close).map_err(told)?;
        }
        Ok(Self { disk, holds, earlier })
    }

    /// Names and lengths of the files.
    pub fn files(&self) -> Vec<(String, u64)> {
        self.disk.files()
    }

    /// Damages `file` and reads everything: was it refused?
    ///
    /// # Errors
    /// A wrong answer, a panic, an error of the wrong kind, or a store that the attempt made
    /// worse.
    pub fn try_damage(
        &self,
        file: &str,
        damage: &Damage,
        opening: Opening,
    ) -> Result<bool, String> {
        let whole = self.disk.peek(file).unwrap_or_default();
        let disk = self.disk.fork();
        disk.plant(file, damage.apply(&whole).as_deref());
        let read =
            || -> Result<Model, Trouble> { Subject::open(Arc::new(disk.clone()), opening)?.read() };
        let found = catch_unwind(AssertUnwindSafe(read)).map_err(|_| "a panic".to_owned())?;
        match found {
            Ok(found) => self.is_identical(&found, opening.access).map(|()| false),
            Err(Trouble::Inconsistent(what)) => Err(format!("silently wrong: {what}")),
            Err(Trouble::Refused(error)) => {
                let is_gone =
                    error.io_error().map(io::Error::kind) == Some(io::ErrorKind::NotFound);
                let fits = matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::NewerFormat)
                    || (*damage == Damage::Removed
                        && (is_gone || error.kind() == ErrorKind::NotFound));
                if !fits {
                    return Err(format!("refused as {:?}: {error}", error.kind()));
                }
                self.hold_repaired(&disk, file, &whole)?;
                Ok(true)
            }
        }
    }

    /// As [`Filled::try_damage`], through mappings of real files written to `directory`: what a
    /// simulated directory cannot show is a signal for touching a page that is not there.
    ///
    /// # Errors
    /// As [`Filled::try_damage`].
    pub fn try_real(&self, directory: &Path, file: &str, damage: &Damage) -> Result<bool, String> {
        let told = |error: io::Error| format!("{}: {error}", directory.display());
        for (name, _) in self.files() {
            let whole = self.disk.peek(&name).unwrap_or_default();
            let bytes = if name == file { damage.apply(&whole) } else { Some(whole) };
            match bytes {
                Some(bytes) => std::fs::write(directory.join(&name), bytes).map_err(told)?,
                None => std::fs::remove_file(directory.join(&name)).or_else(|error| {
                    // The first damage of a directory finds it empty.
                    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(told(error)) }
                })?,
            }
        }
        let files = OsFs::open(directory).map_err(told)?;
        let opening = Opening { access: Access::Read, ..Opening::default() };
        let read = Subject::open(Arc::new(files), opening).map_err(Trouble::from);
        match read.and_then(|subject| subject.read()) {
            Ok(found) => self.is_identical(&found, Access::Read).map(|()| false),
            Err(Trouble::Inconsistent(what)) => Err(format!("silently wrong: {what}")),
            Err(Trouble::Refused(_)) => Ok(true),
        }
    }

    fn is_identical(&self, found: &Model, access: Access) -> Result<(), String> {
        let mut expected = self.holds.clone();
        if access == Access::Read {
            // Versions are listed to writers only.
            expected.versions.clear();
        }
        match found.difference(&expected) {
            None => Ok(()),
            Some(difference) => Err(format!("silently wrong: {difference}")),
        }
    }

    /// With the file put back, everything is there.
    fn hold_repaired(&self, disk: &SimFs, file: &str, whole: &[u8]) -> Result<(), String> {
        let disk = disk.fork();
        disk.plant(file, Some(whole));
        let read = Subject::open(Arc::new(disk), Opening::default())
            .map_err(Trouble::from)
            .and_then(|subject| subject.read());
        let found = read.map_err(|trouble| format!("the refused opening did harm: {trouble}"))?;
        self.is_identical(&found, Access::Write)
            .map_err(|what| format!("the refused opening did harm: {what}"))
    }

    fn draw(&self, dice: &mut Dice) -> (String, Damage) {
        let files = self.files();
        // Each kind of file as often as any other, however many there are of it.
        let kinds: Vec<&str> = files.iter().map(|(name, _)| kind(name)).collect();
        let mut distinct = kinds.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let wanted = *dice.pick(&distinct);
        let of_kind: Vec<usize> = (0..files.len()).filter(|&at| kinds[at] == wanted).collect();
        let (name, len) = &files[*dice.pick(&of_kind)];
        let damage = self.draw_for(name, *len as usize, dice);
        (name.clone(), damage)
    }

    fn draw_for(&self, name: &str, len: usize, dice: &mut Dice) -> Damage {
        let block = *dice.pick(&BLOCKS);
        match dice.below(20) {
            0..8 => Damage::Flip { bit: dice.below(len * 8) },
            8..10 => Damage::Cut { len: dice.below(len) },
            10 => {
                let more = 1 + dice.below(block);
                let bytes = if dice.percent(50) { vec![0; more] } else { dice.bytes(more) };
                Damage::Extend { bytes }
            }
            11..13 => Damage::Zero { from: dice.below(len) / block * block, len: block },
            13 | 14 => {
                let blocks = len / block;
                Damage::Swap { first: dice.below(blocks), second: dice.below(blocks), block }
            }
            15 | 16 => {
                let (_, other) = self.other(name, dice);
                let at = dice.below(other.len()) / block * block;
                let bytes = other[at..other.len().min(at + block)].to_vec();
                Damage::Misdirected { from: dice.below(len) / block * block, bytes }
            }
            17 | 18 => {
                let (source, bytes) = self.other(name, dice);
                Damage::Replaced { source, bytes }
            }
            _ => Damage::Removed,
        }
    }

    /// Another file, or this one as it was.
    fn other(&self, name: &str, dice: &mut Dice) -> (String, Vec<u8>) {
        let alike: Vec<&String> =
            self.earlier.keys().filter(|other| kind(other) == kind(name)).collect();
        if dice.percent(80) && !alike.is_empty() {
            let source = if dice.percent(50) { name } else { dice.pick(&alike).as_str() };
            if let Some(contents) = self.earlier.get(source) {
                let age = dice.below(contents.len());
                return (format!("{source} of state {age}"), contents[age].clone());
            }
        }
        let files = self.files();
        let (source, _) = dice.pick(&files);
        (source.clone(), self.disk.peek(source).unwrap_or_default())
    }
}

/// What kind of file a name stands for.
pub fn kind(name: &str) -> &str {
    name.split('-').next().unwrap_or(name)
}

fn remember(disk: &SimFs, earlier: &mut BTreeMap<String, Vec<Vec<u8>>>) {
    for (name, _) in disk.files() {
        let Some(bytes) = disk.peek(&name) else { continue };
        let contents = earlier.entry(name).or_default();
        if contents.last() != Some(&bytes) {
            contents.push(bytes);
        }
    }
}

/// Fills stores from `seed` on and damages each in many ways, until `count` damages were tried
/// or one was not noticed, on all cores.
pub fn sample(seed: u64, count: u64, bugs: Bugs) -> Outcome<Tally> {
    fleet::run(seed, |run| damage_one_store(run, bugs), |tally: &Tally| tally.damages >= count)
}

fn damage_one_store(seed: u64, bugs: Bugs) -> (Tally, Result<(), String>) {
    let mut tally = Tally { stores: 1, ..Tally::default() };
    let store = match Filled::new(seed) {
        Ok(store) => store,
        Err(what) => return (tally, Err(what)),
    };
    for index in 0..PER_STORE {
        let mut dice = Dice::stream(seed, 1000 + index);
        let opening = draw_opening(&mut dice, bugs);
        let (file, damage) = store.draw(&mut dice);
        tally.damages += 1;
        match store.try_damage(&file, &damage, opening) {
            Ok(true) => tally.refused += 1,
            Ok(false) => tally.identical += 1,
            Err(what) => {
                let place = format!("seed {seed}, damage {index}, {opening:?}: {file}");
                return (tally, Err(format!("{place}, {damage:?}: {what}")));
            }
        }
    }
    (tally, Ok(()))
}

/// Damages one store in `count` ways, on real files in `directory`.
///
/// # Errors
/// The first damage that was not noticed.
pub fn sample_real(seed: u64, count: u64, directory: &Path) -> Result<Tally, String> {
    let store = Filled::new(seed)?;
    let mut tally = Tally { stores: 1, ..Tally::default() };
    for index in 0..count {
        let (file, damage) = store.draw(&mut Dice::stream(seed, 5000 + index));
        let was_refused = store
            .try_real(directory, &file, &damage)
            .map_err(|what| format!("seed {seed}, damage {index}: {file}, {damage:?}: {what}"))?;
        tally.damages += 1;
        tally.refused += u64::from(was_refused);
        tally.identical += u64::from(!was_refused);
    }
    Ok(tally)
}

fn draw_opening(dice: &mut Dice, bugs: Bugs) -> Opening {
    let io = *dice.pick(&[Io::Map, Io::Pread]);
    let access = *dice.pick(&[Access::Write, Access::Read]);
    Opening { bugs, io, access }
}

/// On one store: every length that the longest file of each kind can be cut to, and a flip in
/// each of its bytes.
pub fn exhaust(seed: u64, bugs: Bugs) -> Outcome<Tally> {
    let store = match Filled::new(seed) {
        Ok(store) => store,
        Err(what) => {
            let failure = fleet::Failure { run: seed, what };
            return (Tally::default(), Some(failure));
        }
    };
    let mut longest: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for (name, len) in store.files() {
        let entry = longest.entry(kind(&name).to_owned()).or_default();
        if len > entry.1 {
            *entry = (name, len);
        }
    }
    let cases: Vec<(String, Damage)> = longest
        .values()
        .flat_map(|(name, len)| {
            (0..*len as usize).flat_map(move |at| {
                let flip = Damage::Flip { bit: at * 8 + at % 8 };
                [(name.clone(), Damage::Cut { len: at }), (name.clone(), flip)]
            })
        })
        .collect();
    let total = cases.len() as u64;
    let work = |run: u64| {
        let mut tally = Tally::default();
        let Some((file, damage)) = cases.get(run as usize) else { return (tally, Ok(())) };
        let opening = draw_opening(&mut Dice::stream(seed, run), bugs);
        tally.damages = 1;
        let result = match store.try_damage(file, damage, opening) {
            Ok(true) => {
                tally.refused = 1;
                Ok(())
            }
            Ok(false) => {
                tally.identical = 1;
                Ok(())
            }
            Err(what) => Err(format!("seed {seed}, {opening:?}: {file}, {damage:?}: {what}")),
        };
        (tally, result)
    };
    let (mut tally, failed) = fleet::run(0, work, |tally: &Tally| tally.damages >= total);
    tally.stores = 1;
    (tally, failed)
}
