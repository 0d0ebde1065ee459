//! What a node sees of a run: its ports, the deadline, and whether it was called off.
//!
//! A node reads the context as it was before its layer began, and writes into outputs of its own.
//! They go into the context when the node has returned. A node that failed has written nothing.

use std::time::{Duration, Instant};

use ambit_mem::{Account, Arena};
use serde_json::Value as Json;

use super::{NodeError, Outputs};
use crate::policy::{CancelToken, Clock};
use crate::run::Workers;
use crate::{Context, ContextError, Key, Type, Value, ValueRef};

/// A port and the key that it is bound to.
#[derive(Debug, Clone)]
pub(crate) struct Bound {
    pub port: Box<str>,
    pub key: Key,
    pub kind: Type,
}

impl Bound {
    /// Bytes that it holds on the heap.
    pub(crate) fn heap(&self) -> usize {
        self.port.len() + self.key.heap()
    }
}

/// What ends a run before its time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Control<'a> {
    pub deadline: Option<Instant>,
    pub cancel: Option<&'a CancelToken>,
    pub clock: &'a dyn Clock,
    /// Threads on which a node may run what is independent in it.
    pub workers: Option<&'a Workers>,
}

impl Control<'_> {
    /// Whether the run is to end now.
    #[inline]
    pub(crate) fn is_over(&self) -> bool {
        self.cancel.is_some_and(CancelToken::is_cancelled)
            || self.deadline.is_some_and(|deadline| self.clock.now() > deadline)
    }
}

/// What a node reads of a run. The threads that it may work on share it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    pub context: &'a Context,
    pub reads: &'a [Bound],
    pub control: Control<'a>,
}

impl<'a> View<'a> {
    #[inline]
    fn bound(&self, port: &str) -> Result<&'a Bound, ContextError> {
        let reads: &'a [Bound] = self.reads;
        match reads.iter().find(|bound| &*bound.port == port) {
            Some(bound) => Ok(bound),
            None => Err(no_port(port, reads)),
        }
    }

    /// The value at a port, if there is one.
    #[inline]
    pub(crate) fn get(&self, port: &str) -> Option<ValueRef<'a>> {
        self.bound(port).ok().and_then(|bound| self.context.get(&bound.key))
    }

    /// Whether to go on.
    pub(crate) fn check(&self) -> Result<(), NodeError> {
        if self.control.is_over() { Err(NodeError::CalledOff) } else { Ok(()) }
    }
}

/// What a node sees of a run.
#[derive(Debug)]
pub struct Scope<'a> {
    pub(crate) view: View<'a>,
    pub(crate) writes: &'a [Bound],
    pub(crate) outputs: &'a mut Outputs,
    pub(crate) arena: &'a Arena,
}

