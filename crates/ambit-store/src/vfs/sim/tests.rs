use super::*;
use crate::vfs::tests::Dice;
use crate::vfs::write_all_at;

fn file(fs: &SimFs, name: &str, bytes: &[u8]) -> Arc<dyn VfsFile> {
    let file = fs.open(name, OpenMode::Create).unwrap();
    write_all_at(&*file, 0, bytes).unwrap();
    file
}

#[test]
fn a_synced_file_whose_name_was_not_synced_is_gone() {
    let fs = SimFs::new();
    file(&fs, "a", b"bytes").sync_data().unwrap();
    assert!(fs.crash(Crash::LoseUnsynced).files().is_empty());
    fs.sync_dir().unwrap();
    assert_eq!(fs.crash(Crash::LoseUnsynced).peek("a").unwrap(), b"bytes");
}

#[test]
fn a_synced_name_leads_to_no_bytes_when_only_the_name_was_synced() {
    let fs = SimFs::new();
    let _open = file(&fs, "a", b"bytes");
    fs.sync_dir().unwrap();
    assert_eq!(fs.crash(Crash::LoseUnsynced).peek("a").unwrap(), b"");
    assert_eq!(fs.crash(Crash::Process).peek("a").unwrap(), b"bytes");
}

#[test]
fn a_rename_is_lost_or_kept_whole_and_any_subset_of_renames_is_possible() {
    let fs = SimFs::new();
    for name in ["a", "b"] {
        file(&fs, name, name.as_bytes()).sync_data().unwrap();
    }
    fs.sync_dir().unwrap();
    fs.rename("a", "x").unwrap();
    fs.rename("b", "y").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..400 {
        let image = fs.crash(Crash::Power(seed));
        let names: Vec<String> = image.files().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 2, "seed {seed}: {names:?}");
        seen.insert(names.join(" "));
    }
    let expected = ["a b", "a y", "b x", "x y"].map(str::to_owned);
    assert_eq!(seen, expected.into_iter().collect());
}

#[test]
fn the_replaced_file_is_still_there_when_a_rename_is_lost() {
    let fs = SimFs::new();
    for (name, bytes) in [("new", b"new"), ("old", b"old")] {
        file(&fs, name, bytes).sync_data().unwrap();
    }
    fs.sync_dir().unwrap();
    fs.rename("new", "old").unwrap();
    assert_eq!(fs.peek("old").unwrap(), b"new");
    assert_eq!(fs.crash(Crash::LoseUnsynced).peek("old").unwrap(), b"old");
    fs.sync_dir().unwrap();
    assert_eq!(fs.crash(Crash::LoseUnsynced).peek("old").unwrap(), b"new");
}

#[test]
fn every_state_of_a_sector_can_come_out_of_a_cut_and_synced_bytes_never_change() {
    let fs = SimFs::new();
    let log = file(&fs, "log", &[1; 1100]);
    log.sync_data().unwrap();
    fs.sync_dir().unwrap();
    write_all_at(&*log, 1100, &[2; 100]).unwrap();
    write_all_at(&*log, 1100, &[3; 100]).unwrap();
    let (mut old, mut first, mut second, mut torn, mut garbage) = (0, 0, 0, 0, 0);
    for seed in 0..2000 {
        let bytes = fs.crash(Crash::Power(seed)).peek("log").unwrap();
        assert_eq!(bytes[..1100], [1; 1100], "seed {seed}");
        assert!(bytes.len() <= 1200);
        match &bytes[1100..] {
            tail if tail.iter().all(|&byte| byte == 0) => old += 1,
            tail if *tail == [2; 100] => first += 1,
            tail if *tail == [3; 100] => second += 1,
            tail if tail.iter().all(|byte| [0, 2, 3].contains(byte)) => torn += 1,
            _ => garbage += 1,
        }
    }
    for (what, count) in
        [("old", old), ("first", first), ("second", second), ("torn", torn), ("garbage", garbage)]
    {
        assert!(count > 10, "{what}: {count} of 2000");
    }
}

#[test]
fn the_same_seed_gives_the_same_image() {
    let fs = SimFs::new();
    let a = file(&fs, "a", &[5; 5000]);
    a.preallocate(9000).unwrap();
    file(&fs, "b", &[6; 700]);
    fs.rename("b", "c").unwrap();
    for seed in 0..50 {
        let [one, two] = [0, 1].map(|_| fs.crash(Crash::Power(seed)));
        assert_eq!(one.files(), two.files());
        for (name, _) in one.files() {
            assert_eq!(one.peek(&name), two.peek(&name));
        }
    }
}

#[test]
fn the_world_stops_at_its_call_and_what_was_in_flight_may_have_begun() {
    let fs = SimFs::new();
    let a = file(&fs, "a", b"first");
    a.sync_data().unwrap();
    fs.sync_dir().unwrap();
    fs.crash_at(fs.calls() + 1);
    a.write_at(5, b" second").unwrap();
    assert!(a.write_at(12, b" third").is_err());
    assert!(a.sync_data().is_err());
    assert!(fs.list().is_err());
    assert_eq!(fs.crash(Crash::Process).peek("a").unwrap(), b"first second third");
    assert_eq!(fs.crash(Crash::LoseUnsynced).peek("a").unwrap(), b"first");
}

