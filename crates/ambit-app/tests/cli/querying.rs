//! `query` and `search`.

use crate::ambit::{Ambit, fields};
use crate::array::{elements, numbered, rows};

fn imported(count: usize) -> Ambit {
    let ambit = Ambit::new();
    ambit.write("x.npy", numbered(count));
    ambit.done("import x.npy -c c --space s");
    ambit
}

#[test]
fn every_row_is_nearest_to_itself_with_its_row_number_as_id() {
    let ambit = imported(200);
    for how in ["", "--one-at-a-time", "--threads 2", "--io pread"] {
        let line = "query x.npy -c c --space s -k 3 --ids ids.npy --scores scores.npy";
        ambit.done(&format!("{line} {how}"));
        let ids = elements::<8>(&ambit, "ids.npy").into_iter().map(i64::from_le_bytes);
        let firsts: Vec<i64> = ids.step_by(3).collect();
        assert_eq!(firsts, (0..200).collect::<Vec<i64>>());
        let scores = elements::<4>(&ambit, "scores.npy").into_iter().map(f32::from_le_bytes);
        assert!(scores.step_by(3).all(|score| (score - 1.0).abs() < 1e-6));
    }
}

#[test]
fn answers_that_do_not_exist_are_minus_one_and_nan() {
    let ambit = imported(2);
    ambit.done("query x.npy -c c --space s -k 4 --ids ids.npy --scores scores.npy");
    let ids: Vec<i64> =
        elements::<8>(&ambit, "ids.npy").into_iter().map(i64::from_le_bytes).collect();
    assert_eq!(ids, [0, 1, -1, -1, 1, 0, -1, -1]);
    let scores = elements::<4>(&ambit, "scores.npy").into_iter().map(f32::from_le_bytes);
    let missing: Vec<bool> = scores.map(f32::is_nan).collect();
    assert_eq!(missing, [false, false, true, true, false, false, true, true]);
}

#[test]
fn queries_print_their_answers_where_no_file_is_named() {
    let ambit = imported(3);
    let lines = ambit.done("query x.npy -c c --space s -k 2 --json").json_lines();
    assert_eq!(lines.len(), 3);
    assert_eq!(fields(&lines[0]), ["hits", "query"]);
    assert_eq!(fields(&lines[0]["hits"][0]), ["id", "key", "score"]);
    assert_eq!(lines[2]["hits"][0]["key"], "2");
    let summary = ambit.done("query x.npy -c c --space s --ids ids.npy --json").json();
    assert_eq!(
        fields(&summary),
        [
            "approximate",
            "collection",
            "fell_back",
            "k",
            "margin",
            "queries",
            "refined",
            "rescored",
            "scanned",
            "search_seconds",
            "seconds",
            "skipped",
            "space",
            "threads",
            "uncoded"
        ]
    );
}

#[test]
fn k_is_held_to_its_limits() {
    let ambit = imported(3);
    for (k, code) in [("0", 2), ("1", 0), ("9999", 0), ("10000", 0), ("10001", 2)] {
        let ran = ambit.run(&format!("query x.npy -c c --space s -k {k}"));
        assert_eq!(ran.code, code, "{ran:?}");
        if code == 2 {
            ran.failed(2, &["1 to 10000"]);
        }
    }
    ambit.fails("query x.npy -c c --space s -k -3", 2, &[]);
    ambit.fails("search word -k 0", 2, &["1 to 10000"]);
    ambit.fails("search word -k 10001", 2, &["1 to 10000"]);
}

#[test]
fn a_query_that_cannot_be_answered_names_row_and_column() {
    let ambit = imported(3);
    ambit.write("q.npy", rows(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0], 4));
    ambit.fails("query q.npy -c c --space s", 2, &["q.npy: row 1, column 2: NaN"]);
    ambit.write("q.npy", rows(&[1.0, f32::INFINITY, 1.0, 1.0], 4));
    ambit.fails("query q.npy -c c --space s", 2, &["row 0, column 1"]);
    ambit.write("q.npy", rows(&[0.0; 4], 4));
    ambit.fails("query q.npy -c c --space s", 2, &["zero"]);
    ambit.write("q.npy", rows(&[1.0, 2.0], 2));
    ambit.fails("query q.npy -c c --space s", 2, &["rows of 2 numbers, space 's' has 4"]);
}

#[test]
fn unknown_names_come_with_the_nearest_known_one() {
    let ambit = imported(3);
    ambit.fails("query x.npy -c cc --space s", 1, &["no collection cc", "did you mean c?"]);
    ambit.fails("query x.npy -c c --space ss", 1, &["no space ss", "did you mean s?"]);
}

