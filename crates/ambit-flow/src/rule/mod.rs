//! Expressions over the values of a context.
//!
//! Text is read by the crate `cel` and turned into operations once; evaluating those allocates
//! nothing, takes a bounded time, and says in which place of the text it failed.
//!
//! | file | what is in it |
//! |---|---|
//! | `rule` | a rule as its users see it |
//! | `parse` | from text to operations, within limits |
//! | `op` | the operations |
//! | `eval` | the answer over a context |
//! | `numbers` | what fits, and what becomes what |
//! | `operand` | what is computed with |
//! | `error` | what is wrong, and where |

mod error;
mod eval;
mod numbers;
mod op;
mod operand;
mod parse;
#[expect(clippy::module_inception, reason = "the folder is named for its main file")]
mod rule;

/// Operations and elements that one evaluation looks at, at most.
pub const MAX_STEPS: u32 = 1_000_000;

pub use error::{Place, RuleError, RuleErrorKind};
pub(crate) use parse::with_stack;
pub use parse::{MAX_DEPTH, MAX_TESTS, MAX_TEXT};
pub use rule::Rule;
