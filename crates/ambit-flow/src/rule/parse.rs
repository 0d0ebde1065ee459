//! From text to operations.
//!
//! The grammar is that of CEL, the Common Expression Language, read by the crate `cel`. Its parser
//! recurses: up to 96 brackets deep, and once for each operator of a chain. Where it was not
//! optimised that takes up to 16 MiB for a text of [`MAX_TEXT`] bytes, so a hostile text could end
//! the process from a thread with a small stack. It runs on a thread of its own with room for four
//! times as much. Its tree is then turned into operations, to a depth that evaluating bears on any
//! stack.
//!
//! Left out of the language: bytes, maps and messages as literals, `map` and `filter` (a rule makes
//! no lists), regular expressions and times.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators,
};
use cel::parser::Parser;

use super::error::{Place, RuleError, RuleErrorKind};
use super::op::{Arithmetic, At, Function, Op, Order, Quantifier};
use crate::context::{Key, nearest};

/// Bytes of a rule's text, at most.
pub const MAX_TEXT: usize = 4096;
/// Operations inside each other, at most.
pub const MAX_DEPTH: usize = 96;
/// Tests of elements inside each other, at most.
pub const MAX_TESTS: usize = 8;
/// Stack of the thread that parses.
pub(crate) const STACK: usize = 64 << 20;

/// Operations of a rule, the last one its root, with the place of each in the text.
pub(super) struct Parsed {
    pub ops: Vec<Op>,
    pub places: Vec<u32>,
}

/// Runs `work` where there is stack enough for [`parse`].
pub(crate) fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("ambit-rules".into()).stack_size(STACK);
        match builder.spawn_scoped(scope, work)?.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Parses `text`, on a thread of [`with_stack`].
pub(super) fn parse(text: &str) -> Result<Parsed, RuleError> {
    let fail = |place, message: String| RuleError {
        text: text.to_owned(),
        place,
        kind: RuleErrorKind::Syntax(message),
    };
    if text.len() > MAX_TEXT {
        let message = format!("{} bytes; a rule has at most {MAX_TEXT}", text.len());
        return Err(fail(Place { line: 1, column: 1 }, message));
    }
    let parsed = Parser::new().parse_with_source_info(text);
    let (tree, info) = parsed.map_err(|errors| match errors.errors.first() {
        Some(error) => {
            let number = |at: isize| u32::try_from(at).unwrap_or(1).max(1);
            let place = Place { line: number(error.pos.0), column: number(error.pos.1) };
            fail(place, plain(&error.msg))
        }
        None => fail(Place { line: 1, column: 1 }, "not a rule".to_owned()),
    })?;
    let mut compiler = Compiler {
        text,
        info: &info,
        ops: Vec::new(),
        places: Vec::new(),
        locals: Vec::new(),
        depth: 0,
    };
    compiler.compile(&tree)?;
    Ok(Parsed { ops: compiler.ops, places: compiler.places })
}

/// The parser's message without what says nothing here.
fn plain(message: &str) -> String {
    let message = message.strip_prefix("Syntax error: ").unwrap_or(message);
    if message.contains("Recursion limit") {
        return format!("operations are inside each other more than {MAX_DEPTH} deep");
    }
    message.replace("'<EOF>'", "the end").replace("<EOF>", "the end")
}

struct Compiler<'a> {
    text: &'a str,
    info: &'a SourceInfo,
    ops: Vec<Op>,
    places: Vec<u32>,
    /// Names of the elements that tests are at, outermost first.
    locals: Vec<String>,
    depth: usize,
}

