//! From text to conditions, by recursive descent.

use super::{Comparison, Field, Node};
use crate::error::{Error, Result};
use crate::value::Value;

/// Deepest nesting of `not` and parentheses.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// A bare name, or a word of the language.
    Word(String),
    /// A name in backquotes, which is never a word of the language.
    Name(String),
    Text(String),
    Number(Value),
    Sign(&'static str),
}

/// A token and where it begins, in bytes.
type Placed = (Token, usize);

const SIGNS: [&str; 10] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ",", "."];

pub(super) fn parse(text: &str) -> Result<Node> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, text, depth: 0 };
    let node = parser.or()?;
    match parser.tokens.get(parser.at) {
        None => Ok(node),
        Some(_) => Err(parser.expected("'and', 'or' or the end")),
    }
}

/// A field alone.
pub(super) fn field(text: &str) -> Result<Field> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, text, depth: 0 };
    let field = parser.field()?;
    match parser.tokens.get(parser.at) {
        None => Ok(field),
        Some(_) => Err(parser.expected("the end of the field")),
    }
}

fn tokens(text: &str) -> Result<Vec<Placed>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if matches!(first, '\'' | '"' | '`') {
            let (content, len) = quoted(text, at, first)?;
            let token = if first == '`' { Token::Name(content) } else { Token::Text(content) };
            tokens.push((token, at));
            at += len;
        } else if first.is_ascii_digit()
            || (first == '-' && rest[1..].starts_with(|next: char| next.is_ascii_digit()))
        {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_');
            let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
            tokens.push((Token::Number(number(text, at, &rest[..len])?), at));
            at += len;
        } else if first.is_alphabetic() || first == '_' {
            let len = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            tokens.push((Token::Word(rest[..len].to_owned()), at));
            at += len;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push((Token::Sign(sign), at));
            at += sign.len();
        } else {
            return Err(wrong(text, at, "a field, a value or a sign of the filter language"));
        }
    }
    Ok(tokens)
}

/// The content of what begins with `quote` at `at`, and its length with both quotes.
fn quoted(text: &str, at: usize, quote: char) -> Result<(String, usize)> {
    let mut content = String::new();
    let mut chars = text[at + 1..].char_indices();
    while let Some((offset, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((content, offset + 2)),
            '\\' => match chars.next() {
                Some((_, c)) if c == quote || c == '\\' => content.push(c),
                Some((_, c)) => content.extend(['\\', c]),
                None => break,
            },
            c => content.push(c),
        }
    }
    Err(wrong(text, at, &format!("a closing {quote}")))
}

fn number(text: &str, at: usize, digits: &str) -> Result<Value> {
    if let Ok(integer) = digits.parse() {
        return Ok(Value::Integer(integer));
    }
    match digits.parse::<f64>() {
        Ok(float) if float.is_finite() => Ok(Value::Float(float)),
        _ => Err(wrong(text, at, "a number")),
    }
}

fn wrong(text: &str, at: usize, expected: &str) -> Error {
    let rest: String = text[at..].chars().take(20).collect();
    let found = if rest.is_empty() { "the end".to_owned() } else { format!("{rest:?}") };
    let column = text[..at].chars().count() + 1;
    Error::invalid(format!("filter, column {column}: expected {expected}, found {found}"))
}

