//! A rule as its users see it.

use std::collections::BTreeMap;

use ambit_mem::{Arena, Bytes};

use super::error::{Place, RuleError, RuleErrorKind};
use super::eval::Evaluation;
use super::op::Op;
use super::operand::Operand;
use super::parse::{self, Parsed};
use crate::context::Key;
use crate::{Context, Type, ValueRef};

/// An expression over the values of a context, parsed once.
///
/// The language is a part of CEL: names of values, `.field`, `[index]`, numbers, text, lists,
/// `! - + * / % == != < <= > >= && || in`, `a ? b : c`, `has(a.b)`, `list.all(x, test)`, `exists`,
/// `exists_one`, and the functions `size`, `contains`, `startsWith`, `endsWith`, `int`,
/// `double` and `string`.
///
/// ```
/// use ambit_flow::{Context, Rule};
/// use ambit_mem::{Arena, Budget, Bytes, Priority};
///
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow", Priority::Query);
/// let (mut context, arena) = (Context::new(&account), Arena::new(&account)?);
/// let rule = Rule::parse("income * 0.3 >= rate && purpose in ['roof', 'car']")?;
/// context.set("income", 5_000)?;
/// context.set("rate", 1_200)?;
/// context.set("purpose", "roof")?;
/// assert!(rule.holds(&context, &arena)?);
///
/// let error = Rule::parse("income >== 3").unwrap_err();
/// assert_eq!((error.place.line, error.place.column), (1, 10));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Rule {
    text: Box<str>,
    ops: Box<[Op]>,
    places: Box<[u32]>,
}

impl Rule {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`RuleErrorKind::Syntax`] with its place: also where the text is longer than
    /// [`MAX_TEXT`](super::MAX_TEXT), or more than [`MAX_DEPTH`](super::MAX_DEPTH) operations
    /// deep, or tests elements more than [`MAX_TESTS`](super::MAX_TESTS) deep.
    ///
    /// # Cost
    /// A thread, for the parser's stack, and some ten microseconds for each hundred characters.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        match parse::with_stack(|| Self::parse_here(text)) {
            Ok(parsed) => parsed,
            Err(error) => Err(RuleError {
                text: text.to_owned(),
                place: Place { line: 1, column: 1 },
                kind: RuleErrorKind::OverBudget(format!("no thread to parse on: {error}")),
            }),
        }
    }

    /// Parses `text` on a thread of [`parse::with_stack`].
    pub(crate) fn parse_here(text: &str) -> Result<Self, RuleError> {
        let Parsed { ops, places } = parse::parse(text)?;
        Ok(Self { text: text.into(), ops: ops.into(), places: places.into() })
    }

    /// The same rule with other keys behind its names.
    pub(crate) fn bind(mut self, keys: &BTreeMap<String, String>) -> Self {
        for op in &mut self.ops {
            if let Op::Variable(key) = op
                && let Some(bound) = keys.get(key.name())
            {
                *key = Key::new(bound);
            }
        }
        self
    }

    /// Its text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The keys that it reads, each once, by name.
    pub fn keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self
            .ops
            .iter()
            .filter_map(|op| if let Op::Variable(key) = op { Some(key.clone()) } else { None })
            .collect();
        keys.sort_by(|a, b| a.name().cmp(b.name()));
        keys.dedup();
        keys
    }

    /// The type of its answer, as far as its text tells.
    pub fn answer_type(&self) -> Type {
        match self.ops.last() {
            Some(
                Op::Bool(_)
                | Op::Has(..)
                | Op::Not(_)
                | Op::And(..)
                | Op::Or(..)
                | Op::Equal(..)
                | Op::NotEqual(..)
                | Op::Order(..)
                | Op::In { .. }
                | Op::Each { .. },
            ) => Type::Bool,
            Some(Op::Int(_)) => Type::Int,
            Some(Op::Float(_)) => Type::Float,
            Some(Op::Text(_)) => Type::Text,
            _ => Type::Any,
        }
    }

    /// Its answer over `context`, borrowed from there, from the rule or from `arena`.
    ///
    /// # Errors
    /// [`RuleError`] with the place in the text of the operation that failed.
    ///
    /// # Cost
    /// A few nanoseconds for each operation; no allocation unless it joins texts, which takes from
    /// `arena`. At most [`MAX_STEPS`](super::MAX_STEPS) operations.
    pub fn answer<'a>(
        &'a self,
        context: &'a Context,
        arena: &'a Arena,
    ) -> Result<ValueRef<'a>, RuleError> {
        match Evaluation::new(&self.ops, context, arena).run() {
            Ok(Operand::Null) => Ok(ValueRef::Null),
            Ok(Operand::Bool(value)) => Ok(ValueRef::Bool(value)),
            Ok(Operand::Int(value)) => Ok(ValueRef::Int(value)),
            Ok(Operand::UInt(value)) => match i64::try_from(value) {
                Ok(value) => Ok(ValueRef::Int(value)),
                Err(_) => Ok(ValueRef::Float(value as f64)),
            },
            Ok(Operand::Float(value)) => Ok(ValueRef::Float(value)),
            Ok(Operand::Text(value)) => Ok(ValueRef::Text(value)),
            Ok(Operand::Bytes(value)) => Ok(ValueRef::Bytes(value)),
            Ok(Operand::Floats(value)) => Ok(ValueRef::Floats(value)),
            Ok(Operand::Json(value)) => Ok(ValueRef::Json(value)),
            Ok(Operand::Literal(_)) => {
                let message = "a list that is written in a rule cannot be its answer".to_owned();
                Err(self.error(self.root(), RuleErrorKind::WrongType(message)))
            }
            Err(failure) => Err(self.error(failure.0, failure.1)),
        }
    }

    /// Whether it holds over `context`.
    ///
    /// # Errors
    /// As [`Rule::answer`], and [`RuleErrorKind::NotBool`].
    ///
    /// # Cost
    /// As [`Rule::answer`].
    #[inline]
    pub fn holds(&self, context: &Context, arena: &Arena) -> Result<bool, RuleError> {
        match Evaluation::new(&self.ops, context, arena).run() {
            Ok(Operand::Bool(value)) => Ok(value),
            Ok(other) => {
                let kind = RuleErrorKind::NotBool(other.describe());
                Err(self.error(self.root(), kind))
            }
            Err(failure) => Err(self.error(failure.0, failure.1)),
        }
    }

    fn root(&self) -> u32 {
        self.ops.len() as u32 - 1
    }

    #[cold]
    fn error(&self, at: u32, kind: RuleErrorKind) -> RuleError {
        let offset = self.places.get(at as usize).copied().unwrap_or_default();
        let place = Place::of(&self.text, offset as usize);
        RuleError { text: self.text.to_string(), place, kind }
    }

    /// Bytes that it holds, itself included.
    pub fn footprint(&self) -> Bytes {
        let each = |op: &Op| match op {
            Op::Text(text) | Op::Field(_, text) | Op::Has(_, text) => text.len(),
            Op::List(elements) | Op::Constants(elements) => size_of_val(&**elements),
            Op::Variable(key) => key.heap(),
            _ => 0,
        };
        let ops = size_of_val(&*self.ops) + self.ops.iter().map(each).sum::<usize>();
        Bytes::of(size_of::<Self>() + self.text.len() + ops + size_of_val(&*self.places))
    }
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}
