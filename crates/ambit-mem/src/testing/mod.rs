//! For the tests of programs that use this crate: does it grow, does it fit, what if it fails?
//!
//! [`assert_no_growth`] runs a piece of work again and again and tells a leak from a warm-up;
//! [`assert_within_budget!`](crate::assert_within_budget) holds an expression to its peak;
//! [`each_refusal`] and [`each_failure`] fail the first reservation or allocation of a piece of work,
//! then the second, until it gets by without one.
//!
//! ```
//! use ambit_mem::testing::{assert_no_growth, each_refusal};
//! use ambit_mem::{Budget, Bytes, OverBudget, Priority};
//!
//! let budget = Budget::new(Bytes::mib(1));
//! let account = budget.account("rows", Priority::Write);
//! let work = || -> Result<(), OverBudget> {
//!     let mut held = account.reserve(Bytes::kib(3))?;
//!     held.grow(Bytes::kib(200))
//! };
//! assert_no_growth(&budget, 10, || work().unwrap());
//! let tried = each_refusal(&budget, |_| {
//!     let refused = work().is_err();
//!     assert_eq!(budget.used(), Bytes::ZERO);
//!     refused
//! });
//! assert_eq!(tried, 3);
//! ```

#[allow(unsafe_code)]
mod failing;
mod growth;
mod meter;
mod refusal;

pub use failing::{FailingAllocator, each_failure};
pub use growth::{Growth, assert_no_growth, growth};
pub use meter::{Meter, PeakMeter};
pub use refusal::each_refusal;
