//! A file of each format version is kept, and every later version opens it.

use super::{BOTH, Bench, noise, read_all};
use crate::log::SegmentMeta;

const VERSION_1: &[u8] = include_bytes!("../../../tests/golden/segment-v1.bin");

fn content() -> Vec<(&'static str, u32, Vec<u8>)> {
    let numbers: Vec<u8> = (0..600u32).flat_map(|i| (i as f32).to_le_bytes()).collect();
    vec![("key.bytes", 0, noise(777, 1)), ("c0.data", 48, numbers), ("empty", 8, Vec::new())]
}

#[test]
fn the_golden_file_of_version_1_opens_and_reads_as_it_was_written() {
    let bench = Bench::roomy();
    let footer_crc: [u8; 4] = *VERSION_1.last_chunk().unwrap();
    let meta = SegmentMeta {
        id: 42,
        len: VERSION_1.len() as u64,
        footer_crc: u32::from_le_bytes(footer_crc),
        rows: 7,
    };
    bench.plant(&meta, VERSION_1);
    for io in BOTH {
        let segment = bench.open(&meta, io).unwrap();
        segment.scrub(&mut |_| true).unwrap();
        let expected: Vec<(String, Vec<u8>)> =
            content().into_iter().map(|(name, _, bytes)| (name.to_owned(), bytes)).collect();
        assert_eq!(read_all(&segment).unwrap(), expected);
        assert_eq!(segment.section("c0.data").unwrap().stride, 48);
    }
}

#[test]
fn this_version_writes_version_1_byte_for_byte() {
    let bench = Bench::roomy();
    let content = content();
    let sections: Vec<(&str, u32, &[u8])> =
        content.iter().map(|(name, stride, bytes)| (*name, *stride, bytes.as_slice())).collect();
    let meta = bench.write(42, &sections);
    assert!(bench.bytes(&meta) == VERSION_1, "the format changed: raise FORMAT_VERSION");
}
