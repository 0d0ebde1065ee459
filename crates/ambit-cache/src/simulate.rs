//! A cache without values: what would a policy have hit?
//!
//! Keys are 32-bit hashes, entries have weights, and room is made before an entry comes in, in
//! the same tables that a cache has. This is what hit ratios are measured with, and what
//! [`Adaptive`](crate::policy::Adaptive) runs on a sample of the keys to learn which way is best.

use crate::nodes::{KeyHash, Nodes};
use crate::policy::Policy;
use crate::table::Table;

/// How large a simulated cache is.
#[derive(Debug, Clone, Copy)]
pub struct SimulationConfig {
    /// The most that all weights may come to.
    pub cap: u64,
    /// The most entries.
    pub entries: usize,
}

/// A cache without values.
///
/// ```
/// use ambit_cache::policy::Lru;
/// use ambit_cache::{Simulation, SimulationConfig};
///
/// let mut cache = Simulation::new(Lru::default(), SimulationConfig { cap: 2, entries: 2 });
/// let hits = [1, 2, 1, 3, 2].map(|key| cache.access(key, 1));
/// assert_eq!(hits, [false, false, true, false, false]);
/// ```
#[derive(Debug)]
pub struct Simulation<P> {
    table: Table<u32, (), P, Itself>,
    config: SimulationConfig,
}

/// Keys are hashes.
#[derive(Debug, Clone, Copy)]
struct Itself;

impl KeyHash<u32> for Itself {
    #[inline]
    fn hash(&self, key: &u32) -> u32 {
        *key
    }
}

impl<P: Policy> Simulation<P> {
    /// An empty one.
    pub fn new(policy: P, config: SimulationConfig) -> Self {
        Self { table: Table::new(policy, Itself), config }
    }

    /// Asks for the key of this hash, and lets it in where it is not there: was it? A weight
    /// above the cap stays out.
    #[inline]
    pub fn access(&mut self, hash: u32, weight: u32) -> bool {
        if let Some(slot) = self.table.find(hash, &hash) {
            self.table.hit(slot, hash);
            return true;
        }
        if u64::from(weight) <= self.config.cap {
            self.insert(hash, weight);
        }
        false
    }

    fn insert(&mut self, hash: u32, weight: u32) {
        let mut hole = None;
        while self.table.weight() + u64::from(weight) > self.config.cap
            || (self.table.len() >= self.config.entries && hole.is_none())
        {
            if let Some(hole) = hole.take() {
                self.table.take(hole, |_| true);
            }
            self.fit_tables();
            hole = self.table.choose();
            if hole.is_none() {
                return;
            }
        }
        match hole {
            Some(slot) => {
                self.table.replace(slot, hash, weight, hash, ());
            }
            None => {
                self.table.insert(hash, weight, hash, ());
            }
        }
    }

    fn fit_tables(&mut self) {
        if self.table.policy.tables_wanted().is_some() {
            self.table.policy.fit_tables();
        }
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Is nothing in it?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its policy.
    pub fn policy(&self) -> &P {
        &self.table.policy
    }

    /// Bytes of a simulation of so many entries, its policy's tables not counted.
    pub(crate) const fn bytes_of(entries: usize) -> u64 {
        let chunks = entries.div_ceil(crate::nodes::CHUNK) as u64;
        let grown = entries + entries / 8 + 17;
        chunks * Nodes::<u32, (), Itself>::CHUNK_BYTES
            + Nodes::<u32, (), Itself>::BASE_BYTES
            + crate::index::Index::bytes_of(crate::index::Index::capacity_for(grown))
    }
}
