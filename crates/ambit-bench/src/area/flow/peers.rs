//! The ten rules run by others.
//!
//! rust-logic-graph 0.12: its parallel executor, which in fact runs nodes one by one and is the
//! one that prints nothing; its own rules, in nodes that evaluate them and keep the answer. Its
//! graph is made once, and the context cleared for each run.
//!
//! dagrs 0.9: it has no rules, so nodes are closures over channels; the request is the environment
//! of the first one and stays. Each run resets the graph, as it requires, and starts it, on a
//! runtime of one thread.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dagrs::{
    Action, Content, DefaultNode, EnvVar, InChannels, Node as _, NodeTable, OutChannels, Output,
};
use rust_logic_graph::core::{Context as TheirContext, Edge, Graph as TheirGraph, GraphDef};
use rust_logic_graph::node::{Node, NodeType};
use rust_logic_graph::parallel::{ParallelConfig, ParallelExecutor};
use rust_logic_graph::rule::{Rule, RuleResult};
use tokio::runtime::{Builder, Runtime};

use super::{RULES, expected, failed, request};
use crate::error::BenchError;
use crate::timing::time;

const LOGIC_RUNS: u32 = 2_000;
const DAG_RUNS: u32 = 1_000;

pub(super) struct Peers {
    runtime: Runtime,
    logic: ParallelExecutor,
    logic_graph: TheirGraph,
    dag: dagrs::Graph,
    last: dagrs::NodeId,
    least: [f64; 2],
}

/// A node that evaluates a rule of rust-logic-graph.
struct RuleNode {
    id: &'static str,
    rule: Rule,
}

#[async_trait]
impl Node for RuleNode {
    fn id(&self) -> &str {
        self.id
    }

    fn node_type(&self) -> NodeType {
        NodeType::RuleNode
    }

    async fn run(&self, context: &mut TheirContext) -> RuleResult {
        let answer = self.rule.evaluate(&context.data)?;
        context.set(self.id, answer.clone());
        Ok(answer)
    }
}

/// A node of dagrs: a check of the request, or all of what comes in.
struct Check {
    number: usize,
}

#[async_trait]
impl Action for Check {
    async fn run(
        &self,
        incoming: &mut InChannels,
        outgoing: &mut OutChannels,
        request: Arc<EnvVar>,
    ) -> Output {
        let value = |key: &str| request.get::<i64>(key).unwrap_or_default();
        let holds = match self.number {
            0 => value("income") >= 30_000,
            1 => value("debt") <= 12_000,
            2 => value("years") >= 2,
            3 => value("age") >= 18,
            4 => value("amount") <= 100_000,
            _ => {
                let all = incoming
                    .map(|content| content.ok().and_then(|content| content.into_inner::<bool>()))
                    .await;
                all.into_iter().all(|holds| holds.is_some_and(|holds| *holds))
            }
        };
        outgoing.broadcast(Content::new(holds)).await;
        Output::Out(Some(Content::new(holds)))
    }
}

fn dag() -> Result<(dagrs::Graph, dagrs::NodeId), BenchError> {
    let mut names = NodeTable::default();
    let mut graph = dagrs::Graph::new();
    let mut ids = HashMap::new();
    let mut last = None;
    for (number, (name, _, _)) in RULES.iter().enumerate() {
        let node = DefaultNode::with_action((*name).to_owned(), Check { number }, &mut names);
        ids.insert(*name, node.id());
        last = Some(node.id());
        graph.add_node(node).map_err(failed)?;
    }
    for (from, _, _) in RULES {
        let to: Vec<_> = RULES
            .iter()
            .filter(|(_, _, reads)| reads.contains(&from))
            .map(|(name, _, _)| ids[name])
            .collect();
        if !to.is_empty() {
            graph.add_edge(ids[from], to).map_err(failed)?;
        }
    }
    let mut environment = EnvVar::new(names);
    for (key, value) in request(APPROVED) {
        environment.set(key, value);
    }
    graph.set_env(environment);
    let last = last.ok_or_else(|| BenchError::new("no rules".to_owned()))?;
    Ok((graph, last))
}

