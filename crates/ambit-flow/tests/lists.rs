//! Lists whose elements are worked on at once: the answers of one by one, within the same limits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

use ambit_flow::{
    CancelToken, Context, Executor, Graph, Node, NodeError, ParallelExecutor, Ports, Purity,
    Registry, RunOptions, Scope, Type, Workers,
};
use ambit_mem::Bytes;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use support::{account, def};

/// A graph that goes over `items` with the nodes of `inner`, whose output is `out`.
fn over(inner: &str) -> String {
    format!(
        "
outputs: [out]
nodes:
  - id: each
    kind: map
    with: {{ graph: {{ outputs: [out], {inner} }} }}
"
    )
}

/// The lists that one by one gives and at once gives, or the failures.
fn both(
    yaml: &str,
    registry: &Registry,
    items: &Json,
    budget: Bytes,
    threads: usize,
) -> [Result<Json, String>; 2] {
    let account = account();
    let graph = Graph::build(&def(yaml), registry, &account).unwrap();
    let workers = Workers::new(threads, &account).unwrap();
    let options = RunOptions { budget, ..RunOptions::default() };
    let mut serial = Executor::new(&graph, &account).unwrap();
    let mut parallel = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    let run = |run: &mut dyn FnMut(&mut Context) -> Result<(), ambit_flow::RunError>| {
        let mut context = Context::new(&account);
        context.set("items", items).unwrap();
        run(&mut context).map_err(|error| error.to_string())?;
        Ok(Json::from(context.list("out").unwrap().to_vec()))
    };
    [
        run(&mut |context| serial.run_with(context, &options).map(drop)),
        run(&mut |context| parallel.run_with(context, &options).map(drop)),
    ]
}

#[test]
fn elements_are_at_work_at_the_same_time() {
    // Each waits for the other: one after the other they would wait for ever.
    let barrier = Arc::new(Barrier::new(2));
    let mut registry = Registry::new();
    let ports = Ports::new().read("item", Type::Int).write("out", Type::Int);
    registry.add_function("meet", ports, move |scope| {
        barrier.wait();
        scope.set("out", scope.int("item")? + 1)
    });
    let account = account();
    let yaml = over("nodes: [{ id: meet, kind: function, with: { name: meet } }]");
    let graph = Graph::build(&def(&yaml), &registry, &account).unwrap();
    let workers = Workers::new(2, &account).unwrap();
    let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    for _ in 0..10 {
        let mut context = Context::new(&account);
        context.set("items", &json!([1, 2])).unwrap();
        executor.run(&mut context).unwrap();
        assert_eq!(context.list("out").unwrap(), [2, 3]);
    }
}

#[test]
fn the_first_failure_in_order_ends_the_node_whichever_happens_first() {
    let second_failed = Arc::new(Barrier::new(2));
    let mut registry = Registry::new();
    let barrier = Arc::clone(&second_failed);
    registry.add_function("fail", Ports::new().read("item", Type::Int), move |scope| {
        // The first element fails after the second has begun to.
        barrier.wait();
        Err(NodeError::failed(format!("not {}", scope.int("item")?)))
    });
    let yaml = over(
        "nodes: [{ id: fail, kind: function, with: { name: fail } },
          { id: out, kind: rule, with: { rule: item } }], edges: [{ from: fail, to: out }]",
    );
    let account = account();
    let graph = Graph::build(&def(&yaml), &registry, &account).unwrap();
    let workers = Workers::new(2, &account).unwrap();
    let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    for _ in 0..10 {
        let mut context = Context::new(&account);
        context.set("items", &json!([7, 8])).unwrap();
        let error = executor.run(&mut context).unwrap_err();
        assert_eq!(error.to_string(), "node 'each': element 0: node 'fail': not 7");
        assert!(error.is_retryable() && !context.contains("out"));
    }
}

#[test]
fn a_limit_holds_over_all_elements_at_work_and_none_is_lost_by_it() {
    let at_work = Arc::new(AtomicU32::new(0));
    let most = Arc::new(AtomicU32::new(0));
    let mut registry = Registry::new();
    let (counter, highest) = (Arc::clone(&at_work), Arc::clone(&most));
    // Runs when the large value is in the context of its element.
    registry.add_function("hold", Ports::new().read("large", Type::Text), move |_| {
        let now = counter.fetch_add(1, Ordering::SeqCst) + 1;
        highest.fetch_max(now, Ordering::SeqCst);
        for _ in 0..100 {
            std::thread::yield_now();
        }
        counter.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    });
    registry.add_function(
        "grow",
        Ports::new().read("item", Type::Int).write("large", Type::Text),
        |scope| scope.set("large", &"x".repeat(scope.int("item")? as usize)),
    );
    let yaml = over(
        "nodes: [{ id: grow, kind: function, with: { name: grow } },
          { id: hold, kind: function, with: { name: hold } },
          { id: out, kind: rule, with: { rule: 'item * 2' } }],
         edges: [{ from: grow, to: hold }, { from: hold, to: out }]",
    );
    // One of 6,000 bytes fits a limit of 10,000, two at once do not.
    let items = json!([6000, 6000, 6000, 6000, 6000]);
    let [serial, parallel] = both(&yaml, &registry, &items, Bytes::new(10_000), 2);
    assert_eq!(serial, Ok(json!([12000, 12000, 12000, 12000, 12000])));
    assert_eq!(serial, parallel);
    assert_eq!(most.load(Ordering::SeqCst), 1);
    // Without the limit they are at work at once.
    let [_, parallel] = both(&yaml, &registry, &items, Bytes::MAX, 2);
    assert_eq!(serial, parallel);
    // What does not fit by itself fails as it does one by one.
    let [serial, parallel] =
        both(&yaml, &registry, &json!([6000, 60000, 5]), Bytes::new(10_000), 2);
    assert!(serial.as_ref().unwrap_err().contains("element 1: node 'grow': "), "{serial:?}");
    assert_eq!(serial, parallel);
}

