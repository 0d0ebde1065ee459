//! Each reservation of a piece of work refused once.

use crate::{Budget, Refusal};

/// Runs `work` with its first reservation on `budget` refused as if it did not fit, then with its
/// second, and so on until no reservation of a run was refused; returns the number of runs.
/// `work` gets the number of the refused reservation and says whether it failed.
///
/// # Panics
/// Where a run fails although no reservation of it was refused.
pub fn each_refusal(budget: &Budget, mut work: impl FnMut(u64) -> bool) -> u64 {
    let mut nth = 0;
    loop {
        budget.plant_refusal(Some(Refusal::Once(nth)));
        let failed = work(nth);
        let reached = budget.requests() > nth;
        budget.plant_refusal(None);
        nth += 1;
        if !reached {
            assert!(!failed, "the work fails although none of its {} reservations does", nth - 1);
            return nth;
        }
    }
}
