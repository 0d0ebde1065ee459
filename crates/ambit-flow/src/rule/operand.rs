//! What a rule computes with: scalars by value, everything else where it is.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::op::At;
use crate::ValueRef;

/// A value during an evaluation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Operand<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Floats(&'a [f32]),
    /// A list or a map.
    Json(&'a Json),
    /// A list that is written in the rule.
    Literal(&'a [At]),
}

impl<'a> Operand<'a> {
    #[inline]
    pub(super) fn of_json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(whole), _) => Self::Int(whole),
                (None, Some(whole)) => Self::UInt(whole),
                (None, None) => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            list_or_map => Self::Json(list_or_map),
        }
    }

    #[inline]
    pub(super) fn of(value: ValueRef<'a>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(value) => Self::Bool(value),
            ValueRef::Int(value) => Self::Int(value),
            ValueRef::Float(value) => Self::Float(value),
            ValueRef::Text(value) => Self::Text(value),
            ValueRef::Bytes(value) => Self::Bytes(value),
            ValueRef::Floats(value) => Self::Floats(value),
            ValueRef::Json(value) => Self::of_json(value),
        }
    }

    /// What it is, for a message.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Float(_) => "double",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Floats(_) | Self::Literal(_) | Self::Json(Json::Array(_)) => "list",
            Self::Json(_) => "map",
        }
    }

    pub(super) fn number(self) -> Option<Number> {
        match self {
            Self::Int(value) => Some(Number::Whole(i128::from(value))),
            Self::UInt(value) => Some(Number::Whole(i128::from(value))),
            Self::Float(value) => Some(Number::Float(value)),
            _ => None,
        }
    }
}

/// A number to compare with any other, exactly.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// The order of the numbers themselves; `None` where one is NaN.
    pub(super) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (Self::Float(left), Self::Float(right)) => left.partial_cmp(&right),
            (Self::Whole(left), Self::Float(right)) => whole_to_float(left, right),
            (Self::Float(left), Self::Whole(right)) => {
                whole_to_float(right, left).map(Ordering::reverse)
            }
        }
    }
}

/// Compares a whole number of at most 65 bits with a float, without rounding either.
fn whole_to_float(whole: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    // Beyond 2^65 the float is larger than any such number; below, its floor is exact.
    if float.abs() >= 36_893_488_147_419_103_232.0 {
        return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let floor = float.floor();
    Some(whole.cmp(&(floor as i128)).then(if float > floor {
        Ordering::Less
    } else {
        Ordering::Equal
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_and_floats_are_compared_without_rounding() {
        let whole = |value: i64| Number::Whole(i128::from(value));
        let large = (1_i64 << 53) + 1;
        assert_eq!(
            whole(large).compare(Number::Float((1_i64 << 53) as f64)),
            Some(Ordering::Greater)
        );
        assert_eq!(whole(i64::MAX).compare(Number::Float(i64::MAX as f64)), Some(Ordering::Less));
        assert_eq!(whole(-3).compare(Number::Float(-2.5)), Some(Ordering::Less));
        assert_eq!(whole(3).compare(Number::Float(2.5)), Some(Ordering::Greater));
        assert_eq!(Number::Float(1e300).compare(whole(0)), Some(Ordering::Greater));
        assert_eq!(Number::Float(f64::NAN).compare(whole(0)), None);
    }
}
