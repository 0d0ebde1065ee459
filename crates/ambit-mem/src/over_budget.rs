//! A refusal that says who holds the bytes and what would help.

use std::fmt;

use crate::Bytes;

/// Holders that a refusal names, at most.
pub(crate) const HOLDERS: usize = 5;

/// An account and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Path of the account.
    pub account: String,
    /// Bytes that it holds itself, its children's not counted.
    pub bytes: Bytes,
}

/// A reservation that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverBudget {
    /// Path of the account that asked.
    pub account: String,
    /// Bytes that it asked for.
    pub requested: Bytes,
    /// The budget's limit.
    pub limit: Bytes,
    /// Bytes in use when it was refused.
    pub used: Bytes,
    /// Bytes that its priority could still have taken.
    pub free: Bytes,
    /// The largest holders, largest first, at most five.
    pub holders: Vec<Holder>,
    /// The smallest limit under which this request would have fitted.
    pub would_fit: Bytes,
}

impl fmt::Display for OverBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "over budget: {} asked for {}, {} of {} are free",
            self.account, self.requested, self.free, self.limit
        )?;
        for (index, holder) in self.holders.iter().enumerate() {
            let lead = if index == 0 { "; held by " } else { ", " };
            write!(f, "{lead}{} {}", holder.account, holder.bytes)?;
        }
        write!(f, "; a budget of {} would fit", self.would_fit)
    }
}

impl std::error::Error for OverBudget {}

/// Bytes that nobody gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leak {
    /// Path of the account.
    pub account: String,
    /// Bytes outstanding.
    pub bytes: Bytes,
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "account {} ended with {} outstanding", self.account, self.bytes)
    }
}

impl std::error::Error for Leak {}
