//! Bytes go where they save most.
//!
//! Caches that share a budget each have a curve that says what a few bytes more would save, and
//! what a few less would cost: requests that miss, by what a load takes. As long as one would
//! gain more than another would lose, bytes move from the one to the other, a step at a time.

use std::hash::Hash;

use ambit_mem::Bytes;

use crate::cache::Cache;
use crate::curve::MissRatioCurve;
use crate::error::CapError;
use crate::policy::Policy;
use crate::weigh::Weigh;

/// A move must gain so much more than it costs.
const WORTHWHILE: f64 = 1.1;

/// A cache whose cap can be moved.
pub trait Resizable {
    /// The most bytes that it may have.
    fn cap(&self) -> Bytes;

    /// Gives it another cap.
    ///
    /// # Errors
    /// [`CapError`], where it holds more that cannot go.
    fn set_cap(&self, cap: Bytes) -> Result<(), CapError>;

    /// How often it would miss at other caps.
    fn miss_ratio_curve(&self) -> MissRatioCurve;

    /// What its misses cost, all requests so far: requests, times the mean nanoseconds of a load.
    fn cost_of_missing(&self) -> f64;
}

impl<K, V, P> Resizable for Cache<K, V, P>
where
    K: Hash + Eq + Clone + Weigh + Send + 'static,
    V: Clone + Weigh + Send + 'static,
    P: Policy + 'static,
{
    fn cap(&self) -> Bytes {
        Self::cap(self)
    }

    fn set_cap(&self, cap: Bytes) -> Result<(), CapError> {
        Self::set_cap(self, cap)
    }

    fn miss_ratio_curve(&self) -> MissRatioCurve {
        Self::miss_ratio_curve(self)
    }

    fn cost_of_missing(&self) -> f64 {
        let stats = self.stats();
        (stats.hits + stats.misses) as f64 * self.inner.tally.mean_load_ns().max(1.0)
    }
}

/// Bytes that moved from one cache to another, by their places in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// Whose bytes they were.
    pub from: usize,
    /// Whose they are.
    pub to: usize,
    /// How many.
    pub bytes: Bytes,
}

/// Moves up to `step` bytes from the cache that would lose least to the one that would gain most;
/// `None` where that gains nothing. Call it now and then: each call is one step.
///
/// # Errors
/// [`CapError`] of the one that should have given bytes; no cap has changed then.
pub fn balance(caches: &[&dyn Resizable], step: Bytes) -> Result<Option<Move>, CapError> {
    let mut gain: Option<(usize, f64)> = None;
    let mut loss: Option<(usize, f64)> = None;
    let known: Vec<_> = caches
        .iter()
        .map(|cache| (cache.cap(), cache.miss_ratio_curve(), cache.cost_of_missing()))
        .collect();
    for (at, (cap, curve, cost)) in known.iter().enumerate() {
        let more = (curve.at(*cap) - curve.at(cap.saturating_add(step))) * cost;
        if gain.is_none_or(|(_, best)| more > best) {
            gain = Some((at, more));
        }
    }
    for (at, (cap, curve, cost)) in known.iter().enumerate() {
        let is_gainer = gain.is_some_and(|(gainer, _)| gainer == at);
        // Nobody gives its last half.
        if is_gainer || cap.get() < step.get() * 2 {
            continue;
        }
        let less = (curve.at(cap.saturating_sub(step)) - curve.at(*cap)) * cost;
        if loss.is_none_or(|(_, least)| less < least) {
            loss = Some((at, less));
        }
    }
    let (Some((to, gained)), Some((from, lost))) = (gain, loss) else { return Ok(None) };
    if gained <= lost * WORTHWHILE {
        return Ok(None);
    }
    let (from_cap, to_cap) = (known[from].0, known[to].0);
    if let Err(error) = caches[from].set_cap(from_cap.saturating_sub(step)) {
        caches[from].set_cap(from_cap)?;
        return Err(error);
    }
    caches[to].set_cap(to_cap.saturating_add(step))?;
    Ok(Some(Move { from, to, bytes: step }))
}
