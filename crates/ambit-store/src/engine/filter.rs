//! Is a key surely not in this segment? About ten bits a key, asked before anything is read.
//!
//! The section `key.filter` cuts the range of key hashes into as many equal parts as the segment has
//! stretches of 8 Ki rows, and has a binary fuse filter for each. So one is built from hashes
//! that come in order, in memory that does not depend on the segment's size. A part that could not
//! be built is empty, and lets every key through.
//!
//! A filter is copied to memory when the look-ups without it have read as many bytes as it has, where the
//! budget has room: filters take an eighth of it at most, and give back what somebody else needs. Without
//! one, because it is not there, not in memory or not whole, the segment is asked itself. So a filter
//! changes what is read, never what is found.

use std::ops::Range;

use ambit_cache::filter::{FilterError, FuseFilter};
use ambit_mem::{Account, Budget, Bytes, OverBudget, Priority, Reclaimer, Reservation};

use super::sealed::corrupt;
use crate::error::{ErrorKind, StoreError};
use crate::segment::{Section, Segment, SegmentWriter};
use crate::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock, Weak, lock};

/// Rows for each part of a filter.
const PART_ROWS: u64 = 8 << 10;
/// Hashes of a part, at most; hashes are uniform, so this is never reached but on purpose.
const MOST_HASHES: usize = 2 * PART_ROWS as usize;
/// The section.
const FILTER: &str = "key.filter";
/// What part of the budget filters may take.
const SHARE: u64 = 8;
/// Look-ups without a filter before one that was given back, or had no room, is tried again.
const PATIENCE: u64 = 4096;
/// Bytes that a look-up reads in a segment without a filter.
const LOOKED_AT: u64 = 64 << 10;
/// What a byte of a filter is worth, in the unit of the mapped windows: each spares a look-up most of a
/// block, and there are 50,000 times as many bytes in blocks.
const NANOSECONDS_PER_BYTE: f64 = 1.0;

fn parts_for(rows: u64) -> u64 {
    rows.div_ceil(PART_ROWS)
}

/// The part that a hash belongs to.
fn part_of(hash: u64, parts: u64) -> u64 {
    ((u128::from(hash) * u128::from(parts)) >> 64) as u64
}

/// Builds the filter of a segment from its hashes, in ascending order.
pub(super) struct FilterBuilder {
    account: Account,
    parts: u64,
    part: u64,
    hashes: Vec<u64>,
    room: Reservation,
    /// Is there no room for the hashes of this part?
    is_given_up: bool,
}

impl FilterBuilder {
    /// Begins the section of a segment of so many rows; none where it has none.
    pub(super) fn begin(
        rows: u32,
        writer: &mut SegmentWriter,
        account: &Account,
    ) -> Result<Option<Self>, StoreError> {
        if rows == 0 {
            return Ok(None);
        }
        writer.begin(FILTER, 0)?;
        Ok(Some(Self {
            account: account.clone(),
            parts: parts_for(rows.into()),
            part: 0,
            hashes: Vec::new(),
            room: account.reserve(Bytes::ZERO)?,
            is_given_up: false,
        }))
    }

    /// Takes the next hash in.
    pub(super) fn push(&mut self, hash: u64, writer: &mut SegmentWriter) -> Result<(), StoreError> {
        while self.part < part_of(hash, self.parts) {
            self.end_part(writer)?;
        }
        if self.hashes.len() == self.hashes.capacity() && !self.is_given_up {
            self.is_given_up = !self.grow();
        }
        if !self.is_given_up {
            self.hashes.push(hash);
        }
        Ok(())
    }

    /// Ends the section.
    pub(super) fn finish(mut self, writer: &mut SegmentWriter) -> Result<(), StoreError> {
        while self.part < self.parts {
            self.end_part(writer)?;
        }
        writer.end()
    }

