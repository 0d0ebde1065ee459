//! What a run allocates once it has run before: nothing. Counted by the process's allocator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::alloc::System;

use ambit_flow::{Context, ContextPool, Executor, Graph, Ports, Registry, Type};
use ambit_mem::{Budget, Bytes, PoolConfig, Priority, TrackingAllocator};
use support::{account, def, keeping};

#[global_allocator]
static ALLOCATOR: TrackingAllocator<System> = TrackingAllocator::new(System);

/// Ten nodes: rules over numbers and texts, a condition, branches, edges with rules.
const TEN: &str = "
inputs: { income: float, debt: float, years: int, purpose: text }
outputs: [decision, limit]
nodes:
  - { id: ratio, kind: rule, with: { rule: debt / income } }
  - { id: stable, kind: rule, with: { rule: years >= 2 } }
  - { id: wanted, kind: rule, with: { rule: \"purpose in ['roof', 'car']\" } }
  - { id: base, kind: rule, with: { rule: income * 0.4 } }
  - { id: score, kind: rule, with: { rule: '(stable ? 40 : 0) + (wanted ? 20 : 5) + int(30.0 - ratio * 30.0)' } }
  - { id: risk, kind: condition, with: { cases: [
      { branch: low, when: score >= 70 }, { branch: middle, when: score >= 45 } ] } }
  - { id: approve, kind: rule, with: { set: { decision: \"'approve'\" } } }
  - { id: review, kind: rule, with: { set: { decision: \"'review ' + purpose\" } } }
  - { id: decline, kind: rule, with: { set: { decision: \"'decline'\" } } }
  - { id: limit, kind: rule, with: { rule: \"decision == 'approve' ? base : base / 2.0\" } }
edges:
  - { from: ratio, to: score }
  - { from: stable, to: score }
  - { from: wanted, to: score }
  - { from: score, to: risk }
  - { from: risk, to: approve, branch: low }
  - { from: risk, to: review, branch: middle }
  - { from: risk, to: decline, branch: else }
  - { from: approve, to: limit }
  - { from: review, to: limit, when: ratio < 0.9 }
  - { from: base, to: limit }
";

/// Allocations of `runs` runs, after some that warm up. All of a process's threads are counted, so
/// the tests of this file are one.
fn allocations(runs: u64, mut run: impl FnMut(u64)) -> u64 {
    (0..100).for_each(&mut run);
    let before = ALLOCATOR.stats().allocations;
    (0..runs).for_each(&mut run);
    ALLOCATOR.stats().allocations - before
}

#[test]
fn a_run_in_steady_state_allocates_nothing() {
    let budget = Budget::new(Bytes::mib(8));
    let account = budget.account("flow", Priority::Write);
    let graph = Graph::build(&def(TEN), &Registry::new(), &account).unwrap();
    assert_eq!(graph.len(), 10);
    let pool = ContextPool::new(PoolConfig::default(), &account.child("contexts")).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let mut seen = [0_u32; 3];
    let rules = allocations(10_000, |run| {
        let mut context = pool.acquire();
        context.set("income", 30_000.0 + run as f64).unwrap();
        context.set("debt", (run % 40) as f64 * 1_000.0).unwrap();
        context.set("years", (run % 5) as i64).unwrap();
        context.set("purpose", ["roof", "a long holiday"][run as usize % 2]).unwrap();
        executor.run(&mut context).unwrap();
        match context.text("decision").unwrap() {
            "approve" => seen[0] += 1,
            "decline" => seen[1] += 1,
            _ => seen[2] += 1,
        }
    });
    assert_eq!(rules, 0);
    assert!(seen.iter().all(|&times| times > 100), "{seen:?}");
    assert!(pool.stats().reuse_rate() >= 0.99);

    // Texts and arrays that functions give and take go round, too, and so do graphs inside.
    let mut registry = Registry::new();
    let ports = Ports::new().read("text", Type::Text).write("vector", Type::Floats);
    registry.add_function("embed", ports, |scope| {
        let text = scope.text("text")?;
        let vector = scope.arena().alloc_slice_with(64, |at| (text.len() + at) as f32)?;
        scope.set("vector", &*vector)
    });
    let inside = "
nodes:
  - { id: embed, kind: function, with: { name: embed } }
  - id: inner
    kind: graph
    with: { graph: { inputs: { vector: floats }, outputs: [norm], nodes: [
      { id: norm, kind: rule, with: { rule: 'vector[0] * vector[1]' } } ] } }
edges: [{ from: embed, to: inner }]
";
    let graph = Graph::build(&def(inside), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let functions = allocations(1_000, |run| {
        let mut context = pool.acquire();
        context.set("text", ["short", "a longer piece of text"][run as usize % 2]).unwrap();
        executor.run(&mut context).unwrap();
        assert!(context.float("norm").unwrap() > 0.0);
    });
    assert_eq!(functions, 0);

    // A result that is found is copied into buffers that are there.
    let (mut registry, kept) = keeping();
    let ports = Ports::new().read("text", Type::Text).write("vector", Type::Floats);
    registry.add_pure_function("embed", ports, |scope| {
        let text = scope.text("text")?;
        let vector = scope.arena().alloc_slice_with(64, |at| (text.len() + at) as f32)?;
        scope.set("vector", &*vector)
    });
    let cached = inside.replace("with: { name: embed } }", "with: { name: embed }, cache: true }");
    let graph = Graph::build(&def(&cached), &registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let found = allocations(1_000, |run| {
        let mut context = pool.acquire();
        context.set("text", ["short", "a longer piece of text"][run as usize % 2]).unwrap();
        executor.run(&mut context).unwrap();
        assert!(context.float("norm").unwrap() > 0.0);
    });
    assert_eq!((found, kept.len(), executor.metrics("embed").unwrap().misses), (0, 2, 2));

    footprints_are_what_the_allocator_saw();
}

/// Within 5 % of what the allocator handed out.
fn is_near(said: Bytes, seen: u64, what: &str) {
    let (said, seen) = (said.get() as f64, seen as f64);
    assert!((said - seen).abs() <= 0.05 * seen, "{what}: says {said}, holds {seen}");
}

fn footprints_are_what_the_allocator_saw() {
    let held = || ALLOCATOR.stats().current.get();
    let account = account();
    let def = def(TEN);
    let before = held();
    let graph = Graph::build(&def, &Registry::new(), &account).unwrap();
    is_near(graph.footprint(), held() - before, "graph");

    let before = held();
    let mut context = Context::new(&account);
    for key in 0..100 {
        context.set(format!("key number {key}"), &"x".repeat(key * 10)).unwrap();
        context.set(format!("vector number {key}"), &vec![0.5_f32; key]).unwrap();
    }
    is_near(context.heap(), held() - before, "context");
    assert!(account.used() >= graph.footprint().saturating_add(context.heap()));
}
