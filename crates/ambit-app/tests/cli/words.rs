//! `search` by words, by meaning, and by both; sparse embeddings of `add` and `get`.

use serde_json::{Value, json};

use crate::ambit::{Ambit, fields};

fn filled() -> Ambit {
    let ambit = Ambit::new();
    ambit.write("notes/sea.md", "# The sea\n\nWhales are mammals that live in the ocean.\n");
    ambit.write("notes/tree.md", "# Trees\n\nApples, pears and plums grow on trees.\n");
    ambit.write("notes/zyx.md", "# Parts\n\nThe part number is ZX-81b7.\n");
    ambit.write("code/read.rs", "fn readWholeFile(path: &str) -> Vec<u8> {\n    todo!()\n}\n");
    ambit.write("code/write.rs", "fn write_all(bytes: &[u8]) {\n    todo!()\n}\n");
    ambit.done("index notes code");
    ambit
}

fn search(ambit: &Ambit, line: &str) -> Value {
    ambit.done(&format!("search {line} --json")).json()
}

#[test]
fn both_ways_are_asked_and_each_says_its_rank_and_score() {
    let ambit = filled();
    let found = search(&ambit, "'animals of the ocean'");
    assert_eq!(
        (&found["mode"], &found["weights"]),
        (&json!("hybrid"), &json!({"dense": 3.0, "text": 1.0}))
    );
    let hit = &found["hits"][0];
    assert_eq!(hit["key"], "notes/sea.md#L1-L3");
    assert_eq!((&hit["dense"]["rank"], &hit["words"]["rank"]), (&json!(1), &json!(1)));
    let score = hit["score"].as_f64().unwrap();
    assert!((score - 4.0 / 11.0).abs() < 1e-12, "{score}");
    // Of one way alone, the score is that way's.
    let dense = search(&ambit, "'animals of the ocean' --dense");
    assert_eq!((&dense["mode"], &dense["weights"]), (&json!("dense"), &Value::Null));
    assert_eq!(dense["hits"][0]["score"], hit["dense"]["score"]);
    assert_eq!(dense["hits"][0]["words"], Value::Null);
    let text = search(&ambit, "'animals of the ocean' --text");
    assert_eq!(text["mode"], "text");
    assert_eq!(text["hits"][0]["score"], hit["words"]["score"]);
    assert!(text["unindexed"].as_u64().unwrap() > 0, "five small files are not worth an index");
    // A number that no embedder knows is found by its letters.
    let rare = search(&ambit, "81b7");
    assert_eq!(rare["hits"][0]["key"], "notes/zyx.md#L1-L3");
    assert!(
        search(&ambit, "mammals --text -k 1 --where 'path starts with \"code/\"'")["hits"]
            .as_array()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn words_count_twice_on_code_and_as_the_caller_says() {
    let ambit = filled();
    let found = search(&ambit, "'read whole file' --where 'path starts with \"code/\"'");
    assert_eq!(found["weights"], json!({"dense": 1.0, "text": 2.0}));
    assert_eq!(found["hits"][0]["path"], "code/read.rs");
    let told = search(&ambit, "'read whole file' --weights 0,3");
    assert_eq!(told["weights"], json!({"dense": 0.0, "text": 3.0}));
    assert!((told["hits"][0]["score"].as_f64().unwrap() - 3.0 / 11.0).abs() < 1e-12);
    ambit.fails("search file --weights 1", 2, &["two numbers"]);
    ambit.fails("search file --dense --text", 2, &["--text"]);
    ambit.fails("search file --dense --weights 1,1", 2, &["--weights"]);
}

#[test]
fn a_larger_collection_is_indexed_at_the_end_and_read_by_its_postings() {
    let ambit = Ambit::new();
    for file in 0..150u32 {
        let lines: String = (0..80)
            .map(|line| format!("# Part {line}\n\nWord{file} stands in line{line}.\n\n"))
            .collect();
        ambit.write(&format!("notes/n{file}.md"), lines);
    }
    ambit.done("index notes");
    let found = search(&ambit, "word7 line3 --text");
    assert_eq!(found["unindexed"], 0);
    assert!(found["postings"].as_u64().unwrap() > 0);
    assert_eq!(found["hits"][0]["path"], "notes/n7.md");
    let spaces = ambit.done("collections --json").json()["spaces"].clone();
    assert_eq!(fields(&spaces[1]), ["dim", "kind", "metric", "name", "stem", "vectors"]);
    assert_eq!((&spaces[1]["kind"], &spaces[1]["stem"]), (&json!("text"), &json!("english")));
    assert!(ambit.done("collections").stdout.contains("words of texts, english stems"));
    ambit.done("verify");
}

#[test]
fn a_store_without_words_is_searched_by_meaning_and_says_how_to_add_them() {
    let ambit = filled();
    let entity = ambit.done("get notes/sea.md#L1-L3 --vector --json").json();
    let old = json!({"key": "a", "embeddings": entity["embeddings"]});
    assert_eq!(ambit.fed("add -c old", &format!("{old}\n")).code, 0);
    let ran = ambit.done("search whales -c old --json");
    assert_eq!(
        (&ran.json()["mode"], &ran.json()["hits"][0]["key"]),
        (&json!("dense"), &json!("a"))
    );
    assert!(ran.stderr.contains("`ambit optimize` adds it"), "{ran:?}");
    ambit.fails("search whales -c old --text", 2, &["no space of words", "ambit optimize"]);
    ambit.done("optimize");
    assert_eq!(search(&ambit, "whales -c old")["mode"], "hybrid");
    assert!(search(&ambit, "whales -c old --text")["hits"].as_array().unwrap().is_empty());
}

#[test]
fn sparse_embeddings_come_back_as_they_were_added() {
    let ambit = Ambit::new();
    let line = r#"{"key":"a","kind":"","text":null,"properties":{},"embeddings":{},"sparse":{"splade":{"ids":[3,30521],"weights":[0.5,-0.0]}}}"#;
    let ran = ambit.fed("add", &format!("{line}\n"));
    assert_eq!(ran.code, 0, "{ran:?}");
    let sparse = ambit.done("get a --vector --json").json()["sparse"].clone();
    assert_eq!(sparse, json!({"splade": {"ids": [3, 30521], "weights": [0.5, -0.0]}}));
    assert_eq!(ambit.done("get a --json").json()["terms"], json!({"splade": 2}));
    assert!(ambit.done("get a").stdout.contains("splade: 2 terms"));
    let bad = line.replace("[3,30521]", "[3,3]");
    ambit.fed("add", &format!("{bad}\n")).failed(2, &["each once"]);
    let spaces = ambit.done("collections").stdout;
    assert!(spaces.contains("splade  sparse, dim 4,294,967,295"), "{spaces}");
}
