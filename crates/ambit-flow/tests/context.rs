//! Contexts: values, sizes and limits, against a naive model.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;

use ambit_flow::{Context, ContextError, ContextPool, Value, ValueRef};
use ambit_mem::{Budget, Bytes, PoolConfig, Priority, testing::each_refusal};
use proptest::prelude::*;
use serde_json::json;
use support::account;

#[test]
fn a_value_that_is_missing_or_of_another_type_says_so() {
    let mut context = Context::new(&account());
    context.set("income", 1).unwrap();
    context.put("list", json!([1])).unwrap();
    let text = |result: Result<(), ContextError>| result.unwrap_err().to_string();
    assert_eq!(
        text(context.int("incmoe").map(drop)),
        "nothing is set under 'incmoe'; is 'income' meant?"
    );
    assert_eq!(text(context.text("xyz").map(drop)), "nothing is set under 'xyz'");
    assert_eq!(text(context.text("income").map(drop)), "'income' is int, not text");
    assert_eq!(text(context.floats("list").map(drop)), "'list' is list, not floats");
    assert_eq!(text(context.set_fields(&json!([1]))), "'input' is list, not map");
    assert_eq!(context.float("income").unwrap(), 1.0);
}

#[test]
fn floats_and_bytes_come_back_bit_for_bit() {
    let mut context = Context::new(&account());
    let floats = [f32::from_bits(0x7fc0_1234), -0.0, f32::MIN_POSITIVE / 2.0];
    context.set("floats", &floats[..]).unwrap();
    context.set("bytes", &[0_u8, 255][..]).unwrap();
    let bits: Vec<u32> = context.floats("floats").unwrap().iter().map(|f| f.to_bits()).collect();
    assert_eq!(bits, floats.map(f32::to_bits));
    assert_eq!(context.bytes("bytes").unwrap(), [0, 255]);
}

#[test]
fn a_limit_holds_at_the_byte_and_refuses_without_change() {
    for (limit, fits) in [(107, false), (108, true), (109, true)] {
        let mut context = Context::new(&account());
        context.set("a", &"x".repeat(40)).unwrap();
        context.set_limit(Bytes::new(limit));
        // 48 and 60.
        assert_eq!(context.set("b", &"y".repeat(52)).is_ok(), fits, "{limit}");
        assert_eq!(context.contains("b"), fits);
        // Replacing counts what goes.
        assert!(context.set("a", &"z".repeat(30)).is_ok());
        assert_eq!(context.text("a").unwrap().len(), 30);
    }
}

#[test]
fn every_refusal_leaves_the_context_as_it_was_and_the_budget_balanced() {
    let budget = Budget::new(Bytes::mib(1));
    let account = budget.account("flow", Priority::Write);
    let tried = each_refusal(&budget, |_| {
        let refused = {
            let mut context = Context::new(&account);
            let mut refused = false;
            for round in 1..4 {
                for key in ["one", "two", "three", "four", "five", "six"] {
                    let before = context.to_json();
                    let long = "x".repeat(400 * round);
                    if context.set(key, &long).is_err() {
                        refused = true;
                        assert_eq!(context.to_json(), before);
                    }
                }
            }
            refused
        };
        assert_eq!(budget.used(), Bytes::ZERO);
        refused
    });
    assert!(tried > 5, "{tried}");
}

#[test]
fn the_pool_keeps_buffers_drops_what_is_too_large_and_charges_what_it_keeps() {
    let budget = Budget::new(Bytes::mib(4));
    let account = budget.account("contexts", Priority::Write);
    let config = PoolConfig { max_object_bytes: Bytes::kib(8), ..PoolConfig::default() };
    let pool = ContextPool::new(config, &account).unwrap();
    pool.acquire().set("text", &"x".repeat(4000)).unwrap();
    let kept = budget.used();
    {
        let mut context = pool.acquire();
        assert!(context.is_empty() && context.heap() >= Bytes::new(4000));
        context.set("text", &"y".repeat(4000)).unwrap();
        // What it has anyway costs nothing more.
        assert_eq!(budget.used(), kept);
        context.set("other", &"y".repeat(8000)).unwrap();
        assert!(budget.used().get() >= kept.get() + 8000);
    }
    let stats = pool.stats();
    assert_eq!((stats.reused, stats.dropped, stats.current_pool_size), (1, 1, 0));
    assert!(budget.used() < kept);
    drop(pool);
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn a_context_that_saw_many_keys_and_uses_few_forgets_them() {
    let budget = Budget::new(Bytes::mib(4));
    let pool =
        ContextPool::new(PoolConfig::default(), &budget.account("a", Priority::Write)).unwrap();
    let mut most = Bytes::ZERO;
    for request in 0..10_000 {
        let mut context = pool.acquire();
        for part in 0..4 {
            context.set(format!("request {request} part {part}"), part).unwrap();
        }
        most = most.max(context.heap());
    }
    assert!(most < Bytes::kib(128), "{most}");
    assert!(pool.stats().reuse_rate() > 0.99);
}

#[derive(Debug, Clone)]
enum Step {
    Set(u8, Value),
    Put(u8, Value),
    Remove(u8),
    Clear,
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        "[a-z]{0,40}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
        prop::collection::vec(-1e3_f32..1e3, 0..40).prop_map(Value::Floats),
        prop::collection::vec("[a-z]{0,9}", 0..9).prop_map(|list| Value::Json(json!(list))),
    ]
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..12_u8, values()).prop_map(|(key, value)| Step::Set(key, value)),
        2 => (0..12_u8, values()).prop_map(|(key, value)| Step::Put(key, value)),
        1 => (0..12_u8).prop_map(Step::Remove),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #[test]
    fn a_context_is_a_map_with_sizes(steps in prop::collection::vec(steps(), 0..60)) {
        let budget = Budget::new(Bytes::mib(4));
        let account = budget.account("flow", Priority::Write);
        let mut context = Context::new(&account);
        let mut model: BTreeMap<String, Value> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Set(key, value) => {
                    context.set(format!("k{key}"), &value).unwrap();
                    model.insert(format!("k{key}"), value);
                }
                Step::Put(key, value) => {
                    context.put(format!("k{key}"), value.clone()).unwrap();
                    model.insert(format!("k{key}"), value);
                }
                Step::Remove(key) => {
                    let key = format!("k{key}");
                    prop_assert_eq!(context.remove(&key), model.remove(&key).is_some());
                }
                Step::Clear => {
                    context.clear();
                    model.clear();
                }
            }
            let len: usize = model.values().map(|value| value.borrow().len_bytes()).sum();
            prop_assert_eq!(context.len_bytes(), Bytes::of(len));
            prop_assert_eq!(context.len(), model.len());
            for key in (0..12).map(|key| format!("k{key}")) {
                prop_assert_eq!(context.get(&key), model.get(&key).map(Value::borrow));
            }
            let heap: usize = context.iter().map(|(_, value)| match value {
                ValueRef::Text(text) => text.len(),
                _ => 0,
            }).sum();
            prop_assert!(context.heap() >= Bytes::of(heap));
            prop_assert!(budget.used() >= context.heap());
        }
        drop(context);
        prop_assert_eq!(budget.used(), Bytes::ZERO);
    }
}
