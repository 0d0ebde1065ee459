//! Why a rule could not be read, or had no answer: with its place in the text.

use std::fmt;

/// A place in a rule's text; both numbers count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The character of the line.
    pub column: u32,
}

impl Place {
    /// The place of the character number `offset` of `text`, counted from 0.
    pub(super) fn of(text: &str, offset: usize) -> Self {
        let (mut line, mut column) = (1, 1);
        for character in text.chars().take(offset) {
            if character == '\n' {
                (line, column) = (line + 1, 1);
            } else {
                column += 1;
            }
        }
        Self { line, column }
    }
}

/// What is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RuleErrorKind {
    /// The text is no rule.
    Syntax(String),
    /// Nothing is set under this name.
    Unset {
        /// The name.
        name: String,
        /// The name most like it that is set.
        nearest: Option<String>,
    },
    /// An operator or function does not take what it was given.
    WrongType(String),
    /// A list has no such place, or a map no such key.
    NoSuchElement(String),
    /// A number does not fit its type, or is divided by zero.
    Arithmetic(&'static str),
    /// The rule takes more than [`MAX_STEPS`](super::MAX_STEPS).
    TooLong,
    /// The answer is no truth value where one is needed.
    NotBool(&'static str),
    /// Text that the rule builds does not fit.
    OverBudget(String),
}

/// Why a rule could not be read, or had no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleError {
    /// The rule's text.
    pub text: String,
    /// Where in the text.
    pub place: Place,
    /// What is wrong.
    pub kind: RuleErrorKind,
}

impl fmt::Display for RuleErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) | Self::WrongType(message) | Self::NoSuchElement(message) => {
                f.write_str(message)
            }
            Self::OverBudget(message) => f.write_str(message),
            Self::Unset { name, nearest } => {
                write!(f, "nothing is set under '{}'", name.escape_debug())?;
                match nearest {
                    Some(near) => write!(f, "; is '{}' meant?", near.escape_debug()),
                    None => Ok(()),
                }
            }
            Self::Arithmetic(message) => f.write_str(message),
            Self::TooLong => {
                write!(f, "more than {} steps; test fewer elements", super::MAX_STEPS)
            }
            Self::NotBool(found) => write!(f, "a truth value is needed, this is {found}"),
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, place, kind } = self;
        let shown: String = text.chars().take(80).collect();
        let more = if shown.len() < text.len() { "..." } else { "" };
        write!(
            f,
            "rule \"{}{more}\", line {}, column {}: {kind}",
            shown.escape_debug(),
            place.line,
            place.column
        )
    }
}

impl std::error::Error for RuleError {}