impl<'a> Scope<'a> {
    /// The value at a port, if there is one.
    #[inline]
    pub fn get(&self, port: &str) -> Option<ValueRef<'a>> {
        self.view.get(port)
    }

    /// The value at a port.
    ///
    /// # Errors
    /// [`ContextError::Missing`].
    #[inline]
    pub fn value(&self, port: &str) -> Result<ValueRef<'a>, ContextError> {
        let (bound, context) = (self.view.bound(port)?, self.view.context);
        context.get(&bound.key).ok_or_else(|| context.missing(bound.key.name()))
    }

    /// Gives a value at a port; a copy, in a buffer of an earlier run where there is one.
    ///
    /// # Errors
    /// [`NodeError::Context`] where the value is not of the port's type, or does not fit.
    pub fn set<'v>(&mut self, port: &str, value: impl Into<ValueRef<'v>>) -> Result<(), NodeError> {
        let value = value.into();
        let number = self.output(port, value.kind(), value.describe())?;
        self.hold_to_limit(port, value.len_bytes())?;
        Ok(self.outputs.set(number, value)?)
    }

    /// Gives a value at a port; it is moved in.
    ///
    /// # Errors
    /// As [`Scope::set`].
    pub fn put(&mut self, port: &str, value: impl Into<Value>) -> Result<(), NodeError> {
        let value = value.into();
        let borrowed = value.borrow();
        let number = self.output(port, borrowed.kind(), borrowed.describe())?;
        self.hold_to_limit(port, borrowed.len_bytes())?;
        Ok(self.outputs.put(number, value)?)
    }

    fn output(&self, port: &str, kind: Type, found: &'static str) -> Result<usize, ContextError> {
        let position = self.writes.iter().position(|bound| &*bound.port == port);
        let number = position.ok_or_else(|| no_port(port, self.writes))?;
        let expected = self.writes[number].kind;
        if !expected.takes(kind) {
            let key = self.writes[number].key.name().to_owned();
            return Err(ContextError::WrongType { key, expected, found });
        }
        Ok(number)
    }

    /// Refuses a value that the run's own limit will not let in, before it is copied.
    fn hold_to_limit(&self, port: &str, len: usize) -> Result<(), ContextError> {
        let limit = self.view.context.limit();
        if len as u64 > limit.get() {
            let needed = ambit_mem::Bytes::of(len);
            return Err(ContextError::OverLimit { key: port.to_owned(), needed, limit });
        }
        Ok(())
    }

    /// When the node has to be done.
    pub fn deadline(&self) -> Option<Instant> {
        self.view.control.deadline
    }

    /// The time that is left; `None` where there is no deadline.
    pub fn time_left(&self) -> Option<Duration> {
        let deadline = self.view.control.deadline?;
        Some(deadline.saturating_duration_since(self.view.control.clock.now()))
    }

    /// Whether to go on: a node that works for long asks now and then, for it is not stopped
    /// from outside.
    ///
    /// # Errors
    /// [`NodeError::CalledOff`] where the run was called off or the deadline has passed.
    pub fn check(&self) -> Result<(), NodeError> {
        self.view.check()
    }

    /// Waits on the run's clock, no longer than the deadline, and no longer than until it is
    /// called off.
    pub fn wait(&self, duration: Duration) {
        let duration = self.time_left().map_or(duration, |left| left.min(duration));
        self.view.control.clock.wait(duration, self.view.control.cancel);
    }

    /// Says that what the node gives now must not be kept for later runs, whatever its definition
    /// says: because something failed on the way, say.
    pub fn keep_no_result(&mut self) {
        self.outputs.mark_passing();
    }

    /// The token that calls the run off, if it has one.
    pub fn cancel_token(&self) -> Option<&CancelToken> {
        self.view.control.cancel
    }

    /// The account that the run is charged to.
    pub fn account(&self) -> &Account {
        self.view.context.account()
    }

    /// Memory that is given back when the node returns.
    pub fn arena(&self) -> &'a Arena {
        self.arena
    }
}

#[cold]
fn no_port(port: &str, all: &[Bound]) -> ContextError {
    let nearest = crate::context::nearest(port, all.iter().map(|bound| &*bound.port));
    ContextError::Missing { key: port.to_owned(), nearest }
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident -> $type:ty;)*) => {
        impl<'a> Scope<'a> {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// [`ContextError::Missing`], [`ContextError::WrongType`].
            pub fn $name(&self, port: &str) -> Result<$type, ContextError> {
                self.value(port)?.$name(port)
            }
        )*}
    };
}

getters! {
    /// The truth value at a port.
    bool -> bool;
    /// The whole number at a port.
    int -> i64;
    /// The number at a port; a whole one is converted.
    float -> f64;
    /// The text at a port.
    text -> &'a str;
    /// The bytes at a port.
    bytes -> &'a [u8];
    /// The array of floats at a port.
    floats -> &'a [f32];
    /// The list at a port.
    list -> &'a [Json];
    /// The map at a port.
    map -> &'a serde_json::Map<String, Json>;
}
