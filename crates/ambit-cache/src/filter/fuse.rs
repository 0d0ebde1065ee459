//! A filter for keys that are all known: 9 bits a key, 0.4 % of absent keys let through.
//!
//! Binary fuse filters (Graf and Lemire, 2022), as `xorf` builds and asks them. Keys are hashes of
//! 64 bits. What is read back is checked until no question can go wrong: checksum, then the
//! geometry that questions rely on.

use ambit_mem::{Account, Bytes, Reservation};
use xorf::{BinaryFuse8, DmaSerializable, Filter as _};

use super::FilterError;
use super::frame::{self, corrupt};

const KIND: [u8; 4] = *b"ABF1";
/// Bytes for each key while a filter is built: the sorted keys, and what `xorf` works with.
const SCRATCH: u64 = 32;

/// A filter for a fixed set of keys.
///
/// ```
/// use ambit_cache::filter::FuseFilter;
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("filters", Priority::Query);
/// let filter = FuseFilter::build(&[3, 7, 7, 11], &account)?;
/// assert!(filter.contains(7));
/// let mut bytes = Vec::new();
/// filter.write_to(&mut bytes);
/// assert!(FuseFilter::read_from(&bytes, &account)?.contains(11));
/// # Ok::<(), ambit_cache::filter::FilterError>(())
/// ```
#[derive(Debug)]
pub struct FuseFilter {
    filter: BinaryFuse8,
    _held: Reservation,
}

impl FuseFilter {
    /// A filter for these keys, in any order, some perhaps twice.
    ///
    /// # Errors
    /// [`FilterError`], where the bytes do not fit: 9 bits a key, and 32 bytes a key while it is
    /// built.
    pub fn build(keys: &[u64], account: &Account) -> Result<Self, FilterError> {
        let scratch = account.reserve(Bytes::new(SCRATCH * keys.len() as u64))?;
        let mut sorted = keys.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let filter = BinaryFuse8::try_from_iterator(sorted.iter().copied())
            .map_err(|_| FilterError::NotBuilt { keys: sorted.len() })?;
        drop(sorted);
        let held = account.reserve(Bytes::of(filter.fingerprints.len()))?;
        drop(scratch);
        Ok(Self { filter, _held: held })
    }

    /// May the key be there? Never false for one that is.
    #[inline]
    pub fn contains(&self, key: u64) -> bool {
        self.filter.contains(&key)
    }

    /// Bytes that it holds.
    pub fn footprint(&self) -> Bytes {
        Bytes::of(self.filter.fingerprints.len())
    }

