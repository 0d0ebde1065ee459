//! Results that are kept: by exact inputs, never a failure, worked out once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::time::Duration;

use ambit_flow::{
    CancelToken, Context, Drawing, Executor, Graph, Lookup, ManualClock, Node, NodeError, Ports,
    Purity, Registry, RunOptions, Scope, Type,
};
use ambit_mem::Bytes;
use serde_json::json;
use support::{account, def, faults_with, keeping};

const MEASURE: &str = "
nodes:
  - { id: measure, kind: function, with: { name: size }, cache: true }
";

/// A pure function that counts its calls.
fn counted(registry: &mut Registry, calls: &Arc<AtomicU32>) {
    let calls = Arc::clone(calls);
    let ports = Ports::new().read("value", Type::Any).write("said", Type::Text);
    registry.add_pure_function("size", ports, move |scope| {
        calls.fetch_add(1, Ordering::SeqCst);
        let said = scope.value("value")?.to_json().to_string();
        scope.set("said", &said)
    });
}

#[test]
fn a_result_is_found_by_the_content_of_its_inputs() {
    let (mut registry, all) = keeping();
    let calls = Arc::default();
    counted(&mut registry, &calls);
    let account = account();
    let graph = Graph::build(&def(MEASURE), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let values =
        [json!("a"), json!("b"), json!(1), json!(1.0), json!([1, {"x": "a"}]), json!(null)];
    for round in 0..3 {
        for value in &values {
            let mut context = Context::new(&account);
            context.set("value", value).unwrap();
            assert_eq!(executor.run(&mut context).unwrap().ran, 1);
            assert_eq!(context.text("said").unwrap(), value.to_string());
            let lookup = if round == 0 { Lookup::Miss } else { Lookup::Hit };
            assert_eq!(executor.trace().next().unwrap().lookup, lookup);
        }
    }
    assert_eq!((calls.load(Ordering::SeqCst), all.len()), (6, 6));
    let metrics = executor.metrics("measure").unwrap();
    assert_eq!((metrics.runs, metrics.hits, metrics.misses), (18, 12, 6));
    let drawing = Drawing::new(&graph).with_trace(executor.trace());
    assert!(drawing.dot().contains("from the cache"), "{}", drawing.dot());
}

#[test]
fn nodes_of_the_same_kind_do_not_share_results() {
    let (mut registry, _) = keeping();
    let calls = Arc::default();
    counted(&mut registry, &calls);
    let yaml = "
nodes:
  - { id: a, kind: function, with: { name: size }, write: { said: a }, cache: true }
  - { id: b, kind: function, with: { name: size }, write: { said: b }, cache: true }
";
    let account = account();
    for _ in 0..2 {
        // A graph that is built again has new nodes.
        let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
        let mut context = Context::new(&account);
        context.set("value", 1).unwrap();
        Executor::new(&graph, &account).unwrap().run(&mut context).unwrap();
    }
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[test]
fn what_failed_is_not_kept_nor_what_came_of_a_failure() {
    let (mut registry, all) = keeping();
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let ports = Ports::new().read("value", Type::Int).write("out", Type::Int);
    registry.add_pure_function("flaky", ports, move |scope| {
        // Every other call fails.
        if counter.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
            return Err(NodeError::failed("not now"));
        }
        scope.set("out", scope.int("value")? * 2)
    });
    let inner = "outputs: [out], nodes: [{ id: f, kind: function, with: { name: flaky } }]";
    let caught = "outputs: [out], nodes: [{ id: zero, kind: rule, with: { set: { out: 0 } } }]";
    let skipped = "outputs: [out], nodes: [{ id: z, kind: rule, with: { set: { out: '0' } } },
        { id: f, kind: function, with: { name: flaky }, on_error: skip }],
        edges: [{ from: z, to: f }]";
    for (node, first) in [
        ("{ id: n, kind: function, with: { name: flaky }, cache: true }".to_owned(), None),
        (format!("{{ id: n, kind: graph, with: {{ graph: {{ {inner} }} }}, cache: true }}"), None),
        (
            format!(
                "{{ id: n, kind: try, with: {{ graph: {{ {inner} }}, catch: {{ {caught} }} }}, \
                 cache: true }}"
            ),
            Some(0),
        ),
        (
            format!("{{ id: n, kind: graph, with: {{ graph: {{ {skipped} }} }}, cache: true }}"),
            Some(0),
        ),
    ] {
        calls.store(0, Ordering::SeqCst);
        let kept = all.len();
        let account = account();
        let yaml = format!("nodes: [{node}]");
        let graph = Graph::build(&def(&yaml), &registry, &account).unwrap();
        let mut executor = Executor::new(&graph, &account).unwrap();
        let mut run = || {
            let mut context = Context::new(&account);
            context.set("value", 21).unwrap();
            executor.run(&mut context).ok().map(|_| context.int("out").unwrap())
        };
        assert_eq!(run(), first, "{yaml}");
        assert_eq!(all.len(), kept, "{yaml}");
        assert_eq!((run(), run()), (Some(42), Some(42)), "{yaml}");
        assert_eq!((calls.load(Ordering::SeqCst), all.len()), (2, kept + 1), "{yaml}");
        let metrics = executor.metrics("n").unwrap();
        assert_eq!((metrics.hits, metrics.misses), (1, 2), "{yaml}");
    }
}