#[test]
fn an_empty_search_is_refused() {
    let ambit = imported(1);
    ambit.fails("search ''", 2, &["the query is empty"]);
    ambit.fails("search '  '", 2, &["the query is empty"]);
    ambit.fails("search", 2, &["QUERY"]);
}

#[test]
fn answers_are_the_same_before_and_after_optimizing() {
    let ambit = Ambit::new();
    let values: Vec<f32> = (0..2000 * 8).map(|i| ((i * i) as f32 * 0.37).sin()).collect();
    ambit.write("x.npy", rows(&values, 8));
    let imported = ambit.done("import x.npy -c c --space s --codes later --json").json();
    assert_eq!((&imported["rows"], &imported["coded_rows"]), (&2000.into(), &0.into()));
    let ask = "query x.npy -c c --space s -k 3 --ids ids.npy --scores scores.npy --json";
    let before = ambit.done(ask).json();
    assert_eq!(before["uncoded"], before["scanned"]);
    let found = (ambit.read("ids.npy"), ambit.read("scores.npy"));
    let optimized = ambit.done("optimize --json").json();
    assert_eq!((&optimized["coded_rows"], &optimized["complete"]), (&2000.into(), &true.into()));
    let after = ambit.done(ask).json();
    assert_eq!((&after["uncoded"], &after["fell_back"]), (&0.into(), &false.into()));
    assert!(after["margin"].as_f64().unwrap() >= 0.0);
    assert_eq!(found, (ambit.read("ids.npy"), ambit.read("scores.npy")));
    let again = ambit.done("optimize").stdout;
    assert!(again.contains("0 segments coded"), "{again}");
    // An import that is told nothing builds them itself.
    let imported = ambit.done("import x.npy -c d --space s --json").json();
    assert_eq!(imported["coded_rows"], 2000);
}

#[test]
fn similar_gives_pages_ranges_and_groups_without_the_entity_itself() {
    let ambit = imported(40);
    let all = ambit.done("similar 7 -c c --space s -k 100 --json").json();
    let keys = |found: &serde_json::Value| -> Vec<String> {
        let hits = found["hits"].as_array().unwrap();
        hits.iter().map(|hit| hit["key"].as_str().unwrap().to_owned()).collect()
    };
    let whole = keys(&all);
    assert_eq!(whole.len(), 39);
    assert!(all["next"].is_null() && !whole.contains(&"7".to_owned()));
    assert_eq!(
        fields(&all),
        [
            "approximate",
            "collection",
            "fell_back",
            "hits",
            "k",
            "key",
            "margin",
            "next",
            "refined",
            "rescored",
            "scanned",
            "skipped",
            "space",
            "uncoded"
        ]
    );
    let first = ambit.done("similar 7 -c c --space s -k 25 --json").json();
    let after = first["next"].as_str().unwrap();
    let line = format!("similar 7 -c c --space s -k 25 --json --after {after}");
    let second = ambit.done(&line).json();
    assert_eq!([keys(&first), keys(&second)].concat(), whole);
    let score = all["hits"][11]["score"].as_f64().unwrap();
    let within =
        ambit.done(&format!("similar 7 -c c --space s -k 100 --reaching {score} --json")).json();
    assert_eq!(keys(&within), whole[..12]);
    let groups = ambit.done("similar 7 -c c --space s -k 3 --group-by key --json").json();
    assert_eq!(groups["groups"][0]["value"], whole[0]);
    assert_eq!(groups["groups"].as_array().unwrap().len(), 3);
    let human = ambit.done("similar 7 -c c --space s -k 2").stdout;
    assert!(human.contains(&whole[1]), "{human}");
    let other = ambit.run(&format!("similar 8 -c c --space s --after {after}"));
    assert_eq!(other.code, 2, "{other:?}");
    assert_eq!(ambit.run("similar nobody -c c --space s").code, 1);
    assert_eq!(ambit.run("similar 7 -c c --space s --after c1-0").code, 2);
}

#[test]
fn approximate_answers_say_so_and_what_is_no_recall_is_refused() {
    let ambit = imported(2000);
    let line = "query x.npy -c c --space s --ids ids.npy --json";
    let exact = ambit.done(line).json();
    assert!(exact["approximate"].is_null());
    for how in ["--probes 1", "--recall 0.9"] {
        let some = ambit.done(&format!("{line} {how}")).json();
        let fields = fields(&some["approximate"]);
        assert_eq!(fields, ["held_out", "lists", "probes", "recall"]);
    }
    for how in ["--probes 0", "--recall 1.5", "--recall 0.9 --probes 2"] {
        assert_eq!(ambit.run(&format!("{line} {how}")).code, 2, "{how}");
    }
}
