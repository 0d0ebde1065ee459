//! What the tests share.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ambit_flow::{
    BuildError, CachedResult, Context, Executor, Graph, GraphDef, Outcome, Registry, ResultCache,
    RunError,
};
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

/// Keeps every result.
#[derive(Debug, Default)]
pub struct All(Mutex<HashMap<Arc<[u8]>, CachedResult>>);

impl All {
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl ResultCache for All {
    fn get(&self, key: &[u8]) -> Option<CachedResult> {
        self.0.lock().unwrap().get(key).cloned()
    }

    fn insert(&self, key: Arc<[u8]>, result: CachedResult, _: Option<Duration>) {
        self.0.lock().unwrap().insert(key, result);
    }
}

/// A registry whose graphs may keep results, and where they are kept.
pub fn keeping() -> (Registry, Arc<All>) {
    let (mut registry, all) = (Registry::new(), Arc::new(All::default()));
    registry.set_results(all.clone());
    (registry, all)
}
