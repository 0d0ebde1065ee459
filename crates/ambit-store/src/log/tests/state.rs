//! States and edits: what they do, and as bytes.

use proptest::prelude::*;

use super::*;
use crate::log::codec::{decode_edits, encode_edits};
use crate::log::{LogPosition, StateError};

fn initial() -> State {
    State::initial(STORE_ID, log_file(1, 1, 1)).unwrap()
}

/// A state with a bit of everything, and the edits that made it.
fn grown(seed: u64, steps: u64) -> (State, Vec<Edit>) {
    let (mut state, mut made, mut draw) = (initial(), Vec::new(), Draw(seed));
    for _ in 0..steps {
        let edit = random_edit(&state, &mut draw);
        let before = state.clone();
        match state.apply(&edit) {
            Ok(()) => made.push(edit),
            Err(_) => assert_eq!(state, before, "a refused edit changed the state: {edit:?}"),
        }
        state.check().unwrap();
    }
    (state, made)
}

fn random_edit(state: &State, draw: &mut Draw) -> Edit {
    let some_table = TableId(draw.below(u64::from(state.next_table) + 2) as u32);
    let some_log = state.logs[draw.below(state.logs.len() as u64) as usize];
    let seq = state.sealed_seq + draw.below(4);
    let offset = 64 * draw.below(6) * draw.below(2);
    let replay_from = LogPosition { file: some_log.id, offset };
    match draw.below(14) {
        0 | 1 => table(state.next_table, &format!("t{}", draw.below(30))),
        2 => Edit::DropTable { id: some_table },
        3 => {
            let mut columns = state.tables.get(&some_table).map_or(vec![], |t| t.columns.clone());
            columns.push(column(&format!("c{}", draw.below(9)), CellLayout::Var));
            Edit::SetTable { id: some_table, schema: draw.bytes(5), columns }
        }
        4..=6 => Edit::AddSegment { table: some_table, segment: segment(draw.below(40)) },
        7 => {
            let segments = state.tables.get(&some_table).map_or(vec![], |t| t.segments.clone());
            let remove = segments.iter().map(|s| s.id).filter(|_| draw.below(2) == 0).collect();
            Edit::ReplaceSegments { table: some_table, remove, add: vec![segment(draw.below(60))] }
        }
        8 => Edit::Sealed { seq, replay_from },
        9 => Edit::OpenLog { log: log_file(draw.below(50), state.next_epoch, seq + 1) },
        10 => Edit::FreeLog { id: some_log.id },
        11 => Edit::DropLog { id: state.free_logs.first().map_or(9, |log| log.id) },
        12 => Edit::CreateVersion {
            id: state.next_version,
            name: format!("v{}", draw.below(9)),
            created_micros: draw.next(),
        },
        _ => match draw.below(2) {
            0 => Edit::DropVersion { id: draw.below(state.next_version + 1) },
            _ => Edit::Rollback {
                version: draw.below(state.next_version + 1),
                sealed_seq: seq,
                replay_from,
            },
        },
    }
}

#[test]
fn segments_take_the_place_of_the_first_that_they_replace() {
    let mut state = initial();
    state.apply(&table(0, "a")).unwrap();
    for id in 10..15 {
        state.apply(&Edit::AddSegment { table: TableId(0), segment: segment(id) }).unwrap();
    }
    let add = vec![segment(20), segment(21)];
    let replace =
        |remove: Vec<u64>| Edit::ReplaceSegments { table: TableId(0), remove, add: add.clone() };
    for bad in [vec![], vec![9], vec![11, 11], vec![11, 99]] {
        assert!(state.clone().apply(&replace(bad)).is_err());
    }
    state.apply(&replace(vec![13, 11])).unwrap();
    let ids: Vec<u64> = state.tables[&TableId(0)].segments.iter().map(|s| s.id).collect();
    assert_eq!(ids, [10, 20, 21, 12, 14]);
    assert_eq!(state.next_file, 22);
}

#[test]
fn a_rollback_brings_back_the_tables_of_a_version_and_voids_the_log() {
    let mut state = initial();
    state.apply(&table(0, "a")).unwrap();
    state.apply(&Edit::AddSegment { table: TableId(0), segment: segment(5) }).unwrap();
    state.apply(&Edit::CreateVersion { id: 0, name: "one".into(), created_micros: 1 }).unwrap();
    let then = state.tables.clone();
    state.apply(&Edit::DropTable { id: TableId(0) }).unwrap();
    state.apply(&table(1, "a")).unwrap();
    let replay_from = LogPosition { file: 1, offset: 640 };
    state.apply(&Edit::Rollback { version: 0, sealed_seq: 4, replay_from }).unwrap();
    assert_eq!((state.tables, state.sealed_seq, state.replay_from), (then, 4, replay_from));
    assert_eq!(state.next_table, 2, "ids are never given out twice");
}

