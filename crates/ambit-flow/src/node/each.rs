//! A node that runs a graph for each element of a list.
//!
//! The graph finds the element under `item` and its place under `index`; each of its outputs
//! becomes a list with one element for each element, null where a run did not set it.
//!
//! Where the run has workers, elements are worked on at once, as many as there are workers. The
//! lists are in order all the same, and the failure that ends the node is the first in order:
//! elements before it were all worked on, elements after it perhaps. What the run has left of its
//! own limit is shared out to the elements at work; one that does not get by with its share, or in
//! which something failed that might be for that, is worked on again by itself with all of it.
//! So the answer is that of one by one. A graph that changes something is not run twice, and
//! goes one by one where there is a limit.

use std::sync::atomic::{AtomicUsize, Ordering};

use ambit_mem::{Bytes, Pooled, Reservation};
use rayon::prelude::*;
use serde::Deserialize;
use serde_json::Value as Json;

use super::inside::{Frame, Inside};
use super::{Building, Control, Node, NodeError, NodeFault, Ports, Purity, Scope, View};
use crate::def::{GraphDef, NodeDef};
use crate::run::Workers;
use crate::{Type, Value, ValueRef};

/// The port of the list.
const ITEMS: &str = "items";
/// Pieces of a list for each worker: enough that uneven ones even out.
const PIECES: usize = 16;

/// Runs a graph for each element of a list.
pub(crate) struct Each {
    inside: Inside,
    item: String,
    index: String,
    max: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    graph: GraphDef,
    #[serde(default = "item")]
    item: String,
    #[serde(default = "index")]
    index: String,
    #[serde(default = "max")]
    max: usize,
}

fn item() -> String {
    "item".to_owned()
}

fn index() -> String {
    "index".to_owned()
}

/// Elements of a list, at most, where the node does not say otherwise.
fn max() -> usize {
    100_000
}

impl Each {
    pub(crate) fn from_def(
        def: &NodeDef,
        building: &Building<'_>,
    ) -> Result<Box<dyn Node>, NodeFault> {
        let Config { graph, item, index, max } = building.config(def)?;
        let graph = building.graph(&graph)?;
        if graph.writes().is_empty() {
            let message = "the graph of a map names what it gives in 'outputs'";
            return Err(NodeFault::Config(message.to_owned()));
        }
        let inside = Inside::new(graph, building.account())?;
        Ok(Box::new(Self { inside, item, index, max }))
    }
}

/// A list, and what a node that goes over it sees.
#[derive(Clone, Copy)]
struct Job<'a> {
    view: View<'a>,
    items: ValueRef<'a>,
    len: usize,
}

/// What the graph gave for one element.
struct Row {
    values: Vec<Json>,
    is_lasting: bool,
    _charge: Reservation,
}

