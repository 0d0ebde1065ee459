//! Power cuts at every call of the scripted writer, and again while it comes back.

use super::*;
use crate::vfs::Crash;

/// Cuts a script at every call and checks what is left, for each seed in turn. Returns the
/// number of images, or the first that is wrong.
fn cut_everywhere(seeds: std::ops::Range<u64>, bugs: Bugs, stride: u64) -> Result<u64, String> {
    let mut images = 0;
    for seed in seeds {
        let whole = SimFs::new();
        let mut model = Model::default();
        run_twice(&mut model, &vfs(&whole), seed, bugs)
            .and_then(|run| run.map_err(|error| error.to_string()))
            .map_err(|wrong| format!("seed {seed}, not cut: {wrong}"))?;
        for call in (seed % stride..whole.calls()).step_by(stride as usize) {
            images += cut_at(seed, call, bugs)
                .map_err(|wrong| format!("seed {seed}, cut at call {call}: {wrong}"))?;
        }
    }
    Ok(images)
}

fn run_twice(
    model: &mut Model,
    vfs: &Arc<dyn Vfs>,
    seed: u64,
    bugs: Bugs,
) -> Result<Result<(), StoreError>, String> {
    let mut draw = Draw(seed);
    let first = model.run(vfs, (20, &mut draw), bugs)?;
    if first.is_err() {
        return Ok(first);
    }
    model.run(vfs, (20, &mut draw), bugs)
}

fn cut_at(seed: u64, call: u64, bugs: Bugs) -> Result<u64, String> {
    let sim = SimFs::new();
    sim.crash_at(call);
    let mut model = Model::default();
    match run_twice(&mut model, &vfs(&sim), seed, bugs) {
        Ok(_) => {}
        // The script itself came back from a cut, and could not even read.
        Err(wrong) if sim.calls() > call => drop(wrong),
        Err(wrong) => return Err(wrong),
    }
    let mut images = 0;
    for crash in [
        Crash::Process,
        Crash::LoseUnsynced,
        Crash::Power(seed ^ call << 8),
        Crash::Power(!seed ^ call << 9),
    ] {
        let mut image = sim.crash(crash);
        let mut model = model.clone();
        let mut draw = Draw(seed ^ call);
        // Some images are cut again while they come back, once or twice.
        for again in 0..draw.below(3) {
            let checked = model.clone().check(&vfs(&image), bugs);
            checked.map_err(|wrong| format!("{crash:?}: {wrong}"))?;
            image.crash_at(image.calls() + draw.below(60));
            let run = model.run(&vfs(&image), (3, &mut draw), bugs);
            if let Ok(Ok(())) = run {
                break;
            }
            image = image.crash(Crash::Power(draw.next() ^ again));
            images += 1;
        }
        let image = image.crash(Crash::Process);
        for _ in 0..2 {
            let run = model.run(&vfs(&image), (6, &mut draw), bugs);
            run.map_err(|wrong| format!("{crash:?}: {wrong}"))?
                .map_err(|error| format!("{crash:?}: cannot go on: {error}"))?;
        }
        let image = image.crash(Crash::LoseUnsynced);
        model.check(&vfs(&image), bugs).map_err(|wrong| format!("{crash:?}, later: {wrong}"))?;
        images += 1;
    }
    Ok(images)
}

#[test]
fn a_cut_at_any_call_keeps_what_was_acknowledged_and_nothing_else() {
    let images = cut_everywhere(0..24, Bugs::NONE, 1).unwrap();
    println!("{images} images");
    assert!(images > 20_000);
}

#[test]
fn no_file_is_left_that_the_state_does_not_name() {
    for seed in 0..40 {
        let sim = SimFs::new();
        let mut model = Model::default();
        sim.crash_at(60 + 13 * seed);
        let _ = run_twice(&mut model, &vfs(&sim), seed, Bugs::NONE);
        let image = sim.crash(Crash::Power(seed));
        let journal = model.open(&vfs(&image), Bugs::NONE).unwrap().unwrap();
        let state = journal.state();
        let logs = state.logs.len() + state.free_logs.len();
        let of =
            |kind: &str| image.files().iter().filter(|(name, _)| name.starts_with(kind)).count();
        assert_eq!((of("log-"), of("manifest-"), of("tmp-")), (logs, 1, 0), "seed {seed}");
        assert!(state.free_logs.len() <= 2);
    }
}

#[cfg(feature = "seeded-bugs")]
#[test]
fn each_fault_planted_in_the_log_is_found() {
    use crate::bugs::SeededBug as B;
    for bug in [
        B::SkipLogSync,
        B::SkipManifestSync,
        B::SkipSuperblockSync,
        B::SkipDirectorySync,
        B::SkipFrameChecksum,
        B::StaleEpoch,
        B::RecycleBeforeManifest,
        B::ReuseFileId,
    ] {
        let found = cut_everywhere(0..24, Bugs::plant(bug), 1);
        println!("{bug:?}: {found:?}");
        assert!(found.is_err(), "{bug:?} was not found");
    }
}
