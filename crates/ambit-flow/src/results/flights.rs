//! One works, the others wait.
//!
//! Who finds no result first leads: it runs the step. Who asks for the same meanwhile waits, and
//! gets what the leader gave. A leader that fails, or panics, gives nothing; those who waited then
//! run the step themselves, all at once, rather than fail one after the other.
//!
//! A wait looks up every few milliseconds whether its run is over. It cannot last for ever: who leads
//! waits for nobody. A thread that leads and comes to what somebody works on, perhaps itself further
//! down its stack, runs the step once more. What a leader needs is not on the threads of those who
//! wait, for what runs inside it stays on its own.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::CachedResult;
use crate::node::Control;

/// How long a wait goes without asking whether the run is over.
const LOOK_UP: Duration = Duration::from_millis(5);

thread_local! {
    /// How many flights this thread leads.
    static LEADS: Cell<usize> = const { Cell::new(0) };
}

/// What a step is working out at the moment, by its inputs.
#[derive(Debug, Default)]
pub(crate) struct Flights {
    flights: Mutex<HashMap<Arc<[u8]>, Arc<Flight>>>,
}

/// Inputs that somebody works on.
#[derive(Debug, Default)]
pub(crate) struct Flight {
    state: Mutex<State>,
    landed: Condvar,
}

#[derive(Debug, Clone, Default)]
enum State {
    #[default]
    Flying,
    Landed(CachedResult),
    Lost,
}

/// What to do about inputs that have no result.
pub(crate) enum Boarding<'a> {
    /// Run the step, and tell.
    Lead(Lead<'a>),
    /// Somebody else does.
    Wait(Arc<Flight>),
    /// Somebody does, and this thread must not wait: run the step for this run alone.
    Alone,
}

/// Duty to run the step; dropped without landing, there is no result.
pub(crate) struct Lead<'a> {
    flights: &'a Flights,
    key: Arc<[u8]>,
    flight: Arc<Flight>,
    end: State,
}

/// How a wait ended.
pub(crate) enum Waited {
    Landed(CachedResult),
    Lost,
    /// The run that waited is over.
    Over,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flights {
    /// Leads for these inputs, or says who does.
    pub(crate) fn board(&self, key: &Arc<[u8]>) -> Boarding<'_> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(key) {
            return match LEADS.get() {
                0 => Boarding::Wait(Arc::clone(flight)),
                _ => Boarding::Alone,
            };
        }
        LEADS.set(LEADS.get() + 1);
        let flight = Arc::new(Flight::default());
        flights.insert(Arc::clone(key), Arc::clone(&flight));
        Boarding::Lead(Lead { flights: self, key: Arc::clone(key), flight, end: State::Lost })
    }
}

impl Flight {
    /// Waits until the leader has ended, or the run of `control` is over.
    pub(crate) fn wait(&self, control: &Control<'_>) -> Waited {
        let mut state = lock(&self.state);
        loop {
            match &*state {
                State::Landed(result) => return Waited::Landed(result.clone()),
                State::Lost => return Waited::Lost,
                State::Flying if control.is_over() => return Waited::Over,
                State::Flying => {
                    let waited = self.landed.wait_timeout(state, LOOK_UP);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }
}

impl Lead<'_> {
    /// The result is there: all that wait get it.
    pub(crate) fn land(mut self, result: CachedResult) {
        self.end = State::Landed(result);
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // A lead is dropped where it was taken: it does not leave the function that runs the step.
        LEADS.set(LEADS.get() - 1);
        lock(&self.flights.flights).remove(&self.key);
        *lock(&self.flight.state) = std::mem::replace(&mut self.end, State::Lost);
        self.flight.landed.notify_all();
    }
}
