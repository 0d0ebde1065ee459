//! `add`, `get`, `delete`, `list`, `collections`, `memory`, `verify`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::ambit::{Ambit, fields};

const TWO: &str = r#"{"key":"a","kind":"note","text":"first\nsecond","properties":{"n":1},"embeddings":{"v":[0.1,-2]}}
{"key":"b","kind":"task"}
"#;

fn with_two() -> Ambit {
    let ambit = Ambit::new();
    let ran = ambit.fed("add", TWO);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "2 entities added\n"), "{ran:?}");
    ambit
}

#[test]
fn what_was_added_is_printed_as_add_reads_it() {
    let ambit = with_two();
    let entity = ambit.done("get a --vector --json");
    let fields_of_add = ["embeddings", "key", "kind", "properties", "text"];
    assert_eq!(fields(&entity.json()), fields_of_add);
    let other = Ambit::new();
    assert_eq!(other.fed("add --json", &entity.stdout).json()["added"], 1);
    assert_eq!(other.done("get a --vector --json").stdout, entity.stdout);
    let hidden = ambit.done("get a --json").json();
    assert_eq!(fields(&hidden), ["dims", "key", "kind", "properties", "text"]);
    let human = ambit.done("get a").stdout;
    assert!(human.contains("first\nsecond") && human.contains("2 numbers"), "{human}");
}

#[test]
fn each_key_is_acknowledged_while_standard_input_stays_open() {
    let ambit = Ambit::new();
    let mut command = ambit.command("add --ack");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for key in ["one", "two words", "three"] {
        writeln!(stdin, "{{\"key\":\"{key}\"}}").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), key);
    }
    // Killed without warning, what was acknowledged is there.
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ambit.done("list --json").json_lines().len(), 3);
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_an_add_that_waits_and_keeps_what_was_acknowledged() {
    let ambit = Ambit::new();
    let mut command = ambit.command("add --ack");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, "{{\"key\":\"a\"}}").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "a");
    // Twice: the first may arrive before the wait for the next line has begun.
    let pid = child.id().to_string();
    for _ in 0..2 {
        std::process::Command::new("kill").args(["-INT", &pid]).output().unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(ambit.done("list --json").json_lines().len(), 1);
}

#[test]
fn many_lines_are_added_in_few_batches() {
    let ambit = Ambit::new();
    let lines: String = (0..20_000).map(|n| format!("{{\"key\":\"k{n}\"}}\n")).collect();
    let ran = ambit.fed("add --ack --json", &lines);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json_lines().len(), 20_000);
    assert_eq!(ambit.done("collections --json").json()["entities"], 20_000);
}

#[test]
fn a_bad_line_is_named_and_the_lines_before_it_are_stored() {
    let cases = [
        ("{\"key\":", "line 3: EOF"),
        ("[1]", "line 3: not a JSON object"),
        ("{\"key\":\"\"}", "line 3: a key is empty"),
        ("{\"key\":\"a\\nb\"}", "line 3: the key 'a\\nb' holds a line break"),
        ("{\"key\":\"c\",\"embeddings\":{\"v\":[1,2,3]}}", "space v"),
        ("{\"key\":\"c\",\"embeddings\":{\"v\":[0,0]}}", "zero vector"),
        ("{\"key\":\"c\",\"embeddings\":{\"v\":[1,1e99]}}", "beyond float32"),
    ];
    for (line, words) in cases {
        let ambit = Ambit::new();
        let ran = ambit.fed("add", &format!("{TWO}{line}\n{{\"key\":\"d\"}}\n"));
        ran.failed(2, &[words]);
    }
    let ambit = Ambit::new();
    ambit.fed("add", &format!("{TWO}{{]\n")).failed(2, &["2 entities before it were stored"]);
    assert_eq!(ambit.done("list --json").json_lines().len(), 2);
    let long = format!("{{\"key\":\"{}\"}}\n", "k".repeat(64 << 10));
    ambit.fed("add", &long).failed(2, &["line 1", "65,536 bytes"]);
    let endless = "x".repeat(9 << 20);
    ambit.fed("add", &endless).failed(2, &["line 1: more than 8,388,608 bytes"]);
}

