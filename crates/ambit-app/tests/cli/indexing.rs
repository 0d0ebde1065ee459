//! `index`, `search` over what was indexed, and `demo`.

use crate::ambit::{Ambit, fields};

fn counts(ambit: &Ambit, line: &str) -> (u64, u64, u64, u64, u64) {
    let json = ambit.done(&format!("{line} --json")).json();
    let count = |name: &str| json[name].as_u64().unwrap();
    (count("files"), count("indexed"), count("unchanged"), count("removed"), count("skipped"))
}

fn keys(ambit: &Ambit) -> Vec<String> {
    let lines = ambit.done("list --json").json_lines();
    let mut keys: Vec<String> =
        lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    keys.sort();
    keys
}

fn garden() -> Ambit {
    let ambit = Ambit::new();
    ambit.write("garden/apple.md", "# Apples\n\nApple trees bear fruit in autumn.\n");
    ambit.write("garden/sea/whale.txt", "Whales are mammals that live in the ocean.\n");
    ambit.write("garden/lib.rs", "//! Parses numbers.\n\nfn parse() -> u32 {\n    7\n}\n");
    ambit
}

#[test]
fn what_was_indexed_is_found_by_meaning() {
    let ambit = garden();
    assert_eq!(counts(&ambit, "index garden"), (3, 3, 0, 0, 0));
    let found = ambit.done("search 'animals of the sea' -k 2 --json").json();
    assert_eq!(
        fields(&found),
        [
            "approximate",
            "blocks",
            "collection",
            "fell_back",
            "hits",
            "k",
            "margin",
            "mode",
            "postings",
            "query",
            "refined",
            "rescored",
            "scanned",
            "skipped",
            "space",
            "uncoded",
            "unindexed",
            "weights"
        ]
    );
    let hit = &found["hits"][0];
    let named = ["dense", "id", "key", "kind", "path", "rank", "score", "text", "words"];
    assert_eq!(fields(hit), named);
    assert_eq!(hit["key"], "garden/sea/whale.txt#L1-L1");
    assert_eq!(hit["path"], "garden/sea/whale.txt");
    let human = ambit.done("search fruit trees -k 1").stdout;
    assert!(human.contains("garden/apple.md#L") && human.contains("autumn"), "{human}");
}

