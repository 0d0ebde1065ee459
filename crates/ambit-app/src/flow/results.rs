//! Results of nodes that are kept, in a cache with a cap that is charged to the budget.

use std::sync::Arc;
use std::time::Duration;

use ambit_cache::{Cache, CacheConfig, CreateError, Weigh};
use ambit_flow::{CachedResult, Caching, GraphDef, ResultCache};
use ambit_mem::{Budget, Bytes, Priority};
use serde_json::Value as Json;

use crate::exit::{Code, Failure};

/// Bytes of results, where nobody says otherwise: this, or the eighth of a small budget.
const CAP: Bytes = Bytes::mib(16);

/// Results without a time to live of their own: for as long as the cache can tell the time.
const FOR_EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// A result in the cache.
#[derive(Clone)]
struct Entry(CachedResult);

impl Weigh for Entry {
    fn heap_bytes(&self) -> usize {
        usize::try_from(self.0.heap().get()).unwrap_or(usize::MAX)
    }
}

/// Results of nodes, by node and inputs.
pub struct Results {
    cache: Cache<Arc<[u8]>, Entry>,
}

impl Results {
    /// A cache of at most `cap` bytes, or the default, that is charged to `flow/results`.
    pub fn new(cap: Option<Bytes>, budget: &Budget) -> Result<Arc<Self>, Failure> {
        let cap = cap.unwrap_or_else(|| CAP.min(Bytes::new(budget.limit().get() / 8)));
        let account = budget.account("flow/results", Priority::Cache);
        // A time to live for all, so that those that have one of their own are held to it.
        let config = CacheConfig { ttl: Some(FOR_EVER), ..CacheConfig::new(cap) };
        match Cache::new(config, &account) {
            Ok(cache) => Ok(Arc::new(Self { cache })),
            Err(error @ CreateError::CapTooSmall { .. }) => {
                Err(Failure::usage(format!("--cache: {error}")))
            }
            Err(error) => Err(Failure::new(Code::OverBudget, error.to_string())),
        }
    }
}

impl ResultCache for Results {
    fn get(&self, key: &[u8]) -> Option<CachedResult> {
        self.cache.get(key).map(|Entry(result)| result)
    }

    fn insert(&self, key: Arc<[u8]>, result: CachedResult, ttl: Option<Duration>) {
        // What does not fit is not kept; the cache counts it.
        let _ = match ttl {
            Some(ttl) => self.cache.insert_for(ttl, key, Entry(result)),
            None => self.cache.insert(key, Entry(result)),
        };
    }
}

impl std::fmt::Debug for Results {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Results").field(&self.cache.stats()).finish()
    }
}

/// Whether a node of a graph, or of one inside it, keeps its results.
pub fn keeps_results(def: &GraphDef) -> bool {
    def.nodes.iter().any(|node| node.cache != Caching::Off || node.with.values().any(has_caching))
}