#[test]
fn what_a_dead_process_left_unsynced_can_still_be_lost() {
    let fs = SimFs::new();
    let a = file(&fs, "a", b"first");
    a.sync_data().unwrap();
    fs.sync_dir().unwrap();
    a.write_at(5, b" second").unwrap();
    let after_kill = fs.crash(Crash::Process);
    assert_eq!(after_kill.peek("a").unwrap(), b"first second");
    assert_eq!(after_kill.crash(Crash::LoseUnsynced).peek("a").unwrap(), b"first");
}

#[test]
fn a_moment_is_kept_for_each_changing_call() {
    let fs = SimFs::new();
    fs.record();
    let a = file(&fs, "a", b"x");
    a.len().unwrap();
    a.sync_data().unwrap();
    fs.sync_dir().unwrap();
    a.write_at(0, b"y").unwrap();
    let moments = fs.moments();
    let kinds: Vec<_> = moments.iter().map(|moment| (moment.call, moment.kind)).collect();
    assert_eq!(
        kinds,
        [
            (0, CallKind::Create),
            (1, CallKind::Write),
            (3, CallKind::SyncData),
            (4, CallKind::SyncDir),
            (5, CallKind::Write)
        ]
    );
    assert!(moments[2].crash(Crash::LoseUnsynced).peek("a").is_none());
    assert_eq!(moments[3].crash(Crash::LoseUnsynced).peek("a").unwrap(), b"x");
    assert_eq!(moments[4].crash(Crash::Process).peek("a").unwrap(), b"y");
}

#[test]
fn a_planted_file_is_durable_and_a_planted_absence_too() {
    let fs = SimFs::new();
    file(&fs, "a", b"x");
    fs.plant("b", Some(b"planted"));
    fs.plant("a", None);
    assert!(fs.is_settled());
    let left = fs.crash(Crash::LoseUnsynced);
    assert_eq!(left.files(), [("b".to_owned(), 7)]);
    assert_eq!(fs.calls(), 2);
}

/// Durable state kept naively: whole files copied at each sync.
#[derive(Default, Clone)]
struct Naive {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    current: Vec<Vec<u8>>,
    durable: Vec<Vec<u8>>,
}

#[test]
fn a_cut_keeps_what_a_naive_model_calls_synced_and_changes_only_what_was_in_flight() {
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let fs = SimFs::new();
        let mut model = Naive::default();
        let mut handles: Vec<Arc<dyn VfsFile>> = Vec::new();
        let mut dirty: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut entries_settled = true;
        for step in 0..60 {
            let name = format!("f{}", dice.below(4));
            match dice.below(8) {
                0 | 1 if !model.names.contains_key(&name) => {
                    handles.push(fs.open(&name, OpenMode::Create).unwrap());
                    model.names.insert(name, model.current.len());
                    entries_settled = false;
                    model.current.push(Vec::new());
                    model.durable.push(Vec::new());
                    dirty.push(Vec::new());
                }
                2..=4 if !handles.is_empty() => {
                    let at = dice.below(handles.len() as u64) as usize;
                    let (offset, len) = (dice.below(3000) as usize, 1 + dice.below(2000) as usize);
                    let bytes = vec![1 + dice.below(250) as u8; len];
                    write_all_at(&*handles[at], offset as u64, &bytes).unwrap();
                    let file = &mut model.current[at];
                    file.resize(file.len().max(offset + len), 0);
                    file[offset..offset + len].copy_from_slice(&bytes);
                    dirty[at].push((offset, offset + len));
                }
                5 if !handles.is_empty() => {
                    let at = dice.below(handles.len() as u64) as usize;
                    handles[at].sync_data().unwrap();
                    model.durable[at] = model.current[at].clone();
                    dirty[at].clear();
                }
                6 => {
                    let to = format!("f{}", dice.below(4));
                    if let Some(file) = model.names.remove(&name) {
                        fs.rename(&name, &to).unwrap();
                        model.names.insert(to, file);
                        entries_settled = false;
                    }
                }
                7 => {
                    fs.sync_dir().unwrap();
                    model.durable_names = model.names.clone();
                    entries_settled = true;
                }
                _ => {}
            }
            let lost = fs.crash(Crash::LoseUnsynced);
            let expected: Vec<_> = model.durable_names.iter().collect();
            let found = lost.files();
            assert_eq!(found.len(), expected.len(), "seed {seed} step {step}");
            for (name, file) in expected {
                let bytes = lost.peek(name);
                assert_eq!(bytes.as_ref(), Some(&model.durable[*file]), "seed {seed} step {step}");
            }
            let power = fs.crash(Crash::Power(seed * 1000 + step));
            assert!(power.is_settled());
            if entries_settled {
                hold_power_image(&power, &model, &dirty, seed);
            }
        }
    }
}

/// No byte that was not in flight may differ from the durable one.
fn hold_power_image(image: &SimFs, model: &Naive, dirty: &[Vec<(usize, usize)>], seed: u64) {
    for (name, &file) in &model.names {
        let Some(bytes) = image.peek(name) else {
            continue;
        };
        assert!(
            bytes.len() >= model.durable[file].len() && bytes.len() <= model.current[file].len()
        );
        for (at, byte) in bytes.iter().enumerate() {
            if !dirty[file].iter().any(|&(start, end)| (start..end).contains(&at)) {
                let durable = model.durable[file].get(at).copied().unwrap_or(0);
                assert_eq!(*byte, durable, "seed {seed}: {name} at {at}");
            }
        }
    }
}
