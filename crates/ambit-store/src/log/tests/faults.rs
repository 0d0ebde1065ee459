//! Calls that fail: an error, never a lie, and nothing acknowledged is lost.

use super::*;
use crate::vfs::{Crash, Fault, FaultFs, FaultMode};

/// Runs the script with one fault at `call`; then the fault is gone, the machine may lose
/// power, and the store must be what the model says. Returns whether the fault struck.
fn fail_at(seed: u64, call: u64, fault: Fault, mode: FaultMode) -> bool {
    let context = format!("seed {seed}, {fault:?} {mode:?} at call {call}");
    let sim = SimFs::new();
    let faulty = FaultFs::over(&sim);
    faulty.arm(call, fault, mode);
    let through: Arc<dyn Vfs> = Arc::new(faulty.clone());
    let (mut model, mut draw) = (Model::default(), Draw(seed));
    let mut failures = 0;
    for _ in 0..3 {
        // What cannot be read now is no lie of the store.
        match model.run(&through, (12, &mut draw), Bugs::NONE) {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => failures += 1,
        }
    }
    let struck = faulty.struck() > 0;
    let harmless = matches!(fault, Fault::ShortRead | Fault::ShortWrite | Fault::Eintr);
    assert!(!harmless || failures == 0, "{context}: a call was not repeated");
    faulty.disarm();
    for crash in [Crash::Process, Crash::LoseUnsynced, Crash::Power(call)] {
        let (image, mut model) = (sim.crash(crash), model.clone());
        let mut draw = Draw(seed ^ call);
        for _ in 0..2 {
            let run = model.run(&vfs(&image), (4, &mut draw), Bugs::NONE);
            run.unwrap_or_else(|wrong| panic!("{context}, {crash:?}: {wrong}"))
                .unwrap_or_else(|error| panic!("{context}, {crash:?}: cannot go on: {error}"));
        }
        let image = image.crash(Crash::LoseUnsynced);
        model
            .check(&vfs(&image), Bugs::NONE)
            .unwrap_or_else(|wrong| panic!("{context}, {crash:?}, later: {wrong}"));
    }
    struck
}

#[test]
fn any_call_may_fail_once_or_for_good_and_reopening_finds_what_was_acknowledged() {
    let mut runs = 0;
    for seed in 0..4 {
        for fault in Fault::ALL {
            for mode in [FaultMode::Once, FaultMode::Sticky] {
                let mut call = 0;
                while fail_at(seed, call, fault, mode) {
                    (runs, call) = (runs + 1, call + 1);
                }
            }
        }
    }
    println!("{runs} runs");
    assert!(runs > 5_000);
}

#[test]
fn a_failed_sync_poisons_until_the_store_is_opened_again() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    write(&mut journal, b"kept");
    drop(journal);
    let faulty = FaultFs::over(&sim);
    let through: Arc<dyn Vfs> = Arc::new(faulty.clone());
    let found = recovered(&sim).unwrap();
    let mut journal =
        Journal::resume(Arc::clone(&through), Geometry::SMALL, &found, Bugs::NONE).unwrap();
    journal.append(b"in doubt").unwrap();
    faulty.arm(0, Fault::Eio, FaultMode::Once);
    assert_eq!(journal.sync().unwrap_err().kind(), ErrorKind::Io);
    assert!(journal.poisoned());
    let version = Edit::CreateVersion { id: 0, name: "v".into(), created_micros: 0 };
    for refused in [
        journal.append(b"more").unwrap_err(),
        journal.commit(&[version]).unwrap_err(),
        journal.sync().unwrap_err(),
        journal.close().unwrap_err(),
    ] {
        assert_eq!(refused.kind(), ErrorKind::Poisoned);
        assert!(refused.to_string().contains("reopen the store"), "{refused}");
    }
    assert_eq!(journal.durable_seq(), 1);
    // The kernel keeps the frame in memory and will not write it any more: it is read, moved
    // to another file, and is then as durable as any.
    let mut journal = reopen(&sim);
    assert_eq!(write(&mut journal, b"after"), 3);
    let image = sim.crash(Crash::LoseUnsynced);
    let kept = frames(&recovered(&image).unwrap()).unwrap();
    assert_eq!(kept.into_values().collect::<Vec<_>>(), [&b"kept"[..], b"in doubt", b"after"]);
}

#[test]
fn a_full_disk_refuses_new_files_and_leaves_the_journal_usable() {
    let sim = SimFs::new();
    let faulty = FaultFs::over(&sim);
    let through: Arc<dyn Vfs> = Arc::new(faulty.clone());
    let mut journal =
        Journal::create(Arc::clone(&through), Geometry::SMALL, STORE_ID, Bugs::NONE).unwrap();
    write(&mut journal, &[1; 8000]);
    faulty.arm(0, Fault::Enospc, FaultMode::Sticky);
    let refused = journal.append(&[2; 8000]).unwrap_err();
    assert_eq!(refused.io_error().unwrap().kind(), std::io::ErrorKind::StorageFull);
    assert!(!journal.poisoned());
    faulty.disarm();
    assert_eq!(write(&mut journal, &[2; 8000]), 2);
    assert_eq!(frames(&recovered(&sim).unwrap()).unwrap().len(), 2);
    let temporary = sim.files().iter().filter(|(name, _)| name.starts_with("tmp-")).count();
    assert_eq!(temporary, 0);
}

#[test]
fn a_killed_store_on_a_full_disk_opens_for_writing() {
    let sim = SimFs::new();
    let mut journal = create(&sim);
    write(&mut journal, b"one");
    write(&mut journal, b"two");
    drop(journal);
    let faulty = FaultFs::over(&sim);
    let found = recovered(&sim).unwrap();
    // The first call that needs space is the new file for the frames in doubt.
    faulty.arm(0, Fault::Enospc, FaultMode::Once);
    let through: Arc<dyn Vfs> = Arc::new(faulty.clone());
    let opened = Journal::resume(through, Geometry::SMALL, &found, Bugs::NONE);
    drop(opened);
    let mut journal = reopen(&sim);
    assert_eq!(write(&mut journal, b"three"), 3);
    assert_eq!(frames(&recovered(&sim).unwrap()).unwrap().len(), 3);
}
