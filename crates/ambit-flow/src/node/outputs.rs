//! Values that a node gives, until it has returned.
//!
//! One place for each port. A place has a buffer for each kind of value that needs one: a text goes
//! into the context by exchanging its buffer for the one that was there, so what one run allocated
//! serves the next, whichever node writes what in between.

use ambit_mem::{Account, OverBudget};
use serde_json::Value as Json;

use super::Bound;
use crate::context::Charge;
use crate::results::CachedResult;
use crate::{Context, ContextError, Value, ValueRef};

/// Values that a node gives, by port.
#[derive(Debug)]
pub(crate) struct Outputs {
    places: Vec<Place>,
    /// Whether what is given may be kept for the next run that asks the same.
    is_lasting: bool,
    /// Bytes that the places hold beyond themselves.
    held: usize,
    charge: Charge,
}

#[derive(Debug, Default)]
struct Place {
    given: Given,
    text: String,
    bytes: Vec<u8>,
    floats: Vec<f32>,
    json: Json,
}

/// Which of a place's values was given.
#[derive(Debug, Clone, Copy, Default)]
enum Given {
    #[default]
    Nothing,
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text,
    Bytes,
    Floats,
    Json,
}

impl Place {
    #[inline]
    fn value(&self) -> Option<ValueRef<'_>> {
        Some(match self.given {
            Given::Nothing => return None,
            Given::Null => ValueRef::Null,
            Given::Bool(value) => ValueRef::Bool(value),
            Given::Int(value) => ValueRef::Int(value),
            Given::Float(value) => ValueRef::Float(value),
            Given::Text => ValueRef::Text(&self.text),
            Given::Bytes => ValueRef::Bytes(&self.bytes),
            Given::Floats => ValueRef::Floats(&self.floats),
            Given::Json => ValueRef::Json(&self.json),
        })
    }

    fn heap(&self) -> usize {
        self.text.capacity()
            + self.bytes.capacity()
            + self.floats.capacity() * size_of::<f32>()
            + ValueRef::Json(&self.json).json_heap()
    }

    /// Bytes that taking a copy of `value` may add.
    fn growth(&self, value: ValueRef<'_>) -> usize {
        match value {
            ValueRef::Text(new) => new.len().saturating_sub(self.text.capacity()),
            ValueRef::Bytes(new) => new.len().saturating_sub(self.bytes.capacity()),
            ValueRef::Floats(new) => {
                new.len().saturating_sub(self.floats.capacity()) * size_of::<f32>()
            }
            other => other.json_heap(),
        }
    }

    fn copy(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Text(new) => {
                self.text.clear();
                self.text.reserve_exact(new.len());
                self.text.push_str(new);
            }
            ValueRef::Bytes(new) => {
                self.bytes.clear();
                self.bytes.reserve_exact(new.len());
                self.bytes.extend_from_slice(new);
            }
            ValueRef::Floats(new) => {
                self.floats.clear();
                self.floats.reserve_exact(new.len());
                self.floats.extend_from_slice(new);
            }
            ValueRef::Json(new) => self.json = new.clone(),
            _ => {}
        }
        self.given = Given::of(value);
    }

    fn take_over(&mut self, value: Value) {
        self.given = Given::of(value.borrow());
        match value {
            Value::Text(new) => self.text = new,
            Value::Bytes(new) => self.bytes = new,
            Value::Floats(new) => self.floats = new,
            Value::Json(new) => self.json = new,
            _ => {}
        }
    }

    /// Exchanges what was given for what is in the context.
    fn exchange(&mut self, context: &mut Context, bound: &Bound) -> Result<(), ContextError> {
        let mut value = match self.given {
            Given::Text => Value::Text(std::mem::take(&mut self.text)),
            Given::Bytes => Value::Bytes(std::mem::take(&mut self.bytes)),
            Given::Floats => Value::Floats(std::mem::take(&mut self.floats)),
            _ => Value::Json(std::mem::take(&mut self.json)),
        };
        let result = context.swap_in(&bound.key, &mut value);
        match value {
            Value::Text(old) => self.text = old,
            Value::Bytes(old) => self.bytes = old,
            Value::Floats(old) => self.floats = old,
            // JSON cannot be used again.
            _ => {}
        }
        result
    }
}

impl Given {
    #[inline]
    fn of(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(value) => Self::Bool(value),
            ValueRef::Int(value) => Self::Int(value),
            ValueRef::Float(value) => Self::Float(value),
            ValueRef::Text(_) => Self::Text,
            ValueRef::Bytes(_) => Self::Bytes,
            ValueRef::Floats(_) => Self::Floats,
            ValueRef::Json(_) => Self::Json,
        }
    }
}

