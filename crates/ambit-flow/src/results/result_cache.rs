//! What holds results, and a result.

use std::sync::Arc;
use std::time::Duration;

use ambit_mem::Bytes;

use crate::Value;

/// What a step gave, by port. Clones are the same result.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedResult {
    values: Arc<[Option<Value>]>,
}

impl CachedResult {
    pub(crate) fn new(values: Vec<Option<Value>>) -> Self {
        Self { values: values.into() }
    }

    /// The value of each port, in the order of the step's ports.
    pub fn values(&self) -> &[Option<Value>] {
        &self.values
    }

    /// Bytes that it holds on the heap, whoever else holds it, too.
    pub fn heap(&self) -> Bytes {
        let values: usize = self.values.iter().flatten().map(Value::heap).sum();
        Bytes::of(2 * size_of::<usize>() + size_of_val(&*self.values) + values)
    }
}

/// Holds results of steps between runs.
///
/// Keys are bytes that say the step and its inputs in full: equal bytes, equal question. A cache may
/// refuse or forget whatever it likes; it is to charge what it keeps. Graphs bring no cache of their
/// own, so that a program has one, with one cap, for all of them.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
///
/// use ambit_flow::{
///     CachedResult, Context, Executor, Graph, GraphDef, Ports, Registry, ResultCache, Type,
/// };
/// use ambit_mem::{Budget, Bytes, Priority};
///
/// /// Keeps everything for ever; a program would take a cache with a cap.
/// #[derive(Debug, Default)]
/// struct All(Mutex<HashMap<Arc<[u8]>, CachedResult>>);
///
/// impl ResultCache for All {
///     fn get(&self, key: &[u8]) -> Option<CachedResult> {
///         self.0.lock().ok()?.get(key).cloned()
///     }
///     fn insert(&self, key: Arc<[u8]>, result: CachedResult, _: Option<Duration>) {
///         if let Ok(mut all) = self.0.lock() {
///             all.insert(key, result);
///         }
///     }
/// }
///
/// let mut registry = Registry::new();
/// registry.set_results(Arc::new(All::default()));
/// let ports = Ports::new().read("text", Type::Text).write("size", Type::Int);
/// registry.add_pure_function("size", ports, |scope| {
///     let size = scope.text("text")?.len() as i64;
///     scope.set("size", size)
/// });
/// let def = GraphDef::from_yaml("
/// nodes:
///   - { id: measure, kind: function, with: { name: size }, cache: true }
/// ")?;
/// let budget = Budget::new(Bytes::mib(1));
/// let account = budget.account("flow", Priority::Query);
/// let graph = Graph::build(&def, &registry, &account)?;
/// let mut executor = Executor::new(&graph, &account)?;
/// for _ in 0..3 {
///     let mut context = Context::new(&account);
///     context.set("text", "the same text")?;
///     executor.run(&mut context)?;
///     assert_eq!(context.int("size")?, 13);
/// }
/// let metrics = executor.metrics("measure").unwrap();
/// assert_eq!((metrics.hits, metrics.misses), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ResultCache: Send + Sync + std::fmt::Debug {
    /// The result under `key`, if it is there and not too old.
    fn get(&self, key: &[u8]) -> Option<CachedResult>;

    /// Keeps `result` under `key`, for `ttl` at most where that is given; or does not, where there
    /// is no room.
    fn insert(&self, key: Arc<[u8]>, result: CachedResult, ttl: Option<Duration>);
}