/// Counts its runs, and says that they change something.
struct Acting(Arc<AtomicU32>);

impl Node for Acting {
    fn ports(&self) -> Ports {
        Ports::new().read("item", Type::Int).write("large", Type::Text)
    }

    fn purity(&self) -> Purity {
        Purity::Acting
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        scope.set("large", &"x".repeat(scope.int("item")? as usize))
    }

    fn footprint(&self) -> Bytes {
        Bytes::of(size_of::<Self>())
    }
}

#[test]
fn what_changes_something_is_done_once_for_each_element() {
    let runs = Arc::new(AtomicU32::new(0));
    let mut registry = Registry::new();
    let counter = Arc::clone(&runs);
    registry.add_kind("act", move |_, _| Ok(Box::new(Acting(Arc::clone(&counter)))));
    let yaml = over(
        "nodes: [{ id: act, kind: act }, { id: out, kind: rule, with: { rule: size(large) } }],
         edges: [{ from: act, to: out }]",
    );
    for budget in [Bytes::new(10_000), Bytes::MAX] {
        runs.store(0, Ordering::SeqCst);
        let [serial, parallel] = both(&yaml, &registry, &json!([6000, 6000, 6000]), budget, 2);
        assert_eq!(serial, Ok(json!([6000, 6000, 6000])));
        assert_eq!(serial, parallel);
        assert_eq!(runs.load(Ordering::SeqCst), 6, "three for each executor");
    }
}

#[test]
fn a_list_is_left_when_the_run_is_called_off() {
    let token = CancelToken::new();
    let runs = Arc::new(AtomicU32::new(0));
    let mut registry = Registry::new();
    let (hand, counter) = (token.clone(), Arc::clone(&runs));
    registry.add_function("stop", Ports::new().write("out", Type::Int), move |scope| {
        counter.fetch_add(1, Ordering::SeqCst);
        hand.cancel();
        scope.set("out", 1)
    });
    let yaml = over("nodes: [{ id: stop, kind: function, with: { name: stop } }]");
    let account = account();
    let graph = Graph::build(&def(&yaml), &registry, &account).unwrap();
    let workers = Workers::new(2, &account).unwrap();
    let mut context = Context::new(&account);
    context.set("items", &Json::from(vec![0; 10_000])).unwrap();
    let options = RunOptions { cancel: Some(&token), ..RunOptions::default() };
    let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
    assert!(executor.run_with(&mut context, &options).unwrap_err().is_called_off());
    assert!(runs.load(Ordering::SeqCst) < 10_000);
}

/// Elements that grow, fail, or whose failure an edge takes up, as their number says.
const MIXED: &str = "nodes: [
    { id: odd, kind: function, with: { name: odd } },
    { id: good, kind: rule, with: { set: { out: 'large + string(index)' } } },
    { id: bad, kind: rule, with: { set: { out: error.kind } } } ],
  edges: [{ from: odd, to: good }, { from: odd, to: bad, on: error, when: item % 2 == 0 }]";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn at_once_gives_the_lists_and_the_failures_of_one_by_one(
        items in prop::collection::vec(0_i64..400, 0..60),
        budget in prop_oneof![Just(Bytes::MAX), (200_u64..6_000).prop_map(Bytes::new)],
        threads in 1_usize..4,
        is_nested in any::<bool>(),
    ) {
        let mut registry = Registry::new();
        let ports = Ports::new().read("item", Type::Int).write("large", Type::Text);
        registry.add_function("odd", ports, |scope| {
            let item = scope.int("item")?;
            scope.set("large", &"x".repeat(item as usize))?;
            match item % 97 {
                13 | 14 => Err(NodeError::failed(format!("{item} is of no use"))),
                _ => Ok(()),
            }
        });
        let (inner, items) = if is_nested {
            let inner = format!(
                "nodes: [{{ id: inner, kind: map, read: {{ items: item }},
                   with: {{ graph: {{ outputs: [out], {MIXED} }} }} }}]"
            );
            let parts: Vec<Json> = items.chunks(7).map(|part| Json::from(part.to_vec())).collect();
            (inner, Json::from(parts))
        } else {
            (MIXED.to_owned(), Json::from(items))
        };
        let [serial, parallel] = both(&over(&inner), &registry, &items, budget, threads);
        prop_assert_eq!(serial, parallel);
    }
}