    /// Appends it, with a checksum.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let mut descriptor = [0; BinaryFuse8::DESCRIPTOR_LEN];
        self.filter.dma_copy_descriptor_to(&mut descriptor);
        frame::write(KIND, &[&descriptor, &self.filter.fingerprints], out);
    }

    /// Bytes that [`Self::write_to`] appends.
    pub fn encoded_len(&self) -> usize {
        frame::len(BinaryFuse8::DESCRIPTOR_LEN + self.filter.fingerprints.len())
    }

    /// The filter that was written down as exactly these bytes.
    ///
    /// # Errors
    /// [`FilterError::Corrupt`] for anything else, [`FilterError::OverBudget`] where it does not fit.
    pub fn read_from(bytes: &[u8], account: &Account) -> Result<Self, FilterError> {
        let body = frame::read(KIND, bytes)?;
        let Some((descriptor, fingerprints)) =
            body.split_first_chunk::<{ BinaryFuse8::DESCRIPTOR_LEN }>()
        else {
            let least = BinaryFuse8::DESCRIPTOR_LEN as u64;
            return Err(corrupt("length of the body", least, body.len() as u64));
        };
        let held = account.reserve(Bytes::of(fingerprints.len()))?;
        let word = |at: usize| {
            u32::from_le_bytes([
                descriptor[at],
                descriptor[at + 1],
                descriptor[at + 2],
                descriptor[at + 3],
            ])
        };
        let (segment, mask, segments) = (word(8), word(12), word(16));
        if !segment.is_power_of_two() || segment > 1 << 18 {
            return Err(corrupt("length of a segment", 1 << 18, segment.into()));
        }
        if mask != segment - 1 {
            return Err(corrupt("mask", u64::from(segment) - 1, mask.into()));
        }
        let expected = u64::from(segments) + 2 * u64::from(segment);
        if expected != fingerprints.len() as u64 || segments % segment != 0 || segments == 0 {
            return Err(corrupt("fingerprints", expected, fingerprints.len() as u64));
        }
        let mut seed = [0; 8];
        seed.copy_from_slice(&descriptor[..8]);
        let mut filter = BinaryFuse8::try_from_iterator(std::iter::empty())
            .map_err(|_| FilterError::NotBuilt { keys: 0 })?;
        filter.descriptor.seed = u64::from_le_bytes(seed);
        filter.descriptor.segment_length = segment;
        filter.descriptor.segment_length_mask = mask;
        filter.descriptor.segment_count_length = segments;
        filter.fingerprints = fingerprints.into();
        Ok(Self { filter, _held: held })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use ambit_mem::{Budget, Priority};
    use proptest::prelude::*;

    use super::*;

    fn account(budget: &Budget) -> Account {
        budget.account("filters", Priority::Query)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 64 }))]

        #[test]
        fn no_key_is_missed_and_a_filter_reads_back_as_it_was(
            keys in prop::collection::vec(any::<u64>(), 0..2_000),
            others in prop::collection::vec(any::<u64>(), 100),
        ) {
            let budget = Budget::new(Bytes::mib(64));
            let filter = FuseFilter::build(&keys, &account(&budget)).unwrap();
            prop_assert!(keys.iter().all(|&key| filter.contains(key)));
            let mut bytes = Vec::new();
            filter.write_to(&mut bytes);
            prop_assert_eq!(bytes.len(), filter.encoded_len());
            let back = FuseFilter::read_from(&bytes, &account(&budget)).unwrap();
            for key in keys.iter().chain(&others) {
                prop_assert_eq!(back.contains(*key), filter.contains(*key));
            }
            drop((filter, back));
            prop_assert_eq!(budget.used(), Bytes::ZERO);
        }

        #[test]
        fn damaged_bytes_are_refused_and_never_panic(
            keys in prop::collection::vec(any::<u64>(), 1..200),
            at in any::<prop::sample::Index>(),
            flip in 1_u8..=255,
            cut in any::<prop::sample::Index>(),
        ) {
            let budget = Budget::new(Bytes::mib(64));
            let filter = FuseFilter::build(&keys, &account(&budget)).unwrap();
            let mut bytes = Vec::new();
            filter.write_to(&mut bytes);
            let cut = &bytes[..cut.index(bytes.len())];
            prop_assert!(FuseFilter::read_from(cut, &account(&budget)).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(FuseFilter::read_from(&bytes, &account(&budget)).is_err());
        }

        #[test]
        fn bytes_with_a_right_checksum_never_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
            let budget = Budget::new(Bytes::mib(64));
            let mut bytes = Vec::new();
            frame::write(KIND, &[&body], &mut bytes);
            if let Ok(filter) = FuseFilter::read_from(&bytes, &account(&budget)) {
                let asked = (0..100_u64).filter(|key| filter.contains((key << 57) | key));
                prop_assert!(asked.count() <= 100);
            }
        }
    }

    #[test]
    fn a_key_takes_nine_bits_and_one_absent_key_in_two_hundred_and_fifty_gets_through() {
        let budget = Budget::new(Bytes::mib(64));
        let key = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let keys: Vec<u64> = (0..200_000).map(key).collect();
        let filter = FuseFilter::build(&keys, &account(&budget)).unwrap();
        let bits = filter.footprint().get() as f64 * 8.0 / 200_000.0;
        let through = (1_000_000..1_200_000).filter(|&n| filter.contains(key(n))).count();
        assert!(bits < 9.6, "{bits} bits");
        assert!(through < 200_000 * 45 / 10_000, "{through} of 200,000");
    }

    #[test]
    fn what_does_not_fit_is_said_before_it_is_built() {
        let budget = Budget::new(Bytes::new(32 * 100 - 1));
        let account = budget.account("filters", Priority::Write);
        let keys: Vec<u64> = (0..100).collect();
        let error = FuseFilter::build(&keys, &account).unwrap_err();
        assert!(matches!(error, FilterError::OverBudget(_)));
        assert!(FuseFilter::build(&keys[..50], &account).is_ok());
    }
}
