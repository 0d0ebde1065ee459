//! What is written comes back, both ways of reading, any geometry of sections.

use ambit_mem::Bytes;
use proptest::prelude::*;

use super::{BOTH, Bench, noise, read_all};
use crate::error::ErrorKind;
use crate::segment::{Io, Section};

#[test]
fn sections_come_back_byte_for_byte_by_map_and_by_pread() {
    let bench = Bench::roomy();
    let (rows, text) = (noise(40 * 1536, 1), noise(10_001, 2));
    let meta = bench.write(3, &[("rows", 1536, &rows), ("text", 0, &text), ("none", 4, &[])]);
    for io in BOTH {
        let segment = bench.open(&meta, io).unwrap();
        assert_eq!((segment.id(), segment.rows()), (3, 7));
        let names: Vec<&str> = segment.sections().map(|(name, _)| name).collect();
        assert_eq!(names, ["rows", "text", "none"]);
        let all = read_all(&segment).unwrap();
        assert_eq!(all[0].1, rows);
        assert_eq!(all[1].1, text);
        assert!(all[2].1.is_empty());
        assert_eq!(segment.section("rows").unwrap().stride, 1536);
        assert_eq!(segment.section("absent"), None);
        let mut seen = 0;
        let mut count = |bytes| {
            seen += bytes;
            true
        };
        segment.scrub(&mut count).unwrap();
        assert_eq!(seen, meta.len);
    }
}

#[test]
fn an_empty_segment_opens_and_scrubs() {
    let bench = Bench::roomy();
    let meta = bench.writer(1).finish(0).unwrap();
    for io in BOTH {
        let segment = bench.open(&meta, io).unwrap();
        assert_eq!(segment.sections().len(), 0);
        segment.scrub(&mut |_| true).unwrap();
    }
}

#[test]
fn sections_begin_at_multiples_of_64_and_views_cast_to_numbers() {
    let bench = Bench::roomy();
    let numbers: Vec<f32> = (0..5000).map(|i| i as f32 * 0.5).collect();
    let odd = noise(13, 5);
    let meta = bench.write(9, &[("odd", 0, &odd), ("f32", 8, bytemuck::cast_slice(&numbers))]);
    for io in BOTH {
        let segment = bench.open(&meta, io).unwrap();
        let section = segment.section("f32").unwrap();
        assert_eq!(section.offset % 64, 0);
        let whole = segment.read(section, 0..section.len).unwrap();
        if io == Io::Pread {
            assert_eq!(whole.as_ptr().align_offset(64), 0);
        }
        assert_eq!(whole.as_f32().unwrap(), numbers);
        let row = segment.read(section, 8..16).unwrap();
        assert_eq!(row.as_f32().unwrap(), &numbers[2..4]);
        assert_eq!(row.as_u64().unwrap().len(), 1);
        let bits: Vec<u32> = numbers[2..4].iter().map(|x| x.to_bits()).collect();
        assert_eq!(row.as_u32().unwrap(), bits);

        let crooked = segment.read(section, 1..9).unwrap();
        assert_eq!(crooked.as_f32().unwrap_err().kind(), ErrorKind::Invalid);
        let partial = segment.read(section, 0..7).unwrap();
        assert_eq!(partial.as_f32().unwrap_err().kind(), ErrorKind::Invalid);
        let half = segment.read(section, 4..12).unwrap();
        assert_eq!(half.as_u64().unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[test]
fn a_range_past_the_end_of_its_section_is_refused() {
    let bench = Bench::roomy();
    let meta = bench.write(2, &[("a", 0, &noise(5000, 1)), ("b", 0, &noise(5000, 2))]);
    for io in BOTH {
        let segment = bench.open(&meta, io).unwrap();
        let a = segment.section("a").unwrap();
        assert_eq!(segment.read(a, 5000..5000).unwrap().len(), 0);
        for range in [(0, 5001), (5001, 5001), (4, 3), (u64::MAX, u64::MAX), (0, u64::MAX)] {
            let error = segment.read(a, range.0..range.1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{range:?}");
        }
        for made_up in [
            Section { offset: u64::MAX - 3, len: 100, stride: 0 },
            Section { offset: 0, len: u64::MAX, stride: 0 },
            Section { offset: meta.len, len: 1, stride: 0 },
        ] {
            let error = segment.read(made_up, 0..made_up.len).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{made_up:?}");
        }
    }
}

#[test]
fn a_scrub_stops_when_it_is_told_to() {
    let bench = Bench::roomy();
    let meta = bench.write(2, &[("a", 0, &noise(600_000, 1))]);
    let segment = bench.open(&meta, Io::Map).unwrap();
    let mut steps = 0;
    let error = segment
        .scrub(&mut |_| {
            steps += 1;
            steps < 2
        })
        .unwrap_err();
    assert_eq!((error.kind(), steps), (ErrorKind::Interrupted, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_sections_and_any_reads_are_the_same_by_map_and_by_pread(
        lens in prop::collection::vec(0usize..20_000, 0..6),
        reads in prop::collection::vec((any::<prop::sample::Index>(), 0u64..20_000, 0u64..20_000), 0..20),
        pieces in 1usize..5000,
    ) {
        let bench = Bench::roomy();
        let mut writer = bench.writer(11);
        let contents: Vec<Vec<u8>> =
            lens.iter().enumerate().map(|(i, len)| noise(*len, i as u64)).collect();
        for (number, content) in contents.iter().enumerate() {
            writer.begin(&format!("s{number}"), 1).unwrap();
            for piece in content.chunks(pieces) {
                writer.write(piece).unwrap();
            }
            writer.end().unwrap();
        }
        let meta = writer.finish(1).unwrap();
        for io in BOTH {
            let segment = bench.open(&meta, io).unwrap();
            for (which, a, b) in &reads {
                if contents.is_empty() {
                    break;
                }
                let number = which.index(contents.len());
                let content = &contents[number];
                let section = segment.section(&format!("s{number}")).unwrap();
                let (from, to) = (*a.min(b), *a.max(b));
                let read = segment.read(section, from..to);
                match content.get(from as usize..to as usize) {
                    Some(expected) => prop_assert_eq!(&*read.unwrap(), expected),
                    None => prop_assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid),
                }
            }
        }
        drop(bench.windows);
        prop_assert_eq!(bench.budget.used(), Bytes::ZERO);
    }
}
