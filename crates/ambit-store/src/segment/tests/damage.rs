//! Whatever happens to the file, the answer is an error or the bytes that were written.

use proptest::prelude::*;

use super::{BOTH, Bench, noise, read_all};
use crate::error::ErrorKind;
use crate::log::SegmentMeta;
use crate::segment::Io;
use crate::segment::format::{FOOTER, HEADER};

/// Two sections over three blocks and a bit, with padding between them and at the end.
fn small(bench: &Bench) -> (SegmentMeta, Vec<u8>) {
    let meta = bench.write(6, &[("rows", 16, &noise(9008, 1)), ("text", 0, &noise(4001, 2))]);
    let bytes = bench.bytes(&meta);
    (meta, bytes)
}

/// Opens the damaged file, reads and scrubs it. `None`: nothing was noticed.
fn noticed(bench: &Bench, meta: &SegmentMeta, io: Io) -> [Option<ErrorKind>; 2] {
    match bench.open(meta, io) {
        Err(error) => [Some(error.kind()); 2],
        Ok(segment) => [
            read_all(&segment).err().map(|error| error.kind()),
            segment.scrub(&mut |_| true).err().map(|error| error.kind()),
        ],
    }
}

#[test]
fn every_flipped_byte_is_found_by_reading_and_by_scrub() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    let mut damaged = bytes.clone();
    for at in 0..bytes.len() {
        let flip = 1 << (at % 8);
        damaged[at] ^= flip;
        bench.plant(&meta, &damaged);
        for io in BOTH {
            let found = noticed(&bench, &meta, io);
            assert_eq!(found, [Some(ErrorKind::Corrupt); 2], "byte {at}, {io:?}");
        }
        damaged[at] ^= flip;
    }
    bench.plant(&meta, &damaged);
    assert_eq!(noticed(&bench, &meta, Io::Map), [None; 2]);
}

#[test]
fn every_flipped_bit_of_header_tables_and_footer_is_found_on_open() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    let data_end = bench.open(&meta, Io::Pread).unwrap().layout.data_end as usize;
    for at in (0..HEADER).chain(data_end..bytes.len()) {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            bench.plant(&meta, &damaged);
            let error = bench.open(&meta, Io::Map).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "bit {bit} of byte {at}: {error}");
        }
    }
}

#[test]
fn every_shorter_and_some_longer_files_are_refused_before_they_are_mapped() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    for len in (0..bytes.len()).chain(bytes.len() + 1..bytes.len() + 200) {
        let mut other = bytes.clone();
        other.resize(len, 0);
        bench.plant(&meta, &other);
        for io in BOTH {
            let error = bench.open(&meta, io).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{len} bytes: {error}");
        }
        // Even where the manifest agrees with the length.
        let lying = SegmentMeta { len: len as u64, ..meta };
        assert_eq!(bench.open(&lying, Io::Map).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn blocks_in_each_others_place_are_found() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    let block = 4096;
    for (a, b) in [(1, 2), (0, 1), (0, 2)] {
        let mut swapped = bytes.clone();
        swapped[a * block..(a + 1) * block].copy_from_slice(&bytes[b * block..(b + 1) * block]);
        swapped[b * block..(b + 1) * block].copy_from_slice(&bytes[a * block..(a + 1) * block]);
        bench.plant(&meta, &swapped);
        assert_eq!(noticed(&bench, &meta, Io::Map), [Some(ErrorKind::Corrupt); 2]);
        assert_eq!(noticed(&bench, &meta, Io::Pread), [Some(ErrorKind::Corrupt); 2]);
    }
}

#[test]
fn equal_blocks_have_different_checksums_in_different_places_and_files() {
    let bench = Bench::roomy();
    let same = vec![7; 3 * 4096];
    let first = bench.write(1, &[("a", 0, &same)]);
    let second = bench.write(2, &[("a", 0, &same)]);
    let sums = [first, second].map(|meta| {
        let layout = bench.open(&meta, Io::Map).unwrap().layout;
        let table = (layout.data_end + layout.sections_len) as usize;
        bench.bytes(&meta)[table + 4..table + 12].to_vec()
    });
    let all: std::collections::BTreeSet<&[u8]> =
        sums.iter().flat_map(|sums| sums.chunks(4)).collect();
    assert_eq!(all.len(), 4);
}

#[test]
fn zeroed_and_older_blocks_are_found() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    let older = bench.write(66, &[("rows", 16, &noise(9008, 9)), ("text", 0, &noise(4001, 8))]);
    let older = bench.bytes(&older);
    for block in 0..3 {
        let range = block * 4096..(block + 1) * 4096;
        for other in [&vec![0; 4096], &older[range.clone()].to_vec()] {
            let mut damaged = bytes.clone();
            damaged[range.clone()].copy_from_slice(other);
            bench.plant(&meta, &damaged);
            assert_eq!(noticed(&bench, &meta, Io::Map), [Some(ErrorKind::Corrupt); 2]);
        }
    }
}

