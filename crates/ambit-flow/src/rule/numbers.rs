//! Whole numbers and floats: what fits, and what becomes what.
//!
//! Whole numbers are computed with in 128 bits and then held to the 64 of their type, so
//! nothing wraps. Text becomes a number as Rust reads it.

use super::error::RuleErrorKind;
use super::eval::{Failure, OVERFLOW, fail};
use super::op::{Arithmetic, At};
use super::operand::Operand;

/// A number as a float.
pub(super) fn float(value: Operand<'_>) -> Option<f64> {
    match value {
        Operand::Int(value) => Some(value as f64),
        Operand::UInt(value) => Some(value as f64),
        Operand::Float(value) => Some(value),
        _ => None,
    }
}

/// Whole numbers of 64 bits neither overflow 128 bits nor lose anything in them.
pub(super) fn whole(at: At, sign: Arithmetic, left: i128, right: i128) -> Result<i128, Failure> {
    Ok(match sign {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => match left.checked_mul(right) {
            Some(product) => product,
            None => return fail(at, OVERFLOW),
        },
        Arithmetic::Divide | Arithmetic::Remainder if right == 0 => {
            return fail(at, RuleErrorKind::Arithmetic("division by zero"));
        }
        Arithmetic::Divide => left / right,
        Arithmetic::Remainder => left % right,
    })
}

pub(super) fn narrow<'a, T, E>(
    at: At,
    value: Result<T, E>,
    operand: impl FnOnce(T) -> Operand<'a>,
) -> Result<Operand<'a>, Failure> {
    match value {
        Ok(value) => Ok(operand(value)),
        Err(_) => fail(at, OVERFLOW),
    }
}

pub(super) fn to_int(at: At, value: Operand<'_>) -> Result<Operand<'_>, Failure> {
    match value {
        Operand::Int(value) => Ok(Operand::Int(value)),
        Operand::UInt(value) => narrow(at, i64::try_from(value), Operand::Int),
        // Both bounds are floats; what lies between them fits.
        Operand::Float(value) if value > -9.223_372_036_854_776e18 => {
            if value < 9.223_372_036_854_776e18 {
                Ok(Operand::Int(value as i64))
            } else {
                fail(at, OVERFLOW)
            }
        }
        Operand::Float(_) => fail(at, OVERFLOW),
        Operand::Text(text) => match text.parse() {
            Ok(value) => Ok(Operand::Int(value)),
            Err(_) => fail(at, RuleErrorKind::Arithmetic("the text is no whole number")),
        },
        other => fail(at, RuleErrorKind::WrongType(format!("int of {}", other.describe()))),
    }
}

pub(super) fn to_float(at: At, value: Operand<'_>) -> Result<Operand<'_>, Failure> {
    match (float(value), value) {
        (Some(value), _) => Ok(Operand::Float(value)),
        (None, Operand::Text(text)) => match text.parse() {
            Ok(value) => Ok(Operand::Float(value)),
            Err(_) => fail(at, RuleErrorKind::Arithmetic("the text is no number")),
        },
        (None, other) => {
            fail(at, RuleErrorKind::WrongType(format!("double of {}", other.describe())))
        }
    }
}