#[test]
fn a_result_that_comes_too_late_is_not_kept() {
    let (mut registry, all) = keeping();
    let clock = Arc::new(ManualClock::new());
    let hand = Arc::clone(&clock);
    registry.add_pure_function("slow", Ports::new().write("out", Type::Int), move |scope| {
        hand.advance(Duration::from_millis(60));
        scope.set("out", 1)
    });
    let yaml = "
nodes:
  - { id: slow, kind: function, with: { name: slow }, timeout_ms: 50, cache: true }
";
    let account = account();
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let options = RunOptions { clock: &*clock, ..RunOptions::default() };
    let mut executor = Executor::new(&graph, &account).unwrap();
    let error = executor.run_with(&mut Context::new(&account), &options).unwrap_err();
    assert_eq!(error.to_string(), "node 'slow': did not end within 50 ms");
    assert_eq!(all.len(), 0);
}

#[test]
fn a_breaker_that_rests_does_not_hide_what_is_kept() {
    let (mut registry, _) = keeping();
    let ports = Ports::new().read("value", Type::Int).write("out", Type::Int);
    registry.add_pure_function("picky", ports, |scope| match scope.int("value")? {
        0 => Err(NodeError::hopeless("nothing to do")),
        value => scope.set("out", value),
    });
    let yaml = "
nodes:
  - { id: picky, kind: function, with: { name: picky }, cache: true,
      breaker: { failures: 1, rest_ms: 1000000 } }
";
    let account = account();
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let mut run = |value: i64| {
        let mut context = Context::new(&account);
        context.set("value", value).unwrap();
        executor.run(&mut context).map_err(|error| error.to_string()).map(drop)
    };
    assert_eq!(run(5), Ok(()));
    assert_eq!(run(0), Err("node 'picky': nothing to do".to_owned()));
    assert_eq!(run(6), Err("node 'picky': failed too often and is given a rest".to_owned()));
    assert_eq!(run(5), Ok(()));
}

#[test]
fn threads_that_ask_the_same_at_once_run_the_step_once() {
    const THREADS: usize = 4;
    let (mut registry, _) = keeping();
    let calls = Arc::new(AtomicU32::new(0));
    let all_there = Arc::new(Barrier::new(THREADS));
    let counter = Arc::clone(&calls);
    registry.add_pure_function("once", Ports::new().write("out", Type::Int), move |scope| {
        counter.fetch_add(1, Ordering::SeqCst);
        // Long enough for the others to come: if two ran, both would be counted.
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        scope.set("out", 7)
    });
    let yaml = "nodes: [{ id: once, kind: function, with: { name: once }, cache: true }]";
    let account = account();
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let hits: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut executor = Executor::new(&graph, &account).unwrap();
                    let mut context = Context::new(&account);
                    all_there.wait();
                    executor.run(&mut context).unwrap();
                    assert_eq!(context.int("out").unwrap(), 7);
                    executor.metrics("once").unwrap().hits
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((calls.load(Ordering::SeqCst), hits), (1, THREADS as u64 - 1));
}

