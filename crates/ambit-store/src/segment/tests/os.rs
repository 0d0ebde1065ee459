//! On a real directory: the kernel's resident pages follow the charge.

use ambit_mem::{Budget, Bytes, Priority, Reclaimer as _};

use super::{BOTH, noise};
use crate::bugs::Bugs;
use crate::geometry::Geometry;
use crate::segment::{Io, Segment, SegmentWriter, Windows, segment_name};
use crate::sync::Arc;
use crate::vfs::{OsFs, Vfs};

const LEN: usize = 24 << 20;

/// Resident bytes of this process's mappings of files whose path ends in `name`; `None` where the kernel
/// does not tell.
fn resident(name: &str) -> Option<u64> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    let mut inside = false;
    let mut found = None;
    for line in smaps.lines() {
        if line.split_whitespace().next().is_some_and(|first| !first.ends_with(':')) {
            inside = line.contains(name);
        } else if let Some(rest) = line.strip_prefix("Rss:").filter(|_| inside) {
            let kib: u64 = rest.trim().trim_end_matches(" kB").parse().ok()?;
            found = Some(found.unwrap_or(0) + kib * 1024);
        }
    }
    found
}

#[test]
fn resident_pages_of_a_real_file_never_exceed_the_charge_and_go_down_on_release() {
    let directory = tempfile::tempdir().unwrap();
    let vfs: Arc<dyn Vfs> = Arc::new(OsFs::open(directory.path()).unwrap());
    let budget = Budget::new(Bytes::mib(16));
    let account = budget.account("segments", Priority::Query);
    let map = budget.account("map", Priority::Cache);
    let geometry = Geometry::STANDARD;
    let windows = Windows::new(&map, &geometry, Bytes::mib(8));
    let content = noise(LEN, 4);
    let mut writer = SegmentWriter::create(&vfs, 1, &geometry, &account, Bugs::NONE).unwrap();
    writer.begin("a", 64).unwrap();
    writer.write(&content).unwrap();
    writer.end().unwrap();
    let meta = writer.finish(1).unwrap();
    let file = directory.path().join(segment_name(1)).display().to_string();

    for io in BOTH {
        let segment = Segment::open(&vfs, &meta, io, &windows, &account, Bugs::NONE).unwrap();
        let section = segment.section("a").unwrap();
        let mut most = 0;
        for pass in 0..2 {
            for from in (0..LEN).step_by(1 << 20) {
                let view = segment.read(section, from as u64..(from + (1 << 20)) as u64).unwrap();
                assert!(*view == content[from..from + (1 << 20)], "pass {pass}, {from}");
                assert_eq!(view.as_ptr().align_offset(64), 0);
                if let Some(resident) = resident(&file) {
                    assert!(resident <= windows.charged().get(), "pass {pass}, {from}");
                    most = most.max(resident);
                }
            }
        }
        if io == Io::Map {
            assert!(windows.charged() <= Bytes::mib(8) && windows.charged() >= Bytes::mib(6));
            let Some(before) = resident(&file) else {
                continue;
            };
            assert!(before >= 4 << 20 && most <= 8 << 20, "{before} {most}");
            windows.shed(Bytes::mib(4));
            assert!(resident(&file).unwrap_or(0) <= before - (2 << 20));
            windows.shed(Bytes::mib(64));
            assert_eq!(resident(&file), Some(0));
            assert_eq!(windows.charged(), Bytes::ZERO);
        }
    }
}

#[test]
fn a_point_read_brings_in_no_more_than_the_window_that_it_charged() {
    let directory = tempfile::tempdir().unwrap();
    let vfs: Arc<dyn Vfs> = Arc::new(OsFs::open(directory.path()).unwrap());
    let budget = Budget::new(Bytes::mib(16));
    let account = budget.account("segments", Priority::Query);
    let geometry = Geometry::STANDARD;
    let windows = Windows::new(&account, &geometry, Bytes::mib(8));
    let mut writer = SegmentWriter::create(&vfs, 1, &geometry, &account, Bugs::NONE).unwrap();
    writer.begin("a", 64).unwrap();
    writer.write(&noise(8 << 20, 4)).unwrap();
    writer.end().unwrap();
    let meta = writer.finish(1).unwrap();
    let segment = Segment::open(&vfs, &meta, Io::Map, &windows, &account, Bugs::NONE).unwrap();
    let section = segment.section("a").unwrap();
    segment.read(section, 5 << 20..(5 << 20) + 64).unwrap();
    assert_eq!(windows.charged(), Bytes::of(geometry.window));
    let file = directory.path().join(segment_name(1)).display().to_string();
    if let Some(resident) = resident(&file) {
        assert!(resident > 0 && resident <= geometry.window as u64, "{resident}");
    }
}

#[test]
fn an_unlinked_segment_stays_readable_until_it_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let vfs: Arc<dyn Vfs> = Arc::new(OsFs::open(directory.path()).unwrap());
    let account = Budget::new(Bytes::mib(16)).account("all", Priority::Query);
    let geometry = Geometry::SMALL;
    let windows = Windows::new(&account, &geometry, Bytes::mib(1));
    let content = noise(100_000, 4);
    let mut writer = SegmentWriter::create(&vfs, 1, &geometry, &account, Bugs::NONE).unwrap();
    writer.begin("a", 0).unwrap();
    writer.write(&content).unwrap();
    writer.end().unwrap();
    let meta = writer.finish(1).unwrap();
    for io in BOTH {
        let segment = Segment::open(&vfs, &meta, io, &windows, &account, Bugs::NONE);
        if io == Io::Pread {
            let error = segment.unwrap_err();
            assert_eq!(
                error.io_error().map(std::io::Error::kind),
                Some(std::io::ErrorKind::NotFound)
            );
            continue;
        }
        let segment = segment.unwrap();
        vfs.unlink(&segment_name(1)).unwrap();
        let section = segment.section("a").unwrap();
        assert_eq!(&*segment.read(section, 0..section.len).unwrap(), content);
        segment.scrub(&mut |_| true).unwrap();
    }
}