#[test]
fn a_log_is_freed_only_when_all_its_frames_are_sealed_or_it_holds_none() {
    let mut state = initial();
    state.apply(&Edit::OpenLog { log: log_file(2, 2, 5) }).unwrap();
    assert!(state.apply(&Edit::FreeLog { id: 1 }).is_err());
    assert!(state.apply(&Edit::FreeLog { id: 2 }).is_err(), "takes new frames");
    let at_end = LogPosition { file: 1, offset: 8192 };
    state.apply(&Edit::Sealed { seq: 4, replay_from: at_end }).unwrap();
    state.apply(&Edit::FreeLog { id: 1 }).unwrap();
    assert_eq!(state.replay_from, LogPosition { file: 2, offset: 0 });
    assert_eq!(state.free_logs, [log_file(1, 1, 1)]);
    state.apply(&Edit::OpenLog { log: log_file(3, 3, 9) }).unwrap();
    state.apply(&Edit::OpenLog { log: log_file(4, 4, 9) }).unwrap();
    state.apply(&Edit::FreeLog { id: 3 }).unwrap();
    assert!(state.apply(&Edit::OpenLog { log: log_file(1, 4, 9) }).is_err(), "an epoch twice");
    state.apply(&Edit::OpenLog { log: log_file(1, 5, 9) }).unwrap();
    assert_eq!(state.free_logs.len(), 1);
    state.check().unwrap();
}

#[test]
fn a_position_that_no_frame_can_have_is_refused() {
    let mut state = initial();
    state.apply(&Edit::OpenLog { log: log_file(2, 2, 5) }).unwrap();
    for (seq, file, offset) in [
        (3, 1, 65),
        (3, 1, 8256),
        (3, 1, 0),
        (5, 1, 64),
        (3, 2, 64),
        (3, 3, 64),
        (u64::MAX, 2, 64),
        (0, 1, 64),
    ] {
        let replay_from = LogPosition { file, offset };
        assert!(state.apply(&Edit::Sealed { seq, replay_from }).is_err(), "{seq} {file} {offset}");
    }
    for (seq, file, offset) in [(3, 1, 64), (4, 1, 8192), (4, 2, 0), (7, 2, 64)] {
        state.apply(&Edit::Sealed { seq, replay_from: LogPosition { file, offset } }).unwrap();
    }
    let back = Edit::Sealed { seq: 7, replay_from: LogPosition { file: 1, offset: 64 } };
    assert!(state.apply(&back).is_err());
}

#[test]
fn columns_are_only_added_at_the_end() {
    let mut state = initial();
    state.apply(&table(0, "a")).unwrap();
    let mut columns = state.tables[&TableId(0)].columns.clone();
    columns.push(column("more", CellLayout::Fixed(4)));
    let set = |columns: &[Column]| Edit::SetTable {
        id: TableId(0),
        schema: vec![],
        columns: columns.to_vec(),
    };
    state.apply(&set(&columns)).unwrap();
    assert!(state.apply(&set(&columns[..2])).is_err());
    columns.swap(0, 1);
    assert!(state.apply(&set(&columns)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_state_is_read_back_and_its_edits_lead_to_it_again(seed: u64, steps in 0u64..120) {
        let (state, edits) = grown(seed, steps);
        let bytes = state.encode();
        prop_assert_eq!(&State::decode(&bytes).unwrap(), &state);
        let mut record = Vec::new();
        encode_edits(&edits, &mut record);
        let read = decode_edits(&record).unwrap();
        prop_assert_eq!(&read, &edits);
        let mut again = initial();
        again.apply_all(&read).unwrap();
        prop_assert_eq!(again, state);
    }

    #[test]
    fn bytes_from_anywhere_are_refused_or_are_exactly_a_state(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(state.encode(), bytes.clone());
        }
        let _ = decode_edits(&bytes);
    }

    #[test]
    fn a_changed_encoding_is_refused_or_is_exactly_another_state(
        seed: u64,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (state, edits) = grown(seed, 60);
        let mut bytes = state.encode();
        let mut record = Vec::new();
        encode_edits(&edits, &mut record);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
            if !record.is_empty() {
                let at = at % record.len();
                record[at] = value;
            }
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(other) = State::decode(&bytes) {
            prop_assert_eq!(other.encode(), bytes);
        }
        if let Ok(edits) = decode_edits(&record) {
            let mut state = initial();
            let _ = state.apply_all(&edits);
            state.check().unwrap();
        }
    }
}

#[test]
fn a_count_that_lies_costs_no_memory() {
    let mut bytes = initial().encode();
    let tables_at = bytes.len() - 8;
    bytes[tables_at..tables_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(State::decode(&bytes), Err(StateError::Encoding(_))));
}