    /// Makes room for twice the hashes, the old ones beside them while they are copied.
    fn grow(&mut self) -> bool {
        let capacity = (2 * self.hashes.capacity()).max(1024);
        let both = Bytes::of((self.hashes.capacity() + capacity) * size_of::<u64>());
        if capacity > MOST_HASHES || self.room.resize(both).is_err() {
            return false;
        }
        self.hashes.reserve_exact(capacity - self.hashes.len());
        self.room.shrink(both.saturating_sub(Bytes::of(capacity * size_of::<u64>())));
        true
    }

    fn end_part(&mut self, writer: &mut SegmentWriter) -> Result<(), StoreError> {
        let built = match self.is_given_up {
            true => None,
            false => FuseFilter::build(&self.hashes, &self.account).ok(),
        };
        let len = built.as_ref().map_or(0, FuseFilter::encoded_len);
        match built.zip(self.account.reserve(Bytes::of(len)).ok()) {
            Some((filter, _room)) => {
                let mut bytes = Vec::with_capacity(len);
                filter.write_to(&mut bytes);
                writer.write(&(len as u32).to_le_bytes())?;
                writer.write(&bytes)?;
            }
            None => writer.write(&0_u32.to_le_bytes())?,
        }
        self.part += 1;
        self.hashes.clear();
        self.is_given_up = false;
        Ok(())
    }
}

/// The filters in memory, their account and their share.
pub(super) struct Filters {
    account: Account,
    budget: Budget,
    held: Mutex<Vec<Weak<KeyFilter>>>,
}

/// The filter of an opened segment, in memory or not.
pub(super) struct KeyFilter {
    section: Section,
    rows: u32,
    parts: RwLock<Option<Parts>>,
    /// Look-ups left until the filter is read.
    wait: AtomicU64,
}

struct Parts {
    filters: Vec<Option<FuseFilter>>,
    bytes: Bytes,
    _list: Reservation,
}

/// Why a filter is not in memory.
enum Unread {
    NoRoom,
    Damaged(StoreError),
}

impl Filters {
    /// No filters yet, under `store/filters` of `budget`.
    pub(super) fn new(budget: &Budget) -> Arc<Self> {
        let account = budget.account("store/filters", Priority::Cache);
        let filters = Self { account, budget: budget.clone(), held: Mutex::default() };
        let filters = Arc::new(filters);
        let reclaimer: Weak<dyn Reclaimer> = Arc::<Self>::downgrade(&filters);
        filters.account.set_reclaimer(reclaimer);
        filters
    }

    /// May a key of this hash be in `segment`? Reads the filter when that is due. Never false for one
    /// that is.
    ///
    /// # Cost
    /// In memory: a lock that readers share, and three bytes.
    #[inline]
    pub(super) fn may_hold(&self, hash: u64, of: &Arc<KeyFilter>, segment: &Segment) -> bool {
        // Somebody who reads it or takes it away is not waited for.
        let Ok(parts) = of.parts.try_read() else { return true };
        match &*parts {
            Some(parts) => parts.may_hold(hash),
            None => {
                drop(parts);
                self.wait_or_read(of, segment);
                true
            }
        }
    }

    /// Counts a look-up without a filter, and reads the filter when enough have been.
    #[cold]
    fn wait_or_read(&self, of: &Arc<KeyFilter>, segment: &Segment) {
        let counted = of.wait.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            Some(left.saturating_sub(1))
        });
        if counted.is_ok_and(|left| left > 1) {
            return;
        }
        let Ok(mut parts) = of.parts.try_write() else { return };
        if parts.is_some() {
            return;
        }
        match self.read(of, segment) {
            Ok(read) => {
                *parts = Some(read);
                drop(parts);
                let mut held = lock(&self.held);
                held.retain(|filter| filter.strong_count() > 0);
                held.push(Arc::downgrade(of));
            }
            Err(Unread::NoRoom) => of.wait.store(PATIENCE, Ordering::Relaxed),
            // Verification says so; look-ups do without.
            Err(Unread::Damaged(_)) => of.wait.store(u64::MAX, Ordering::Relaxed),
        }
    }

    fn read(&self, of: &KeyFilter, segment: &Segment) -> Result<Parts, Unread> {
        let after = self.account.used().saturating_add(Bytes::new(of.section.len));
        if after.get() > self.budget.limit().get() / SHARE {
            return Err(Unread::NoRoom);
        }
        of.read(segment, &self.account)
    }
}

