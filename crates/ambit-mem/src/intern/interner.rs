//! The interner as its users see it.
//!
//! Look-ups run without a lock. Who does not find its string takes the lock, looks again, and
//! appends. Memory is needed rarely, and is made outside the lock: reserving may run foreign
//! code. So an insertion that lacks a block says so, is given one, and begins again.

use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read, Write};

use foldhash::fast::RandomState;

use super::block::Block;
use super::counts::Counts;
use super::readers::{self, Reading};
use super::stats::Counted;
use super::table::{Inserter, Tables};
use super::texts::{Appender, Needs, Texts};
use super::{InternError, InternerConfig, InternerStats, RestoreError, Symbol, image};
use crate::sync::{Mutex, lock};
use crate::{Account, Bytes, OverBudget, Reservation, thread_number};

/// Strings of a batch that are looked up side by side.
const SIDE_BY_SIDE: usize = 16;

/// Gives each distinct string a number, and keeps both.
///
/// Symbols count from 0 in order of first sight; nothing is ever taken out. Several threads may
/// intern and resolve at once.
///
/// # Cost
/// A distinct string takes its text and about 10 bytes: 4 for where it ends, 4.9 to 6.6 for its
/// slot, and what is left of pieces and directories. An interner itself takes 2 KiB, and 7 more
/// with its first string.
///
/// # Example
/// ```
/// use ambit_mem::{Budget, Bytes, Interner, InternerConfig, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("store/symbols", Priority::Write);
/// let names = Interner::new(InternerConfig::default(), &account)?;
/// let born = names.intern("born in")?;
/// assert_eq!(names.intern("born in")?, born);
/// assert_eq!(names.resolve(born), Some("born in"));
///
/// let mut image = Vec::new();
/// names.write_to(&mut image)?;
/// let again = Interner::read_from(&mut image.as_slice(), InternerConfig::default(), &account)?;
/// assert_eq!(again.get("born in"), Some(born));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Interner {
    texts: Texts,
    tables: Tables,
    hasher: RandomState,
    config: InternerConfig,
    counts: Counts,
    writer: Mutex<Writer>,
    /// The bytes of the interner itself.
    _charge: Reservation,
    /// Last, so that it is dropped when it holds nothing any more, and can be forgotten.
    account: Account,
}

/// What only the thread that inserts sees.
#[derive(Default)]
struct Writer {
    appender: Appender,
    inserter: Inserter,
}

/// Why an insertion ended without a symbol.
enum Stop {
    Needs(usize),
    Full(InternError),
}

impl From<Needs> for Stop {
    fn from(Needs(size): Needs) -> Self {
        Self::Needs(size)
    }
}

impl Interner {
    /// An interner without strings, which charges what it keeps to `account`.
    ///
    /// # Errors
    /// [`OverBudget`] where not even the empty interner fits.
    pub fn new(config: InternerConfig, account: &Account) -> Result<Self, OverBudget> {
        Ok(Self {
            texts: Texts::new(),
            tables: Tables::new(),
            hasher: RandomState::default(),
            config,
            counts: Counts::default(),
            writer: Mutex::default(),
            _charge: account.reserve(Bytes::new(size_of::<Self>() as u64))?,
            account: account.clone(),
        })
    }

    /// The symbol of `text`, a new one if it is the first time.
    ///
    /// # Errors
    /// [`InternError`] where a new string does not fit; one that is known always does.
    ///
    /// # Cost
    /// For a known string a hash, a slot and a comparison, without a lock or an atomic
    /// read-modify-write. For a new one a lock, and copying it.
    #[inline]
    pub fn intern(&self, text: &str) -> Result<Symbol, InternError> {
        let hash = self.hash(text);
        let number = thread_number::number();
        let symbol = match self.find(number, hash, text) {
            Some(symbol) => symbol,
            None => self.insert(hash, text)?.0,
        };
        self.counts.add(number, text.len());
        Ok(symbol)
    }

