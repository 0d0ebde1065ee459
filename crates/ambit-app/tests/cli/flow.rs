//! `flow run`, `flow check`, `flow draw`, and the graphs of `examples/flow`.

use std::path::Path;

use crate::ambit::{Ambit, fields};

/// A file of the examples.
fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flow").join(name);
    path.canonicalize().unwrap().display().to_string()
}

/// A graph in a file of its own.
fn written(ambit: &Ambit, yaml: &str) -> String {
    let path = ambit.path("graph.yaml");
    std::fs::write(&path, yaml).unwrap();
    path.display().to_string()
}

#[test]
fn the_loan_example_decides_by_its_rules() {
    let ambit = Ambit::new();
    let (graph, input) = (example("loan.yaml"), example("loans.jsonl"));
    let ran = ambit.done(&format!("flow run {graph} --input {input} --json")).json_lines();
    let decisions: Vec<_> = ran.iter().map(|ran| ran["outputs"]["decision"].clone()).collect();
    assert_eq!(decisions, ["approve", "review: a long holiday", "decline"]);
    assert_eq!(ran[0]["outputs"]["limit"], 20_800.0);
    assert_eq!(fields(&ran[2]["outputs"]), ["decision"]);
    assert_eq!((&ran[0]["ran"], &ran[0]["skipped"]), (&8.into(), &2.into()));
}

#[test]
fn many_runs_use_their_context_again_and_allocate_nothing() {
    let ambit = Ambit::new();
    let (graph, input) = (example("loan.yaml"), example("loans.jsonl"));
    let line = format!("flow run {graph} --input {input} --repeat 10000 --json");
    for ran in ambit.done(&line).json_lines() {
        let repeated = &ran["repeated"];
        assert_eq!(repeated["runs"], 10_000);
        assert_eq!(repeated["allocations_per_run"], 0.0);
        assert!(repeated["reuse_rate"].as_f64().unwrap() >= 0.99, "{ran}");
    }
}

