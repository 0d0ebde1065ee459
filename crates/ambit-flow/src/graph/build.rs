//! From a definition to a graph that runs, or to all that is wrong with it.
//!
//! In three stages, each of which finds all faults of its sort before the next one begins: names
//! and nodes; edges and their order; keys, which is [`keys`](super::keys)'s part.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::fault::{BuildError, Fault, Faults};
use super::graph::{Edge, Inner, Policy, Step, Work};
use super::keys::{self, Reading, Writing};
use super::order::{self, Order};
use crate::context::nearest;
use crate::def::{Caching, GraphDef, NodeDef, On};
use crate::node::{
    ANSWER, Bound, Building, Condition, ERROR, Kind, Need, NodeFault, Port, Ports, Purity, Rules,
    keys as keys_of,
};
use crate::policy::Breaker;
use crate::results::Kept;
use crate::{Key, Rule, Type};

/// Nodes or edges of a graph, at most.
const MOST: usize = u32::MAX as usize / 2;

pub(super) struct Builder<'a> {
    def: &'a GraphDef,
    building: &'a Building<'a>,
    faults: Faults,
}

/// A node that was made, with its ports.
struct Made {
    work: Work,
    reads: Vec<(Bound, Need)>,
    writes: Vec<Bound>,
    kept: Option<Kept>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(def: &'a GraphDef, building: &'a Building<'a>) -> Self {
        Self { def, building, faults: Faults::default() }
    }

    pub(super) fn build(mut self) -> Result<Inner, BuildError> {
        if self.def.nodes.is_empty() {
            self.faults.add(Fault::Empty);
        }
        if self.def.nodes.len() > MOST || self.def.edges.len() > MOST {
            self.faults.add(Fault::TooLarge);
            return Err(self.faults.into_error());
        }
        let names = self.names();
        let made = self.make_nodes()?;
        let ends = self.ends(&names);
        let entry = self.entry(&names);
        if !self.faults.is_empty() {
            return Err(self.faults.into_error());
        }
        let order = match order::order(self.def.nodes.len(), &ends) {
            Ok(order) => order,
            Err(circle) => {
                let nodes = circle.iter().map(|&node| self.id(node).to_owned()).collect();
                self.faults.add(Fault::Cycle { nodes });
                return Err(self.faults.into_error());
            }
        };
        self.check_reached(&ends, &entry);
        let edges = self.edges(&ends, &made);
        let checked = self.check_keys(&order, &made, &ends, &edges);
        if !self.faults.is_empty() {
            return Err(self.faults.into_error());
        }
        Ok(self.assemble(Parts { order, made, ends, edges, entry }, checked))
    }