#[test]
fn another_segment_under_our_name_is_refused() {
    let bench = Bench::roomy();
    let content = noise(9000, 1);
    let ours = bench.write(1, &[("a", 0, &content)]);
    let other_id = bench.write(2, &[("a", 0, &content)]);
    let other_content = {
        let again = Bench::roomy();
        let meta = again.write(1, &[("a", 0, &noise(9000, 2))]);
        again.bytes(&meta)
    };
    for foreign in [bench.bytes(&other_id), other_content] {
        bench.plant(&ours, &foreign);
        for io in BOTH {
            assert_eq!(bench.open(&ours, io).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}

#[test]
fn a_newer_format_is_called_newer_and_not_corrupt() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    for (at, what) in [(8, "version"), (16, "feature"), (23, "feature")] {
        let mut newer = bytes.clone();
        newer[at] ^= 0x40;
        let crc = crc32c::crc32c(&newer[..HEADER - 4]);
        newer[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
        bench.plant(&meta, &newer);
        let error = bench.open(&meta, Io::Map).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat, "{what}: {error}");
    }
}

#[test]
fn damage_after_the_first_touch_is_found_by_scrub() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    let segment = bench.open(&meta, Io::Map).unwrap();
    read_all(&segment).unwrap();
    drop(segment);
    let mut damaged = bytes;
    damaged[5000] ^= 1;
    bench.plant(&meta, &damaged);
    let segment = bench.open(&meta, Io::Map).unwrap();
    let error = segment.scrub(&mut |_| true).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("segment-00000006 at byte 4096"), "{error}");
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn the_planted_fault_of_the_reader_lets_damage_through() {
    use crate::bugs::{Bugs, SeededBug};
    use crate::segment::Segment;
    let bench = Bench::roomy();
    let (meta, mut bytes) = small(&bench);
    bytes[5000] ^= 1;
    bench.plant(&meta, &bytes);
    let bugs = Bugs::plant(SeededBug::SkipBlockChecksum);
    for io in BOTH {
        let segment =
            Segment::open(&bench.vfs, &meta, io, &bench.windows, &bench.account, bugs).unwrap();
        read_all(&segment).unwrap();
    }
}

/// Rewrites the checksums of footer and tables, and the manifest's record of them, so that only
/// what the numbers say can give the damage away.
fn reseal(bytes: &mut [u8], meta: &SegmentMeta) -> SegmentMeta {
    let footer = bytes.len() - FOOTER;
    let field = |bytes: &[u8], at: usize| {
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[footer + at..footer + at + 8]);
        u64::from_le_bytes(number)
    };
    let (data_end, sections) = (field(bytes, 40), field(bytes, 48));
    let tables = usize::try_from(data_end)
        .ok()
        .zip(usize::try_from(sections).ok())
        .and_then(|(start, len)| Some((start, start.checked_add(len)?)))
        .filter(|&(start, end)| start <= end && end <= footer);
    if let Some((start, middle)) = tables {
        let crcs = [crc32c::crc32c(&bytes[start..middle]), crc32c::crc32c(&bytes[middle..footer])];
        bytes[footer + 72..footer + 76].copy_from_slice(&crcs[0].to_le_bytes());
        bytes[footer + 76..footer + 80].copy_from_slice(&crcs[1].to_le_bytes());
    }
    let crc = crc32c::crc32c(&bytes[footer..bytes.len() - 4]);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&crc.to_le_bytes());
    SegmentMeta { footer_crc: crc, ..*meta }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn hostile_tables_and_footers_never_panic_or_read_out_of_bounds(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<u64>(), 0u8..4), 1..6),
    ) {
        let bench = Bench::roomy();
        let (meta, mut bytes) = small(&bench);
        let data_end = bench.open(&meta, Io::Pread).unwrap().layout.data_end as usize;
        let len = bytes.len();
        for (at, byte, number, how) in &edits {
            let at = data_end + at.index(len - data_end);
            match how {
                0 => bytes[at] = *byte,
                1 => bytes[at] = bytes[at].wrapping_add(1),
                2 => {
                    let at = at.min(len - 8);
                    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
                }
                _ => {
                    let at = at.min(len - 8) / 8 * 8;
                    bytes[at..at + 8].copy_from_slice(&(number >> (byte % 64)).to_le_bytes());
                }
            }
        }
        let meta = reseal(&mut bytes, &meta);
        bench.plant(&meta, &bytes);
        for io in BOTH {
            if let Ok(segment) = bench.open(&meta, io) {
                for (_, section) in segment.sections() {
                    prop_assert!(section.offset + section.len <= meta.len);
                }
                let _ = read_all(&segment);
                let _ = segment.scrub(&mut |_| true);
            }
        }
    }

    #[test]
    fn any_bytes_at_all_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let bench = Bench::roomy();
        let meta = SegmentMeta { id: 6, len: bytes.len() as u64, footer_crc: 0, rows: 7 };
        bench.plant(&meta, &bytes);
        prop_assert_eq!(bench.open(&meta, Io::Map).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn sections_that_overlap_or_leave_a_hole_are_refused() {
    let bench = Bench::roomy();
    let (meta, bytes) = small(&bench);
    let layout = bench.open(&meta, Io::Pread).unwrap().layout;
    let table = layout.data_end as usize;
    // Entry: name length, "rows", offset, length, stride.
    let (offset, len) = (table + 4 + 4, table + 4 + 4 + 8);
    for (at, value) in [
        (offset, 0),
        (offset, 128),
        (offset, u64::MAX - 63),
        (len, 9008 - 1),
        (len, 9008 + 64),
        (len, 8944 - 64),
        (len, u64::MAX),
        (len, u64::MAX - 64),
    ] {
        let mut hostile = bytes.clone();
        hostile[at..at + 8].copy_from_slice(&u64::to_le_bytes(value));
        let meta = reseal(&mut hostile, &meta);
        bench.plant(&meta, &hostile);
        let error = bench.open(&meta, Io::Map).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{value} at {at}: {error}");
    }
    // Two sections of one name.
    let mut hostile = bytes.clone();
    let second = table + 4 + 4 + 8 + 8 + 4 + 4;
    hostile[second..second + 4].copy_from_slice(b"rows");
    let meta = reseal(&mut hostile, &meta);
    bench.plant(&meta, &hostile);
    let error = bench.open(&meta, Io::Map).unwrap_err();
    assert!(error.to_string().contains("two sections are named rows"), "{error}");
}
