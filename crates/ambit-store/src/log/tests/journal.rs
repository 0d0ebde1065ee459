//! What the writer's handle does in the ordinary course of things.

use super::*;
use crate::log::frame::MAGIC;

#[test]
fn frames_come_back_in_order_after_reopening() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for index in 0..40u8 {
        assert_eq!(
            write(&mut journal, &vec![index; 30 * usize::from(index)]),
            u64::from(index) + 1
        );
    }
    assert!(journal.state().logs.len() > 2);
    drop(journal);
    for _ in 0..3 {
        let found = recovered(&sim).unwrap();
        let frames = frames(&found).unwrap();
        assert_eq!((frames.len(), found.last_seq()), (40, 40));
        assert!(frames.iter().all(|(seq, p)| p == &vec![*seq as u8 - 1; 30 * (*seq as usize - 1)]));
        drop(reopen(&sim));
    }
}

#[test]
fn a_second_frame_waits_for_the_sync_of_the_first() {
    let mut journal = create(&SimFs::new());
    journal.append(b"one").unwrap();
    assert_eq!(journal.append(b"two").unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!(journal.durable_seq(), 0);
    journal.sync().unwrap();
    journal.sync().unwrap();
    assert_eq!((journal.durable_seq(), journal.append(b"two").unwrap()), (1, 2));
}

#[test]
fn sealed_logs_are_written_again_and_at_most_two_wait() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for round in 0..12u8 {
        for _ in 0..6 {
            write(&mut journal, &[round; 3000]);
        }
        journal.commit(&[seal(&journal)]).unwrap();
        assert_eq!(journal.state().logs.len(), 1);
        assert!(journal.state().free_logs.len() <= 2);
        let logs = sim.files().iter().filter(|(name, _)| name.starts_with("log-")).count();
        assert_eq!(logs, 1 + journal.state().free_logs.len());
    }
    assert!(journal.state().next_file < 30, "files are written again, not made anew");
    assert_eq!(frames(&recovered(&sim).unwrap()).unwrap().len(), 0);
}

#[test]
fn a_recycled_log_never_replays_what_it_held_before() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    // Every frame has one length, so old frames stand exactly where new ones would.
    for _ in 0..30 {
        write(&mut journal, &[9; 900]);
    }
    journal.commit(&[seal(&journal)]).unwrap();
    let mut expected = BTreeMap::new();
    for index in 0..12u8 {
        let seq = write(&mut journal, &[index; 900]);
        expected.insert(seq, vec![index; 900]);
        assert_eq!(frames(&recovered(&sim).unwrap()).unwrap(), expected);
    }
    let current = format!("log-{:08x}", journal.position().file);
    let bytes = sim.peek(&current).unwrap();
    let behind = &bytes[journal.position().offset as usize..];
    assert!(behind.starts_with(&MAGIC.to_le_bytes()), "the test wants an old frame there");
}

#[test]
fn a_copy_of_the_log_inside_a_frame_is_never_taken_for_frames() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for index in 0..8u8 {
        write(&mut journal, &[index; 100]);
    }
    let log = sim.peek(&only(&sim, "log")).unwrap();
    // From here on every 64-byte step could begin an old frame, of this very epoch.
    let seq = write(&mut journal, &log[..2080]);
    drop(journal);
    let end = 9 * 192 + 2112 - 192;
    for torn in (8 * 192..end).step_by(64) {
        let name = only(&sim, "log");
        let image = spoil(&sim, &name, |bytes| bytes[torn..torn + 30].fill(0xa5));
        let mut journal = reopen(&image);
        assert_eq!(journal.durable_seq(), seq - 1);
        write(&mut journal, b"short");
        write(&mut journal, b"short");
        assert_eq!(recovered(&image).unwrap().last_seq(), seq + 1);
    }
}

#[test]
fn the_manifest_is_begun_anew_when_it_is_long_and_the_old_one_goes() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    let first = only(&sim, "manifest");
    for id in 0..80 {
        journal.commit(&[table(id, &format!("table {id}"))]).unwrap();
    }
    let manifests: Vec<_> =
        sim.files().into_iter().filter(|(name, _)| name.starts_with("manifest")).collect();
    assert!(manifests.len() == 1 && manifests[0].0 != first);
    assert_eq!(recovered(&sim).unwrap().state(), journal.state());
}