#[test]
fn a_search_takes_only_what_meets_its_filter() {
    let ambit = garden();
    ambit.done("index garden");
    let keys = |filter: &str| -> Vec<String> {
        let found =
            ambit.done(&format!("search 'animals of the sea' --json --where {filter}")).json();
        let hits = found["hits"].as_array().unwrap();
        hits.iter().map(|hit| hit["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(keys("'path starts with \"garden/lib\"'"), ["garden/lib.rs#L1-L5"]);
    assert_eq!(keys("'not path starts with \"garden/\"'"), Vec::<String>::new());
    assert_eq!(keys("'text contains \"Whales\" or key contains \"apple\"'").len(), 2);
    ambit.fails("search sea --where 'path ='", 2, &["column 7", "expected"]);
}

#[test]
fn a_second_run_takes_in_what_changed() {
    let ambit = garden();
    ambit.done("index garden");
    assert_eq!(counts(&ambit, "index garden"), (3, 0, 3, 0, 0));
    ambit.write("garden/apple.md", "# Pears\n\nPear trees.\n\n# Plums\n\nPlum trees.\n");
    std::fs::remove_file(ambit.path("garden/sea/whale.txt")).unwrap();
    assert_eq!(counts(&ambit, "index garden"), (2, 1, 1, 1, 0));
    assert!(keys(&ambit).iter().all(|key| !key.contains("whale")));
    let texts = ambit.done("list --json --kind chunk").stdout;
    assert!(texts.contains("Pear") && !texts.contains("Apple"), "{texts}");
    let fresh = Ambit::new();
    fresh.write("garden/apple.md", ambit.read("garden/apple.md"));
    fresh.write("garden/lib.rs", ambit.read("garden/lib.rs"));
    fresh.done("index garden");
    assert_eq!(keys(&ambit), keys(&fresh));
    ambit.done("verify");
}

#[test]
fn only_what_is_under_the_given_paths_is_removed() {
    let ambit = garden();
    ambit.done("index .");
    std::fs::remove_dir_all(ambit.path("garden/sea")).unwrap();
    std::fs::remove_file(ambit.path("garden/lib.rs")).unwrap();
    assert_eq!(counts(&ambit, "index garden/sea"), (0, 0, 0, 1, 0));
    assert!(keys(&ambit).contains(&"garden/lib.rs".to_owned()));
    ambit.fails("index garden/sea", 1, &["garden/sea", "no such file or folder"]);
}

#[test]
fn an_empty_folder_is_no_failure() {
    let ambit = Ambit::new();
    std::fs::create_dir(ambit.path("empty")).unwrap();
    let ran = ambit.done("index empty");
    assert!(ran.stderr.contains("no text files"), "{ran:?}");
    assert_eq!(counts(&ambit, "index empty"), (0, 0, 0, 0, 0));
    ambit.fails("index nowhere", 1, &["nowhere"]);
    ambit.fails("index", 2, &["PATH"]);
}

#[test]
fn files_that_are_no_text_are_skipped_and_named() {
    let ambit = garden();
    ambit.done("index garden");
    ambit.write("garden/apple.md", b"apple\0binary\x01\x02");
    ambit.write("garden/broken.txt", b"caf\xe9 au lait\n");
    let json = ambit.done("index garden --json").json();
    assert_eq!((&json["files"], &json["removed"]), (&2.into(), &1.into()), "{json}");
    let skipped = json["skips"].to_string();
    assert!(skipped.contains("apple.md") && skipped.contains("broken.txt"), "{skipped}");
    assert_eq!(fields(&json["skips"][0]), ["path", "reason"]);
}

#[cfg(unix)]
#[test]
fn loops_of_links_end_and_links_to_nowhere_do_no_harm() {
    let ambit = garden();
    std::os::unix::fs::symlink("..", ambit.path("garden/sea/up")).unwrap();
    std::os::unix::fs::symlink("gone", ambit.path("garden/lost.txt")).unwrap();
    let (files, indexed, ..) = counts(&ambit, "index garden");
    assert_eq!((files, indexed), (3, 3));
}

#[test]
fn pieces_of_one_long_line_have_names_of_their_own() {
    let ambit = Ambit::new();
    let line = "the quick brown fox jumps over the lazy dog and runs away again ".repeat(200);
    ambit.write("long.txt", line);
    ambit.done("index long.txt");
    let keys = keys(&ambit);
    assert!(keys.len() > 3, "{keys:?}");
    assert!(keys.contains(&"long.txt#L1-L1".to_owned()), "{keys:?}");
    assert!(keys.contains(&"long.txt#L1-L1.2".to_owned()), "{keys:?}");
}

#[test]
fn indexing_works_in_a_small_budget_and_says_when_it_is_too_small() {
    let ambit = garden();
    ambit.fails("index garden --budget 4MiB", 3, &["MiB"]);
    ambit.done("index garden --budget 16MiB");
    ambit.done("search whales --budget 16MiB");
}

#[test]
fn a_file_without_room_in_the_budget_is_named_and_the_rest_indexed() {
    let ambit = garden();
    ambit.write("garden/big.txt", "a line of text in a big file\n".repeat(100_000));
    ambit.fails("index garden --budget 12MiB", 3, &["garden/big.txt", "would fit"]);
    assert!(keys(&ambit).contains(&"garden/lib.rs".to_owned()));
    ambit.done("index garden --budget 64MiB");
}

#[test]
fn a_file_of_more_than_one_write_is_indexed_whole_and_taken_back_whole() {
    let ambit = Ambit::new();
    let paragraph =
        "  \"the quick brown fox jumps over the lazy dog\": [1, 2, 3],\n".repeat(10) + "\n";
    ambit.write("data/big.json", paragraph.repeat(20_000));
    let json = ambit.done("index data --json").json();
    let chunks = json["chunks"].as_u64().unwrap();
    assert!(chunks > 12_000 && json["indexed"] == 1, "{json}");
    assert_eq!(counts(&ambit, "index data").2, 1, "the second run finds it unchanged");
    ambit.write("data/big.json", "{}\n");
    ambit.done("index data");
    assert_eq!(keys(&ambit), ["data/big.json", "data/big.json#L1-L1"]);
    ambit.done("verify");
}

#[test]
fn a_file_of_two_gigabytes_is_skipped_unread() {
    let ambit = garden();
    let file = std::fs::File::create(ambit.path("garden/huge.txt")).unwrap();
    file.set_len(2 << 30).unwrap();
    let json = ambit.done("index garden --budget 16MiB --json").json();
    assert_eq!((&json["files"], &json["skipped"]), (&3.into(), &1.into()));
    assert!(json["skips"].to_string().contains("2.0 GiB"), "{json}");
}

#[test]
fn a_search_without_a_known_word_is_refused() {
    let ambit = garden();
    ambit.done("index garden");
    ambit.fails("search '   '", 2, &["empty"]);
    ambit.fails("search whales -c mein", 1, &["mein", "main"]);
}

#[test]
fn the_demo_answers_three_questions_without_set_up() {
    let ambit = Ambit::new();
    let shown = ambit.done("demo --json").json();
    assert_eq!(
        fields(&shown),
        ["answers", "budget", "bytes", "chunks", "files", "folder", "index_seconds", "vm_hwm"]
    );
    let answers = shown["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| !answer["hits"].as_array().unwrap().is_empty()));
    assert!(!ambit.path(".ambit").exists());
    let human = ambit.done("demo").stdout;
    assert!(human.contains("Budget 64.0 MiB"), "{human}");
}
