//! Which entities may be in an answer? A small language of conditions.
//!
//! ```text
//! filter     = and { "or" and }
//! and        = not { "and" not }
//! not        = "not" not | "(" filter ")" | condition
//! condition  = field ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) literal
//!            | field "in" "(" literal { "," literal } ")"
//!            | field "contains" literal
//!            | field "starts with" string
//!            | field "exists"
//!            | "related to" string [ "by" string ]
//! field      = name { "." name }
//! name       = letters, digits and "_", not beginning with a digit; or anything in `backquotes`
//! literal    = string in 'single' or "double" quotes, \ before a quote or \ | number | true | false | null
//! ```
//!
//! `key`, `kind` and `text` are the entity's own; every other field is a property, and dots go into nested
//! ones (a property of one of those three names is reached as `properties.kind`). A condition on a field that is not
//! there is false, so `not` of it is true. Values of unlike types are unequal, and neither less nor
//! greater; integers and floats compare by value. `contains` looks for an element of a list or a part of a string.
//! `related to` asks for a relation from the entity to that key. Words of the language are
//! written in any case.

mod known;
mod matches;
mod parse;

pub(crate) use known::KnownFilters;
pub(crate) use matches::{Matches, plain_value};

use crate::error::{Error, Result};
use crate::value::Value;

/// Bytes of a filter.
pub const MAX_FILTER: usize = 64 << 10;

/// A condition that entities meet or do not; see [`Filter::parse`].
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    root: Node,
    text: String,
}

/// One step of a filter.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Or(Vec<Node>),
    And(Vec<Node>),
    Not(Box<Node>),
    Compare { field: Field, how: Comparison, with: Value },
    In { field: Field, values: Vec<Value> },
    Contains { field: Field, value: Value },
    StartsWith { field: Field, prefix: String },
    Exists(Field),
    Related { target: String, kind: Option<String> },
}

/// What of an entity is asked about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field {
    Key,
    Kind,
    Text,
    Property(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// Invalid, with the place and what was expected there; longer than [`MAX_FILTER`]; nested more than
    /// 64 deep.
    ///
    /// # Example
    /// ```
    /// let filter = ambitdb::Filter::parse("kind = 'function' and (lines < 40 or path starts with 'src/')")?;
    /// # Ok::<(), ambitdb::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_FILTER {
            let what = format!("a filter of {} bytes; at most {MAX_FILTER}", text.len());
            return Err(Error::invalid(what));
        }
        parse::parse(text).map(|root| Self { root, text: text.to_owned() })
    }

    /// The filter as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What meets `base`, has one of the values `some` in `field` where they are given, and none of `none`.
    pub(crate) fn narrowed(
        base: Option<&Self>,
        field: &Field,
        some: Option<Vec<Value>>,
        none: Vec<Value>,
    ) -> Self {
        let mut nodes: Vec<Node> = base.map(|base| base.root.clone()).into_iter().collect();
        nodes.push(match some {
            Some(values) => Node::In { field: field.clone(), values },
            None => Node::Exists(field.clone()),
        });
        if !none.is_empty() {
            nodes.push(Node::Not(Box::new(Node::In { field: field.clone(), values: none })));
        }
        Self { root: Node::And(nodes), text: String::new() }
    }
}

impl Field {
    /// Reads a field as filters name it.
    ///
    /// # Errors
    /// Invalid, with the place and what was expected there.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        parse::field(text)
    }
}

impl std::str::FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}
