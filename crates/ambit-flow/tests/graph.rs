//! Definitions: what is read, what is refused, and in which words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use ambit_flow::{EdgeDef, Fault, Graph, GraphDef, NodeDef, Ports, Registry, Type};
use ambit_mem::{Budget, Bytes, Priority};
use proptest::prelude::*;
use support::{account, build, faults, faults_with, keeping};

/// Nodes `n0` ... that do nothing in particular.
fn chain(nodes: usize) -> GraphDef {
    let node = |number| NodeDef {
        id: format!("n{number}"),
        kind: "condition".into(),
        with: serde_json::from_str(r#"{"rule": "true"}"#).unwrap(),
        ..NodeDef::default()
    };
    let edge = |number: usize| EdgeDef {
        from: format!("n{}", number - 1),
        to: format!("n{number}"),
        ..EdgeDef::default()
    };
    GraphDef {
        nodes: (0..nodes).map(node).collect(),
        edges: (1..nodes).map(edge).collect(),
        ..GraphDef::default()
    }
}

const ALL_FIELDS: &str = r#"
name: everything
inputs: { text: text, n: int }
outputs: [answer]
entry: [first]
nodes:
  - id: first
    kind: rule
    with: { rule: n + 1 }
    write: { answer: total }
    retry: { attempts: 5, backoff_ms: 20, factor: 1.5, max_backoff_ms: 100 }
    timeout_ms: 250
    breaker: { failures: 3, rest_ms: 500 }
    cache: { ttl_ms: 5000 }
    on_error: skip
  - { id: answer, kind: rule, with: { rule: total * 2 }, join: all, cache: true }
edges:
  - { from: first, to: answer, when: total > 0, on: done }
"#;

#[test]
fn a_graph_reads_the_same_from_yaml_and_json_and_survives_both() {
    let def = GraphDef::from_yaml(ALL_FIELDS).unwrap();
    assert_eq!(GraphDef::from_yaml(&def.to_yaml().unwrap()).unwrap(), def);
    assert_eq!(GraphDef::from_json(&def.to_json().unwrap()).unwrap(), def);
    assert_eq!(GraphDef::from_text(&def.to_json().unwrap()).unwrap(), def);
    assert_eq!(GraphDef::from_text(ALL_FIELDS).unwrap(), def);
    def.validate(&keeping().0, &account()).unwrap();
}

#[test]
fn a_field_that_does_not_exist_is_named_with_its_place() {
    let yaml = GraphDef::from_yaml("nodes:\n  - { id: a, kind: rule, wiht: {} }\n").unwrap_err();
    assert!(yaml.message.contains("wiht") && yaml.message.contains("2:"), "{yaml}");
    let json = GraphDef::from_json(r#"{"nodes": [{"id": "a", "knid": "rule"}]}"#).unwrap_err();
    assert!(json.message.contains("knid") && json.message.contains("line 1"), "{json}");
}

#[test]
fn a_graph_without_nodes_is_refused() {
    assert_eq!(faults("nodes: []"), ["the graph has no nodes"]);
}

#[test]
fn names_that_do_not_resolve_are_named_with_the_nearest() {
    let found = faults(
        "
entry: [strat]
nodes:
  - { id: start, kind: condition, with: { rule: 'true' } }
  - { id: start, kind: conditoin }
  - { id: '', kind: rule }
edges:
  - { from: start, to: finish }
",
    );
    assert_eq!(
        found,
        [
            "two nodes have the id 'start'",
            "node number 3 has no id",
            "node 'start': no kind 'conditoin'; is 'condition' meant?",
            "node '': needs either 'rule', or 'set' with a rule for each key",
            "edge start -> finish: no node 'finish'",
            "entry: no node 'strat'; is 'start' meant?",
        ]
    );
}

#[test]
fn a_circle_is_named_in_full() {
    let mut def = chain(5);
    let edge =
        |from: &str, to: &str| EdgeDef { from: from.into(), to: to.into(), ..EdgeDef::default() };
    def.edges.push(edge("n3", "n1"));
    let error = def.validate(&Registry::new(), &account()).unwrap_err();
    let Fault::Cycle { nodes } = &error.faults()[0] else { panic!("{error}") };
    let mut circle = nodes.clone();
    assert_eq!(circle.pop(), Some(circle[0].clone()));
    circle.sort();
    assert_eq!(circle, ["n1", "n2", "n3"]);
    assert!(error.to_string().starts_with("edges lead in a circle: n"), "{error}");

    let mut alone = chain(1);
    alone.edges.push(edge("n0", "n0"));
    let error = alone.validate(&Registry::new(), &account()).unwrap_err();
    assert_eq!(error.to_string(), "edges lead in a circle: n0 -> n0");
}

#[test]
fn what_the_entry_does_not_lead_to_is_refused() {
    let mut def = chain(4);
    def.entry = vec!["n2".into()];
    let error = def.validate(&Registry::new(), &account()).unwrap_err();
    let text = error.to_string();
    assert_eq!(text, "the entry does not lead to node 'n0'; the entry does not lead to node 'n1'");
}

#[test]
fn a_key_that_nothing_sets_is_refused_where_inputs_are_declared() {
    let found = faults(
        "
inputs: { income: int }
outputs: [scroe]
nodes:
  - { id: score, kind: rule, with: { rule: incmoe / 1000 } }
",
    );
    assert_eq!(
        found,
        [
            "node 'score' reads 'incmoe', which nothing sets before it; is 'income' meant?",
            "output 'scroe' is set by nothing; is 'score' meant?",
        ]
    );
}

#[test]
fn a_key_may_come_from_outside_where_inputs_are_not_declared() {
    let graph = build("nodes: [{ id: score, kind: rule, with: { rule: income / 1000 + age } }]");
    let graph = graph.unwrap();
    let names: Vec<&str> = graph.reads().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["age", "income"]);
}

#[test]
fn a_read_that_no_edge_puts_after_its_write_is_refused() {
    let yaml = |edge: &str| {
        format!(
            "
inputs: {{ n: int }}
nodes:
  - {{ id: double, kind: rule, with: {{ rule: n * 2 }} }}
  - {{ id: sum, kind: rule, with: {{ rule: n + double }} }}
edges: [{edge}]
"
        )
    };
    let found = faults(&yaml(""));
    assert_eq!(
        found,
        ["'double' is written by 'double' and read by 'sum', and no edge says which comes \
          first; add an edge double -> sum"]
    );
    assert_eq!(faults(&yaml("{ from: double, to: sum }")), [""; 0]);
    // The other way round, the reader comes first.
    assert_eq!(faults(&yaml("{ from: sum, to: double }")).len(), 1);
}

#[test]
fn a_port_that_does_without_a_value_may_come_before_who_writes_it() {
    let mut registry = Registry::new();
    registry.add_function("maybe", Ports::new().read_optional("late", Type::Int), |_| Ok(()));
    let yaml = |edge: &str| {
        format!(
            "
nodes:
  - {{ id: early, kind: function, with: {{ name: maybe }} }}
  - {{ id: late, kind: rule, with: {{ rule: '1' }} }}
edges: [{edge}]
"
        )
    };
    assert_eq!(faults_with(&yaml("{ from: early, to: late }"), &registry), [""; 0]);
    assert_eq!(faults_with(&yaml("{ from: late, to: early }"), &registry), [""; 0]);
    // Beside each other, it would depend on who is faster.
    assert_eq!(faults_with(&yaml(""), &registry).len(), 1);
}

#[test]
fn a_value_of_the_wrong_type_is_refused_before_anything_runs() {
    let mut registry = Registry::new();
    let ports = Ports::new().read("text", Type::Text).write("words", Type::Int);
    registry.add_function("count", ports, |scope| scope.set("words", 1));
    let yaml = |inputs: &str| {
        format!(
            "
inputs: {inputs}
nodes:
  - {{ id: a, kind: function, with: {{ name: count }} }}
  - {{ id: b, kind: function, with: {{ name: count }}, read: {{ text: words }}, write: {{ words: n }} }}
edges: [{{ from: a, to: b }}]
"
        )
    };
    assert_eq!(
        faults_with(&yaml("{ text: float }"), &registry),
        [
            "'text' is float from the caller, and node 'a' reads text",
            "'words' is int from node 'a', and node 'b' reads text",
        ]
    );
    assert_eq!(faults_with(&yaml("{ text: text }"), &registry).len(), 1);
}

#[test]
fn ports_and_functions_that_do_not_exist_are_named() {
    let mut registry = Registry::new();
    registry.add_function("shout", Ports::new().read("text", Type::Text), |_| Ok(()));
    let found = faults_with(
        "
nodes:
  - { id: a, kind: function, with: { name: shuot } }
  - { id: b, kind: function, with: { name: shout }, read: { txet: line } }
",
        &registry,
    );
    assert_eq!(
        found,
        [
            "node 'a': no function 'shuot'; is 'shout' meant?",
            "node 'b': no port 'txet'; is 'text' meant?",
        ]
    );
}

#[test]
fn a_rule_that_cannot_be_read_says_where() {
    let found = faults(
        "
nodes:
  - { id: a, kind: rule, with: { rule: 'income >== 3' } }
  - { id: b, kind: condition, with: { rule: 'tru' } }
edges:
  - { from: a, to: b, when: '1 +' }
",
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("node 'a': rule \"income >== 3\", line 1, column 10: "));
    let found = faults(
        "
nodes:
  - { id: a, kind: condition, with: { rule: 'true' } }
  - { id: b, kind: condition, with: { rule: 'true' } }
edges:
  - { from: a, to: b, when: '1 +' }
",
    );
    assert!(found[0].starts_with("edge a -> b: rule \"1 +\", line 1, column 4: "), "{found:?}");
}

#[test]
fn a_branch_that_a_condition_does_not_have_is_refused() {
    let yaml = |branch: &str| {
        format!(
            "
nodes:
  - {{ id: a, kind: condition, with: {{ cases: [{{ branch: low, when: n < 3 }}] }} }}
  - {{ id: b, kind: rule, with: {{ rule: '1' }} }}
  - {{ id: c, kind: rule, with: {{ rule: '1' }} }}
edges:
  - {{ from: a, to: b, branch: {branch} }}
  - {{ from: b, to: c, branch: then }}
"
        )
    };
    assert_eq!(
        faults(&yaml("hihg")),
        [
            "edge a -> b: no branch 'hihg'; there are low, else",
            "edge b -> c: branch 'then' of a node that is no condition",
        ]
    );
    assert_eq!(faults(&yaml("low")).len(), 1);
}

#[test]
fn faults_of_a_graph_inside_are_reported_through_the_node() {
    let found = faults(
        "
nodes:
  - id: outer
    kind: graph
    with: { graph: { nodes: [{ id: x, kind: rlue, with: { rule: '1' } }] } }
",
    );
    assert_eq!(found, ["node 'outer': in its graph: node 'x': no kind 'rlue'; is 'rule' meant?"]);
}

#[test]
fn graphs_may_be_inside_each_other_up_to_the_limit() {
    let nested = |depth: usize| {
        let mut def: serde_json::Value =
            serde_json::json!({"nodes": [{"id": "a", "kind": "rule", "with": {"rule": "1"}}]});
        for _ in 0..depth {
            def = serde_json::json!({
                "nodes": [{"id": "a", "kind": "graph", "with": {"graph": def}}]
            });
        }
        let def: GraphDef = serde_json::from_value(def).unwrap();
        def.validate(&Registry::new(), &account())
    };
    assert!(nested(ambit_flow::MAX_NESTING).is_ok());
    let error = nested(ambit_flow::MAX_NESTING + 1).unwrap_err().to_string();
    assert!(error.ends_with("graphs are inside each other more than 16 deep"), "{error}");
}

#[test]
fn a_text_that_nests_without_end_is_an_error_in_both_formats() {
    let deep = |open: &str, times| format!("{{\"nodes\": {}", open.repeat(times));
    for times in [100, 10_000, 1_000_000] {
        assert!(GraphDef::from_json(&deep("[", times)).is_err());
        assert!(GraphDef::from_json(&deep("{\"a\":", times)).is_err());
        assert!(GraphDef::from_yaml(&format!("nodes: {}", "[".repeat(times))).is_err());
    }
    let laughs = "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n\
                  c: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n\
                  e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nnodes: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
    assert!(GraphDef::from_yaml(laughs).is_err());
}

#[test]
fn many_faults_are_counted_beyond_the_most_that_are_listed() {
    for (nodes, listed) in [(63, 63), (64, 64), (65, 65), (1000, 65)] {
        let mut def = chain(nodes);
        def.nodes.iter_mut().for_each(|node| node.kind = "conditions".into());
        let error = def.validate(&Registry::new(), &account()).unwrap_err();
        assert_eq!(error.faults().len(), listed);
        if nodes > 64 {
            assert_eq!(error.faults()[64], Fault::More { count: nodes - 64 });
        }
    }
}

#[test]
fn a_hundred_thousand_nodes_in_one_line_are_checked_and_drawn_up() {
    let def = chain(100_000);
    let budget = Budget::new(Bytes::mib(256));
    let account = budget.account("flow", Priority::Write);
    let graph = Graph::build(&def, &Registry::new(), &account).unwrap();
    assert_eq!((graph.len(), graph.depth()), (100_000, 100_000));
    let mut circle = def;
    let (from, to) = ("n99999".to_owned(), "n0".to_owned());
    circle.edges.push(EdgeDef { from, to, ..EdgeDef::default() });
    let error = circle.validate(&Registry::new(), &account).unwrap_err();
    let Fault::Cycle { nodes } = &error.faults()[0] else { panic!("{error}") };
    assert_eq!(nodes.len(), 100_001);
}

#[test]
fn a_graph_gives_its_bytes_back_and_is_refused_where_they_do_not_fit() {
    let def = chain(1000);
    let budget = Budget::new(Bytes::mib(16));
    let account = budget.account("flow", Priority::Write);
    let graph = Graph::build(&def, &Registry::new(), &account).unwrap();
    assert_eq!(budget.used(), graph.footprint());
    let needed = graph.footprint();
    drop(graph);
    assert_eq!(budget.used(), Bytes::ZERO);
    for (limit, fits) in [(needed.get() - 1, false), (needed.get(), true)] {
        let budget = Budget::new(Bytes::new(limit));
        let built = Graph::build(&def, &Registry::new(), &budget.account("a", Priority::Write));
        assert_eq!(built.as_ref().map_or_else(|error| !error.is_over_budget(), |_| true), fits);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z0-9:{}\\[\\]\"',&*|> \n]{0,200}") {
        let _ = GraphDef::from_text(&text);
        let _ = GraphDef::from_json(&text);
        let _ = GraphDef::from_yaml(&format!("nodes:\n  - {text}"));
    }
}