    /// Appends the symbols of `texts` to `symbols`, as [`Interner::intern`] would one by one.
    ///
    /// # Errors
    /// [`InternError`] at the first string that does not fit; `symbols` then has those of the
    /// strings before it.
    ///
    /// # Cost
    /// Where strings are far apart in memory, less than one by one: the memory of several is
    /// waited for at once.
    pub fn intern_batch(
        &self,
        texts: &[&str],
        symbols: &mut Vec<Symbol>,
    ) -> Result<(), InternError> {
        symbols.reserve(texts.len());
        let number = thread_number::number();
        for group in texts.chunks(SIDE_BY_SIDE) {
            let mut hashes = [0; SIDE_BY_SIDE];
            let mut likely = [None; SIDE_BY_SIDE];
            for (hash, text) in hashes.iter_mut().zip(group) {
                *hash = self.hash(text);
            }
            self.look_ahead(number, (&hashes[..group.len()], group), &mut likely);
            for ((text, hash), likely) in group.iter().zip(hashes).zip(likely) {
                let found = likely.or_else(|| self.find(number, hash, text));
                let symbol = match found {
                    Some(symbol) => symbol,
                    None => self.insert(hash, text)?.0,
                };
                self.counts.add(number, text.len());
                symbols.push(symbol);
            }
        }
        Ok(())
    }

    /// The symbol of `text`, if it was interned.
    ///
    /// # Cost
    /// As [`Interner::intern`] for a known string; a lock for one that is not, since it may just
    /// be going in.
    #[inline]
    pub fn get(&self, text: &str) -> Option<Symbol> {
        let hash = self.hash(text);
        let found = self.find(thread_number::number(), hash, text);
        found.or_else(|| self.find_locked(hash, text))
    }

    /// The string of `symbol`, if there is one.
    ///
    /// # Cost
    /// No lock, no copy; does not touch the string.
    #[inline]
    pub fn resolve(&self, symbol: Symbol) -> Option<&str> {
        self.texts.get(symbol)
    }

    /// Distinct strings.
    pub fn len(&self) -> u32 {
        self.texts.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All symbols that there are now, with their strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Symbol, &str)> {
        let symbols = (0..self.len()).map(Symbol::new);
        symbols.filter_map(|symbol| Some((symbol, self.resolve(symbol)?)))
    }

    /// Bytes that the interner holds, all of them charged to its account.
    pub fn footprint(&self) -> Bytes {
        self.footprint_of(&lock(&self.writer))
    }

    fn footprint_of(&self, writer: &Writer) -> Bytes {
        let kept = writer.appender.footprint() + writer.inserter.footprint();
        Bytes::new(size_of::<Self>() as u64 + kept)
    }

    /// What it holds, and what it saves.
    pub fn stats(&self) -> InternerStats {
        let (total_references, referenced_bytes) = self.counts.sum();
        let writer = lock(&self.writer);
        InternerStats::new(&Counted {
            unique_strings: u64::from(self.texts.len()),
            total_references,
            referenced_bytes,
            text_bytes: u64::from(writer.appender.text_bytes()),
            total_bytes: self.footprint_of(&writer).get(),
        })
    }

