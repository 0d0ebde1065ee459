//! What the tests share.

#![allow(dead_code, reason = "each test file uses a part")]

use ambit_flow::{BuildError, Context, Executor, Graph, GraphDef, Outcome, Registry, RunError};
use ambit_mem::{Account, Budget, Bytes, Priority};

/// An account of a budget of its own.
pub fn account() -> Account {
    Budget::new(Bytes::mib(64)).account("flow", Priority::Write)
}

pub fn def(yaml: &str) -> GraphDef {
    GraphDef::from_yaml(yaml).unwrap()
}

pub fn build_with(yaml: &str, registry: &Registry) -> Result<Graph, BuildError> {
    Graph::build(&def(yaml), registry, &account())
}

pub fn build(yaml: &str) -> Result<Graph, BuildError> {
    build_with(yaml, &Registry::new())
}

/// What is wrong with a graph, in words.
pub fn faults(yaml: &str) -> Vec<String> {
    faults_with(yaml, &Registry::new())
}

pub fn faults_with(yaml: &str, registry: &Registry) -> Vec<String> {
    match build_with(yaml, registry) {
        Ok(_) => Vec::new(),
        Err(error) => error.faults().iter().map(ToString::to_string).collect(),
    }
}

/// Runs a graph once over a context with the fields of `input`.
pub fn run_with(
    yaml: &str,
    registry: &Registry,
    input: serde_json::Value,
) -> (Context, Executor, Result<Outcome, RunError>) {
    let account = account();
    let graph = Graph::build(&def(yaml), registry, &account).unwrap();
    let mut executor = Executor::new(&graph, &account).unwrap();
    let mut context = Context::new(&account);
    context.set_fields(&input).unwrap();
    let outcome = executor.run(&mut context);
    (context, executor, outcome)
}

pub fn run(yaml: &str, input: serde_json::Value) -> (Context, Executor, Result<Outcome, RunError>) {
    run_with(yaml, &Registry::new(), input)
}
