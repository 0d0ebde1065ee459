//! Properties against a map, and to and from JSON.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use ambit_mem::{
    Budget, Bytes, InternedProperties, Lifecycle, ObjectPool, PoolConfig, Priority, PropertyValue,
    Symbol,
};
use proptest::prelude::*;

fn key(number: u32) -> Symbol {
    Symbol::new(number)
}

#[test]
fn a_cleared_property_leaves_its_room_and_no_value() {
    let mut properties = InternedProperties::new();
    properties.insert_text(key(1), "a text of some length");
    properties.insert(key(2), 5_i64);
    let room = properties.heap_bytes();
    let text = properties.get(key(1)).unwrap().as_text().unwrap().as_ptr();
    for _ in 0..3 {
        properties.clear();
        assert_eq!((properties.len(), properties.iter().count()), (0, 0));
        assert_eq!(properties.get(key(1)), None);
        assert_eq!(properties.remove(key(3)), None);
        assert_eq!(properties.insert(key(2), 6_i64), None);
        properties.insert_text(key(1), "a shorter text");
        assert_eq!(properties.get(key(1)).unwrap().as_text().unwrap().as_ptr(), text);
        assert_eq!((properties.len(), properties.heap_bytes()), (2, room));
    }
}

#[test]
fn a_key_that_was_not_used_again_goes_at_the_next_clearing() {
    let mut properties = InternedProperties::new();
    let text = "t".repeat(1000);
    for round in 0..100 {
        properties.insert_text(key(round), &text);
        properties.clear();
    }
    // Of the last two rounds at most.
    assert!(properties.heap_bytes() < Bytes::new(3000), "{}", properties.heap_bytes());
    properties.shrink_to_fit();
    assert_eq!(properties.heap_bytes(), Bytes::ZERO);
}

#[test]
fn wiping_leaves_room_and_nothing_of_the_texts() {
    let mut properties = InternedProperties::new();
    properties.insert_text(key(1), "a secret");
    properties.insert(key(2), PropertyValue::List(vec!["another".into()]));
    properties.wipe();
    assert!(properties.is_empty());
    properties.insert_text(key(1), "");
    let Some(PropertyValue::Text(text)) = properties.remove(key(1)) else { panic!("no text") };
    assert!(text.capacity() >= 8);
    let mut bytes = text.into_bytes();
    // SAFETY: all of the capacity was written, by `wipe`.
    unsafe { bytes.set_len(8) };
    assert_eq!(bytes, [0; 8]);
}

#[test]
fn equality_does_not_see_room() {
    let mut cleared = InternedProperties::new();
    cleared.insert_text(key(1), "one");
    cleared.clear();
    assert_eq!(cleared, InternedProperties::new());
    cleared.insert(key(2), true);
    let fresh: InternedProperties = [(key(2), true.into())].into_iter().collect();
    assert_eq!(cleared, fresh);
    cleared.insert(key(1), true);
    assert_ne!(cleared, fresh);
}

#[test]
fn pooled_properties_are_refilled_without_an_allocation() {
    let budget = Budget::new(Bytes::mib(1));
    let account = budget.account("query/contexts", Priority::Query);
    let lifecycle = Lifecycle::new(InternedProperties::new, InternedProperties::heap_bytes)
        .reset(InternedProperties::clear);
    let pool = ObjectPool::new(PoolConfig::default(), &account, lifecycle).unwrap();
    let run = || {
        let mut context = pool.acquire();
        (0..8).for_each(|field| context.insert_text(key(field), "a value of the field"));
        context.iter().map(|(_, value)| value.as_text().unwrap().as_ptr()).collect::<Vec<_>>()
    };
    let first = run();
    let used = budget.used();
    assert_eq!(run(), first);
    assert_eq!(budget.used(), used);
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u32, i64),
    Text(u32, String),
    Remove(u32),
    Clear,
    Wipe,
    Shrink,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u32..12, any::<i64>()).prop_map(|(key, value)| Step::Insert(key, value)),
        4 => (0_u32..12, ".{0,20}").prop_map(|(key, text)| Step::Text(key, text)),
        2 => (0_u32..12).prop_map(Step::Remove),
        1 => Just(Step::Clear),
        1 => Just(Step::Wipe),
        1 => Just(Step::Shrink),
    ]
}