#[test]
fn a_refused_commit_changes_nothing() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    journal.commit(&[table(0, "a")]).unwrap();
    let (before, files) = (journal.state().clone(), sim.files());
    for edits in [vec![table(1, "b"), table(1, "c")], vec![Edit::DropVersion { id: 0 }]] {
        assert_eq!(journal.commit(&edits).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let unwritten = Edit::Sealed { seq: 1, replay_from: journal.position() };
    assert_eq!(journal.commit(&[unwritten]).unwrap_err().kind(), ErrorKind::Invalid);
    assert_eq!((journal.state(), sim.files()), (&before, files));
    assert!(!journal.poisoned());
}

#[test]
fn ids_are_above_every_file_in_the_directory() {
    let sim = SimFs::new();
    drop(create(&sim));
    sim.plant("segment-000000ff", Some(b"an orphan"));
    sim.plant("tmp-000001ff", Some(b"half made"));
    sim.plant("my-000fffff", Some(b"not ours"));
    let mut journal = reopen(&sim);
    assert!(journal.allocate_file() > 0x1ff);
    let names: Vec<_> = sim.files().into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"my-000fffff".to_owned()));
    assert!(!names.iter().any(|name| name.starts_with("segment") || name.starts_with("tmp")));
}

#[test]
fn a_second_creation_is_refused() {
    let sim = SimFs::new();
    drop(create(&sim));
    let again = Journal::create(vfs(&sim), Geometry::SMALL, 5, Bugs::NONE).err().unwrap();
    assert_eq!(again.kind(), ErrorKind::Invalid);
}

#[test]
fn a_store_goes_on_under_another_geometry() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for _ in 0..9 {
        write(&mut journal, &[1; 3000]);
    }
    drop(journal);
    for (log_file, payload) in [(64 << 10, 60_000), (4 << 10, 4000), (8 << 10, 8000)] {
        let geometry = Geometry { log_file, ..Geometry::SMALL };
        let found = recovered(&sim).unwrap();
        let mut journal = Journal::resume(vfs(&sim), geometry, &found, Bugs::NONE).unwrap();
        for _ in 0..3 {
            write(&mut journal, &vec![2; payload]);
        }
        journal.commit(&[seal(&journal)]).unwrap();
        assert!(journal.state().free_logs.iter().all(|log| log.len == log_file));
    }
    let odd = Geometry { log_file: 5000, ..Geometry::SMALL };
    let found = recovered(&sim).unwrap();
    let refused = Journal::resume(vfs(&sim), odd, &found, Bugs::NONE).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
}

#[test]
fn replaying_is_charged_and_a_refusal_is_an_error() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    write(&mut journal, &[1; 7000]);
    let found = recovered(&sim).unwrap();
    for (limit, fits) in [(4096 + 6999, false), (4096 + 7000, true)] {
        let budget = Budget::new(Bytes::new(limit));
        let replayed = found.replay(&budget.account("r", Priority::Write), &mut |_, _| Ok(()));
        assert_eq!(replayed.is_ok(), fits);
        assert!(replayed.err().is_none_or(|error| error.kind() == ErrorKind::OverBudget));
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn closing_promises_every_frame() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    write(&mut journal, b"one");
    journal.append(b"two").unwrap();
    journal.close().unwrap();
    assert!(sim.is_settled());
    let image = spoil(&sim, &only(&sim, "log"), |bytes| bytes[64 + 33] ^= 1);
    assert_eq!(recovered(&image).err().unwrap().kind(), ErrorKind::Corrupt);
    let found = recovered(&sim).unwrap();
    assert_eq!((found.last_seq(), found.is_outdated().unwrap()), (2, false));
}

#[test]
fn what_was_recovered_can_be_replayed_after_going_on_from_it() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for round in 0..6u8 {
        for index in 0..10u8 {
            write(&mut journal, &[round ^ index; 700]);
        }
        if round % 2 == 0 {
            journal.commit(&[seal(&journal)]).unwrap();
        }
        drop(journal);
        let found = recovered(&sim).unwrap();
        let before = frames(&found).unwrap();
        journal = Journal::resume(vfs(&sim), Geometry::SMALL, &found, Bugs::NONE).unwrap();
        assert_eq!(frames(&found).unwrap(), before);
        assert_eq!(frames(&recovered(&sim).unwrap()).unwrap(), before);
        assert!(journal.state().logs.len() + journal.state().free_logs.len() <= 5);
    }
}

#[test]
fn opening_again_and_again_after_kills_keeps_the_number_of_files() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    for _ in 0..30 {
        write(&mut journal, b"a little");
        drop(journal);
        journal = reopen(&sim);
    }
    let logs = sim.files().iter().filter(|(name, _)| name.starts_with("log-")).count();
    assert_eq!((logs, journal.durable_seq()), (3, 30));
}