struct Parser<'a> {
    tokens: Vec<Placed>,
    at: usize,
    text: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn expected(&self, what: &str) -> Error {
        let at = self.tokens.get(self.at).map_or(self.text.len(), |(_, at)| *at);
        wrong(self.text, at, what)
    }

    /// Takes the word if it is next.
    fn word(&mut self, word: &str) -> bool {
        let is_next =
            matches!(self.peek(), Some(Token::Word(next)) if next.eq_ignore_ascii_case(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Sign(next)) if *next == sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn must(&mut self, sign: &str) -> Result<()> {
        if self.sign(sign) { Ok(()) } else { Err(self.expected(&format!("'{sign}'"))) }
    }

    fn or(&mut self) -> Result<Node> {
        let mut nodes = vec![self.and()?];
        while self.word("or") {
            nodes.push(self.and()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::Or(nodes) })
    }

    fn and(&mut self) -> Result<Node> {
        let mut nodes = vec![self.not()?];
        while self.word("and") {
            nodes.push(self.not()?);
        }
        Ok(if nodes.len() == 1 { nodes.remove(0) } else { Node::And(nodes) })
    }

    fn not(&mut self) -> Result<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.expected(&format!("at most {MAX_DEPTH} nested 'not' and '('")));
        }
        let node = if self.word("not") {
            Node::Not(Box::new(self.not()?))
        } else if self.sign("(") {
            let node = self.or()?;
            self.must(")")?;
            node
        } else {
            self.condition()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn condition(&mut self) -> Result<Node> {
        if self.is_related() {
            return self.related();
        }
        let field = self.field()?;
        if self.word("exists") {
            return Ok(Node::Exists(field));
        }
        if self.word("in") {
            self.must("(")?;
            let mut values = vec![self.literal()?];
            while self.sign(",") {
                values.push(self.literal()?);
            }
            self.must(")")?;
            return Ok(Node::In { field, values });
        }
        if self.word("contains") {
            return Ok(Node::Contains { field, value: self.literal()? });
        }
        if self.word("starts") {
            if !self.word("with") {
                return Err(self.expected("'with'"));
            }
            return Ok(Node::StartsWith { field, prefix: self.string()? });
        }
        let how = self.comparison()?;
        Ok(Node::Compare { field, how, with: self.literal()? })
    }

    fn comparison(&mut self) -> Result<Comparison> {
        for (sign, how) in [
            ("=", Comparison::Equal),
            ("!=", Comparison::Unequal),
            ("<", Comparison::Less),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            (">=", Comparison::GreaterOrEqual),
        ] {
            if self.sign(sign) {
                return Ok(how);
            }
        }
        let what = "one of = != < <= > >= in contains 'starts with' exists";
        Err(self.expected(what))
    }

    /// Is `related to "` next? A field may be called `related`, too.
    fn is_related(&self) -> bool {
        let word = |at: usize, word: &str| matches!(self.tokens.get(at), Some((Token::Word(next), _)) if next.eq_ignore_ascii_case(word));
        word(self.at, "related") && word(self.at + 1, "to")
    }

    fn related(&mut self) -> Result<Node> {
        self.at += 2;
        let target = self.string()?;
        let kind = if self.word("by") { Some(self.string()?) } else { None };
        Ok(Node::Related { target, kind })
    }

    fn field(&mut self) -> Result<Field> {
        let is_quoted = matches!(self.peek(), Some(Token::Name(_)));
        let first = self.name("a field")?;
        let mut names = vec![first];
        while self.sign(".") {
            names.push(self.name("a name")?);
        }
        if !is_quoted {
            match (names[0].as_str(), names.len()) {
                ("key", 1) => return Ok(Field::Key),
                ("kind", 1) => return Ok(Field::Kind),
                ("text", 1) => return Ok(Field::Text),
                ("properties", 2..) => names.remove(0),
                _ => String::new(),
            };
        }
        Ok(Field::Property(names))
    }

    fn name(&mut self, what: &str) -> Result<String> {
        match self.peek() {
            Some(Token::Word(name) | Token::Name(name)) => {
                let name = name.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn string(&mut self) -> Result<String> {
        match self.peek() {
            Some(Token::Text(text)) => {
                let text = text.clone();
                self.at += 1;
                Ok(text)
            }
            _ => Err(self.expected("a string in quotes")),
        }
    }

    fn literal(&mut self) -> Result<Value> {
        let value = match self.peek() {
            Some(Token::Text(text)) => Value::String(text.clone()),
            Some(Token::Number(number)) => number.clone(),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Value::Bool(true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Value::Bool(false),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => Value::Null,
            _ => return Err(self.expected("a string in quotes, a number, true, false or null")),
        };
        self.at += 1;
        Ok(value)
    }
}