/// Graphs inside a node are parameters of it, so their nodes are looked for as JSON.
fn has_caching(json: &Json) -> bool {
    match json {
        Json::Array(list) => list.iter().any(has_caching),
        Json::Object(map) => {
            let is_node = map.contains_key("kind") && map.contains_key("id");
            (is_node && map.get("cache").is_some_and(|cache| *cache != Json::Bool(false)))
                || map.values().any(has_caching)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ambit_flow::{
        Context, Executor, Graph, ManualClock, ParallelExecutor, Ports, Registry, RunOptions, Type,
        Workers,
    };
    use ambit_mem::Account;

    use super::*;

    /// A graph with a node that gives a text as long as it is told, and says how often it ran.
    fn graph(account: &Account, results: Arc<Results>, cache: &str) -> Graph {
        let mut registry = Registry::new();
        registry.set_results(results);
        let ports = Ports::new().read("n", Type::Int).write("text", Type::Text);
        registry.add_function("text", ports, |scope| {
            let text = "x".repeat(scope.int("n")? as usize);
            scope.set("text", &text)
        });
        let yaml = format!(
            "nodes: [{{ id: text, kind: function, with: {{ name: text }}, cache: {cache} }}]"
        );
        Graph::build(&GraphDef::from_yaml(&yaml).unwrap(), &registry, account).unwrap()
    }

    fn run(executor: &mut Executor, account: &Account, n: i64) {
        let mut context = Context::new(account);
        context.set("n", n).unwrap();
        executor.run(&mut context).unwrap();
        assert_eq!(context.text("text").unwrap().len() as i64, n);
    }

    #[test]
    fn results_stay_within_their_cap_and_on_the_ledger() {
        let budget = Budget::new(Bytes::mib(16));
        let account = budget.account("flow", Priority::Query);
        let results = Results::new(Some(Bytes::kib(256)), &budget).unwrap();
        let held = budget.account("flow/results", Priority::Cache);
        let graph = graph(&account, Arc::clone(&results), "{ ttl_ms: 100000 }");
        let mut executor = Executor::new(&graph, &account).unwrap();
        for n in 0..2000 {
            run(&mut executor, &account, 1000 + n);
            assert!(held.used() <= Bytes::kib(256), "{}", held.used());
        }
        let stats = results.cache.stats();
        assert!(stats.evicted_for_room > 0 && stats.entries > 50, "{stats:?}");
        // One that is larger than the cap is given all the same.
        run(&mut executor, &account, 300_000);
        run(&mut executor, &account, 300_000);
        assert!(held.used() <= Bytes::kib(256));
        assert_eq!(executor.metrics("text").unwrap().hits, 0);
    }

    #[test]
    fn a_result_goes_when_its_time_is_over_and_when_others_need_its_bytes() {
        let clock = ambit_cache::Clock::manual();
        let budget = Budget::new(Bytes::mib(8));
        let account = budget.account("flow", Priority::Query);
        let held = budget.account("flow/results", Priority::Cache);
        let config = CacheConfig {
            ttl: Some(FOR_EVER),
            clock: clock.clone(),
            ..CacheConfig::new(Bytes::mib(2))
        };
        let results = Arc::new(Results { cache: Cache::new(config, &held).unwrap() });
        let graph = graph(&account, Arc::clone(&results), "{ ttl_ms: 1000 }");
        let mut executor = Executor::new(&graph, &account).unwrap();
        let mut hits_after = |ms: u64| {
            clock.advance(Duration::from_millis(ms));
            run(&mut executor, &account, 5);
            executor.metrics("text").unwrap().hits
        };
        assert_eq!([0, 900, 0].map(&mut hits_after), [0, 1, 2]);
        assert_eq!([500, 0].map(&mut hits_after), [2, 3]);
        for n in 0..1000 {
            run(&mut executor, &account, 1000 + n);
        }
        let before = held.used();
        assert!(before > Bytes::mib(1));
        let _wanted = account.reserve(Bytes::mib(7)).unwrap();
        assert!(held.used() < before);
    }

    #[test]
    fn elements_of_a_list_that_are_the_same_are_worked_out_once() {
        let budget = Budget::new(Bytes::mib(16));
        let account = budget.account("flow", Priority::Query);
        let mut registry = Registry::new();
        registry.set_results(Results::new(None, &budget).unwrap());
        let runs = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let counter = Arc::clone(&runs);
        let ports = Ports::new().read("item", Type::Int).write("out", Type::Int);
        registry.add_pure_function("square", ports, move |scope| {
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            scope.set("out", scope.int("item")? * scope.int("item")?)
        });
        let yaml = "
outputs: [out]
nodes:
  - { id: each, kind: map, with: { graph: { outputs: [out], nodes: [
      { id: square, kind: function, with: { name: square }, cache: true } ] } } }
";
        let def = GraphDef::from_yaml(yaml).unwrap();
        assert!(keeps_results(&def));
        let graph = Graph::build(&def, &registry, &account).unwrap();
        let workers = Workers::new(3, &account).unwrap();
        let mut executor = ParallelExecutor::new(&graph, &workers, &account).unwrap();
        let mut context = Context::new(&account);
        let items: Vec<i64> = (0..600).map(|n| n % 20).collect();
        context.set("items", &Json::from(items.clone())).unwrap();
        executor
            .run_with(
                &mut context,
                &RunOptions { clock: &ManualClock::new(), ..RunOptions::default() },
            )
            .unwrap();
        let squares: Vec<Json> = items.iter().map(|n| Json::from(n * n)).collect();
        assert_eq!(context.list("out").unwrap(), squares);
        assert_eq!(runs.load(std::sync::atomic::Ordering::SeqCst), 20);
    }

    #[test]
    fn only_graphs_that_keep_something_have_a_cache() {
        let keeps = |yaml: &str| keeps_results(&GraphDef::from_yaml(yaml).unwrap());
        assert!(keeps("nodes: [{ id: a, kind: embed, cache: true }]"));
        assert!(!keeps("nodes: [{ id: a, kind: embed, cache: false }]"));
        assert!(!keeps("nodes: [{ id: a, kind: rule, with: { set: { cache: '1' } } }]"));
    }

    #[test]
    fn a_cap_without_room_for_a_cache_says_what_would_do() {
        let error = Results::new(Some(Bytes::new(10)), &Budget::new(Bytes::mib(1))).unwrap_err();
        assert_eq!(error.code(), Code::Usage);
        assert!(error.to_string().contains("--cache: a cap of 10 B is too small"), "{error}");
    }
}