/// A request that is approved.
const APPROVED: u32 = 3;

impl Peers {
    pub(super) fn new() -> Result<Self, BenchError> {
        let mut logic = ParallelExecutor::new(ParallelConfig::default());
        let mut edges = Vec::new();
        for (id, rule, reads) in RULES {
            logic.register_node(Box::new(RuleNode { id, rule: Rule::new(id, rule) }));
            edges.extend(reads.iter().map(|from| Edge::new(*from, id)));
        }
        let nodes = RULES.iter().map(|(id, _, _)| ((*id).to_owned(), Default::default()));
        let logic_graph = TheirGraph::new(GraphDef { nodes: nodes.collect(), edges });
        let (dag, last) = dag()?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime, logic, logic_graph, dag, last, least: [f64::INFINITY; 2] })
    }

    /// Some runs of both.
    pub(super) fn round(&mut self) -> Result<(), BenchError> {
        if !expected(APPROVED) {
            return Err(BenchError::new("the request is to be approved".to_owned()));
        }
        let Self { runtime, logic, logic_graph, dag, last, least } = self;
        let (ran, took) = time(|| {
            runtime.block_on(async {
                for _ in 0..DAG_RUNS {
                    dag.reset().await.map_err(failed)?;
                    dag.async_start().await.map_err(failed)?;
                    let answers = dag.get_results::<bool>();
                    let answer = answers.get(last).and_then(|answer| answer.as_deref());
                    hold(answer.copied(), true)?;
                }
                Ok::<_, BenchError>(())
            })
        })?;
        ran?;
        least[0] = least[0].min(took.cpu * 1e9 / f64::from(DAG_RUNS));
        let (ran, took) = time(|| {
            runtime.block_on(async {
                for number in 0..LOGIC_RUNS {
                    logic_graph.context.clear();
                    for (key, value) in request(number) {
                        logic_graph.context.set(key, value.into());
                    }
                    logic.execute(logic_graph).await.map_err(failed)?;
                    let answer = logic_graph.context.get("approve");
                    hold(answer.and_then(serde_json::Value::as_bool), expected(number))?;
                }
                Ok::<_, BenchError>(())
            })
        })?;
        ran?;
        least[1] = least[1].min(took.cpu * 1e9 / f64::from(LOGIC_RUNS));
        Ok(())
    }

    /// Nanoseconds of a run.
    pub(super) fn least(&self) -> [(&'static str, f64); 2] {
        [("dagrs 0.9", self.least[0]), ("rust-logic-graph 0.12", self.least[1])]
    }
}

fn hold(answer: Option<bool>, expected: bool) -> Result<(), BenchError> {
    if answer == Some(expected) {
        return Ok(());
    }
    Err(BenchError::new(format!("a peer answered {answer:?} instead of {expected}")))
}

/// A rule in the interpreter of `cel`, over a context of its own that is made once.
pub(super) struct CelRule {
    program: cel::Program,
    context: cel::Context<'static, 'static>,
}

impl CelRule {
    pub(super) fn new(text: &str) -> Result<Self, BenchError> {
        let program = cel::Program::compile(text).map_err(failed)?;
        let mut context = cel::Context::default();
        for (key, value) in [("income", 5_000), ("debt", 9_000), ("years", 3)] {
            context.add_variable_from_value(key, value);
        }
        context.add_variable_from_value("purpose", "car");
        let rule = Self { program, context };
        match rule.program.execute(&rule.context) {
            Ok(cel::Value::Bool(true)) => Ok(rule),
            other => Err(BenchError::new(format!("cel answered {other:?}"))),
        }
    }

    pub(super) fn run(&self) {
        std::hint::black_box(self.program.execute(&self.context).is_ok());
    }
}