impl Each {
    /// Works on element `number` in `frame`, which is entered where it is not yet.
    fn row<'s>(
        &'s self,
        frame: &mut Option<Pooled<'s, Frame>>,
        job: &Job<'_>,
        shares: usize,
        number: usize,
    ) -> Result<Row, NodeError> {
        self.work(frame, job, shares, number).map_err(|error| match error {
            NodeError::CalledOff => error,
            _ => NodeError::Element { number, error: Box::new(error) },
        })
    }

    fn work<'s>(
        &'s self,
        frame: &mut Option<Pooled<'s, Frame>>,
        job: &Job<'_>,
        shares: usize,
        number: usize,
    ) -> Result<Row, NodeError> {
        job.view.check()?;
        let frame = match frame {
            Some(frame) => {
                self.inside.begin_again(frame, &job.view)?;
                frame
            }
            none => none.insert(self.inside.enter(&job.view, shares)?),
        };
        match job.items {
            ValueRef::Json(Json::Array(list)) => frame.context.set(&self.item, &list[number])?,
            ValueRef::Floats(floats) => frame.context.set(&self.item, floats[number])?,
            _ => {}
        }
        frame.context.set(&self.index, number as i64)?;
        frame.run(&job.view)?;
        let outputs = self.inside.graph().writes();
        let value = |at: usize| frame.context.get(&outputs[at].name).unwrap_or(ValueRef::Null);
        let bytes = (0..outputs.len()).map(|at| 2 * size_of::<Json>() + value(at).len_bytes());
        // What is collected is reserved as it grows: it is this node's until it has returned.
        let bytes = size_of::<Row>() + bytes.sum::<usize>();
        let charge = job.view.context.account().reserve(Bytes::of(bytes))?;
        let values = (0..outputs.len()).map(|at| value(at).to_json()).collect();
        Ok(Row { values, is_lasting: frame.is_lasting(), _charge: charge })
    }

    fn one_by_one(&self, job: &Job<'_>) -> Result<Vec<Row>, NodeError> {
        let mut frame = None;
        (0..job.len).map(|number| self.row(&mut frame, job, 1, number)).collect()
    }

    /// Whether an element may be worked on twice.
    fn may_repeat(&self) -> bool {
        self.inside.purity() < Purity::Acting
    }

    fn at_once(&self, job: &Job<'_>, workers: &Workers) -> Result<Vec<Row>, NodeError> {
        let shares = job.len.min(workers.len());
        // A short list leaves workers to the lists inside its elements.
        let inner = (job.len < workers.len()).then_some(workers);
        let control = Control { workers: inner, ..job.view.control };
        let shared = Job { view: View { control, ..job.view }, ..*job };
        let is_limited = job.view.context.limit() < Bytes::MAX;
        let is_final = |row: &Result<Row, NodeError>| match row {
            Ok(row) => row.is_lasting || !is_limited,
            Err(error) => !(error.is_over_budget() && self.may_repeat()),
        };
        let first_failed = AtomicUsize::new(usize::MAX);
        let piece = (job.len / (workers.len() * PIECES)).max(1);
        let rows: Vec<Option<Result<Row, NodeError>>> = workers.run(|| {
            let numbers = (0..job.len).into_par_iter().with_max_len(piece);
            let rows = numbers.map_init(
                || None,
                |frame, number| {
                    if number > first_failed.load(Ordering::Relaxed) {
                        return None;
                    }
                    let row = self.row(frame, &shared, shares, number);
                    if row.is_err() && is_final(&row) {
                        first_failed.fetch_min(number, Ordering::Relaxed);
                    }
                    Some(row)
                },
            );
            rows.collect()
        });
        let mut frame = None;
        let rows = rows.into_iter().enumerate().map(|(number, row)| match row {
            Some(row) if is_final(&row) => row,
            // It did not get by with its share.
            _ => self.row(&mut frame, job, 1, number),
        });
        rows.collect()
    }
}

impl Node for Each {
    fn ports(&self) -> Ports {
        let mut ports = self.inside.ports(&[&self.item, &self.index]).read(ITEMS, Type::List);
        for port in &mut ports.writes {
            port.kind = Type::List;
        }
        ports
    }

    fn purity(&self) -> Purity {
        self.inside.purity()
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        let items = scope.value(ITEMS)?;
        let len = match items {
            ValueRef::Json(Json::Array(list)) => list.len(),
            ValueRef::Floats(floats) => floats.len(),
            other => return Err(other.wrong_type(ITEMS, Type::List).into()),
        };
        if len > self.max {
            let message = format!("{len} elements; the node goes over at most {}", self.max);
            return Err(NodeError::TooMany(message));
        }
        let job = Job { view: scope.view, items, len };
        let is_limited = job.view.context.limit() < Bytes::MAX;
        let mut rows = match job.view.control.workers {
            Some(workers) if len > 1 && (!is_limited || self.may_repeat()) => {
                self.at_once(&job, workers)?
            }
            _ => self.one_by_one(&job)?,
        };
        if rows.iter().any(|row| !row.is_lasting) {
            scope.keep_no_result();
        }
        for (at, port) in self.inside.graph().writes().iter().enumerate() {
            let list = rows.iter_mut().map(|row| std::mem::take(&mut row.values[at])).collect();
            scope.put(&port.name, Value::Json(Json::Array(list)))?;
        }
        Ok(())
    }

    fn footprint(&self) -> Bytes {
        let names = self.item.capacity() + self.index.capacity();
        self.inside.footprint().saturating_add(Bytes::of(size_of::<Self>() + names))
    }
}