impl Compiler<'_> {
    fn offset(&self, expr: &IdedExpr) -> u32 {
        self.info.offset_for(expr.id).map_or(0, |(start, _)| start)
    }

    fn fail<T>(&self, expr: &IdedExpr, message: impl Into<String>) -> Result<T, RuleError> {
        Err(RuleError {
            text: self.text.to_owned(),
            place: Place::of(self.text, self.offset(expr) as usize),
            kind: RuleErrorKind::Syntax(message.into()),
        })
    }

    fn push(&mut self, expr: &IdedExpr, op: Op) -> At {
        self.ops.push(op);
        self.places.push(self.offset(expr));
        self.ops.len() as At - 1
    }

    fn compile(&mut self, expr: &IdedExpr) -> Result<At, RuleError> {
        if self.depth == MAX_DEPTH {
            let message = format!("operations are inside each other more than {MAX_DEPTH} deep");
            return self.fail(expr, message);
        }
        self.depth += 1;
        let op = match &expr.expr {
            Expr::Literal(literal) => self.literal(expr, literal)?,
            Expr::Ident(name) => match self.locals.iter().rposition(|local| local == name) {
                Some(depth) => Op::Local(depth as u8),
                None => Op::Variable(Key::new(name)),
            },
            Expr::Select(select) => {
                let of = self.compile(&select.operand)?;
                let field = select.field.as_str().into();
                if select.test { Op::Has(of, field) } else { Op::Field(of, field) }
            }
            Expr::List(list) if list.optional_indices.is_empty() => {
                let each = list.elements.iter().map(|each| self.compile(each));
                let elements: Box<[At]> = each.collect::<Result<_, _>>()?;
                let is_constant =
                    list.elements.iter().all(|each| matches!(each.expr, Expr::Literal(_)));
                if is_constant { Op::Constants(elements) } else { Op::List(elements) }
            }
            Expr::Call(call) => self.call(expr, call)?,
            Expr::Comprehension(comprehension) => self.each(expr, comprehension)?,
            _ => return self.fail(expr, "maps and messages cannot be written in a rule"),
        };
        self.depth -= 1;
        Ok(self.push(expr, op))
    }

    fn literal(&self, expr: &IdedExpr, literal: &LiteralValue) -> Result<Op, RuleError> {
        Ok(match literal {
            LiteralValue::Null => Op::Null,
            LiteralValue::Boolean(value) => Op::Bool(*value.inner()),
            LiteralValue::Int(value) => Op::Int(*value.inner()),
            LiteralValue::UInt(value) => Op::UInt(*value.inner()),
            LiteralValue::Double(value) => Op::Float(*value.inner()),
            LiteralValue::String(value) => Op::Text(value.inner().into()),
            LiteralValue::Bytes(_) => return self.fail(expr, "bytes cannot be written in a rule"),
        })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Result<Op, RuleError> {
        let mut parts = Vec::with_capacity(3);
        for part in call.target.as_deref().into_iter().chain(&call.args) {
            parts.push(self.compile(part)?);
        }
        let name = call.func_name.as_str();
        Ok(match (name, parts.as_slice()) {
            (operators::LOGICAL_NOT, &[of]) => Op::Not(of),
            (operators::NEGATE, &[of]) => Op::Negate(of),
            (operators::LOGICAL_AND, &[left, right]) => Op::And(left, right),
            (operators::LOGICAL_OR, &[left, right]) => Op::Or(left, right),
            (operators::CONDITIONAL, &[test, then, otherwise]) => Op::If { test, then, otherwise },
            (operators::EQUALS, &[left, right]) => Op::Equal(left, right),
            (operators::NOT_EQUALS, &[left, right]) => Op::NotEqual(left, right),
            (operators::LESS, &[left, right]) => Op::Order(Order::Less, left, right),
            (operators::LESS_EQUALS, &[left, right]) => Op::Order(Order::AtMost, left, right),
            (operators::GREATER, &[left, right]) => Op::Order(Order::Greater, left, right),
            (operators::GREATER_EQUALS, &[left, right]) => Op::Order(Order::AtLeast, left, right),
            (operators::ADD, &[left, right]) => Op::Arithmetic(Arithmetic::Add, left, right),
            (operators::SUBSTRACT, &[left, right]) => {
                Op::Arithmetic(Arithmetic::Subtract, left, right)
            }
            (operators::MULTIPLY, &[left, right]) => {
                Op::Arithmetic(Arithmetic::Multiply, left, right)
            }
            (operators::DIVIDE, &[left, right]) => Op::Arithmetic(Arithmetic::Divide, left, right),
            (operators::MODULO, &[left, right]) => {
                Op::Arithmetic(Arithmetic::Remainder, left, right)
            }
            (operators::INDEX, &[list, at]) => Op::Index { list, at },
            (operators::IN, &[element, list]) => Op::In { element, list },
            _ => return self.function(expr, call, &parts),
        })
    }

    fn function(&self, expr: &IdedExpr, call: &CallExpr, parts: &[At]) -> Result<Op, RuleError> {
        let name = call.func_name.as_str();
        let Some(function) = Function::ALL.into_iter().find(|known| known.name() == name) else {
            let all = Function::ALL.iter().map(|known| known.name());
            let message = match nearest(name, all.clone()) {
                Some(near) => format!("no function '{name}'; is '{near}' meant?"),
                None => {
                    format!(
                        "no function '{name}'; there are {}",
                        all.collect::<Vec<_>>().join(", ")
                    )
                }
            };
            return self.fail(expr, message);
        };
        if !function.takes(call.target.is_some(), call.args.len()) {
            return self.fail(expr, format!("'{name}' is called as {}", function.usage()));
        }
        match *parts {
            [of] => Ok(Op::Call(function, of, None)),
            [of, with] => Ok(Op::Call(function, of, Some(with))),
            _ => self.fail(expr, format!("'{name}' is called as {}", function.usage())),
        }
    }

    /// `all`, `exists` and `exists_one`, which the parser turned into loops.
    fn each(&mut self, expr: &IdedExpr, looped: &ComprehensionExpr) -> Result<Op, RuleError> {
        let Expr::Call(step) = &looped.loop_step.expr else {
            return self.fail(expr, "only all, exists and exists_one go over a list");
        };
        let (quantifier, test) = match (&looped.accu_init.expr, step.args.as_slice()) {
            (Expr::Literal(LiteralValue::Boolean(all)), [_, test]) if *all.inner() => {
                (Quantifier::All, test)
            }
            (Expr::Literal(LiteralValue::Boolean(_)), [_, test]) => (Quantifier::Exists, test),
            (Expr::Literal(LiteralValue::Int(_)), [test, _, _]) => (Quantifier::ExistsOne, test),
            _ => {
                let message = "a rule makes no lists: map and filter are steps of a graph";
                return self.fail(expr, message);
            }
        };
        if looped.iter_var2.is_some() {
            return self.fail(expr, "a test names one element");
        }
        let list = self.compile(&looped.iter_range)?;
        if self.locals.len() == MAX_TESTS {
            let message = format!("tests are inside each other more than {MAX_TESTS} deep");
            return self.fail(expr, message);
        }
        let local = self.locals.len() as u8;
        self.locals.push(looped.iter_var.clone());
        let test = self.compile(test)?;
        self.locals.pop();
        Ok(Op::Each { quantifier, list, local, test })
    }
}