#[test]
fn a_step_that_comes_to_its_own_question_again_does_not_wait_for_itself() {
    let (mut registry, all) = keeping();
    let graph: Arc<OnceLock<Graph>> = Arc::default();
    let (inner, calls) = (Arc::clone(&graph), Arc::new(AtomicU32::new(0)));
    let counter = Arc::clone(&calls);
    registry.add_pure_function("again", Ports::new().write("out", Type::Int), move |scope| {
        // As a thread pool may put one job upon another that waits.
        if counter.fetch_add(1, Ordering::SeqCst) == 0 {
            let account = account();
            let mut executor = Executor::new(inner.get().unwrap(), &account)?;
            executor.run(&mut Context::new(&account)).map_err(NodeError::hopeless)?;
        }
        scope.set("out", 1)
    });
    let yaml = "nodes: [{ id: again, kind: function, with: { name: again }, cache: true }]";
    let account = account();
    let built = Graph::build(&def(yaml), &registry, &account).unwrap();
    let graph = graph.get_or_init(|| built);
    Executor::new(graph, &account).unwrap().run(&mut Context::new(&account)).unwrap();
    assert_eq!((calls.load(Ordering::SeqCst), all.len()), (2, 1));
}

/// The first call says that it has begun, waits to be let go, and ends as it is told; later calls
/// succeed at once.
fn held(registry: &mut Registry, gate: &Arc<Barrier>, ends: fn() -> Result<(), NodeError>) {
    let (gate, calls) = (Arc::clone(gate), AtomicU32::new(0));
    registry.add_pure_function("held", Ports::new().write("out", Type::Int), move |scope| {
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            gate.wait();
            gate.wait();
            ends()?;
        }
        scope.set("out", 1)
    });
}

const HELD: &str = "nodes: [{ id: held, kind: function, with: { name: held }, cache: true }]";

#[test]
fn a_run_that_waits_for_another_can_be_called_off() {
    let (mut registry, _) = keeping();
    let gate = Arc::new(Barrier::new(2));
    held(&mut registry, &gate, || Ok(()));
    let account = account();
    let graph = Graph::build(&def(HELD), &registry, &account).unwrap();
    let token = CancelToken::new();
    std::thread::scope(|scope| {
        let leader = scope.spawn(|| {
            Executor::new(&graph, &account).unwrap().run(&mut Context::new(&account)).map(drop)
        });
        gate.wait();
        let waiter = scope.spawn(|| {
            let options = RunOptions { cancel: Some(&token), ..RunOptions::default() };
            let mut executor = Executor::new(&graph, &account).unwrap();
            executor.run_with(&mut Context::new(&account), &options).unwrap_err()
        });
        token.cancel();
        // It ends while the leader is still at work.
        assert!(waiter.join().unwrap().is_called_off());
        gate.wait();
        leader.join().unwrap().unwrap();
    });
}

#[test]
fn those_who_waited_for_a_failure_or_a_panic_run_the_step_themselves() {
    let ends: [fn() -> Result<(), NodeError>; 2] =
        [|| Err(NodeError::failed("no")), || panic!("on purpose")];
    for ends in ends {
        let (mut registry, all) = keeping();
        let gate = Arc::new(Barrier::new(2));
        held(&mut registry, &gate, ends);
        let account = account();
        let graph = Graph::build(&def(HELD), &registry, &account).unwrap();
        std::thread::scope(|scope| {
            let run = || {
                let mut executor = Executor::new(&graph, &account).unwrap();
                executor.run(&mut Context::new(&account)).map(drop)
            };
            let leader = scope.spawn(run);
            gate.wait();
            let waiters = [scope.spawn(run), scope.spawn(run)];
            gate.wait();
            assert!(leader.join().unwrap().is_err());
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap().unwrap());
        });
        assert_eq!(all.len(), 1);
    }
}

