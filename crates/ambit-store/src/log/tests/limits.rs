//! Every limit that a state holds: at limit - 1, limit, limit + 1.

use super::*;
use crate::limits::*;
use crate::log::{MAX_LOG_FILE, MIN_LOG_FILE, StateError};

fn initial() -> State {
    State::initial(STORE_ID, log_file(1, 1, 1)).unwrap()
}

/// `edit` of the limit less one, of the limit, and of one more: only the last is refused, and
/// what is accepted is read back.
fn hold(limit: usize, edit: impl Fn(usize) -> Edit, start: &State) {
    for size in [limit - 1, limit] {
        let mut state = start.clone();
        state.apply(&edit(size)).unwrap();
        assert_eq!(State::decode(&state.encode()).unwrap(), state);
    }
    let refused = start.clone().apply(&edit(limit + 1)).unwrap_err();
    assert!(matches!(refused, StateError::Limit { .. }), "{refused}");
}

fn create(name: usize, schema: usize, columns: Vec<Column>) -> Edit {
    Edit::CreateTable { id: TableId(0), name: "n".repeat(name), schema: vec![7; schema], columns }
}

#[test]
fn names_schemas_and_columns_are_held_to_their_limits() {
    let start = initial();
    hold(MAX_TABLE_NAME, |len| create(len, 0, vec![]), &start);
    hold(MAX_SCHEMA, |len| create(1, len, vec![]), &start);
    let columns = |n: usize| (0..n).map(|i| column(&format!("c{i}"), CellLayout::Var)).collect();
    hold(MAX_COLUMNS, |n| create(1, 0, columns(n)), &start);
    hold(
        MAX_TABLE_NAME,
        |len| create(1, 0, vec![column(&"c".repeat(len), CellLayout::Var)]),
        &start,
    );
    let stride = |n: usize| vec![column("c", CellLayout::Fixed(n as u32))];
    hold(MAX_STRIDE, |n| create(1, 0, stride(n)), &start);
    for empty in [
        create(0, 0, vec![]),
        create(1, 0, stride(0)),
        create(1, 0, vec![column("", CellLayout::Var)]),
    ] {
        assert!(start.clone().apply(&empty).is_err());
    }
    let version =
        |len: usize| Edit::CreateVersion { id: 0, name: "v".repeat(len), created_micros: 0 };
    hold(MAX_VERSION_NAME, version, &start);
    assert!(start.clone().apply(&version(0)).is_err());
}

#[test]
fn the_rows_of_a_segment_are_held_to_their_limit() {
    let mut start = initial();
    start.apply(&table(0, "a")).unwrap();
    let add = |rows: usize| Edit::AddSegment {
        table: TableId(0),
        segment: SegmentMeta { rows: rows as u32, ..segment(9) },
    };
    hold(MAX_SEGMENT_ROWS as usize, add, &start);
}

#[test]
fn the_number_of_tables_is_held_to_its_limit() {
    let mut state = initial();
    // Applied in bulk by hand: one by one each name is compared with all others.
    for id in 0..MAX_TABLES as u32 - 1 {
        let (name, empty) = (
            format!("t{id}"),
            Table { name: String::new(), schema: vec![], columns: vec![], segments: vec![] },
        );
        state.tables.insert(TableId(id), Table { name, ..empty });
        state.next_table = id + 1;
    }
    state.check().unwrap();
    let next = |state: &State| table(state.next_table, &format!("t{}", state.next_table));
    state.apply(&next(&state)).unwrap();
    assert_eq!((state.tables.len(), state.check()), (MAX_TABLES, Ok(())));
    assert!(matches!(state.apply(&next(&state)), Err(StateError::Limit { .. })));
    assert_eq!(State::decode(&state.encode()).unwrap(), state);
    let mut over = state.clone();
    over.next_table += 1;
    over.tables.insert(
        TableId(state.next_table),
        Table { name: "one more".into(), schema: vec![], columns: vec![], segments: vec![] },
    );
    assert!(matches!(State::decode(&over.encode()), Err(StateError::Limit { .. })));
}

#[test]
fn the_number_of_versions_is_held_to_its_limit() {
    let mut state = initial();
    let next = |state: &State| {
        let id = state.next_version;
        Edit::CreateVersion { id, name: format!("v{id}"), created_micros: 0 }
    };
    for _ in 0..MAX_VERSIONS {
        state.apply(&next(&state)).unwrap();
    }
    assert!(matches!(state.apply(&next(&state)), Err(StateError::Limit { .. })));
    assert_eq!(State::decode(&state.encode()).unwrap(), state);
    state.apply(&Edit::DropVersion { id: 7 }).unwrap();
    state.apply(&next(&state)).unwrap();
}

#[test]
fn the_length_of_a_log_file_is_held_to_its_limits() {
    let start = |len: u64| State::initial(1, LogFile { len, ..log_file(1, 1, 1) });
    for (len, fits) in [
        (MIN_LOG_FILE - 1, false),
        (MIN_LOG_FILE, true),
        (MIN_LOG_FILE + 1, false),
        (2 * MIN_LOG_FILE, true),
        (MAX_LOG_FILE - 1, false),
        (MAX_LOG_FILE, true),
        (MAX_LOG_FILE + 1, false),
        (u64::MAX, false),
    ] {
        assert_eq!(start(len).is_ok(), fits, "{len}");
    }
}

#[test]
fn the_largest_frame_fills_a_log_file_and_one_byte_more_is_refused() {
    let sim = SimFs::new();
    let mut journal = super::create(&sim);
    let most = journal.max_payload();
    assert_eq!(most, 8192 - 32);
    for len in [most - 1, most] {
        write(&mut journal, &vec![3; len]);
    }
    let refused = journal.append(&vec![3; most + 1]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert_eq!(frames(&recovered(&sim).unwrap()).unwrap()[&2], vec![3; most]);
}

#[test]
fn an_id_after_which_there_is_none_is_refused() {
    let mut state = initial();
    state.apply(&table(0, "a")).unwrap();
    for edit in [
        table(u32::MAX, "b"),
        Edit::OpenLog { log: log_file(9, u64::MAX, 5) },
        Edit::OpenLog { log: log_file(u64::MAX, 9, 5) },
        Edit::CreateVersion { id: u64::MAX, name: "v".into(), created_micros: 0 },
        Edit::AddSegment {
            table: TableId(0),
            segment: SegmentMeta { id: u64::MAX, len: 1, footer_crc: 0, rows: 0 },
        },
    ] {
        assert!(matches!(state.apply(&edit), Err(StateError::Limit { .. })), "{edit:?}");
    }
}
