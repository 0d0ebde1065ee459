//! Bytes that a growing thing holds, reserved before they are taken.
//!
//! What comes from a pool is charged there for what it held when it came back: `covered`. Only what
//! it grows by while it is out is taken here, in steps, so that a thing that has its size costs the
//! ledger nothing.

use ambit_mem::{Account, Bytes, OverBudget, Reservation};

/// Bytes are taken in steps of this.
const STEP: u64 = 512;
/// Bytes that may be reserved beyond what is held.
const SLACK: u64 = 16 << 10;

/// Bytes of a thing that grows.
#[derive(Debug)]
pub(crate) struct Charge {
    account: Account,
    covered: u64,
    extra: Option<Reservation>,
}

impl Charge {
    pub(crate) fn new(account: &Account) -> Self {
        Self { account: account.clone(), covered: 0, extra: None }
    }

    /// Makes sure that `bytes` in all are reserved.
    #[inline]
    pub(crate) fn ensure(&mut self, bytes: usize) -> Result<(), OverBudget> {
        if bytes as u64 <= self.reserved() {
            return Ok(());
        }
        self.grow(bytes as u64)
    }

    fn reserved(&self) -> u64 {
        self.covered + self.extra.as_ref().map_or(0, |extra| extra.bytes().get())
    }

    #[cold]
    fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let more = Bytes::new((bytes - self.reserved()).next_multiple_of(STEP));
        match &mut self.extra {
            Some(extra) => extra.grow(more),
            none => {
                *none = Some(self.account.reserve(more)?);
                Ok(())
            }
        }
    }

    /// Gives back what is beyond `bytes`, where that is much.
    #[inline]
    pub(crate) fn settle(&mut self, bytes: usize) {
        if self.reserved() > bytes as u64 + SLACK {
            self.shrink(bytes as u64);
        }
    }

    #[cold]
    fn shrink(&mut self, bytes: u64) {
        if let Some(extra) = &mut self.extra {
            let keep = bytes.saturating_sub(self.covered).next_multiple_of(STEP);
            extra.shrink(extra.bytes().saturating_sub(Bytes::new(keep)));
        }
    }

    /// Gives everything back: somebody else is charged for `covered` bytes from now on.
    pub(crate) fn hand_over(&mut self, covered: usize) {
        self.covered = covered as u64;
        self.extra = None;
    }

    /// The account that is charged.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }
}