#[test]
fn without_bytes_for_it_a_step_runs_and_nothing_is_kept() {
    let (mut registry, all) = keeping();
    let calls = Arc::default();
    counted(&mut registry, &calls);
    let value = "x".repeat(20_000);
    let (mut kept, mut only_run, mut refused) = (0, 0, 0);
    for free in (32_u64..256).step_by(2) {
        let budget = ambit_mem::Budget::new(Bytes::kib(512));
        let account = budget.account("flow", ambit_mem::Priority::Query);
        let graph = Graph::build(&def(MEASURE), &registry, &account).unwrap();
        let mut executor = Executor::new(&graph, &account).unwrap();
        let mut context = Context::new(&account);
        context.set("value", &value).unwrap();
        let left = Bytes::kib(512).saturating_sub(account.used());
        let _held = account.reserve(left.saturating_sub(Bytes::kib(free))).unwrap();
        let before = all.len();
        match executor.run(&mut context) {
            Ok(_) => {
                assert_eq!(context.text("said").unwrap().len(), 20_002);
                let count = if all.len() > before { &mut kept } else { &mut only_run };
                *count += 1;
            }
            Err(error) => {
                assert!(error.is_over_budget(), "{error}");
                refused += 1;
            }
        }
    }
    assert!(kept > 0 && only_run > 0 && refused > 0, "{kept} {only_run} {refused}");
}

/// A node that changes something.
struct Acting;

impl Node for Acting {
    fn ports(&self) -> Ports {
        Ports::new()
    }

    fn purity(&self) -> Purity {
        Purity::Acting
    }

    fn run(&self, _: &mut Scope<'_>) -> Result<(), NodeError> {
        Ok(())
    }

    fn footprint(&self) -> Bytes {
        Bytes::ZERO
    }
}

#[test]
fn what_must_not_be_kept_is_refused_with_the_reason() {
    let (mut registry, _) = keeping();
    registry.add_kind("act", |_, _| Ok(Box::new(Acting)));
    registry.add_function("now", Ports::new().write("out", Type::Int), |scope| scope.set("out", 1));
    let fault = |node: &str| faults_with(&format!("nodes: [{node}]"), &registry).join("; ");
    for (node, expected) in [
        (
            "{ id: c, kind: condition, with: { rule: 'true' }, cache: true }",
            "node 'c': cache: a condition gives no value that could be kept; leave it out",
        ),
        (
            "{ id: a, kind: act, cache: { ttl_ms: 1000 } }",
            "node 'a': cache: 'act' changes something, and a result that is kept would leave that \
             out",
        ),
        (
            "{ id: g, kind: graph, with: { graph: { nodes: [{ id: a, kind: act }] } }, cache: true }",
            "node 'g': cache: 'graph' changes something, and a result that is kept would leave that \
             out",
        ),
        (
            "{ id: f, kind: function, with: { name: now }, cache: true }",
            "node 'f': cache: 'function' may answer differently another time; say how old an answer \
             may be, as in cache: { ttl_ms: 60000 }",
        ),
        (
            "{ id: f, kind: function, with: { name: now }, cache: { ttl_ms: 0 } }",
            "node 'f': cache: ttl_ms is 0; it is at least 1",
        ),
        ("{ id: f, kind: function, with: { name: now }, cache: { ttl_ms: 1 } }", ""),
        ("{ id: f, kind: function, with: { name: now }, cache: false }", ""),
    ] {
        assert_eq!(fault(node), expected);
    }
    let none = faults_with(
        "nodes: [{ id: r, kind: rule, with: { rule: '1' }, cache: true }]",
        &Registry::new(),
    );
    assert_eq!(none, ["node 'r': cache: this program keeps no results; leave it out"]);
}