    /// Writes the strings that there are now; symbols are those of their order.
    ///
    /// # Errors
    /// Those of `out`.
    ///
    /// # Cost
    /// A buffer of 64 KiB; other threads may intern meanwhile.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let (references, bytes) = self.counts.sum();
        let len = self.len();
        let texts = (0..len).filter_map(|index| self.resolve(Symbol::new(index)));
        image::write(out, &image::Head { len, references, bytes }, texts)
    }

    /// An interner with the strings, the symbols and the counts that were written to `input`.
    /// Reads no further than the image goes.
    ///
    /// # Errors
    /// [`RestoreError`]: what `input` says, bytes that are not what was written, or strings that
    /// do not fit. Allocates no more than what it read, whatever the bytes say.
    pub fn read_from(
        input: &mut impl Read,
        config: InternerConfig,
        account: &Account,
    ) -> Result<Self, RestoreError> {
        let interner = Self::new(config, account).map_err(InternError::from)?;
        let mut image = image::Reader::new(input)?;
        let mut text = Vec::new();
        while let Some(len) = image.next_len()? {
            interner.check_text(len, lock(&interner.writer).appender.text_bytes())?;
            let text = image.text(len, &mut text)?;
            let (_, is_new) = interner.insert(interner.hash(text), text)?;
            if !is_new {
                return Err(image.corrupt("a string is there twice"));
            }
        }
        let image::Head { references, bytes, .. } = image.finish()?;
        interner.counts.add_shared(references, bytes);
        Ok(interner)
    }

    #[inline]
    fn hash(&self, text: &str) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(text.as_bytes());
        hasher.finish()
    }

    #[inline]
    fn find(&self, number: Option<usize>, hash: u64, text: &str) -> Option<Symbol> {
        match number.and_then(Reading::begin) {
            // SAFETY: inside the reading.
            Some(_reading) => unsafe { self.tables.find(&self.texts, hash, text) },
            None => self.find_locked(hash, text),
        }
    }

    /// Finds what is being inserted, too, and for a thread that cannot say that it reads.
    #[cold]
    fn find_locked(&self, hash: u64, text: &str) -> Option<Symbol> {
        let _writer = lock(&self.writer);
        // SAFETY: under the lock.
        unsafe { self.tables.find(&self.texts, hash, text) }
    }

    /// Finds the strings that are where they are looked for first, step by step for all, so
    /// that their memory is waited for at once.
    fn look_ahead(
        &self,
        number: Option<usize>,
        (hashes, texts): (&[u64], &[&str]),
        likely: &mut [Option<Symbol>; SIDE_BY_SIDE],
    ) {
        let Some(_reading) = number.and_then(Reading::begin) else { return };
        for (likely, hash) in likely.iter_mut().zip(hashes) {
            // SAFETY: inside the reading.
            *likely = unsafe { self.tables.guess(*hash) };
        }
        let mut found = [""; SIDE_BY_SIDE];
        for (found, likely) in found.iter_mut().zip(&*likely) {
            *found = likely.and_then(|symbol| self.resolve(symbol)).unwrap_or_default();
        }
        for ((likely, found), text) in likely.iter_mut().zip(found).zip(texts) {
            *likely = likely.filter(|_| found == *text);
        }
    }

    /// Puts a string in, unless another thread just did; says whether it is new.
    #[cold]
    fn insert(&self, hash: u64, text: &str) -> Result<(Symbol, bool), InternError> {
        let mut spare = None;
        loop {
            let mut replaced = None;
            let outcome = {
                let mut writer = lock(&self.writer);
                self.insert_with(&mut writer, (hash, text), &mut spare, &mut replaced)
            };
            if let Some(replaced) = replaced {
                readers::wait();
                drop::<Block>(replaced);
            }
            match outcome {
                Ok(inserted) => return Ok(inserted),
                Err(Stop::Full(error)) => return Err(error),
                Err(Stop::Needs(size)) => {
                    // What another thread made needless goes before more is asked for.
                    drop(spare.take());
                    spare = Some(Block::new(&self.account, size)?);
                }
            }
        }
    }

    fn insert_with(
        &self,
        writer: &mut Writer,
        (hash, text): (u64, &str),
        spare: &mut Option<Block>,
        replaced: &mut Option<Block>,
    ) -> Result<(Symbol, bool), Stop> {
        // SAFETY: `writer` is behind the lock, so this thread is the only one that inserts, and
        // it does so with the one writer of this interner.
        unsafe {
            if let Some(symbol) = self.tables.find(&self.texts, hash, text) {
                return Ok((symbol, false));
            }
            let index = self.texts.len();
            let limit = self.config.strings();
            if index >= limit {
                return Err(Stop::Full(InternError::TooManyStrings { limit }));
            }
            self.check_text(text.len() as u64, writer.appender.text_bytes()).map_err(Stop::Full)?;
            let rehash = |symbol| self.hash(self.texts.get(symbol).unwrap_or_default());
            let room = (hash, Symbol::new(index));
            *replaced = self.tables.make_room(&mut writer.inserter, room, spare, rehash)?;
            let symbol = self.texts.append(&mut writer.appender, text, spare)?;
            self.tables.insert(&mut writer.inserter, hash, symbol);
            Ok((symbol, true))
        }
    }

    /// Does a string of `len` bytes fit beside `used` ones?
    fn check_text(&self, len: u64, used: u32) -> Result<(), InternError> {
        let (used, limit) = (Bytes::new(u64::from(used)), self.config.text());
        if limit.saturating_sub(used).get() < len {
            let requested = Bytes::new(len);
            return Err(InternError::TooMuchText { requested, used, limit });
        }
        Ok(())
    }
}

impl std::fmt::Debug for Interner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Interner").field(&self.stats()).finish()
    }
}
