//! A rule as it is evaluated: operations in one list, each naming its parts by their place.

use crate::context::Key;

/// The place of an operation in its rule.
pub(super) type At = u32;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Op {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(Box<str>),
    /// A list that is written in the rule.
    List(Box<[At]>),
    /// One whose elements are written there, too, and so cannot fail.
    Constants(Box<[At]>),
    /// A value of the context.
    Variable(Key),
    /// The element that a test is at, by its depth.
    Local(u8),
    /// A field of a map.
    Field(At, Box<str>),
    /// Whether a map has a field.
    Has(At, Box<str>),
    Index {
        list: At,
        at: At,
    },
    Not(At),
    Negate(At),
    And(At, At),
    Or(At, At),
    If {
        test: At,
        then: At,
        otherwise: At,
    },
    Equal(At, At),
    NotEqual(At, At),
    Order(Order, At, At),
    Arithmetic(Arithmetic, At, At),
    In {
        element: At,
        list: At,
    },
    Call(Function, At, Option<At>),
    /// A test of each element.
    Each {
        quantifier: Quantifier,
        list: At,
        local: u8,
        test: At,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    AtMost,
    Greater,
    AtLeast,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Arithmetic {
    pub(super) fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
            Self::Divide => '/',
            Self::Remainder => '%',
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    All,
    Exists,
    ExistsOne,
}

/// Functions that rules may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    Int,
    Double,
    String,
}

impl Function {
    /// Every function.
    pub(super) const ALL: [Self; 7] = [
        Self::Size,
        Self::Contains,
        Self::StartsWith,
        Self::EndsWith,
        Self::Int,
        Self::Double,
        Self::String,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Int => "int",
            Self::Double => "double",
            Self::String => "string",
        }
    }

    /// How it is called.
    pub(super) const fn usage(self) -> &'static str {
        match self {
            Self::Size => "size(x) or x.size()",
            Self::Contains => "x.contains(y)",
            Self::StartsWith => "x.startsWith(y)",
            Self::EndsWith => "x.endsWith(y)",
            Self::Int => "int(x)",
            Self::Double => "double(x)",
            Self::String => "string(x)",
        }
    }

    /// Whether it may be called with these arguments.
    pub(super) const fn takes(self, has_target: bool, arguments: usize) -> bool {
        match self {
            Self::Size => (has_target && arguments == 0) || (!has_target && arguments == 1),
            Self::Contains | Self::StartsWith | Self::EndsWith => has_target && arguments == 1,
            Self::Int | Self::Double | Self::String => !has_target && arguments == 1,
        }
    }
}