proptest! {
    #[test]
    fn properties_do_what_a_map_would(steps in prop::collection::vec(step(), 0..80)) {
        let mut properties = InternedProperties::new();
        let mut map: BTreeMap<Symbol, PropertyValue> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Insert(number, value) => prop_assert_eq!(
                    properties.insert(key(number), value),
                    map.insert(key(number), value.into())
                ),
                Step::Text(number, text) => {
                    properties.insert_text(key(number), &text);
                    map.insert(key(number), text.into());
                }
                Step::Remove(number) => {
                    prop_assert_eq!(properties.remove(key(number)), map.remove(&key(number)));
                }
                Step::Clear => {
                    properties.clear();
                    map.clear();
                }
                Step::Wipe => {
                    properties.wipe();
                    map.clear();
                }
                Step::Shrink => properties.shrink_to_fit(),
            }
            prop_assert!(properties.iter().eq(map.iter().map(|(key, value)| (*key, value))));
            prop_assert_eq!(properties.len(), map.len());
            let missing = (0..12).map(key).filter(|key| !map.contains_key(key));
            prop_assert!(missing.into_iter().all(|key| properties.get(key).is_none()));
        }
    }
}

#[cfg(feature = "json")]
mod json {
    use super::*;
    use ambit_mem::{Interner, InternerConfig, JsonError};
    use serde_json::{Value, json};

    fn names(budget: &Budget) -> Interner {
        let account = budget.account("symbols", Priority::Write);
        Interner::new(InternerConfig::default(), &account).unwrap()
    }

    #[test]
    fn keys_are_interned_at_every_depth_and_values_keep_their_kind() {
        let budget = Budget::new(Bytes::mib(1));
        let names = names(&budget);
        let value = json!({
            "name": "Ada", "born": -1815, "big": u64::MAX, "ratio": 0.5, "ok": true, "none": null,
            "list": [1, "two", [3.5]], "below": { "name": "deeper", "again": { "name": 1 } },
        });
        let properties = InternedProperties::from_json(&names, &value).unwrap();
        assert_eq!(names.len(), 9);
        let get = |name: &str| properties.get(names.get(name).unwrap()).unwrap();
        assert_eq!(*get("born"), PropertyValue::Int(-1815));
        assert_eq!(*get("big"), PropertyValue::Unsigned(u64::MAX));
        assert_eq!(*get("ratio"), PropertyValue::Float(0.5));
        assert!(matches!(get("below"), PropertyValue::Map(below) if below.len() == 2));
        assert_eq!(properties.to_json(&names).unwrap(), value);
        let again = InternedProperties::from_json_text(&names, &value.to_string()).unwrap();
        assert_eq!(again, properties);
    }

    #[test]
    fn a_symbol_is_written_as_its_string() {
        let budget = Budget::new(Bytes::mib(1));
        let names = names(&budget);
        let (kind, noun) = (names.intern("kind").unwrap(), names.intern("noun").unwrap());
        let properties: InternedProperties = [(kind, noun.into())].into_iter().collect();
        assert_eq!(properties.to_json(&names).unwrap(), json!({ "kind": "noun" }));
    }

    #[test]
    fn what_cannot_be_said_is_an_error() {
        let budget = Budget::new(Bytes::mib(1));
        let names = names(&budget);
        let from = |value: &Value| InternedProperties::from_json(&names, value);
        assert!(matches!(from(&json!([1])), Err(JsonError::NoObject)));
        assert!(matches!(
            InternedProperties::from_json_text(&names, "{"),
            Err(JsonError::Syntax(_))
        ));
        let one: InternedProperties = [(Symbol::new(99), true.into())].into_iter().collect();
        assert!(matches!(one.to_json(&names), Err(JsonError::UnknownSymbol(_))));
        let key = names.intern("x").unwrap();
        let nan: InternedProperties = [(key, f64::NAN.into())].into_iter().collect();
        assert!(matches!(nan.to_json(&names), Err(JsonError::NotFinite(_))));
        let config = InternerConfig { max_strings: 0, ..InternerConfig::default() };
        let full = Interner::new(config, &budget.account("full", Priority::Write)).unwrap();
        let refused = InternedProperties::from_json(&full, &json!({ "a": 1 }));
        assert!(matches!(refused, Err(JsonError::Intern(_))));
    }

    #[test]
    fn depth_is_limited_exactly() {
        let budget = Budget::new(Bytes::mib(1));
        let names = names(&budget);
        for (levels, fits) in [(127, true), (128, true), (129, false)] {
            let mut value = json!({});
            for level in 1..levels {
                value = if level % 2 == 0 || level + 1 == levels {
                    json!({ "a": value })
                } else {
                    json!([value])
                };
            }
            let properties = InternedProperties::from_json(&names, &value);
            assert_eq!(properties.is_ok(), fits, "{levels}");
            match properties {
                Ok(properties) => assert_eq!(properties.to_json(&names).unwrap(), value),
                Err(error) => assert!(matches!(error, JsonError::TooDeep)),
            }
        }
        let key = names.intern("a").unwrap();
        let mut deep = InternedProperties::new();
        for _ in 0..128 {
            deep = [(key, PropertyValue::Map(deep))].into_iter().collect();
        }
        assert!(matches!(deep.to_json(&names), Err(JsonError::TooDeep)));
    }
}