impl Outputs {
    pub(crate) fn new(account: &Account) -> Self {
        Self { places: Vec::new(), is_lasting: true, held: 0, charge: Charge::new(account) }
    }

    /// Makes room for `ports` ports.
    pub(crate) fn reserve(&mut self, ports: usize) -> Result<(), OverBudget> {
        if ports > self.places.len() {
            self.charge.ensure(self.held + ports * size_of::<Place>())?;
            self.places.reserve_exact(ports - self.places.len());
            self.places.resize_with(ports, Place::default);
        }
        Ok(())
    }

    /// Forgets what a node gave.
    #[inline]
    pub(crate) fn clear(&mut self) {
        for place in &mut self.places {
            place.given = Given::Nothing;
        }
        self.is_lasting = true;
    }

    /// Says that what is given must not be kept.
    pub(crate) fn mark_passing(&mut self) {
        self.is_lasting = false;
    }

    /// Whether what is given may be kept.
    pub(crate) fn is_lasting(&self) -> bool {
        self.is_lasting
    }

    /// A copy of what was given at the first `ports` ports, unless it must not be kept.
    pub(crate) fn copy(&self, ports: usize) -> Option<CachedResult> {
        let copied = self.places.iter().take(ports);
        let copied = copied.map(|place| place.value().map(ValueRef::to_owned));
        self.is_lasting.then(|| CachedResult::new(copied.collect()))
    }

    /// Bytes that a copy of what was given holds.
    pub(crate) fn given_bytes(&self) -> usize {
        let each = |place: &Place| {
            size_of::<Option<Value>>() + place.value().map_or(0, ValueRef::len_bytes)
        };
        self.places.iter().map(each).sum()
    }

    /// Gives what a run before gave.
    pub(crate) fn give(&mut self, result: &CachedResult) -> Result<(), ContextError> {
        self.clear();
        for (port, value) in result.values().iter().enumerate() {
            if let Some(value) = value {
                self.set(port, value.borrow())?;
            }
        }
        Ok(())
    }

    fn overhead(&self) -> usize {
        self.places.capacity() * size_of::<Place>()
    }

    /// Takes a copy of `value`.
    #[inline]
    pub(crate) fn set(&mut self, port: usize, value: ValueRef<'_>) -> Result<(), ContextError> {
        match value {
            ValueRef::Null | ValueRef::Bool(_) | ValueRef::Int(_) | ValueRef::Float(_) => {
                self.places[port].given = Given::of(value);
                Ok(())
            }
            long => self.set_long(port, long),
        }
    }

    fn set_long(&mut self, port: usize, value: ValueRef<'_>) -> Result<(), ContextError> {
        let growth = self.places[port].growth(value);
        self.charge.ensure(self.overhead() + self.held + growth)?;
        let place = &mut self.places[port];
        let before = place.heap();
        place.copy(value);
        self.held = self.held - before + place.heap();
        Ok(())
    }

    /// Takes `value` over.
    pub(crate) fn put(&mut self, port: usize, value: Value) -> Result<(), ContextError> {
        self.charge.ensure(self.overhead() + self.held + value.heap())?;
        let place = &mut self.places[port];
        let before = place.heap();
        place.take_over(value);
        self.held = self.held - before + place.heap();
        Ok(())
    }

    /// Moves what was given into `context`, all of it or nothing; returns how many bytes that
    /// says.
    #[inline]
    pub(crate) fn commit(
        &mut self,
        context: &mut Context,
        writes: &[Bound],
    ) -> Result<usize, ContextError> {
        if writes.len() > 1 {
            let given = self.places.iter().zip(writes);
            context.make_room(
                given.filter_map(|(place, bound)| place.value().map(|value| (&bound.key, value))),
            )?;
        }
        let mut bytes = 0;
        for (place, bound) in self.places.iter_mut().zip(writes) {
            let Some(value) = place.value() else { continue };
            bytes += value.len_bytes();
            match value {
                ValueRef::Text(_)
                | ValueRef::Bytes(_)
                | ValueRef::Floats(_)
                | ValueRef::Json(_) => {
                    let before = place.heap();
                    place.exchange(context, bound)?;
                    self.held = self.held - before + place.heap();
                }
                scalar => context.set(&bound.key, scalar)?,
            }
            place.given = Given::Nothing;
        }
        self.charge.ensure(self.places.capacity() * size_of::<Place>() + self.held)?;
        self.charge.settle(self.overhead() + self.held);
        Ok(bytes)
    }
}
