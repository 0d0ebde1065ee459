//! Runs: what happens in which order, and what happens when something goes wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ambit_flow::{
    CancelToken, Clock, Context, ContextPool, Executor, Graph, ManualClock, NodeError, NodeState,
    Outcome, Ports, Registry, RunError, RunOptions, Timing, Type,
};
use ambit_mem::{Bytes, PoolConfig};
use serde_json::json;
use support::{account, def, run, run_with};

const BRANCHES: &str = "
inputs: { n: int }
nodes:
  - { id: size, kind: condition, with: { cases: [
      { branch: small, when: n < 10 }, { branch: middle, when: n < 100 } ] } }
  - { id: small, kind: rule, with: { set: { word: \"'small'\" } } }
  - { id: middle, kind: rule, with: { set: { word: \"'middle'\" } } }
  - { id: large, kind: rule, with: { set: { word: \"'large'\" } } }
  - { id: after_large, kind: rule, with: { rule: word + '!' } }
  - { id: done, kind: rule, with: { rule: \"'it is ' + word\" } }
edges:
  - { from: size, to: small, branch: small }
  - { from: size, to: middle, branch: middle }
  - { from: size, to: large, branch: else }
  - { from: large, to: after_large }
  - { from: small, to: done }
  - { from: middle, to: done }
  - { from: after_large, to: done }
";

#[test]
fn only_the_branch_that_is_taken_runs_and_what_hangs_on_the_others_is_skipped() {
    for (n, word, ran) in [(9, "small", 3), (10, "middle", 3), (99, "middle", 3), (100, "large", 4)]
    {
        let (context, executor, outcome) = run(BRANCHES, json!({ "n": n }));
        assert_eq!(outcome.unwrap(), Outcome { ran, skipped: 6 - ran, failed: 0 });
        assert_eq!(context.text("done").unwrap(), format!("it is {word}"));
        assert_eq!(context.contains("after_large"), word == "large");
        let state = |node| executor.trace().find(|trace| trace.node == node).unwrap().state;
        assert_eq!(state("size"), NodeState::Ran);
        assert_eq!(state("small") == NodeState::Ran, word == "small");
    }
}

#[test]
fn a_node_that_joins_all_runs_only_if_every_edge_is_taken() {
    let yaml = |join: &str| {
        format!(
            "
nodes:
  - {{ id: a, kind: rule, with: {{ rule: '1' }} }}
  - {{ id: b, kind: rule, with: {{ rule: '1' }} }}
  - {{ id: c, kind: rule, with: {{ rule: '1' }}, join: {join} }}
edges:
  - {{ from: a, to: c }}
  - {{ from: b, to: c, when: x > 1 }}
"
        )
    };
    for (join, x, ran) in [("any", 1, 3), ("all", 1, 2), ("all", 2, 3)] {
        let (_, _, outcome) = run(&yaml(join), json!({ "x": x }));
        assert_eq!(outcome.unwrap().ran, ran, "{join} {x}");
    }
}

#[test]
fn the_entry_runs_and_nothing_else_begins() {
    let yaml = "
entry: [b]
nodes:
  - { id: b, kind: rule, with: { rule: '1' } }
  - { id: c, kind: rule, with: { rule: '2' } }
edges: [{ from: b, to: c }]
";
    assert_eq!(run(yaml, json!({})).2.unwrap().ran, 2);
}

/// A registry with nodes that fail in several ways, and a count of their runs.
fn failing() -> (Registry, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let mut registry = Registry::new();
    let counted = Arc::clone(&runs);
    let ports = || Ports::new().read_optional("good_from", Type::Int).write("out", Type::Int);
    registry.add_function("flaky", ports(), move |scope| {
        let run = i64::from(counted.fetch_add(1, Ordering::SeqCst) + 1);
        scope.set("out", run)?;
        let good_from = scope.int("good_from").unwrap_or(i64::MAX);
        if run >= good_from { Ok(()) } else { Err(NodeError::failed("no luck")) }
    });
    let counted = Arc::clone(&runs);
    registry.add_function("hopeless", Ports::new(), move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Err(NodeError::hopeless("never"))
    });
    registry.add_function("panics", ports(), |scope| {
        scope.set("out", 1)?;
        panic!("out of patience")
    });
    (registry, runs)
}

#[test]
fn a_failure_ends_the_run_and_leaves_nothing_of_the_node() {
    let (registry, _) = failing();
    let yaml = "
nodes:
  - { id: before, kind: rule, with: { rule: '7' } }
  - { id: bad, kind: function, with: { name: flaky } }
  - { id: after, kind: rule, with: { rule: '8' } }
edges: [{ from: before, to: bad }, { from: bad, to: after }]
";
    let (context, executor, outcome) = run_with(yaml, &registry, json!({}));
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), "node 'bad': no luck");
    assert!(error.is_retryable());
    assert_eq!(context.int("before").unwrap(), 7);
    assert!(!context.contains("out") && !context.contains("after"));
    assert_eq!(executor.metrics("bad").unwrap().failed, 1);
    assert_eq!(executor.trace().last().unwrap().state, NodeState::Pending);
}

#[test]
fn a_failure_may_be_skipped_and_is_listed() {
    let (registry, _) = failing();
    let yaml = "
nodes:
  - { id: bad, kind: function, with: { name: flaky }, on_error: skip }
  - { id: after, kind: rule, with: { rule: '8' } }
  - { id: aside, kind: rule, with: { rule: '9' } }
edges: [{ from: bad, to: after }]
";
    let (context, executor, outcome) = run_with(yaml, &registry, json!({}));
    assert_eq!(outcome.unwrap(), Outcome { ran: 1, skipped: 1, failed: 1 });
    assert!(context.contains("aside") && !context.contains("after"));
    let failure = &executor.failures()[0];
    assert_eq!((failure.node.as_str(), failure.error.to_string().as_str()), ("bad", "no luck"));
}

#[test]
fn an_edge_takes_a_failure_up_and_finds_what_it_was() {
    let (registry, _) = failing();
    let yaml = "
nodes:
  - { id: bad, kind: function, with: { name: panics } }
  - { id: good, kind: rule, with: { rule: '8' } }
  - { id: instead, kind: rule, with: { rule: \"error.node + ' ' + error.kind + ' ' + error.message\" } }
edges:
  - { from: bad, to: good }
  - { from: bad, to: instead, on: error }
";
    let (context, executor, outcome) = run_with(yaml, &registry, json!({}));
    assert_eq!(outcome.unwrap(), Outcome { ran: 1, skipped: 1, failed: 1 });
    let text = context.text("instead").unwrap();
    assert_eq!(text, "bad panicked panicked: out of patience");
    assert_eq!(executor.failures().len(), 1);
}

#[test]
fn a_panic_is_contained_and_its_context_is_dropped_not_pooled() {
    let (registry, _) = failing();
    let account = account();
    let yaml = "nodes: [{ id: bad, kind: function, with: { name: panics } }]";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let pool = ContextPool::new(PoolConfig::default(), &account.child("contexts")).unwrap();
    for _ in 0..3 {
        let mut context = pool.acquire();
        let error = executor.run(&mut context).unwrap_err();
        assert_eq!(error.to_string(), "node 'bad': panicked: out of patience");
        assert!(context.is_spoilt());
    }
    let stats = pool.stats();
    assert_eq!((stats.created, stats.reused, stats.dropped), (3, 0, 3));
    // A good run on the same thread is kept.
    let good = Graph::build(
        &def("nodes: [{ id: a, kind: rule, with: { rule: '1' } }]"),
        &registry,
        &account,
    );
    Executor::new(&good.unwrap(), &account).unwrap().run(&mut pool.acquire()).unwrap();
    assert_eq!(pool.stats().current_pool_size, 1);
}

#[test]
fn a_node_is_tried_again_with_growing_waits_and_its_last_failure_counts() {
    let yaml = "
nodes:
  - id: bad
    kind: function
    with: { name: flaky }
    retry: { attempts: 4, backoff_ms: 100, factor: 2, max_backoff_ms: 300 }
";
    for (good_from, is_ok, tries, waited) in
        [(1, true, 1, 0), (3, true, 3, 300), (4, true, 4, 600), (5, false, 4, 600)]
    {
        let (registry, runs) = failing();
        let account = account();
        let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
        let mut executor = Executor::new(&graph, &account).unwrap();
        let mut context = Context::new(&account);
        context.set("good_from", good_from).unwrap();
        let clock = ManualClock::new();
        let options = RunOptions { clock: &clock, ..RunOptions::default() };
        let outcome = executor.run_with(&mut context, &options);
        assert_eq!(outcome.is_ok(), is_ok, "{good_from}");
        assert_eq!(runs.load(Ordering::SeqCst), tries);
        assert_eq!(clock.passed(), Duration::from_millis(waited));
        assert_eq!(executor.metrics("bad").unwrap().retries, u64::from(tries - 1));
    }
}

#[test]
fn what_is_hopeless_is_not_tried_again() {
    let (registry, runs) = failing();
    let yaml = "nodes: [{ id: bad, kind: function, with: { name: hopeless }, retry: {} }]";
    assert!(!run_with(yaml, &registry, json!({})).2.unwrap_err().is_retryable());
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn a_breaker_opens_for_all_executors_and_closes_after_its_rest() {
    let (registry, runs) = failing();
    let account = account();
    let yaml = "
nodes:
  - { id: bad, kind: function, with: { name: flaky }, breaker: { failures: 2, rest_ms: 1000 } }
";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let clock = ManualClock::new();
    let options = RunOptions { clock: &clock, ..RunOptions::default() };
    let run = |good_from: i64| {
        let mut context = Context::new(&account);
        context.set("good_from", good_from).unwrap();
        Executor::new(&graph, &account).unwrap().run_with(&mut context, &options)
    };
    for _ in 0..2 {
        assert_eq!(run(99).unwrap_err().to_string(), "node 'bad': no luck");
    }
    let resting = run(1).unwrap_err().to_string();
    assert_eq!(resting, "node 'bad': failed too often and is given a rest");
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    clock.advance(Duration::from_secs(1));
    assert!(run(1).is_ok() && run(1).is_ok());
}

/// A registry with a node that takes `ms` milliseconds of a manual clock, asking every ten whether
/// to go on, or never.
fn slow(clock: &Arc<ManualClock>) -> Registry {
    let mut registry = Registry::new();
    for (name, asks) in [("polite", true), ("stubborn", false)] {
        let clock = Arc::clone(clock);
        let ports = Ports::new().read("ms", Type::Int).write("done", Type::Bool);
        registry.add_function(name, ports, move |scope| {
            for _ in 0..scope.int("ms")? / 10 {
                clock.advance(Duration::from_millis(10));
                if asks {
                    scope.check()?;
                }
            }
            scope.set("done", true)
        });
    }
    registry
}

#[test]
fn a_node_that_takes_longer_than_its_time_fails_whether_it_asks_or_not() {
    for name in ["polite", "stubborn"] {
        for (ms, is_ok) in [(90, true), (100, true), (110, false)] {
            let clock = Arc::new(ManualClock::new());
            let registry = slow(&clock);
            let account = account();
            let yaml = format!(
                "nodes: [{{ id: slow, kind: function, with: {{ name: {name} }}, timeout_ms: 100 }}]"
            );
            let graph = Graph::build(&def(&yaml), &registry, &account).unwrap();
            let mut context = Context::new(&account);
            context.set("ms", ms).unwrap();
            let options = RunOptions { clock: &*clock, ..RunOptions::default() };
            let outcome = Executor::new(&graph, &account).unwrap().run_with(&mut context, &options);
            assert_eq!(outcome.is_ok(), is_ok, "{name} {ms}");
            assert_eq!(context.contains("done"), is_ok);
            if let Err(error) = outcome {
                assert_eq!(error.to_string(), "node 'slow': did not end within 100 ms");
            }
        }
    }
}

#[test]
fn a_deadline_ends_a_run_inside_a_node_that_asks_and_before_the_next_one() {
    let yaml = |name: &str| {
        format!(
            "
nodes:
  - {{ id: slow, kind: function, with: {{ name: {name} }} }}
  - {{ id: after, kind: rule, with: {{ rule: '1' }} }}
edges: [{{ from: slow, to: after }}]
"
        )
    };
    for (name, message) in [
        ("polite", "node 'slow': called off while at work"),
        ("stubborn", "the deadline passed before node 'after'"),
    ] {
        let clock = Arc::new(ManualClock::new());
        let registry = slow(&clock);
        let account = account();
        let graph = Graph::build(&def(&yaml(name)), &registry, &account).unwrap();
        let mut context = Context::new(&account);
        context.set("ms", 200).unwrap();
        let deadline = Some(clock.now() + Duration::from_millis(100));
        let options = RunOptions { clock: &*clock, deadline, ..RunOptions::default() };
        let error = Executor::new(&graph, &account).unwrap().run_with(&mut context, &options);
        let error = error.unwrap_err();
        assert!(error.is_called_off());
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_cancelled_token_ends_a_run_before_its_next_node() {
    let account = account();
    let token = CancelToken::new();
    let cancels = token.clone();
    let mut registry = Registry::new();
    registry.add_function("cancel", Ports::new(), move |_| {
        cancels.cancel();
        Ok(())
    });
    let yaml = "
nodes:
  - { id: first, kind: function, with: { name: cancel } }
  - { id: second, kind: rule, with: { rule: '1' } }
edges: [{ from: first, to: second }]
";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let mut context = Context::new(&account);
    let options = RunOptions { cancel: Some(&token), ..RunOptions::default() };
    let mut executor = Executor::new(&graph, &account).unwrap();
    let error = executor.run_with(&mut context, &options).unwrap_err();
    assert_eq!(error.to_string(), "called off before node 'second'");
    assert_eq!(executor.metrics("first").unwrap().runs, 1);
}

#[test]
fn a_run_is_held_to_its_own_budget_at_the_byte() {
    let account = account();
    let mut registry = Registry::new();
    let ports = Ports::new().read("n", Type::Int).write("out", Type::Bytes);
    registry.add_function("fill", ports, |scope| {
        let bytes = vec![7_u8; usize::try_from(scope.int("n")?).unwrap()];
        scope.set("out", &bytes)
    });
    let yaml = "nodes: [{ id: fill, kind: function, with: { name: fill } }]";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    // 8 bytes for `n`, 8 and 100 for `out`.
    for (budget, fits) in [(115, false), (116, true), (117, true)] {
        let mut context = Context::new(&account);
        context.set("n", 100).unwrap();
        let options = RunOptions { budget: Bytes::new(budget), ..RunOptions::default() };
        let outcome = executor.run_with(&mut context, &options);
        assert_eq!(outcome.is_ok(), fits, "{budget}");
        if let Err(error) = outcome {
            assert!(error.is_over_budget());
            assert_eq!(
                error.to_string(),
                "node 'fill': over the run's budget: with 'out' its values would take 116 B, and \
                 may take 115 B"
            );
        }
        assert_eq!(context.limit(), Bytes::MAX);
    }
}

#[test]
fn a_node_gives_all_of_its_values_or_none() {
    let mut registry = Registry::new();
    let ports = Ports::new().write("one", Type::Text).write("two", Type::Text);
    registry.add_function("pair", ports, |scope| {
        scope.set("one", "0123456789")?;
        scope.set("two", "0123456789")
    });
    let account = account();
    let yaml = "nodes: [{ id: pair, kind: function, with: { name: pair } }]";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    for (budget, fits) in [(35, false), (36, true)] {
        let mut context = Context::new(&account);
        let options = RunOptions { budget: Bytes::new(budget), ..RunOptions::default() };
        let outcome = executor.run_with(&mut context, &options);
        assert_eq!((outcome.is_ok(), context.len()), (fits, if fits { 2 } else { 0 }));
    }
}

#[test]
fn a_graph_inside_a_node_has_values_of_its_own() {
    let yaml = "
nodes:
  - id: inner
    kind: graph
    with:
      graph:
        inputs: { n: int }
        outputs: [result]
        nodes:
          - { id: twice, kind: rule, with: { rule: n * 2 } }
          - { id: result, kind: rule, with: { rule: twice + 1 } }
        edges: [{ from: twice, to: result }]
    read: { n: count }
    write: { result: total }
";
    let (context, _, outcome) = run(yaml, json!({ "count": 20, "n": 1 }));
    outcome.unwrap();
    assert_eq!(context.int("total").unwrap(), 41);
    assert!(!context.contains("twice") && !context.contains("result"));
}

#[test]
fn a_map_runs_its_graph_for_each_element_up_to_its_most() {
    let yaml = "
nodes:
  - id: each
    kind: map
    with:
      max: 3
      graph:
        outputs: [out, place]
        nodes:
          - { id: keep, kind: condition, with: { rule: item > limit } }
          - { id: out, kind: rule, with: { rule: item * 10 } }
          - { id: place, kind: rule, with: { rule: index } }
        edges: [{ from: keep, to: out, branch: then }]
    read: { items: numbers }
";
    let (context, _, outcome) = run(yaml, json!({ "numbers": [5, 1, 7], "limit": 3 }));
    outcome.unwrap();
    // What a run does not set is null, and nothing is left of the run before it.
    assert_eq!(context.to_json()["out"], json!([50, null, 70]));
    assert_eq!(context.to_json()["place"], json!([0, 1, 2]));
    let (context, _, outcome) = run(yaml, json!({ "numbers": [], "limit": 3 }));
    outcome.unwrap();
    assert_eq!(context.to_json()["out"], json!([]));
    let error = run(yaml, json!({ "numbers": [1, 2, 3, 4], "limit": 3 })).2.unwrap_err();
    assert_eq!(error.to_string(), "node 'each': 4 elements; the node goes over at most 3");
    let error = run(yaml, json!({ "numbers": 3, "limit": 3 })).2.unwrap_err();
    assert_eq!(error.to_string(), "node 'each': 'items' is int, not list");
}

#[test]
fn each_element_of_a_map_begins_as_the_first_one_did() {
    let yaml = "
nodes:
  - id: each
    kind: map
    with:
      graph:
        outputs: [sum]
        nodes:
          - { id: sum, kind: rule, with: { set: { sum: base + item, base: base + 100 } } }
    read: { items: numbers }
";
    let input = json!({ "numbers": [1, 2, 3], "base": 10 });
    let (context, _, outcome) = run(yaml, input);
    outcome.unwrap();
    // `base` is overwritten in each run, and is the caller's again in the next one.
    assert_eq!(context.to_json()["sum"], json!([11, 12, 13]));
}

#[test]
fn a_loop_runs_its_graph_while_its_rule_holds_up_to_its_most() {
    let yaml = "
nodes:
  - id: grow
    kind: loop
    with:
      while: n < limit
      max: 10
      graph:
        inputs: { n: int }
        outputs: [n]
        nodes: [{ id: step, kind: rule, with: { set: { n: n * 2 } } }]
    write: { n: result }
";
    for (limit, result) in [(1, Some(1)), (100, Some(128)), (1024, Some(1024)), (1025, None)] {
        let (context, _, outcome) = run(yaml, json!({ "n": 1, "limit": limit }));
        assert_eq!(context.int("result").ok(), result, "{limit}");
        if let Err(error) = outcome {
            let text = error.to_string();
            assert_eq!(text, "node 'grow': more than 10 rounds, and the rule still holds");
        }
    }
}

#[test]
fn a_try_runs_the_other_graph_with_the_same_inputs_if_the_first_fails() {
    let yaml = "
nodes:
  - id: divide
    kind: try
    with:
      graph: { outputs: [r], nodes: [{ id: r, kind: rule, with: { rule: a / b } }] }
      catch: { outputs: [r, why], nodes: [
        { id: r, kind: rule, with: { rule: 0 - a } },
        { id: why, kind: rule, with: { rule: error.message } } ] }
";
    let (context, _, outcome) = run(yaml, json!({ "a": 6, "b": 3 }));
    outcome.unwrap();
    assert_eq!(context.int("r").unwrap(), 2);
    assert!(!context.contains("why"));
    let (context, _, outcome) = run(yaml, json!({ "a": 6, "b": 0 }));
    outcome.unwrap();
    assert_eq!(context.int("r").unwrap(), -6);
    assert!(context.text("why").unwrap().ends_with("division by zero"));
}

#[test]
fn a_deadline_holds_inside_graphs_inside_and_is_not_caught() {
    let clock = Arc::new(ManualClock::new());
    let registry = slow(&clock);
    let account = account();
    let yaml = "
nodes:
  - id: outer
    kind: try
    with:
      graph: { nodes: [
        { id: slow, kind: function, with: { name: polite } } ] }
      catch: { nodes: [{ id: never, kind: rule, with: { rule: '1' } }] }
    retry: { attempts: 3 }
";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let mut context = Context::new(&account);
    context.set("ms", 200).unwrap();
    let deadline = Some(clock.now() + Duration::from_millis(50));
    let options = RunOptions { clock: &*clock, deadline, ..RunOptions::default() };
    let mut executor = Executor::new(&graph, &account).unwrap();
    let error = executor.run_with(&mut context, &options).unwrap_err();
    assert!(error.is_called_off(), "{error}");
    assert_eq!(executor.metrics("outer").unwrap().retries, 0);
}

#[test]
fn the_run_s_budget_holds_inside_graphs_inside() {
    let account = account();
    let yaml = "
nodes:
  - id: outer
    kind: graph
    with: { graph: { nodes: [{ id: long, kind: rule, with: { rule: text + text } }] } }
";
    let graph = Graph::build(&def(yaml), &Registry::new(), &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let mut context = Context::new(&account);
    context.set("text", &"x".repeat(100)).unwrap();
    // Outside 108; inside 108 and 208.
    for (budget, fits) in [(423, false), (424, true)] {
        let options = RunOptions { budget: Bytes::new(budget), ..RunOptions::default() };
        let outcome = executor.run_with(&mut context, &options);
        assert_eq!(outcome.is_ok(), fits, "{budget}");
        assert!(outcome.is_ok() || outcome.unwrap_err().is_over_budget());
    }
}

#[test]
fn metrics_add_up_and_times_are_taken_only_where_they_are_wanted() {
    let account = account();
    let yaml = "nodes: [{ id: word, kind: rule, with: { rule: \"'four'\" } }]";
    let graph = Graph::build(&def(yaml), &Registry::new(), &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let mut context = Context::new(&account);
    executor.run(&mut context).unwrap();
    let metrics = executor.metrics("word").unwrap();
    assert_eq!((metrics.runs, metrics.bytes, metrics.time), (1, 12, Duration::ZERO));
    executor.set_timing(Timing::On);
    let start = Instant::now();
    executor.run(&mut context).unwrap();
    let most = start.elapsed();
    let mut sum = executor.metrics("word").unwrap();
    assert!(sum.time > Duration::ZERO && sum.time <= most);
    sum.add(&metrics);
    assert_eq!((sum.runs, sum.bytes), (3, 36));
    assert!(executor.metrics("wrod").is_none());
}

#[test]
fn a_rule_that_reads_what_a_skipped_branch_would_have_set_says_so() {
    let yaml = "
nodes:
  - { id: c, kind: condition, with: { rule: 'false' } }
  - { id: value, kind: rule, with: { rule: '1' } }
  - { id: after, kind: rule, with: { rule: value + 1 } }
edges:
  - { from: c, to: value, branch: then }
  - { from: c, to: after, branch: else }
  - { from: value, to: after }
";
    let error = run(yaml, json!({})).2.unwrap_err();
    assert!(matches!(&error, RunError::Node { node, .. } if node == "after"));
    assert!(error.to_string().ends_with("nothing is set under 'value'"), "{error}");
}

#[test]
fn what_a_run_takes_is_given_back_when_it_is_dropped() {
    let budget = ambit_mem::Budget::new(Bytes::mib(4));
    let account = budget.account("flow", ambit_mem::Priority::Write);
    {
        let graph = Graph::build(&def(BRANCHES), &Registry::new(), &account).unwrap();
        let pool = ContextPool::new(PoolConfig::default(), &account.child("pool")).unwrap();
        let mut executor = Executor::new(&graph, &account).unwrap();
        for n in 0..200 {
            let mut context = pool.acquire();
            context.set("n", n).unwrap();
            executor.run(&mut context).unwrap();
        }
        assert!(pool.stats().reuse_rate() >= 0.99);
    }
    assert_eq!(budget.used(), Bytes::ZERO);
    assert_eq!((budget.leaks(), budget.misuses()), (0, 0));
}
