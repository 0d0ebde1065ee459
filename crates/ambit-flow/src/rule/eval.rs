//! The answer of a rule over a context.
//!
//! Nothing is allocated: operands are scalars, or borrow from the context, from the rule, or from
//! the arena, which is asked only where a rule joins texts. `&&` and `||` are those of CEL: an
//! error on one side is no error where the other side decides, whichever stands first. Numbers of
//! different types are compared exactly; in arithmetic a whole number becomes a float where the
//! other one is (CEL itself would refuse `income * 0.3` for a whole income).
//!
//! Time is bounded: each operation and each element that is looked at is a step, and a rule that
//! takes more than [`MAX_STEPS`](super::MAX_STEPS) has no answer. Depth is bounded when the rule is
//! parsed.

use ambit_mem::Arena;
use serde_json::Value as Json;

use super::error::RuleErrorKind;
use super::numbers::{float, narrow, to_float, to_int, whole};
use super::op::{Arithmetic, At, Function, Op, Order, Quantifier};
use super::operand::Operand;
use super::{MAX_STEPS, MAX_TESTS};
use crate::Context;

/// An operation that failed, and why.
pub(super) type Failure = Box<(At, RuleErrorKind)>;

pub(super) struct Evaluation<'a> {
    ops: &'a [Op],
    context: &'a Context,
    arena: &'a Arena,
    steps: u32,
    /// Elements that tests are at, outermost first.
    locals: [Operand<'a>; MAX_TESTS],
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(ops: &'a [Op], context: &'a Context, arena: &'a Arena) -> Self {
        Self { ops, context, arena, steps: 0, locals: [Operand::Null; MAX_TESTS] }
    }

    pub(super) fn run(&mut self) -> Result<Operand<'a>, Failure> {
        self.eval(self.ops.len() as At - 1)
    }

    /// Counts `steps`.
    #[inline]
    fn step(&mut self, at: At, steps: usize) -> Result<(), Failure> {
        self.steps = self.steps.saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        if self.steps > MAX_STEPS { fail(at, RuleErrorKind::TooLong) } else { Ok(()) }
    }

    fn eval(&mut self, at: At) -> Result<Operand<'a>, Failure> {
        self.step(at, 1)?;
        let ops = self.ops;
        Ok(match &ops[at as usize] {
            Op::Null => Operand::Null,
            Op::Bool(value) => Operand::Bool(*value),
            Op::Int(value) => Operand::Int(*value),
            Op::UInt(value) => Operand::UInt(*value),
            Op::Float(value) => Operand::Float(*value),
            Op::Text(text) => Operand::Text(text),
            Op::Constants(elements) => Operand::Literal(elements),
            Op::List(elements) => {
                // Elements are computed where they are needed; one that fails makes the list fail.
                for &element in elements {
                    self.eval(element)?;
                }
                Operand::Literal(elements)
            }
            Op::Variable(key) => match self.context.get(key) {
                Some(value) => Operand::of(value),
                None => return self.unset(at, key.name()),
            },
            Op::Local(depth) => self.locals[*depth as usize],
            Op::Field(of, field) => self.field(at, *of, field)?,
            Op::Has(of, field) => Operand::Bool(self.has(at, *of, field)?),
            Op::Index { list, at: place } => self.index(at, *list, *place)?,
            Op::Not(of) => Operand::Bool(!self.truth(*of)?),
            Op::Negate(of) => self.negate(at, *of)?,
            Op::And(left, right) => Operand::Bool(self.decide(*left, *right, false)?),
            Op::Or(left, right) => Operand::Bool(self.decide(*left, *right, true)?),
            Op::If { test, then, otherwise } => {
                let taken = if self.truth(*test)? { then } else { otherwise };
                self.eval(*taken)?
            }
            Op::Equal(left, right) => Operand::Bool(self.equal(at, *left, *right)?),
            Op::NotEqual(left, right) => Operand::Bool(!self.equal(at, *left, *right)?),
            Op::Order(order, left, right) => Operand::Bool(self.order(at, *order, *left, *right)?),
            Op::Arithmetic(sign, left, right) => self.arithmetic(at, *sign, *left, *right)?,
            Op::In { element, list } => Operand::Bool(self.is_in(at, *element, *list)?),
            Op::Call(function, of, with) => self.call(at, *function, *of, *with)?,
            Op::Each { quantifier, list, local, test } => {
                let each = Each { quantifier: *quantifier, local: *local, test: *test };
                Operand::Bool(self.each(at, *list, &each)?)
            }
        })
    }

    #[cold]
    fn unset<T>(&self, at: At, name: &str) -> Result<T, Failure> {
        let nearest = crate::context::nearest(name, self.context.iter().map(|(key, _)| key));
        fail(at, RuleErrorKind::Unset { name: name.to_owned(), nearest })
    }

    #[inline]
    fn truth(&mut self, at: At) -> Result<bool, Failure> {
        match self.eval(at)? {
            Operand::Bool(value) => Ok(value),
            other => fail(at, RuleErrorKind::NotBool(other.describe())),
        }
    }

    /// `&&` where `decisive` is false, `||` where it is true.
    #[inline]
    fn decide(&mut self, left: At, right: At, decisive: bool) -> Result<bool, Failure> {
        match self.truth(left) {
            Ok(value) if value == decisive => Ok(decisive),
            Ok(_) => self.truth(right),
            Err(error) => match self.truth(right) {
                Ok(value) if value == decisive => Ok(decisive),
                _ => Err(error),
            },
        }
    }

    fn field(&mut self, at: At, of: At, field: &str) -> Result<Operand<'a>, Failure> {
        match self.eval(of)? {
            Operand::Json(Json::Object(map)) => match map.get(field) {
                Some(value) => Ok(Operand::of_json(value)),
                None => {
                    let near = crate::context::nearest(field, map.keys().map(String::as_str));
                    let near = near.map_or(String::new(), |near| format!("; is '{near}' meant?"));
                    let message = format!("the map has no '{}'{near}", field.escape_debug());
                    fail(at, RuleErrorKind::NoSuchElement(message))
                }
            },
            other => {
                let message = format!("'.{field}' of {}", other.describe());
                fail(at, RuleErrorKind::WrongType(message))
            }
        }
    }

    /// `has(x.y)`; where `x` is a name that is not set, it has nothing.
    fn has(&mut self, at: At, of: At, field: &str) -> Result<bool, Failure> {
        let whole = match (self.eval(of), &self.ops[of as usize]) {
            (Err(error), Op::Variable(_)) if matches!(error.1, RuleErrorKind::Unset { .. }) => {
                return Ok(false);
            }
            (whole, _) => whole?,
        };
        match whole {
            Operand::Json(Json::Object(map)) => Ok(map.contains_key(field)),
            other => {
                let message = format!("'.{field}' of {}", other.describe());
                fail(at, RuleErrorKind::WrongType(message))
            }
        }
    }

    fn index(&mut self, at: At, list: At, place: At) -> Result<Operand<'a>, Failure> {
        let (list, place) = (self.eval(list)?, self.eval(place)?);
        if let (Operand::Json(Json::Object(map)), Operand::Text(key)) = (list, place) {
            return match map.get(key) {
                Some(value) => Ok(Operand::of_json(value)),
                None => {
                    let message = format!("the map has no '{}'", key.escape_debug());
                    fail(at, RuleErrorKind::NoSuchElement(message))
                }
            };
        }
        let number = match place {
            Operand::Int(number) => usize::try_from(number).ok(),
            Operand::UInt(number) => usize::try_from(number).ok(),
            other => {
                let message = format!("{}[{}]", list.describe(), other.describe());
                return fail(at, RuleErrorKind::WrongType(message));
            }
        };
        let Some(len) = len(list) else {
            let message = format!("an element of {}", list.describe());
            return fail(at, RuleErrorKind::WrongType(message));
        };
        match number.filter(|&number| number < len) {
            Some(number) => self.element(list, number),
            None => {
                let message = format!("no such place in a list of {len}");
                fail(at, RuleErrorKind::NoSuchElement(message))
            }
        }
    }

    /// Element `number` of a list, which has it; the key number `number` of a map.
    #[inline]
    fn element(&mut self, list: Operand<'a>, number: usize) -> Result<Operand<'a>, Failure> {
        Ok(match list {
            Operand::Literal(elements) => self.eval(elements[number])?,
            Operand::Floats(floats) => Operand::Float(f64::from(floats[number])),
            Operand::Json(Json::Array(list)) => Operand::of_json(&list[number]),
            _ => Operand::Null,
        })
    }

    fn negate(&mut self, at: At, of: At) -> Result<Operand<'a>, Failure> {
        match self.eval(of)? {
            Operand::Int(value) => match value.checked_neg() {
                Some(value) => Ok(Operand::Int(value)),
                None => fail(at, OVERFLOW),
            },
            Operand::Float(value) => Ok(Operand::Float(-value)),
            other => fail(at, RuleErrorKind::WrongType(format!("minus of {}", other.describe()))),
        }
    }

    fn equal(&mut self, at: At, left: At, right: At) -> Result<bool, Failure> {
        let (left, right) = (self.eval(left)?, self.eval(right)?);
        self.are_equal(at, left, right)
    }

    /// Whether two values are equal; values of different types are not.
    fn are_equal(
        &mut self,
        at: At,
        left: Operand<'a>,
        right: Operand<'a>,
    ) -> Result<bool, Failure> {
        if let (Some(left), Some(right)) = (left.number(), right.number()) {
            return Ok(left.compare(right) == Some(std::cmp::Ordering::Equal));
        }
        Ok(match (left, right) {
            (Operand::Null, Operand::Null) => true,
            (Operand::Bool(left), Operand::Bool(right)) => left == right,
            (Operand::Text(left), Operand::Text(right)) => left == right,
            (Operand::Bytes(left), Operand::Bytes(right)) => left == right,
            (Operand::Json(Json::Object(left)), Operand::Json(Json::Object(right))) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (key, value) in left {
                    self.step(at, 1)?;
                    let Some(other) = right.get(key) else { return Ok(false) };
                    if !self.are_equal(at, Operand::of_json(value), Operand::of_json(other))? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => match (list_len(left), list_len(right)) {
                (Some(len), Some(other)) if len == other => {
                    for number in 0..len {
                        self.step(at, 1)?;
                        let (left, right) =
                            (self.element(left, number)?, self.element(right, number)?);
                        if !self.are_equal(at, left, right)? {
                            return Ok(false);
                        }
                    }
                    true
                }
                _ => false,
            },
        })
    }

    fn order(&mut self, at: At, order: Order, left: At, right: At) -> Result<bool, Failure> {
        let (left, right) = (self.eval(left)?, self.eval(right)?);
        let compared = match (left, right) {
            // By far the most frequent, and decided without widening.
            (Operand::Int(left), Operand::Int(right)) => Some(left.cmp(&right)),
            (Operand::Text(left), Operand::Text(right)) => Some(left.cmp(right)),
            (Operand::Bool(left), Operand::Bool(right)) => Some(left.cmp(&right)),
            (Operand::Bytes(left), Operand::Bytes(right)) => Some(left.cmp(right)),
            _ => match (left.number(), right.number()) {
                (Some(left), Some(right)) => left.compare(right),
                _ => {
                    let message =
                        format!("{} and {} have no order", left.describe(), right.describe());
                    return fail(at, RuleErrorKind::WrongType(message));
                }
            },
        };
        Ok(compared.is_some_and(|compared| match order {
            Order::Less => compared.is_lt(),
            Order::AtMost => compared.is_le(),
            Order::Greater => compared.is_gt(),
            Order::AtLeast => compared.is_ge(),
        }))
    }

    fn arithmetic(
        &mut self,
        at: At,
        sign: Arithmetic,
        left: At,
        right: At,
    ) -> Result<Operand<'a>, Failure> {
        let (left, right) = (self.eval(left)?, self.eval(right)?);
        match (left, right) {
            (Operand::Int(left), Operand::Int(right)) => {
                whole(at, sign, i128::from(left), i128::from(right))
                    .and_then(|value| narrow(at, i64::try_from(value), Operand::Int))
            }
            (Operand::UInt(left), Operand::UInt(right)) => {
                whole(at, sign, i128::from(left), i128::from(right))
                    .and_then(|value| narrow(at, u64::try_from(value), Operand::UInt))
            }
            (Operand::Text(left), Operand::Text(right)) if sign == Arithmetic::Add => {
                self.join(at, left, right)
            }
            _ => match (float(left), float(right)) {
                (Some(left), Some(right)) if sign != Arithmetic::Remainder => {
                    Ok(Operand::Float(match sign {
                        Arithmetic::Add => left + right,
                        Arithmetic::Subtract => left - right,
                        Arithmetic::Multiply => left * right,
                        Arithmetic::Divide | Arithmetic::Remainder => left / right,
                    }))
                }
                _ => {
                    let (left, right) = (left.describe(), right.describe());
                    let message = format!("{left} {} {right}", sign.sign());
                    fail(at, RuleErrorKind::WrongType(message))
                }
            },
        }
    }

    fn join(&mut self, at: At, left: &str, right: &str) -> Result<Operand<'a>, Failure> {
        // Joined texts grow with each operation, so their length counts, not the operation.
        self.step(at, (left.len() + right.len()) / 16)?;
        let pieces = [left.as_bytes(), right.as_bytes()];
        let len = left.len() + right.len();
        let mut bytes = pieces.iter().flat_map(|piece| piece.iter().copied());
        let joined = self.arena.alloc_slice_with(len, |_| bytes.next().unwrap_or_default());
        match joined {
            // Two texts, one after the other, are a text.
            Ok(joined) => match std::str::from_utf8(joined) {
                Ok(text) => Ok(Operand::Text(text)),
                Err(error) => fail(at, RuleErrorKind::WrongType(error.to_string())),
            },
            Err(error) => fail(at, RuleErrorKind::OverBudget(error.to_string())),
        }
    }

    fn is_in(&mut self, at: At, element: At, list: At) -> Result<bool, Failure> {
        let (element, list) = (self.eval(element)?, self.eval(list)?);
        if let Operand::Json(Json::Object(map)) = list {
            return Ok(matches!(element, Operand::Text(key) if map.contains_key(key)));
        }
        let Some(len) = list_len(list) else {
            let message = format!("an element in {}", list.describe());
            return fail(at, RuleErrorKind::WrongType(message));
        };
        for number in 0..len {
            self.step(at, 1)?;
            let other = self.element(list, number)?;
            if self.are_equal(at, element, other)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn call(
        &mut self,
        at: At,
        function: Function,
        of: At,
        with: Option<At>,
    ) -> Result<Operand<'a>, Failure> {
        let of = self.eval(of)?;
        let with = match with {
            Some(with) => self.eval(with)?,
            None => Operand::Null,
        };
        Ok(match (function, of, with) {
            (Function::Size, Operand::Text(text), _) => {
                self.step(at, text.len() / 16)?;
                Operand::Int(text.chars().count() as i64)
            }
            (Function::Size, other, _) if len(other).is_some() => {
                Operand::Int(len(other).unwrap_or_default() as i64)
            }
            (Function::Contains, Operand::Text(text), Operand::Text(part)) => {
                self.step(at, text.len() / 16)?;
                Operand::Bool(text.contains(part))
            }
            (Function::StartsWith, Operand::Text(text), Operand::Text(part)) => {
                Operand::Bool(text.starts_with(part))
            }
            (Function::EndsWith, Operand::Text(text), Operand::Text(part)) => {
                Operand::Bool(text.ends_with(part))
            }
            (Function::Int, other, _) => return to_int(at, other),
            (Function::Double, other, _) => return to_float(at, other),
            (Function::String, other, _) => return self.write_out(at, other),
            (function, of, _) => {
                let message = format!("{} of {}", function.name(), of.describe());
                return fail(at, RuleErrorKind::WrongType(message));
            }
        })
    }

    fn write_out(&mut self, at: At, value: Operand<'a>) -> Result<Operand<'a>, Failure> {
        use std::io::Write as _;
        // The longest number of 64 bits, a float in its shortest form, takes 24 bytes.
        let mut buffer = [0_u8; 32];
        let mut rest = &mut buffer[..];
        let room = rest.len();
        let written = match value {
            Operand::Text(text) => return Ok(Operand::Text(text)),
            Operand::Bool(value) => return Ok(Operand::Text(if value { "true" } else { "false" })),
            Operand::Int(value) => write!(rest, "{value}"),
            Operand::UInt(value) => write!(rest, "{value}"),
            Operand::Float(value) => write!(rest, "{value:?}"),
            other => {
                let message = format!("string of {}", other.describe());
                return fail(at, RuleErrorKind::WrongType(message));
            }
        };
        let left = rest.len();
        match (written, std::str::from_utf8(&buffer[..room - left])) {
            (Ok(()), Ok(text)) => self.join(at, text, ""),
            _ => fail(at, RuleErrorKind::Arithmetic("the number has no short form")),
        }
    }

    fn each(&mut self, at: At, list: At, each: &Each) -> Result<bool, Failure> {
        let list = self.eval(list)?;
        if let Operand::Json(Json::Object(map)) = list {
            return self.each_of(map.keys().map(|key| Operand::Text(key)), each);
        }
        let Some(len) = list_len(list) else {
            let message = format!("the elements of {}", list.describe());
            return fail(at, RuleErrorKind::WrongType(message));
        };
        match list {
            Operand::Literal(elements) => {
                let mut tally = Tally::default();
                for &element in elements {
                    let element = self.eval(element)?;
                    if let Some(decided) = self.test(element, each, &mut tally)? {
                        return Ok(decided);
                    }
                }
                tally.end(each)
            }
            Operand::Floats(floats) => {
                self.each_of(floats.iter().map(|&value| Operand::Float(f64::from(value))), each)
            }
            Operand::Json(Json::Array(list)) => {
                self.each_of(list.iter().take(len).map(Operand::of_json), each)
            }
            _ => Ok(false),
        }
    }

    fn each_of(
        &mut self,
        elements: impl Iterator<Item = Operand<'a>>,
        each: &Each,
    ) -> Result<bool, Failure> {
        let mut tally = Tally::default();
        for element in elements {
            if let Some(decided) = self.test(element, each, &mut tally)? {
                return Ok(decided);
            }
        }
        tally.end(each)
    }

    /// Tests one element; the answer, where that decides it.
    #[inline]
    fn test(
        &mut self,
        element: Operand<'a>,
        each: &Each,
        tally: &mut Tally,
    ) -> Result<Option<bool>, Failure> {
        self.locals[each.local as usize] = element;
        match (self.truth(each.test), each.quantifier) {
            (Err(error), _) if matches!(error.1, RuleErrorKind::TooLong) => Err(error),
            (Err(error), Quantifier::ExistsOne) => Err(error),
            (Err(error), _) => {
                tally.error.get_or_insert(error);
                Ok(None)
            }
            (Ok(false), Quantifier::All) => Ok(Some(false)),
            (Ok(true), Quantifier::Exists) => Ok(Some(true)),
            (Ok(holds), _) => {
                tally.holds += usize::from(holds);
                Ok(None)
            }
        }
    }
}

/// A test of each element.
struct Each {
    quantifier: Quantifier,
    local: u8,
    test: At,
}

/// How the tests so far went.
#[derive(Default)]
struct Tally {
    holds: usize,
    error: Option<Failure>,
}

impl Tally {
    fn end(self, each: &Each) -> Result<bool, Failure> {
        match (self.error, each.quantifier) {
            (Some(error), _) => Err(error),
            (None, Quantifier::All) => Ok(true),
            (None, Quantifier::Exists) => Ok(false),
            (None, Quantifier::ExistsOne) => Ok(self.holds == 1),
        }
    }
}

pub(super) const OVERFLOW: RuleErrorKind =
    RuleErrorKind::Arithmetic("the number does not fit in 64 bits");

#[cold]
pub(super) fn fail<T>(at: At, kind: RuleErrorKind) -> Result<T, Failure> {
    Err(Box::new((at, kind)))
}

/// Elements of a list, or fields of a map.
fn len(value: Operand<'_>) -> Option<usize> {
    match value {
        Operand::Json(Json::Object(map)) => Some(map.len()),
        Operand::Bytes(bytes) => Some(bytes.len()),
        other => list_len(other),
    }
}

fn list_len(value: Operand<'_>) -> Option<usize> {
    match value {
        Operand::Literal(elements) => Some(elements.len()),
        Operand::Floats(floats) => Some(floats.len()),
        Operand::Json(Json::Array(list)) => Some(list.len()),
        _ => None,
    }
}
