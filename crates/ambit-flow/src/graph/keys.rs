//! Is what is read set before, and with the right type?
//!
//! A node of one layer sees what earlier layers wrote. So a key that is read has to be an input, or
//! written in an earlier layer; and nobody else in the reader's own layer may write it, for then
//! the answer would depend on who is faster. Two writers in one layer are in order: the later one
//! in the definition wins, as branches that meet again do. A key has one type in a graph.
//!
//! Whether the writer runs at all (its branch may be skipped) is not known here; a run that
//! reads a key that was not set says so.

use std::collections::{BTreeMap, HashMap};

use super::fault::{Fault, Faults};
use super::order::Order;
use crate::Type;
use crate::context::nearest;
use crate::def::GraphDef;
use crate::node::{Need, Port};

/// A node writes a key.
pub(super) struct Writing<'k> {
    pub node: u32,
    pub key: &'k str,
    pub kind: Type,
}

/// A node reads a key.
pub(super) struct Reading<'k> {
    pub node: u32,
    pub key: &'k str,
    pub kind: Type,
    pub need: Need,
}

/// Who writes a key.
#[derive(Default)]
struct Use {
    /// Layer and node, in order.
    writers: Vec<(u32, u32)>,
    /// Each type once, with a node that writes it.
    kinds: Vec<(Type, u32)>,
}

/// Inputs and outputs that turned out.
pub(super) struct Checked {
    pub reads: Vec<Port>,
    pub writes: Vec<Port>,
}

pub(super) struct Table<'a> {
    def: &'a GraphDef,
    layers: &'a [u32],
    keys: HashMap<String, Use>,
    /// Keys that come from outside and are not declared.
    outside: BTreeMap<String, (Type, Need)>,
}

impl<'a> Table<'a> {
    pub(super) fn new(def: &'a GraphDef, order: &'a Order) -> Self {
        Self { def, layers: &order.layers, keys: HashMap::new(), outside: BTreeMap::new() }
    }

    pub(super) fn write(&mut self, writing: Writing<'_>) {
        let layer = self.layers[writing.node as usize];
        if !self.keys.contains_key(writing.key) {
            self.keys.insert(writing.key.to_owned(), Use::default());
        }
        if let Some(known) = self.keys.get_mut(writing.key) {
            known.writers.push((layer, writing.node));
            if known.kinds.iter().all(|(kind, _)| *kind != writing.kind) {
                known.kinds.push((writing.kind, writing.node));
            }
        }
    }

    /// Ends the writing.
    pub(super) fn sort(&mut self) {
        self.keys.values_mut().for_each(|known| known.writers.sort_unstable());
    }

    fn id(&self, node: u32) -> String {
        self.def.nodes[node as usize].id.clone()
    }

    pub(super) fn read(&mut self, reading: &Reading<'_>, faults: &mut Faults) {
        let layer = self.layers[reading.node as usize];
        let (mut earlier, mut beside, mut later) = (false, None, None);
        if let Some(known) = self.keys.get(reading.key) {
            let own = known.writers.partition_point(|(other, _)| *other < layer);
            earlier = own > 0;
            let others = known.writers[own..].iter().filter(|(_, node)| *node != reading.node);
            // The list is in order, so the first other one tells.
            if let Some(&(other, node)) = others.into_iter().next() {
                if other == layer { beside = Some(node) } else { later = Some(node) }
            }
        }
        let declared = self.def.inputs.as_ref().map(|inputs| inputs.get(reading.key));
        let is_input = matches!(declared, Some(Some(_)));
        if let Some(writer) = beside {
            self.unordered(reading, writer, faults);
        } else if !earlier && !is_input {
            match (later, declared) {
                // What does without a value does without one that comes later.
                (Some(_), _) if reading.need == Need::Optional => {}
                (Some(writer), _) => self.unordered(reading, writer, faults),
                (None, None) => self.note_outside(reading),
                (None, Some(_)) if reading.need == Need::Optional => {}
                (None, Some(_)) => faults.add(Fault::NoSource {
                    node: self.id(reading.node),
                    key: reading.key.to_owned(),
                    nearest: self.nearest(reading.key),
                }),
            }
        }
        self.check_kind(reading, declared.flatten().copied(), faults);
    }

    fn unordered(&self, reading: &Reading<'_>, writer: u32, faults: &mut Faults) {
        let (writer, reader) = (self.id(writer), self.id(reading.node));
        faults.add(Fault::Unordered { key: reading.key.to_owned(), writer, reader });
    }

    fn note_outside(&mut self, reading: &Reading<'_>) {
        match self.outside.get_mut(reading.key) {
            Some((kind, need)) => {
                if *kind == Type::Any {
                    *kind = reading.kind;
                }
                if reading.need == Need::Required {
                    *need = Need::Required;
                }
            }
            None => {
                self.outside.insert(reading.key.to_owned(), (reading.kind, reading.need));
            }
        }
    }

    fn check_kind(&self, reading: &Reading<'_>, input: Option<Type>, faults: &mut Faults) {
        let mut mismatch = |writer: String, gives: Type| {
            faults.add(Fault::TypeMismatch {
                key: reading.key.to_owned(),
                writer,
                gives,
                reader: self.id(reading.node),
                takes: reading.kind,
            });
        };
        if let Some(gives) = input.filter(|gives| !reading.kind.takes(*gives)) {
            mismatch("the caller".to_owned(), gives);
        }
        for (gives, writer) in self.keys.get(reading.key).into_iter().flat_map(|known| &known.kinds)
        {
            if !reading.kind.takes(*gives) {
                mismatch(format!("node '{}'", self.id(*writer)), *gives);
            }
        }
    }

    fn nearest(&self, key: &str) -> Option<String> {
        let inputs = self.def.inputs.iter().flat_map(BTreeMap::keys);
        let known = self.keys.keys().chain(inputs).take(4096);
        nearest(key, known.map(String::as_str).filter(|known| *known != key))
    }

    pub(super) fn finish(self, faults: &mut Faults) -> Checked {
        let mut writes = Vec::with_capacity(self.def.outputs.len());
        for key in &self.def.outputs {
            let input = self.def.inputs.as_ref().and_then(|inputs| inputs.get(key)).copied();
            let kinds = self.keys.get(key).map(|known| known.kinds.as_slice());
            let kind = match (kinds, input) {
                (Some([(kind, _)]), None) => *kind,
                (None, Some(kind)) => kind,
                (Some(_), _) => Type::Any,
                (None, None) if self.outside.contains_key(key) => Type::Any,
                (None, None) => {
                    let nearest = self.nearest(key);
                    faults.add(Fault::NoOutput { key: key.clone(), nearest });
                    continue;
                }
            };
            writes.push(Port { name: key.clone(), kind, need: Need::Required });
        }
        let reads = match &self.def.inputs {
            Some(inputs) => inputs
                .iter()
                .map(|(name, kind)| Port { name: name.clone(), kind: *kind, need: Need::Required })
                .collect(),
            None => self
                .outside
                .into_iter()
                .map(|(name, (kind, need))| Port { name, kind, need })
                .collect(),
        };
        Checked { reads, writes }
    }
}
