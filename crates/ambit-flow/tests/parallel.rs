//! Independent nodes at once: the same answers as one by one, and truly at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Arc, Barrier};

use ambit_flow::{
    CancelToken, Context, EdgeDef, Executor, Graph, GraphDef, NodeDef, NodeError, On, OnError,
    ParallelExecutor, Ports, Registry, RunOptions, Timing, Type, Workers,
};
use proptest::prelude::*;
use support::{account, def};

#[test]
fn nodes_of_a_layer_are_at_work_at_the_same_time() {
    // Each waits for the other: one after the other they would wait for ever.
    let barrier = Arc::new(Barrier::new(2));
    let mut registry = Registry::new();
    registry.add_function("meet", Ports::new(), move |_| {
        barrier.wait();
        Ok(())
    });
    let yaml = "
nodes:
  - { id: a, kind: function, with: { name: meet } }
  - { id: b, kind: function, with: { name: meet } }
";
    let account = account();
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let workers = Workers::new(2, &account).unwrap();
    let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    executor.set_timing(Timing::On);
    for _ in 0..10 {
        assert_eq!(executor.run(&mut Context::new(&account)).unwrap().ran, 2);
    }
    assert_eq!(executor.metrics("a").unwrap().runs, 10);
}

#[test]
fn the_first_failure_in_order_ends_the_run_whichever_happens_first() {
    let second_failed = Arc::new(Barrier::new(2));
    let mut registry = Registry::new();
    for name in ["first", "second"] {
        let barrier = Arc::clone(&second_failed);
        registry.add_function(name, Ports::new(), move |_| {
            // The first one fails after the second has begun to.
            barrier.wait();
            Err(NodeError::failed(name))
        });
    }
    let yaml = "
nodes:
  - { id: good, kind: rule, with: { rule: '1' } }
  - { id: a, kind: function, with: { name: first } }
  - { id: b, kind: function, with: { name: second } }
  - { id: late, kind: rule, with: { rule: '2' } }
";
    let account = account();
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let workers = Workers::new(2, &account).unwrap();
    let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    for _ in 0..10 {
        let mut context = Context::new(&account);
        let error = executor.run(&mut context).unwrap_err();
        assert_eq!(error.to_string(), "node 'a': first");
        // As one by one: what comes before it is there, what comes after it is not.
        assert!(context.contains("good") && !context.contains("late"));
    }
}

#[test]
fn a_cancelled_token_and_a_panic_end_a_parallel_run() {
    let account = account();
    let mut registry = Registry::new();
    registry.add_function("panics", Ports::new(), |_| {
        Err("x".parse::<i32>().unwrap()).map_err(|n: i32| NodeError::failed(n.to_string()))
    });
    let yaml = "nodes: [{ id: a, kind: function, with: { name: panics } }, { id: b, kind: rule, with: { rule: '1' } }]";
    let graph = Graph::build(&def(yaml), &registry, &account).unwrap();
    let workers = Workers::new(2, &account).unwrap();
    let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    let mut context = Context::new(&account);
    let error = executor.run(&mut context).unwrap_err();
    assert!(error.to_string().starts_with("node 'a': panicked: "), "{error}");
    assert!(context.is_spoilt());
    let token = CancelToken::new();
    token.cancel();
    let options = RunOptions { cancel: Some(&token), ..RunOptions::default() };
    let error = executor.run_with(&mut Context::new(&account), &options).unwrap_err();
    assert_eq!(error.to_string(), "called off before node 'a'");
}

/// A graph of `nodes` nodes in layers, whose nodes mix what earlier layers gave, and fail now and
/// then.
fn layered(layers: &[Vec<(u8, u8)>]) -> GraphDef {
    let mut graph = GraphDef::default();
    for (depth, layer) in layers.iter().enumerate() {
        for (number, &(what, from)) in layer.iter().enumerate() {
            let id = format!("n{depth}_{number}");
            let before = depth.checked_sub(1).map(|depth| (depth, layers[depth].len()));
            let parent = before.map(|(depth, len)| format!("n{depth}_{}", from as usize % len));
            let value = parent.as_ref().map_or("seed".to_owned(), |parent| format!("v_{parent}"));
            let mut node = NodeDef { id: id.clone(), ..NodeDef::default() };
            if what % 7 == 0 {
                node.kind = "function".into();
                node.with = serde_json::from_str(r#"{"name": "odd"}"#).unwrap();
                node.read = [("in".to_owned(), value)].into();
                node.write = [("out".to_owned(), format!("v_{id}"))].into();
                node.on_error = if what % 2 == 0 { OnError::Skip } else { OnError::Stop };
            } else {
                node.kind = "rule".into();
                let rule = format!("{value} * 31 % 1009 + {number}");
                // Several nodes of a layer write `last`: the last in order wins.
                let set = serde_json::json!({"set": {(format!("v_{id}")): rule, "last": number}});
                node.with = set.as_object().unwrap().clone();
            }
            graph.nodes.push(node);
            if let Some(parent) = parent {
                let on = if what % 11 == 0 { On::Error } else { On::Done };
                graph.edges.push(EdgeDef { from: parent, to: id, on, ..EdgeDef::default() });
            }
        }
    }
    graph
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn at_once_gives_the_answer_of_one_by_one(
        layers in prop::collection::vec(prop::collection::vec((0_u8..64, 0_u8..8), 1..24), 1..5),
        seed in 0_i64..1000,
    ) {
        let account = account();
        let mut registry = Registry::new();
        let ports = Ports::new().read("in", Type::Int).write("out", Type::Int);
        registry.add_function("odd", ports, |scope| {
            let value = scope.int("in")?;
            scope.set("out", value / 2)?;
            if value % 3 == 0 { Err(NodeError::failed("a third")) } else { Ok(()) }
        });
        let graph = Graph::build(&layered(&layers), &registry, &account).unwrap();
        let workers = Workers::new(2, &account).unwrap();
        let mut serial = Executor::new(&graph, &account).unwrap();
        let mut parallel = ParallelExecutor::new(&graph, &workers, &account).unwrap();
        for seed in seed..seed + 3 {
            let mut contexts = [Context::new(&account), Context::new(&account)];
            for context in &mut contexts {
                context.set("seed", seed).unwrap();
            }
            let [one, two] = &mut contexts;
            // Which set name is nearest to one that is not may depend on what else is set.
            let told = |error: ambit_flow::RunError| {
                error.to_string().split("; is '").next().map(str::to_owned)
            };
            let expected = serial.run(one).map_err(told);
            let found = parallel.run(two).map_err(told);
            prop_assert_eq!(expected, found);
            prop_assert_eq!(one.to_json(), two.to_json());
            let failures = |list: &[ambit_flow::NodeFailure]| -> Vec<String> {
                list.iter().map(|failure| failure.node.clone()).collect()
            };
            prop_assert_eq!(failures(serial.failures()), failures(parallel.failures()));
        }
        let counts = |metrics: &ambit_flow::NodeMetrics| (metrics.runs, metrics.skipped, metrics.failed, metrics.bytes);
        let one: Vec<_> = serial.all_metrics().map(|(node, metrics)| (node, counts(metrics))).collect();
        let two: Vec<_> = parallel.all_metrics().map(|(node, metrics)| (node, counts(metrics))).collect();
        prop_assert_eq!(one, two);
    }
}