#[test]
fn listing_filters_and_goes_on_after_a_key() {
    let ambit = with_two();
    ambit.fed("add", "{\"key\":\"aa\",\"kind\":\"note\"}\n");
    let keys = |line: &str| -> Vec<String> {
        let lines = ambit.done(line).json_lines();
        lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(fields(&ambit.done("list --json").json_lines()[0]), ["id", "key", "kind", "text"]);
    assert_eq!(keys("list --json"), ["a", "b", "aa"]);
    assert_eq!(keys("list --json --prefix a"), ["a", "aa"]);
    assert_eq!(keys("list --json --kind note --after a"), ["aa"]);
    assert_eq!(keys("list --json -n 1"), ["a"]);
    ambit.fails("list --after zz", 1, &["zz"]);
    let human = ambit.done("list -n 1").stdout;
    assert_eq!(human, "a\tnote\tfirst\n");
}

#[test]
fn deleting_says_what_was_not_there() {
    let ambit = with_two();
    assert_eq!(ambit.done("delete a a --json").json()["deleted"], 1);
    let ran = ambit.fails("delete a b c --json", 1, &["no entity 'a', 'c'"]);
    assert_eq!(ran.json()["missing"], serde_json::json!(["a", "c"]));
    ambit.fails("get b", 1, &["no entity 'b'"]);
    ambit.fails("delete", 2, &["KEY"]);
}

#[test]
fn collections_memory_and_verify_print_their_fields() {
    let ambit = with_two();
    let collection = ambit.done("collections --json").json();
    assert_eq!(fields(&collection), ["disk_bytes", "entities", "name", "segments", "spaces"]);
    assert_eq!(fields(&collection["spaces"][0]), ["dim", "kind", "metric", "name", "vectors"]);
    let memory = ambit.done("memory --json --budget 16MiB").json();
    assert_eq!(
        fields(&memory),
        ["allocator", "anonymous", "kernel", "ledger_total", "limit", "owners", "unexplained"]
    );
    let parts = ["program", "stacks", "accounted", "unaccounted", "slack"];
    let parts = parts.iter().filter_map(|part| memory["anonymous"][part].as_i64());
    let untouched = memory["anonymous"]["untouched"].as_i64().unwrap();
    let sum = parts.sum::<i64>() - untouched + memory["unexplained"].as_i64().unwrap();
    assert_eq!(Some(sum), memory["kernel"]["rss_anon"].as_i64());
    assert_eq!(memory["limit"], 16 << 20);
    assert_eq!(memory["owners"]["total"], memory["ledger_total"]);
    assert_eq!(fields(&memory["owners"]), ["bytes", "children", "name", "total"]);
    let verified = ambit.done("verify --json").json();
    assert_eq!(fields(&verified), ["bytes", "files", "ok", "problems"]);
    for line in ["collections", "memory", "verify"] {
        assert!(!ambit.done(line).stdout.is_empty());
    }
}

#[test]
fn verify_names_the_place_of_a_flipped_bit() {
    let ambit = Ambit::new();
    ambit.write("x.npy", crate::array::numbered(5000));
    ambit.done("import x.npy --space s");
    let segment = std::fs::read_dir(ambit.path(".ambit")).unwrap();
    let names = segment.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let name = names.into_iter().find(|name| name.starts_with("segment-")).unwrap();
    let path = format!(".ambit/{name}");
    let mut bytes = ambit.read(&path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    ambit.write(&path, bytes);
    let ran = ambit.run("verify --json");
    assert_eq!(ran.code, 1, "{ran:?}");
    let verified = ran.json();
    assert_eq!(verified["ok"], false);
    assert!(verified["problems"][0].as_str().unwrap().contains(&name), "{verified}");
    ambit.fails("query x.npy --space s", 4, &[&name]);
}
