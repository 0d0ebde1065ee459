//! A step and its exact inputs, as bytes.
//!
//! The number of the step, then each of its inputs in the order of its ports: a tag for the type,
//! a length where it has one, and every bit of it. Nothing is hashed away, so two questions have
//! the same bytes only where they are the same; a float is its bits, so 0.0 and -0.0 are two, and
//! a port without a value is told from one that holds null. Maps come in the order of their keys.

use ambit_mem::{Arena, ArenaError};
use serde_json::Value as Json;

use crate::node::Bound;
use crate::{Context, ValueRef};

/// The bytes of step `step` over what `reads` find in `context`, in `arena`.
pub(crate) fn encode<'a>(
    step: u64,
    context: &Context,
    reads: &[Bound],
    arena: &'a Arena,
) -> Result<&'a [u8], ArenaError> {
    let mut len = Length(0);
    write_all(&mut len, step, context, reads);
    let bytes = arena.alloc_slice_with(len.0, |_| 0_u8)?;
    write_all(&mut Cursor { rest: bytes }, step, context, reads);
    Ok(bytes)
}

/// Where bytes go: first they are counted, then they are written.
trait Sink {
    fn put(&mut self, bytes: &[u8]);

    fn tagged(&mut self, tag: u8, bytes: &[u8]) {
        self.put(&[tag]);
        self.put(bytes);
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.tagged(tag, &(bytes.len() as u64).to_le_bytes());
        self.put(bytes);
    }
}

struct Length(usize);

impl Sink for Length {
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

struct Cursor<'a> {
    rest: &'a mut [u8],
}

impl Sink for Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        // Both passes see the same values, so there is room; what did not fit would be left out.
        let (here, rest) = rest.split_at_mut(bytes.len().min(rest.len()));
        here.copy_from_slice(&bytes[..here.len()]);
        self.rest = rest;
    }
}

fn write_all(sink: &mut impl Sink, step: u64, context: &Context, reads: &[Bound]) {
    sink.put(&step.to_le_bytes());
    for bound in reads {
        match context.get(&bound.key) {
            Some(value) => write(sink, value),
            None => sink.put(b"-"),
        }
    }
}

fn write(sink: &mut impl Sink, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => sink.put(b"n"),
        ValueRef::Bool(value) => sink.tagged(b'b', &[u8::from(value)]),
        ValueRef::Int(value) => sink.tagged(b'i', &value.to_le_bytes()),
        ValueRef::Float(value) => sink.tagged(b'f', &value.to_bits().to_le_bytes()),
        ValueRef::Text(text) => sink.sized(b't', text.as_bytes()),
        ValueRef::Bytes(bytes) => sink.sized(b'y', bytes),
        ValueRef::Floats(floats) => {
            sink.tagged(b'v', &(floats.len() as u64).to_le_bytes());
            floats.iter().for_each(|float| sink.put(&float.to_bits().to_le_bytes()));
        }
        ValueRef::Json(json) => write_json(sink, json),
    }
}

fn write_json(sink: &mut impl Sink, json: &Json) {
    match json {
        Json::Array(list) => {
            sink.tagged(b'l', &(list.len() as u64).to_le_bytes());
            list.iter().for_each(|element| write_json(sink, element));
        }
        Json::Object(map) => {
            sink.tagged(b'm', &(map.len() as u64).to_le_bytes());
            for (key, element) in map {
                sink.sized(b'k', key.as_bytes());
                write_json(sink, element);
            }
        }
        // A whole number beyond i64 would be rounded by `ValueRef`.
        Json::Number(number) if number.as_i64().is_none() && number.is_u64() => {
            sink.tagged(b'u', &number.as_u64().unwrap_or_default().to_le_bytes());
        }
        scalar => write(sink, ValueRef::from(scalar)),
    }
}

#[cfg(test)]
mod tests {
    use ambit_mem::{Budget, Bytes, Priority};
    use proptest::prelude::*;

    use super::*;
    use crate::{Key, Type, Value};

    fn key_of(values: &[Option<Value>]) -> Vec<u8> {
        let budget = Budget::new(Bytes::mib(4));
        let account = budget.account("key", Priority::Query);
        let (mut context, arena) = (Context::new(&account), Arena::new(&account).unwrap());
        let mut reads = Vec::new();
        for (number, value) in values.iter().enumerate() {
            let key = Key::new(&format!("k{number}"));
            if let Some(value) = value {
                context.put(&key, value.clone()).unwrap();
            }
            reads.push(Bound { port: "p".into(), key, kind: Type::Any });
        }
        encode(7, &context, &reads, &arena).unwrap().to_vec()
    }

    fn json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            (-2_i64..2).prop_map(Json::from),
            (u64::MAX - 2..=u64::MAX).prop_map(Json::from),
            prop_oneof![Just(0.0), Just(-0.0), Just(1.0)].prop_map(|float: f64| float.into()),
            "[ab]{0,2}".prop_map(Json::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
                prop::collection::vec(("[ab]{0,2}", inner), 0..3)
                    .prop_map(|fields| fields.into_iter().collect()),
            ]
        })
    }

    fn value() -> impl Strategy<Value = Option<Value>> {
        prop_oneof![
            Just(None),
            json().prop_map(|json| Some(json.into())),
            prop::collection::vec(0_u8..3, 0..3).prop_map(|bytes| Some(Value::Bytes(bytes))),
            prop::collection::vec(prop_oneof![Just(0.0_f32), Just(-0.0), Just(2.0)], 0..3)
                .prop_map(|floats| Some(Value::Floats(floats))),
        ]
    }

    /// What a value is, to the bit: the oracle of equality.
    fn told(value: &Option<Value>) -> String {
        match value {
            Some(Value::Float(float)) => format!("float {:x}", float.to_bits()),
            Some(Value::Floats(floats)) => {
                format!(
                    "floats {:?}",
                    floats.iter().map(|float| float.to_bits()).collect::<Vec<_>>()
                )
            }
            // JSON text tells -0.0 from 0.0 and 1.0 from 1.
            Some(Value::Json(json)) => format!("json {json}"),
            other => format!("{other:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 2048 }))]

        #[test]
        fn keys_are_the_same_exactly_where_the_inputs_are(
            one in prop::collection::vec(value(), 0..3),
            two in prop::collection::vec(value(), 0..3),
        ) {
            let same = one.iter().map(told).eq(two.iter().map(told));
            prop_assert_eq!(key_of(&one) == key_of(&two), same, "{:?} {:?}", one, two);
        }
    }

    #[test]
    fn what_is_one_text_or_two_is_told_apart() {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        assert_ne!(key_of(&[text("ab"), text("c")]), key_of(&[text("a"), text("bc")]));
        assert_ne!(key_of(&[Some(Value::Null)]), key_of(&[None]));
        assert_ne!(key_of(&[Some(Value::Int(1))]), key_of(&[Some(Value::Float(1.0))]));
    }
}