    fn id(&self, node: u32) -> &'a str {
        &self.def.nodes[node as usize].id
    }

    /// Numbers by name.
    fn names(&mut self) -> HashMap<&'a str, u32> {
        let mut names = HashMap::with_capacity(self.def.nodes.len());
        for (number, node) in self.def.nodes.iter().enumerate() {
            if node.id.is_empty() {
                self.faults.add(Fault::Nameless { place: number });
            } else if names.insert(node.id.as_str(), number as u32).is_some() {
                self.faults.add(Fault::Duplicate { node: node.id.clone() });
            }
        }
        names
    }

    fn find(
        &mut self,
        names: &HashMap<&'a str, u32>,
        name: &str,
        place: impl FnOnce() -> String,
    ) -> Option<u32> {
        let found = names.get(name).copied();
        if found.is_none() {
            // The nearest of very many would take long; the first thousands will do.
            let known = self.def.nodes.iter().take(4096).map(|node| node.id.as_str());
            let nearest = nearest(name, known);
            self.faults.add(Fault::Dangling { place: place(), name: name.to_owned(), nearest });
        }
        found
    }

    fn ends(&mut self, names: &HashMap<&'a str, u32>) -> Vec<(u32, u32)> {
        let def = self.def;
        let mut ends = Vec::with_capacity(def.edges.len());
        for edge in &def.edges {
            let place = || format!("edge {} -> {}", edge.from, edge.to);
            let from = self.find(names, &edge.from, place);
            let to = self.find(names, &edge.to, place);
            ends.extend(from.zip(to));
        }
        ends
    }

    fn entry(&mut self, names: &HashMap<&'a str, u32>) -> Vec<u32> {
        let def = self.def;
        let found =
            def.entry.iter().filter_map(|name| self.find(names, name, || "entry".to_owned()));
        found.collect()
    }

    fn check_reached(&mut self, ends: &[(u32, u32)], entry: &[u32]) {
        if entry.is_empty() {
            return;
        }
        let reached = order::reachable(self.def.nodes.len(), ends, entry);
        for (node, reached) in self.def.nodes.iter().zip(reached) {
            if !reached {
                self.faults.add(Fault::Unreachable { node: node.id.clone() });
            }
        }
    }

    /// Makes every node. What cannot be made leaves a hole, and a fault.
    fn make_nodes(&mut self) -> Result<Vec<Option<Made>>, BuildError> {
        let mut made = Vec::with_capacity(self.def.nodes.len());
        for def in &self.def.nodes {
            made.push(match self.make(def) {
                Ok(made) => made,
                Err(NodeFault::OverBudget(refusal)) => {
                    return Err(BuildError::OverBudget(refusal));
                }
                Err(fault) => {
                    self.faults.add(Fault::Node { node: def.id.clone(), fault });
                    None
                }
            });
        }
        Ok(made)
    }

    fn make(&mut self, def: &NodeDef) -> Result<Option<Made>, NodeFault> {
        if let Some(message) = def.retry.as_ref().and_then(|retry| retry.fault()) {
            return Err(NodeFault::Config(message));
        }
        if def.breaker.is_some_and(|breaker| breaker.failures == 0) {
            return Err(NodeFault::Config("breaker.failures is 0; it is at least 1".to_owned()));
        }
        let (work, ports) = match self.building.registry.kind(&def.kind) {
            Some(Kind::Rule) => {
                let rules = Rules::new(def, self.building)?;
                let ports = Ports {
                    reads: any_ports(&keys_of(&rules.rules)),
                    writes: rules.writes.iter().map(|(name, kind)| port(name, *kind)).collect(),
                };
                (Work::Rules(rules), ports)
            }
            Some(Kind::Condition) => {
                let condition = Condition::new(def, self.building)?;
                let reads = any_ports(&keys_of(condition.rules()));
                (Work::Condition(condition), Ports { reads, writes: Vec::new() })
            }
            Some(Kind::Made(factory)) => {
                let node = factory(def, self.building)?;
                let ports = node.ports();
                (Work::Node(node), ports)
            }
            None => {
                let kinds = self.building.registry.kinds();
                self.faults.add(Fault::UnknownKind {
                    node: def.id.clone(),
                    kind: def.kind.clone(),
                    nearest: nearest(&def.kind, kinds),
                });
                return Ok(None);
            }
        };
        let kept = self.kept(def, &work)?;
        Ok(Some(Made { kept, ..self.bind(def, work, ports) }))
    }

    /// How the node's results are kept, if they are.
    fn kept(&self, def: &NodeDef, work: &Work) -> Result<Option<Kept>, NodeFault> {
        let fault = |message: String| Err(NodeFault::Config(format!("cache: {message}")));
        let ttl = match def.cache {
            Caching::Off => return Ok(None),
            Caching::For { ttl_ms: 0 } => {
                return fault("ttl_ms is 0; it is at least 1".to_owned());
            }
            Caching::For { ttl_ms } => Some(Duration::from_millis(ttl_ms)),
            Caching::On => None,
        };
        let kind = def.kind.escape_debug();
        match (work, work.purity(), ttl) {
            (Work::Condition(_), ..) => {
                fault("a condition gives no value that could be kept; leave it out".to_owned())
            }
            (_, Purity::Acting, _) => fault(format!(
                "'{kind}' changes something, and a result that is kept would leave that out"
            )),
            (_, Purity::Impure, None) => fault(format!(
                "'{kind}' may answer differently another time; say how old an answer may be, as \
                 in cache: {{ ttl_ms: 60000 }}"
            )),
            _ => match self.building.registry.results() {
                Some(results) => Ok(Some(Kept::new(results.clone(), ttl))),
                None => fault("this program keeps no results; leave it out".to_owned()),
            },
        }
    }

    /// Binds ports to keys.
    fn bind(&mut self, def: &NodeDef, work: Work, ports: Ports) -> Made {
        let names_own = matches!(work, Work::Node(_));
        // Rules name keys, not ports, and were bound when they were parsed.
        if names_own {
            self.check_ports(def, &def.read, &ports.reads);
        }
        self.check_ports(def, &def.write, &ports.writes);
        let bind = |port: &Port, keys: &BTreeMap<String, String>, own: &str| Bound {
            port: port.name.as_str().into(),
            key: Key::new(keys.get(&port.name).map_or(own, String::as_str)),
            kind: port.kind,
        };
        let unbound = BTreeMap::new();
        let read_keys = if names_own { &def.read } else { &unbound };
        let reads =
            ports.reads.iter().map(|port| (bind(port, read_keys, &port.name), port.need)).collect();
        let is_rules = matches!(work, Work::Rules(_));
        let writes = ports.writes.iter().map(|port| {
            let own = if is_rules && port.name == ANSWER { &def.id } else { &port.name };
            bind(port, &def.write, own)
        });
        let writes = writes.collect();
        Made { work, reads, writes, kept: None }
    }

    fn check_ports(&mut self, def: &NodeDef, bound: &BTreeMap<String, String>, ports: &[Port]) {
        for name in bound.keys() {
            if ports.iter().all(|port| port.name != *name) {
                let nearest = nearest(name, ports.iter().map(|port| port.name.as_str()));
                let (node, port) = (def.id.clone(), name.clone());
                self.faults.add(Fault::UnknownPort { node, port, nearest });
            }
        }
    }

    /// Edges as they are run, in the order of the definition.
    fn edges(&mut self, ends: &[(u32, u32)], made: &[Option<Made>]) -> Vec<Edge> {
        let def = self.def;
        let mut edges = Vec::with_capacity(ends.len());
        for (edge, &(from, _)) in def.edges.iter().zip(ends) {
            let name = || format!("{} -> {}", edge.from, edge.to);
            let rule = edge.when.as_ref().and_then(|text| {
                let rule = Rule::parse_here(text);
                rule.map_err(|error| self.faults.add(Fault::EdgeRule { edge: name(), error })).ok()
            });
            let mut number = None;
            if let Some(branch) = &edge.branch {
                let branches = match made[from as usize].as_ref().map(|made| &made.work) {
                    Some(Work::Condition(condition)) => condition.branches(),
                    _ => &[],
                };
                number = branches.iter().position(|known| **known == **branch);
                if number.is_none() || edge.on == On::Error {
                    let branches = branches.iter().map(|branch| branch.to_string()).collect();
                    let branch = branch.clone();
                    self.faults.add(Fault::UnknownBranch { edge: name(), branch, branches });
                }
            }
            edges.push(Edge {
                from,
                on: edge.on,
                branch: number.map(|number| number as u16),
                label: edge.branch.as_deref().map(Into::into),
                rule,
            });
        }
        edges
    }

    /// Holds what is read to what is written.
    fn check_keys(
        &mut self,
        order: &Order,
        made: &[Option<Made>],
        ends: &[(u32, u32)],
        edges: &[Edge],
    ) -> keys::Checked {
        let mut table = keys::Table::new(self.def, order);
        for (node, made) in made.iter().enumerate() {
            let node = node as u32;
            for bound in made.iter().flat_map(|made| &made.writes) {
                table.write(Writing { node, key: bound.key.name(), kind: bound.kind });
            }
        }
        for (edge, &(from, _)) in edges.iter().zip(ends) {
            if edge.on == On::Error {
                table.write(Writing { node: from, key: ERROR, kind: Type::Map });
            }
        }
        table.sort();
        for (node, made) in made.iter().enumerate() {
            let node = node as u32;
            for (bound, need) in made.iter().flat_map(|made| &made.reads) {
                let (key, kind, need) = (bound.key.name(), bound.kind, *need);
                table.read(&Reading { node, key, kind, need }, &mut self.faults);
            }
        }
        for (edge, &(_, to)) in edges.iter().zip(ends) {
            for key in edge.rule.iter().flat_map(Rule::keys) {
                let (kind, need) = (Type::Any, Need::Required);
                table.read(&Reading { node: to, key: key.name(), kind, need }, &mut self.faults);
            }
        }
        table.finish(&mut self.faults)
    }

    fn assemble(&self, parts: Parts, checked: keys::Checked) -> Inner {
        let Parts { order, made, ends, edges, entry } = parts;
        let nodes = self.def.nodes.len();
        let mut places = vec![0_u32; nodes];
        for (place, &node) in order.nodes.iter().enumerate() {
            places[node as usize] = place as u32;
        }
        let mut is_caught = vec![false; nodes];
        let mut by_step: Vec<Vec<Edge>> = Vec::new();
        by_step.resize_with(nodes, Vec::new);
        for (mut edge, (from, to)) in edges.into_iter().zip(ends) {
            is_caught[from as usize] |= edge.on == On::Error;
            edge.from = places[from as usize];
            by_step[to as usize].push(edge);
        }
        let mut is_entry: Vec<bool> =
            by_step.iter().map(|edges| entry.is_empty() && edges.is_empty()).collect();
        for node in entry {
            is_entry[node as usize] = true;
        }
        let mut made: Vec<Option<Made>> = made;
        let (mut steps, mut all_edges) = (Vec::with_capacity(nodes), Vec::new());
        for &node in &order.nodes {
            let number = node as usize;
            let Some(made) = made[number].take() else { continue };
            let first = all_edges.len() as u32;
            all_edges.append(&mut by_step[number]);
            let edges = first..all_edges.len() as u32;
            let def = &self.def.nodes[number];
            steps.push(Step {
                id: def.id.as_str().into(),
                kind: def.kind.as_str().into(),
                work: made.work,
                reads: made.reads.into_iter().map(|(bound, _)| bound).collect(),
                writes: made.writes.into(),
                edges,
                is_entry: is_entry[number],
                join: def.join,
                on_error: def.on_error,
                is_caught: is_caught[number],
                policy: policy(def, made.kept),
            });
        }
        Inner {
            name: self.def.name.as_str().into(),
            most_writes: steps.iter().map(|step| step.writes.len()).max().unwrap_or(0),
            steps: steps.into(),
            edges: all_edges.into(),
            layers: order.starts.into(),
            reads: checked.reads.into(),
            writes: checked.writes.into(),
            error: Key::new(ERROR),
            charge: None,
        }
    }
}

/// What was checked, on its way into the graph.
struct Parts {
    order: Order,
    made: Vec<Option<Made>>,
    ends: Vec<(u32, u32)>,
    edges: Vec<Edge>,
    entry: Vec<u32>,
}

fn port(name: &str, kind: Type) -> Port {
    Port { name: name.to_owned(), kind, need: Need::Required }
}

fn any_ports(keys: &[Key]) -> Vec<Port> {
    keys.iter().map(|key| port(key.name(), Type::Any)).collect()
}

fn policy(def: &NodeDef, kept: Option<Kept>) -> Option<Box<Policy>> {
    let (retry, timeout_ms, breaker) = (def.retry, def.timeout_ms, def.breaker);
    (retry.is_some() || timeout_ms.is_some() || breaker.is_some() || kept.is_some())
        .then(|| Box::new(Policy { retry, timeout_ms, breaker: breaker.map(Breaker::new), kept }))
}