impl Reclaimer for Filters {
    fn reclaimable(&self) -> Bytes {
        self.account.used()
    }

    fn worth_per_byte(&self) -> f64 {
        NANOSECONDS_PER_BYTE
    }

    /// Cost: a look at every filter in memory.
    fn shed(&self, wanted: Bytes) -> Bytes {
        let mut given = Bytes::ZERO;
        let mut gone = Vec::new();
        lock(&self.held).retain(|filter| {
            let Some(filter) = filter.upgrade() else { return false };
            if given >= wanted {
                return true;
            }
            let Ok(mut parts) = filter.parts.try_write() else { return true };
            if let Some(parts) = parts.take() {
                given = given.saturating_add(parts.bytes);
                gone.push(parts);
            }
            filter.wait.store(PATIENCE, Ordering::Relaxed);
            false
        });
        // Under no lock: who listens to the budget hears of it.
        drop(gone);
        given
    }
}

impl KeyFilter {
    /// The filter of a segment that has one.
    pub(super) fn of(segment: &Segment) -> Option<Arc<Self>> {
        let section = segment.section(FILTER)?;
        let wait = AtomicU64::new(section.len / LOOKED_AT);
        Some(Arc::new(Self { section, rows: segment.rows(), parts: RwLock::default(), wait }))
    }

    /// Copies it to memory, part by part.
    fn read(&self, segment: &Segment, account: &Account) -> Result<Parts, Unread> {
        let count = parts_for(self.rows.into());
        let list = Bytes::new(count * size_of::<Option<FuseFilter>>() as u64);
        let list = account.reserve(list)?;
        let mut filters = Vec::with_capacity(count as usize);
        let mut bytes = list.bytes();
        let mut at = 0;
        for _ in 0..count {
            let mut len = [0; 4];
            len.copy_from_slice(&segment.read(self.section, self.within(at, 4, segment)?)?);
            let range = self.within(at + 4, u32::from_le_bytes(len), segment)?;
            at = range.end;
            filters.push(match range.is_empty() {
                true => None,
                false => {
                    let view = segment.read(self.section, range)?;
                    let filter = FuseFilter::read_from(&view, account)
                        .map_err(|error| unread(error, segment))?;
                    bytes = bytes.saturating_add(filter.footprint());
                    Some(filter)
                }
            });
        }
        if at != self.section.len {
            let what = format!("section {FILTER} has {} bytes, expected {at}", self.section.len);
            return Err(Unread::Damaged(corrupt(segment, what)));
        }
        Ok(Parts { filters, bytes, _list: list })
    }

    /// So many bytes of the section, if it has them.
    fn within(&self, at: u64, len: u32, segment: &Segment) -> Result<Range<u64>, Unread> {
        let end = at + u64::from(len);
        if end <= self.section.len {
            return Ok(at..end);
        }
        let what = format!("section {FILTER} has {} bytes, expected {end}", self.section.len);
        Err(Unread::Damaged(corrupt(segment, what)))
    }

    /// Says which of some hashes that are in `segment` it would deny. Reads it for this.
    ///
    /// # Errors
    /// Corrupt, where it is not a filter. One for which there is no room denies nothing.
    pub(super) fn check(
        &self,
        segment: &Segment,
        filters: &Filters,
    ) -> Result<impl Fn(u64) -> bool + use<>, StoreError> {
        let parts = match self.read(segment, &filters.account) {
            Ok(parts) => Some(parts),
            Err(Unread::NoRoom) => None,
            Err(Unread::Damaged(error)) => return Err(error),
        };
        Ok(move |hash| parts.as_ref().is_some_and(|parts| !parts.may_hold(hash)))
    }
}

