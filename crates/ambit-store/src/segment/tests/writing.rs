//! The writer's duties: order of calls, limits, and nothing left behind.

use std::collections::BTreeSet;

use ambit_mem::Bytes;

use super::{Bench, noise};
use crate::bugs::Bugs;
use crate::error::ErrorKind;
use crate::geometry::Geometry;
use crate::limits::{MAX_SECTION_NAME, MAX_SECTIONS, MAX_SEGMENT_ROWS};
use crate::segment::SegmentWriter;
use crate::sync::Arc;
use crate::vfs::{Crash, Fault, FaultFs, FaultMode, Vfs};

#[test]
fn a_dropped_writer_takes_its_temporary_file_with_it() {
    let bench = Bench::roomy();
    let mut writer = bench.writer(5);
    writer.begin("a", 0).unwrap();
    writer.write(&noise(100_000, 1)).unwrap();
    assert_eq!(bench.vfs.list().unwrap(), ["tmp-00000005"]);
    drop(writer);
    assert_eq!(bench.vfs.list().unwrap(), [""; 0]);
    assert_eq!(bench.budget.used(), Bytes::ZERO);
}

#[test]
fn a_finished_segment_survives_power_loss_at_the_next_instant() {
    let bench = Bench::roomy();
    let meta = bench.write(5, &[("a", 0, &noise(30_000, 1))]);
    assert!(bench.disk.is_settled());
    let names: BTreeSet<String> = bench.vfs.list().unwrap().into_iter().collect();
    assert_eq!(names, BTreeSet::from(["segment-00000005".to_owned()]));
    assert_eq!(bench.bytes(&meta).len() as u64, meta.len);
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn the_planted_faults_of_the_writer_leave_it_unsettled() {
    use crate::bugs::SeededBug;
    for bug in [SeededBug::SkipSegmentSync, SeededBug::SkipDirectorySync] {
        let bench = Bench::roomy();
        let (geometry, bugs) = (Geometry::SMALL, Bugs::plant(bug));
        let mut writer =
            SegmentWriter::create(&bench.vfs, 1, &geometry, &bench.account, bugs).unwrap();
        writer.begin("a", 0).unwrap();
        writer.write(&noise(9000, 1)).unwrap();
        writer.end().unwrap();
        writer.finish(1).unwrap();
        assert!(!bench.disk.is_settled(), "{bug:?}");
    }
}

#[test]
fn every_failing_call_is_an_error_and_leaves_no_charge() {
    let attempt = |bench: &Bench, vfs: &Arc<dyn Vfs>| {
        let mut writer =
            SegmentWriter::create(vfs, 1, &Geometry::SMALL, &bench.account, Bugs::NONE)?;
        writer.begin("a", 0)?;
        writer.write(&noise(20_000, 1))?;
        writer.end()?;
        writer.finish(1)
    };
    let count = {
        let bench = Bench::roomy();
        let fault = FaultFs::over(&bench.disk);
        let vfs: Arc<dyn Vfs> = Arc::new(fault.clone());
        attempt(&bench, &vfs).unwrap();
        fault.calls()
    };
    for fault in Fault::ALL {
        for mode in [FaultMode::Once, FaultMode::Sticky] {
            for call in 0..count {
                let bench = Bench::roomy();
                let faulty = FaultFs::over(&bench.disk);
                let vfs: Arc<dyn Vfs> = Arc::new(faulty.clone());
                faulty.arm(call, fault, mode);
                let outcome = attempt(&bench, &vfs);
                let struck = faulty.struck() > 0;
                match fault {
                    Fault::ShortWrite | Fault::ShortRead => assert!(outcome.is_ok()),
                    // Absorbed by reads and writes; an interrupted sync is an error.
                    Fault::Eintr => assert!(struck || outcome.is_ok()),
                    _ => assert_eq!(outcome.is_err(), struck, "{fault:?} {mode:?} at {call}"),
                }
                if let Ok(meta) = outcome {
                    let segment = bench.open(&meta, crate::segment::Io::Pread).unwrap();
                    segment.scrub(&mut |_| true).unwrap();
                }
                assert_eq!(bench.budget.used(), Bytes::ZERO);
            }
        }
    }
}

#[test]
fn a_crash_at_any_call_leaves_no_segment_or_a_whole_one() {
    let bench = Bench::roomy();
    bench.disk.record();
    let meta = bench.write(4, &[("a", 0, &noise(20_000, 1)), ("b", 4, &noise(4000, 2))]);
    for moment in bench.disk.moments() {
        for seed in 0..20 {
            let after = moment.crash(Crash::Power(seed));
            let Some(bytes) = after.peek("segment-00000004") else {
                continue;
            };
            let again = Bench::roomy();
            again.plant(&meta, &bytes);
            let segment = again.open(&meta, crate::segment::Io::Map).unwrap();
            segment.scrub(&mut |_| true).unwrap();
        }
    }
}

#[test]
fn misuse_is_refused_by_name() {
    let bench = Bench::roomy();
    let mut writer = bench.writer(1);
    let invalid = |result: Result<(), crate::StoreError>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Invalid);
    };
    invalid(writer.write(b"x"));
    invalid(writer.end());
    invalid(writer.begin("", 1));
    writer.begin("a", 8).unwrap();
    invalid(writer.begin("b", 1));
    writer.write(b"1234567").unwrap();
    invalid(writer.end());
    writer.write(b"8").unwrap();
    writer.end().unwrap();
    invalid(writer.begin("a", 1));
    writer.begin("open", 1).unwrap();
    assert_eq!(writer.finish(1).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(bench.vfs.list().unwrap(), [""; 0]);

    let mut odd = Geometry::SMALL;
    odd.block = 5000;
    let refused = SegmentWriter::create(&bench.vfs, 2, &odd, &bench.account, Bugs::NONE);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn names_sections_and_rows_are_held_to_their_limits() {
    let bench = Bench::roomy();
    let mut writer = bench.writer(1);
    for (len, fits) in [(1, true), (MAX_SECTION_NAME, true), (MAX_SECTION_NAME + 1, false)] {
        let begun = writer.begin(&"n".repeat(len), 1);
        assert_eq!(begun.is_ok(), fits, "{len}");
        if fits {
            writer.end().unwrap();
        }
    }
    for number in 2..MAX_SECTIONS {
        writer.begin(&number.to_string(), 1).unwrap();
        writer.end().unwrap();
    }
    assert_eq!(writer.begin("one too many", 1).unwrap_err().kind(), ErrorKind::Invalid);
    let meta = writer.finish(MAX_SEGMENT_ROWS).unwrap();
    let segment = bench.open(&meta, crate::segment::Io::Map).unwrap();
    assert_eq!(segment.sections().len(), MAX_SECTIONS);
    assert_eq!(segment.rows(), MAX_SEGMENT_ROWS);
    assert_eq!(
        bench.writer(2).finish(MAX_SEGMENT_ROWS + 1).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}
