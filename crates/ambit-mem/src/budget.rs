//! A hard limit in bytes over a tree of named accounts.

use crate::account::Account;
use crate::ledger::{Ledger, Refusal};
use crate::over_budget::Leak;
use crate::pressure::Pressure;
use crate::sync::Arc;
use crate::{Bytes, OverBudget, Priority};

/// A hard limit in bytes over a tree of named accounts. Clones are the same budget.
#[derive(Clone)]
pub struct Budget {
    ledger: Arc<Ledger>,
}

/// An account with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// Last part of the path; empty for the root.
    pub name: String,
    /// Bytes of this account itself.
    pub bytes: Bytes,
    /// Bytes of this account and all below it: the sum of `bytes` over the subtree.
    pub total: Bytes,
    /// The accounts below it, by name.
    pub children: Vec<Self>,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: Bytes) -> Self {
        Self { ledger: Ledger::new(limit) }
    }

    /// The limit.
    pub fn limit(&self) -> Bytes {
        self.ledger.limit()
    }

    /// Changes the limit. Lowering it reclaims; the new limit holds for reservations to come
    /// in any case.
    ///
    /// # Errors
    /// [`OverBudget`] where more than `limit` bytes stay in use, naming who holds them.
    pub fn set_limit(&self, limit: Bytes) -> Result<(), OverBudget> {
        self.ledger.set_limit(limit)
    }

    /// Bytes that reservations hold.
    pub fn used(&self) -> Bytes {
        self.ledger.used()
    }

    /// Bytes that a foreground write could still take without reclaiming.
    pub fn free(&self) -> Bytes {
        self.limit().saturating_sub(self.used())
    }

    /// The account at `path` (parts joined by `/`), made if it is new. An account that exists
    /// keeps the priority that it was made with.
    pub fn account(&self, path: &str, priority: Priority) -> Account {
        Ledger::account(&self.ledger, path, priority)
    }

    /// The tree of owners. Sums are those of one pass over the accounts.
    pub fn explain(&self) -> Owner {
        let mut root = Owner::default();
        for holder in self.ledger.holdings() {
            let mut at = &mut root;
            for part in holder.account.split('/') {
                let found = at.children.binary_search_by(|child| child.name.as_str().cmp(part));
                let index = found.unwrap_or_else(|index| {
                    let child = Owner { name: part.to_owned(), ..Owner::default() };
                    at.children.insert(index, child);
                    index
                });
                at = &mut at.children[index];
            }
            at.bytes = holder.bytes;
        }
        root.add_up();
        root
    }

    /// Bytes of accounts that hold pages of mapped files ([`Account::set_mapped`]).
    pub fn mapped(&self) -> Bytes {
        self.ledger.mapped()
    }

    /// How tight the budget is.
    pub fn pressure(&self) -> Pressure {
        self.ledger.pressure()
    }

    /// Calls `listener` whenever the pressure changes, on the thread that changed it, under no
    /// lock of the budget.
    pub fn on_pressure(&self, listener: impl Fn(Pressure) + Send + Sync + 'static) {
        self.ledger.listen(Box::new(listener));
    }

    /// Accounts that still hold bytes: after everything was dropped, those that leak.
    pub fn outstanding(&self) -> Vec<Leak> {
        self.ledger.outstanding()
    }

    /// Accounts that were closed or dropped with bytes outstanding.
    pub fn leaks(&self) -> u64 {
        self.ledger.leaks()
    }

    /// Times that more was given back than was held.
    pub fn misuses(&self) -> u64 {
        self.ledger.misuses()
    }

    /// Counts reservations from now on, and refuses some of them as if they did not fit: how
    /// tests reach every refusal. `None` only counts.
    pub fn plant_refusal(&self, refusal: Option<Refusal>) {
        self.ledger.watch(refusal);
    }

    /// Reservations and growths asked for since [`Budget::plant_refusal`].
    pub fn requests(&self) -> u64 {
        self.ledger.seen()
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget")
            .field("limit", &self.limit())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Owner {
    fn add_up(&mut self) -> Bytes {
        let below: u64 = self.children.iter_mut().map(|child| child.add_up().get()).sum();
        self.total = Bytes::new(self.bytes.get() + below);
        self.total
    }
}