impl Parts {
    #[inline]
    fn may_hold(&self, hash: u64) -> bool {
        let part = part_of(hash, self.filters.len() as u64) as usize;
        self.filters[part].as_ref().is_none_or(|filter| filter.contains(hash))
    }
}

fn unread(error: FilterError, segment: &Segment) -> Unread {
    match error {
        FilterError::OverBudget(_) => Unread::NoRoom,
        error => Unread::Damaged(corrupt(segment, format!("section {FILTER}: {error}"))),
    }
}

impl From<OverBudget> for Unread {
    fn from(_: OverBudget) -> Self {
        Self::NoRoom
    }
}

impl From<StoreError> for Unread {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            ErrorKind::OverBudget | ErrorKind::Io => Self::NoRoom,
            _ => Self::Damaged(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bugs::Bugs;
    use crate::geometry::Geometry;
    use crate::segment::{Io, Windows};
    use crate::vfs::{SimFs, Vfs};

    fn hashes(count: u64, seed: u64) -> Vec<u64> {
        let mut hashes: Vec<u64> = (0..count)
            .map(|n| xxhash_rust::xxh3::xxh3_64_with_seed(&n.to_le_bytes(), seed))
            .collect();
        hashes.sort_unstable();
        hashes
    }

    /// A segment of as many rows that has nothing but the filter of `hashes`.
    fn segment_of(hashes: &[u64], rows: u32, budget: &Budget) -> Arc<Segment> {
        let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
        let (geometry, bugs) = (Geometry::STANDARD, Bugs::NONE);
        let account = budget.account("test", Priority::Write);
        let small = Geometry { copy_buffer: 4096, ..geometry };
        let mut writer = SegmentWriter::create(&vfs, 1, &small, &account, bugs).unwrap();
        let mut builder = FilterBuilder::begin(rows, &mut writer, &account).unwrap().unwrap();
        hashes.iter().for_each(|&hash| builder.push(hash, &mut writer).unwrap());
        builder.finish(&mut writer).unwrap();
        let meta = writer.finish(rows).unwrap();
        let windows = Windows::new(&account, &geometry, Bytes::mib(4));
        Segment::open(&vfs, &meta, Io::Map, &windows, &account, bugs).unwrap()
    }

    /// Of how many hashes is it said that they may be there?
    fn let_through(of: &[u64], segment: &Arc<Segment>, budget: &Budget) -> usize {
        let filters = Filters::new(budget);
        let filter = KeyFilter::of(segment).unwrap();
        // Until it is read.
        while of.iter().all(|&hash| filters.may_hold(hash, &filter, segment))
            && filter.parts.read().unwrap().is_none()
        {}
        of.iter().filter(|&&hash| filters.may_hold(hash, &filter, segment)).count()
    }

    #[test]
    fn no_key_is_denied_and_few_absent_ones_get_through_also_with_many_parts() {
        for count in [1, 2, 1000, PART_ROWS - 1, PART_ROWS, PART_ROWS + 1, 200_000] {
            let budget = Budget::new(Bytes::mib(64));
            let there = hashes(count, 1);
            let segment = segment_of(&there, count as u32, &budget);
            assert_eq!(let_through(&there, &segment, &budget), there.len(), "{count}");
            let through = let_through(&hashes(100_000, 2), &segment, &budget);
            assert!(through < 450, "{through} of 100,000 at {count}");
            let bytes = segment.section(FILTER).unwrap().len;
            assert!(bytes * 8 <= count * 12 + 1000, "{bytes} bytes for {count}");
            let filter = KeyFilter::of(&segment).unwrap();
            let denies = filter.check(&segment, &Filters::new(&budget)).unwrap();
            assert!(!there.iter().any(|&hash| denies(hash)));
        }
    }

    #[test]
    fn a_filter_of_other_keys_is_found_by_the_check() {
        let budget = Budget::new(Bytes::mib(64));
        let segment = segment_of(&hashes(1000, 1), 1000, &budget);
        let filter = KeyFilter::of(&segment).unwrap();
        let denies = filter.check(&segment, &Filters::new(&budget)).unwrap();
        assert!(hashes(1000, 2).into_iter().any(denies));
    }

    #[test]
    fn a_part_of_too_many_hashes_lets_everything_through_and_the_others_do_not() {
        let budget = Budget::new(Bytes::mib(64));
        let mut there: Vec<u64> = (0..MOST_HASHES as u64 + 1).collect();
        there.push(u64::MAX);
        let segment = segment_of(&there, there.len() as u32, &budget);
        assert_eq!(let_through(&there, &segment, &budget), there.len());
        let others = hashes(100_000, 2);
        let through = let_through(&others, &segment, &budget);
        let of_first = others.iter().filter(|&&hash| part_of(hash, 3) == 0).count();
        assert!((of_first..of_first + 450).contains(&through), "{through}, {of_first}");
    }

    #[test]
    fn what_there_is_no_room_to_build_is_left_out() {
        let there = hashes(100_000, 1);
        // The hashes of a part fit, its filter does not.
        let budget = Budget::new(Bytes::kib(200));
        let segment = segment_of(&there, 100_000, &budget);
        assert_eq!(segment.section(FILTER).unwrap().len, 13 * 4);
        assert_eq!(let_through(&there, &segment, &budget), there.len());
        assert_eq!(let_through(&hashes(1000, 2), &segment, &budget), 1000);
    }

    #[test]
    fn a_section_of_any_other_bytes_is_damage_and_denies_nothing() {
        let budget = Budget::new(Bytes::mib(64));
        let account = budget.account("test", Priority::Write);
        let vfs: Arc<dyn Vfs> = Arc::new(SimFs::new());
        for (id, bytes) in [&[][..], &[0; 3], &[1; 4], &[0; 5], &[0xff; 64]].into_iter().enumerate()
        {
            let id = id as u64 + 1;
            let (geometry, bugs) = (Geometry::SMALL, Bugs::NONE);
            let mut writer = SegmentWriter::create(&vfs, id, &geometry, &account, bugs).unwrap();
            writer.begin(FILTER, 0).unwrap();
            writer.write(bytes).unwrap();
            writer.end().unwrap();
            let meta = writer.finish(10).unwrap();
            let windows = Windows::new(&account, &geometry, Bytes::mib(4));
            let segment = Segment::open(&vfs, &meta, Io::Map, &windows, &account, bugs).unwrap();
            let (filters, filter) = (Filters::new(&budget), KeyFilter::of(&segment).unwrap());
            assert!((0..10_000).all(|hash| filters.may_hold(hash, &filter, &segment)));
            let error = filter.check(&segment, &filters).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert_eq!(filters.account.used(), Bytes::ZERO);
        }
    }

    #[test]
    fn filters_stay_below_their_share_and_give_back_what_others_need() {
        let budget = Budget::new(Bytes::mib(4));
        let made = Budget::new(Bytes::mib(64));
        let segments: Vec<_> =
            (0..6).map(|n| segment_of(&hashes(100_000, n), 100_000, &made)).collect();
        let filters = Filters::new(&budget);
        let open: Vec<_> = segments.iter().map(|segment| KeyFilter::of(segment).unwrap()).collect();
        let ask = || {
            for (number, (filter, segment)) in open.iter().zip(&segments).enumerate() {
                let there = hashes(100_000, number as u64);
                assert!(there.iter().all(|&hash| filters.may_hold(hash, filter, segment)));
            }
            open.iter().filter(|filter| filter.parts.read().unwrap().is_some()).count()
        };
        assert_eq!(ask(), 4, "an eighth of 4 MiB has room for four of 126 KiB");
        let share = budget.limit().get() / SHARE;
        assert!(filters.account.used().get() <= share);
        let other = budget.account("other", Priority::Write);
        let most = other.reserve(budget.limit().saturating_sub(Bytes::kib(300))).unwrap();
        assert!(filters.account.used() <= Bytes::kib(300));
        assert!(ask() < 4, "without a filter the answer is the same");
        drop(most);
        assert_eq!(ask(), 4, "it comes back when there is room");
        drop((open, filters));
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}