#[test]
fn the_ingest_example_stores_what_the_retrieval_example_finds() {
    let ambit = Ambit::new();
    let (ingest, notes) = (example("ingest.yaml"), example("notes.jsonl"));
    let stored = ambit.done(&format!("flow run {ingest} --input {notes} --json")).json_lines();
    let sum: u64 = stored.iter().map(|ran| ran["outputs"]["stored"].as_u64().unwrap()).sum();
    assert_eq!((stored.len(), sum), (9, 8));
    assert_eq!(ambit.done("list --json").json_lines().len(), 8);

    let retrieve = example("retrieve.yaml");
    std::fs::write(ambit.path("q.json"), r#"{"question": "what makes a write durable?"}"#).unwrap();
    let ran = ambit.done(&format!("flow run {retrieve} --input q.json --json")).json();
    let sources = ran["outputs"]["sources"].as_array().unwrap();
    // The log was asked for; its relations lead to the memtable and on to the segment.
    assert_eq!(sources[0], "wal");
    for key in ["memtable", "segment"] {
        assert!(sources.contains(&key.into()), "{ran}");
    }
    let context = ran["outputs"]["context"].as_str().unwrap();
    assert!(context.starts_with("[wal]\nThe write-ahead log makes"), "{context}");
    let repeated = ambit.done(&format!("flow run {retrieve} --input q.json --repeat 200 --json"));
    assert!(repeated.json()["repeated"]["reuse_rate"].as_f64().unwrap() >= 0.99);
}

#[test]
fn a_graph_may_store_and_read_what_it_stored() {
    let ambit = Ambit::new();
    let graph = written(
        &ambit,
        "
nodes:
  - id: each
    kind: map
    with:
      graph:
        outputs: [text]
        nodes:
          - { id: key, kind: rule, with: { rule: \"'note ' + string(index)\" } }
          - { id: store, kind: put, read: { text: item } }
          - { id: read, kind: get }
          - { id: text, kind: rule, with: { rule: entity.text } }
        edges:
          - { from: key, to: store }
          - { from: store, to: read }
          - { from: read, to: text }
    read: { items: notes }
",
    );
    std::fs::write(ambit.path("in.json"), r#"{"notes": ["one", "two"]}"#).unwrap();
    let ran = ambit.done(&format!("flow run {graph} --input in.json --json")).json();
    assert_eq!(ran["outputs"]["text"], serde_json::json!(["one", "two"]));
    assert_eq!(ambit.done("get 'note 1' --json").json()["text"], "two");
}

#[test]
fn check_says_what_a_graph_takes_and_gives_or_all_that_is_wrong() {
    let ambit = Ambit::new();
    let sound = ambit.done(&format!("flow check {}", example("loan.yaml"))).stdout;
    assert!(sound.starts_with("sound: 10 nodes in 5 layers, "), "{sound}");
    assert!(sound.contains("takes purpose: text\n") && sound.contains("gives limit: any\n"));
    let json = ambit.done(&format!("flow check {} --json", example("retrieve.yaml"))).json();
    assert_eq!(fields(&json), ["bytes", "layers", "name", "nodes", "reads", "writes"]);
    assert_eq!(json["reads"][0], serde_json::json!({"key": "question", "type": "text"}));
    let graph = written(
        &ambit,
        "
nodes:
  - { id: a, kind: serach }
  - { id: b, kind: search, with: { k: 0 } }
  - { id: c, kind: rule, with: { rule: 1 + } }
edges: [{ from: a, to: d }]
",
    );
    ambit.fails(
        &format!("flow check {graph}"),
        2,
        &["no kind 'serach'; is 'search' meant?", "k is 0", "column 4", "no node 'd'"],
    );
    let circle = written(
        &ambit,
        "
nodes: [{ id: a, kind: rule, with: { rule: '1' } }, { id: b, kind: rule, with: { rule: '1' } }]
edges: [{ from: a, to: b }, { from: b, to: a }]
",
    );
    ambit.fails(&format!("flow check {circle}"), 2, &["edges lead in a circle: "]);
    ambit.fails("flow check no-such-file.yaml", 6, &["no-such-file.yaml"]);
}

#[test]
fn a_graph_is_drawn_as_it_is_and_as_it_ran() {
    let ambit = Ambit::new();
    let loan = example("loan.yaml");
    let dot = ambit.done(&format!("flow draw {loan}")).stdout;
    assert!(dot.starts_with("digraph \"loan\" {"), "{dot}");
    assert!(dot.contains("\"risk\" -> \"approve\" [label=\"low\"];"), "{dot}");
    ambit.done(&format!("flow draw {loan} --out plain.svg"));
    let input = example("loans.jsonl");
    ambit.done(&format!("flow run {loan} --input {input} --draw ran.svg"));
    let read = |name| std::fs::read_to_string(ambit.path(name)).unwrap();
    assert!(read("plain.svg").starts_with("<svg ") && !read("plain.svg").contains("skipped"));
    assert!(read("ran.svg").contains("rule, skipped") && read("ran.svg").contains("ran in"));
    ambit.fails(&format!("flow draw {loan} --out x.png"), 2, &[".svg or a .dot"]);
}

#[test]
fn a_run_that_fails_says_which_node_and_ends_with_the_right_code() {
    let ambit = Ambit::new();
    let loan = example("loan.yaml");
    ambit.fails(&format!("flow run {loan}"), 2, &["node 'ratio'", "nothing is set under 'debt'"]);
    let input = example("loans.jsonl");
    let line = format!("flow run {loan} --input {input} --run-budget 60");
    ambit.fails(&line, 3, &["over the run's budget"]);
    // No store is there, and the graph needs one.
    let retrieve = example("retrieve.yaml");
    ambit.fails(&format!("flow run {retrieve} --input {input}"), 1, &["store"]);
    ambit.fails(&format!("flow run {loan} --input none.json"), 6, &["none.json"]);
    std::fs::write(ambit.path("bad.json"), "{\"a\": ").unwrap();
    ambit.fails(&format!("flow run {loan} --input bad.json"), 2, &["--input: EOF"]);
}

#[test]
fn a_trace_tells_what_became_of_each_node() {
    let ambit = Ambit::new();
    let (graph, input) = (example("loan.yaml"), example("loans.jsonl"));
    let ran = ambit.done(&format!("flow run {graph} --input {input} --trace --json")).json_lines();
    let trace = ran[0]["trace"].as_array().unwrap();
    assert_eq!(fields(&trace[0]), ["bytes", "node", "seconds", "state"]);
    let state =
        |node: &str| trace.iter().find(|traced| traced["node"] == node).unwrap()["state"].clone();
    assert_eq!((state("approve"), state("decline")), ("ran".into(), "skipped".into()));
    let human = ambit.done(&format!("flow run {graph} --input {input} --trace")).stdout;
    assert!(human.contains("skipped ") && human.contains("  decline\n"), "{human}");
}
