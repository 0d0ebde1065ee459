//! One loads, the others wait.
//!
//! Whoever misses a key first leads: he loads it, under no lock. Who misses it meanwhile waits for
//! him. A load that fails, or panics, is nobody's answer: the next one of those who wait leads
//! and tries again. A thread that asks, while it loads a key, for the same key leads at once
//! rather than wait for itself.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::sync::{Condvar, Mutex, ThreadId, current, lock};

/// Loads that are under way, by key.
pub(crate) struct Flights<K, V> {
    flights: Mutex<HashMap<K, Arc<Flight<V>>>>,
}

struct Flight<V> {
    leader: ThreadId,
    state: Mutex<State<V>>,
    landed: Condvar,
}

enum State<V> {
    Flying,
    Landed(V),
    Lost,
}

/// What to do about a key that is missing.
pub(crate) enum Boarding<'a, K: Eq + Hash, V> {
    /// Load it, and tell.
    Lead(Lead<'a, K, V>),
    /// Somebody else has.
    Loaded(V),
}

/// Duty to load; dropped without landing, the load is lost.
pub(crate) struct Lead<'a, K: Eq + Hash, V> {
    flights: &'a Flights<K, V>,
    key: Option<(K, Arc<Flight<V>>)>,
}

impl<K: Eq + Hash + Clone, V: Clone> Flights<K, V> {
    pub fn new() -> Self {
        Self { flights: Mutex::new(HashMap::new()) }
    }

    /// Leads the load of a key, or waits for who does.
    pub fn board(&self, key: &K) -> Boarding<'_, K, V> {
        let this_thread = current().id();
        loop {
            let flight = {
                let mut flights = lock(&self.flights);
                match flights.get(key) {
                    None => {
                        let flight = Arc::new(Flight {
                            leader: this_thread,
                            state: Mutex::new(State::Flying),
                            landed: Condvar::new(),
                        });
                        flights.insert(key.clone(), Arc::clone(&flight));
                        return Boarding::Lead(Lead {
                            flights: self,
                            key: Some((key.clone(), flight)),
                        });
                    }
                    Some(flight) if flight.leader == this_thread => {
                        return Boarding::Lead(Lead { flights: self, key: None });
                    }
                    Some(flight) => Arc::clone(flight),
                }
            };
            if let Some(value) = flight.wait() {
                return Boarding::Loaded(value);
            }
        }
    }
}

impl<V: Clone> Flight<V> {
    fn wait(&self) -> Option<V> {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Flying => {
                    state =
                        self.landed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
                }
                State::Landed(value) => return Some(value.clone()),
                State::Lost => return None,
            }
        }
    }
}

impl<K: Eq + Hash, V> Lead<'_, K, V> {
    /// The value is there: all that wait get it.
    pub fn land(mut self, value: V) {
        self.end(State::Landed(value));
    }

    fn end(&mut self, state: State<V>) {
        let Some((key, flight)) = self.key.take() else { return };
        lock(&self.flights.flights).remove(&key);
        *lock(&flight.state) = state;
        flight.landed.notify_all();
    }
}

impl<K: Eq + Hash, V> Drop for Lead<'_, K, V> {
    fn drop(&mut self) {
        self.end(State::Lost);
    }
}

#[cfg(all(test, loom))]
mod model {
    use loom::sync::Arc;

    use super::*;

    fn load(flights: &Flights<u32, u32>, loads: &Mutex<Vec<u32>>, value: u32, fails: bool) -> u32 {
        loop {
            match flights.board(&7) {
                Boarding::Loaded(value) => return value,
                Boarding::Lead(lead) => {
                    lock(loads).push(value);
                    if fails && lock(loads).len() == 1 {
                        drop(lead);
                        continue;
                    }
                    lead.land(value);
                    return value;
                }
            }
        }
    }

    #[test]
    fn flights_are_landed_or_tried_again_and_nobody_waits_for_ever() {
        for fails in [false, true] {
            loom::model(move || {
                let flights = Arc::new(Flights::new());
                let loads = Arc::new(Mutex::new(Vec::new()));
                let (others, their_loads) = (Arc::clone(&flights), Arc::clone(&loads));
                let thread = loom::thread::spawn(move || load(&others, &their_loads, 1, fails));
                let ours = load(&flights, &loads, 2, fails);
                let theirs = thread.join().unwrap();
                let loads = lock(&loads);
                assert!(loads.contains(&ours) && loads.contains(&theirs));
                assert!(lock(&flights.flights).is_empty());
            });
        }
    }
}
