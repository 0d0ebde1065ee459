//! One loads, the others wait.
//!
//! Whoever misses a key first leads: he loads it, under no lock. Who misses it meanwhile waits for
//! him. What is put in or taken out meanwhile makes a load out of date: who waited gets its value,
//! but it is not cached, and who asks later loads again. A load that fails, or panics, is nobody's answer: the next one of those who wait leads
//! and tries again. A thread that asks, while it loads a key, for the same key leads at once
//! rather than wait for itself.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::sync::{AtomicU64, Condvar, Mutex, Ordering, ThreadId, current, lock};

/// Loads that are under way, by key.
pub(crate) struct Flights<K, V> {
    flights: Mutex<HashMap<K, Arc<Flight<V>>>>,
    /// How many, so that who puts something in need not look when there are none.
    under_way: AtomicU64,
}

struct Flight<V> {
    leader: ThreadId,
    state: Mutex<State<V>>,
    landed: Condvar,
    /// Not 0 when the key was put in or taken out since the load began.
    outdated: AtomicU64,
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
        Self { flights: Mutex::new(HashMap::new()), under_way: AtomicU64::new(0) }
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
                            outdated: AtomicU64::new(0),
                        });
                        flights.insert(key.clone(), Arc::clone(&flight));
                        self.under_way.fetch_add(1, Ordering::SeqCst);
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

impl<K: Eq + Hash, V> Flights<K, V> {
    /// The key is about to be put in or taken out: what is being loaded for it is out of date.
    #[inline]
    pub fn outdate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.under_way.load(Ordering::SeqCst) > 0 {
            self.outdate_slowly(key);
        }
    }

    #[cold]
    fn outdate_slowly<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(flight) = lock(&self.flights).remove(key) {
            flight.outdated.store(1, Ordering::SeqCst);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// All loads are out of date.
    pub fn outdate_all(&self) {
        for (_, flight) in lock(&self.flights).drain() {
            flight.outdated.store(1, Ordering::SeqCst);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
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
    /// Is what is loaded still what it should be? Asked under the lock under which the value goes in,
    /// so who puts something else in comes before that, and is seen, or after it.
    pub fn is_current(&self) -> bool {
        self.key.as_ref().is_none_or(|(_, flight)| flight.outdated.load(Ordering::SeqCst) == 0)
    }

    /// The value is there: all that wait get it.
    pub fn land(mut self, value: V) {
        self.end(State::Landed(value));
    }

    fn end(&mut self, state: State<V>) {
        let Some((key, flight)) = self.key.take() else { return };
        {
            let mut flights = lock(&self.flights.flights);
            if flights.get(&key).is_some_and(|other| Arc::ptr_eq(other, &flight)) {
                flights.remove(&key);
                self.flights.under_way.fetch_sub(1, Ordering::SeqCst);
            }
        }
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
    fn flights_that_are_out_of_date_leave_nothing_behind() {
        loom::model(|| {
            let flights = Arc::new(Flights::<u32, u32>::new());
            // What is loaded from, and what a part holds for the key. Who changes the one puts the
            // new value in after that.
            let (source, part) = (Arc::new(Mutex::new(1)), Arc::new(Mutex::new(0)));
            let others = (Arc::clone(&flights), Arc::clone(&source), Arc::clone(&part));
            let thread = loom::thread::spawn(move || {
                *lock(&others.1) = 2;
                others.0.outdate(&7);
                *lock(&others.2) = 2;
            });
            if let Boarding::Lead(lead) = flights.board(&7) {
                let loaded = *lock(&source);
                let mut held = lock(&part);
                if lead.is_current() {
                    *held = loaded;
                }
                drop(held);
                lead.land(loaded);
            }
            thread.join().unwrap();
            assert_eq!(*lock(&part), 2);
            assert_eq!(flights.under_way.load(Ordering::SeqCst), 0);
        });
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
