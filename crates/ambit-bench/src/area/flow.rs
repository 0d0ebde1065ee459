//! What does a run of a graph cost, and what does it save to use its context again?
//!
//! One graph of ten rules is run by every contender: five checks of a request, and five that join
//! them, in four layers. Ours reads it as data and takes a context from a pool for each run, fills it, runs, reads the
//! answer, and gives it back. Processor time; rounds of the contenders alternate.
//!
//! What takes wall time, because it waits or has threads of its own, is told in wall time: nodes of a millisecond,
//! one by one and at once.

#[cfg(feature = "peers")]
mod peers;

use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use ambit_flow::{
    Context, ContextPool, Executor, Graph, GraphDef, NodeError, Outcome, ParallelExecutor, Ports,
    Registry, Rule, RunError, Type, Workers,
};
use ambit_mem::{Account, Arena, Budget, Bytes, PoolConfig, Priority};

use serde_json::Value as Json;

use super::Bench;
use crate::error::BenchError;
use crate::process;
use crate::row::{Row, Table, Target};
use crate::timing::{median, nanoseconds, thread_cpu, time};

const RUNS: u32 = 200_000;
const CONTEXTS: u32 = 200_000;
const ROUNDS: usize = 9;
/// Nodes of a millisecond, independent of each other.
const SLOW_NODES: usize = 8;
const SLOW_ROUNDS: usize = 101;

/// Name, rule, and the rules that it reads.
pub(super) const RULES: [(&str, &str, &[&str]); 10] = [
    ("income_ok", "income >= 30000", &[]),
    ("debt_ok", "debt <= 12000", &[]),
    ("years_ok", "years >= 2", &[]),
    ("age_ok", "age >= 18", &[]),
    ("amount_ok", "amount <= 100000", &[]),
    ("payable", "income_ok && debt_ok", &["income_ok", "debt_ok"]),
    ("steady", "years_ok && age_ok", &["years_ok", "age_ok"]),
    ("eligible", "payable && steady", &["payable", "steady"]),
    ("modest", "steady && amount_ok", &["steady", "amount_ok"]),
    ("approve", "eligible && modest", &["eligible", "modest"]),
];

/// What a request says; some are approved and some are not.
pub(super) fn request(number: u32) -> [(&'static str, i64); 5] {
    let number = i64::from(number);
    [
        ("income", 20_000 + number % 7 * 5_000),
        ("debt", number % 5 * 4_000),
        ("years", number % 9),
        ("age", 17 + number % 50),
        ("amount", 60_000 + number % 3 * 30_000),
    ]
}

/// Whether it is approved, without any graph.
pub(super) fn expected(number: u32) -> bool {
    let [income, debt, years, age, amount] = request(number).map(|(_, value)| value);
    income >= 30_000 && debt <= 12_000 && years >= 2 && age >= 18 && amount <= 100_000
}

pub fn run(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let budget = Budget::new(Bytes::mib(64));
    let account = budget.account("bench/flow", Priority::Query);
    rules(&account, table)?;
    one_rule(&account, table)?;
    contexts(&account, table)?;
    at_once(&account, table)?;
    lists(&account, table)?;
    large(table)?;
    examples(bench, table)
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::new(error.to_string())
}

fn ten() -> Result<GraphDef, BenchError> {
    let nodes: Vec<_> = RULES
        .iter()
        .map(|(id, rule, _)| serde_json::json!({"id": id, "kind": "rule", "with": {"rule": rule}}))
        .collect();
    let edges: Vec<_> = RULES
        .iter()
        .flat_map(|(to, _, from)| {
            from.iter().map(move |from| serde_json::json!({"from": from, "to": to}))
        })
        .collect();
    Ok(serde_json::from_value(serde_json::json!({"nodes": nodes, "edges": edges}))?)
}

/// Runs of the ten rules on a thread.
fn some_runs(
    graph: &Graph,
    pool: &ContextPool,
    account: &Account,
    runs: u32,
) -> Result<(), BenchError> {
    let mut executor = Executor::new(graph, account).map_err(failed)?;
    for number in 0..runs {
        let mut context = pool.acquire();
        for (key, value) in request(number) {
            context.set(key, value).map_err(failed)?;
        }
        executor.run(&mut context).map_err(failed)?;
        if context.bool("approve").map_err(failed)? != expected(number) {
            return Err(BenchError::new("a wrong answer".to_owned()));
        }
    }
    Ok(())
}

fn rules(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let graph = Graph::build(&ten()?, &Registry::new(), account).map_err(failed)?;
    let contexts = account.child("contexts");
    let pool = ContextPool::new(PoolConfig::default(), &contexts).map_err(failed)?;
    let failures = AtomicU32::new(0);
    let runs = |_: usize| {
        if black_box(some_runs(&graph, &pool, account, RUNS)).is_err() {
            failures.fetch_add(1, Ordering::Relaxed);
        }
    };
    some_runs(&graph, &pool, account, 1000)?;
    let arithmetic = |_: usize| {
        black_box(compute(black_box(u64::from(RUNS) * 256)));
    };
    // Rounds differ in what else the machine does, and the best of two threads is one that the other
    // did not meet: so two threads are told by the middle of their rounds.
    let (mut one, mut two, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    #[cfg(feature = "peers")]
    let mut peers = peers::Peers::new()?;
    for _ in 0..ROUNDS {
        let each = f64::from(RUNS);
        one.push(nanoseconds(1, 1, &runs)? / each);
        two.push(nanoseconds(2, 1, &runs)? / each);
        alone.push(2.0 * nanoseconds(1, 1, &arithmetic)? / nanoseconds(2, 1, &arithmetic)?);
        #[cfg(feature = "peers")]
        peers.round()?;
    }
    if failures.into_inner() > 0 {
        return Err(BenchError::new("a run failed".to_owned()));
    }
    let case = "flow, 10 rules";
    let least = one.iter().copied().fold(f64::INFINITY, f64::min);
    let (us, one, two) = (least / 1e3, median(one), median(two));
    table.add(Row::new(case, "a run with its context", us, "us").target(Target::AtMost(2.0)))?;
    table.add(
        Row::new(case, "runs per second, 1 thread", 1e6 / least, "k/s")
            .target(Target::AtLeast(400.0)),
    )?;
    table.add(
        Row::new(case, "runs per second, 2 threads", 2e6 / two, "k/s")
            .peer("1 thread", 1e6 / one)
            .ratio_target(Target::AtLeast(1.8))
            .note(format!(
                "medians of {ROUNDS} rounds; arithmetic that shares nothing: {:.2}",
                median(alone)
            )),
    )?;
    #[cfg(feature = "peers")]
    for (name, took) in peers.least() {
        table.add(
            Row::new(case, "a run with its context", us, "us")
                .peer(name, took / 1e3)
                .ratio_target(Target::AtMost(1.0)),
        )?;
    }
    #[cfg(not(feature = "peers"))]
    for name in ["dagrs", "rust-logic-graph"] {
        table.add(
            Row::new(case, "a run with its context", us, "us")
                .absent_peer(name, "built without the feature peers"),
        )?;
    }
    Ok(())
}

const ONE_RULE: &str = "income * 3 >= debt && purpose in ['roof', 'car'] && years > 1";

/// One rule over a context, beside the interpreter of the crate that parses it.
fn one_rule(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let rule = Rule::parse(ONE_RULE).map_err(failed)?;
    let mut context = Context::new(account);
    for (key, value) in [("income", 5_000), ("debt", 9_000), ("years", 3)] {
        context.set(key, value).map_err(failed)?;
    }
    context.set("purpose", "car").map_err(failed)?;
    // Each thread of a measurement has its own arena; there is one thread.
    let arena = Mutex::new(Arena::new(account).map_err(failed)?);
    let ours = |_: usize| {
        let arena = arena.lock().unwrap_or_else(PoisonError::into_inner);
        black_box(rule.holds(black_box(&context), &arena).is_ok_and(|holds| holds));
    };
    #[cfg(feature = "peers")]
    let program = peers::CelRule::new(ONE_RULE)?;
    #[cfg_attr(
        not(feature = "peers"),
        expect(unused_mut, reason = "only peers are measured into it")
    )]
    let mut least_peer = f64::INFINITY;
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        least = least.min(nanoseconds(1, CONTEXTS, &ours)?);
        #[cfg(feature = "peers")]
        {
            least_peer = least_peer.min(nanoseconds(1, CONTEXTS / 10, &|_| program.run())?);
        }
    }
    let row = Row::new("flow, one rule", "evaluate", least, "ns");
    table.add(if least_peer.is_infinite() {
        row.absent_peer("cel 0.15, its interpreter", "built without the feature peers")
    } else {
        row.peer("cel 0.15, its interpreter", least_peer).ratio_target(Target::AtMost(1.0))
    })
}

const FIELDS: [(&str, &str); 8] = [
    ("request", "5f0c1a52-8a3e-4b1f"),
    ("collection", "documents"),
    ("space", "minilm-l6-v2"),
    ("filter", "kind = 'n' and year > 1990"),
    ("language", "en"),
    ("user", "user-184467440737"),
    ("model", "all-MiniLM-L6-v2"),
    ("trace", "00-4bf92f3577b34da6a3ce929d0e0e4736"),
];

fn fill(context: &mut Context) {
    for (key, value) in black_box(FIELDS) {
        black_box(context.set(key, value).is_ok());
    }
}

fn contexts(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let account = account.child("fields");
    let pool = ContextPool::new(PoolConfig::default(), &account).map_err(failed)?;
    let fresh_account = account.child("fresh");
    let pooled = |_: usize| fill(&mut pool.acquire());
    let fresh = |_: usize| fill(&mut Context::new(&fresh_account));
    let (mut least, mut least_fresh) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        least = least.min(nanoseconds(1, CONTEXTS, &pooled)?);
        least_fresh = least_fresh.min(nanoseconds(1, CONTEXTS, &fresh)?);
    }
    table.add(
        Row::new("flow, context of 8 fields", "get, fill and give back", least, "ns")
            .peer("a fresh context", least_fresh)
            .ratio_target(Target::AtMost(1.0 / 3.0)),
    )
}

/// Rounds of a computation that take about a millisecond.
fn rounds_of_a_millisecond() -> Result<u64, BenchError> {
    let mut least = f64::INFINITY;
    let rounds = 1 << 20;
    for _ in 0..ROUNDS {
        let (_, took) = time(|| black_box(compute(black_box(rounds))))?;
        least = least.min(took.cpu);
    }
    Ok((rounds as f64 * 1e-3 / least) as u64)
}

fn compute(rounds: u64) -> u64 {
    (0..rounds).fold(1, |state: u64, round| {
        (state ^ round).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    })
}

/// Processor seconds that nodes took, by thread.
type Busy = Arc<Mutex<HashMap<ThreadId, f64>>>;

/// Nodes that compute or wait for a millisecond.
fn slow_nodes(busy: &Busy) -> Result<Registry, BenchError> {
    let rounds = rounds_of_a_millisecond()?;
    let mut registry = Registry::new();
    let ports = || Ports::new().write("out", Type::Int);
    let busy = Arc::clone(busy);
    registry.add_function("compute", ports(), move |scope| {
        let start = thread_cpu().map_err(NodeError::failed)?;
        let out = black_box(compute(black_box(rounds)));
        let took = thread_cpu().map_err(NodeError::failed)? - start;
        let mut busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        *busy.entry(std::thread::current().id()).or_default() += took;
        scope.set("out", out as i64 >> 1)
    });
    registry.add_function("wait", ports(), |scope| {
        std::thread::sleep(Duration::from_millis(1));
        scope.set("out", 1)
    });
    Ok(registry)
}

/// What runs of one executor took, at the least.
#[derive(Clone, Copy)]
struct Least {
    wall: f64,
    /// Processor time of the nodes on the thread that had most of it.
    busiest: f64,
}

impl Least {
    const NONE: Self = Self { wall: f64::INFINITY, busiest: f64::INFINITY };

    fn take(
        &mut self,
        busy: &Busy,
        run: impl FnOnce() -> Result<Outcome, RunError>,
    ) -> Result<(), BenchError> {
        busy.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let start = Instant::now();
        run().map_err(failed)?;
        self.wall = self.wall.min(start.elapsed().as_secs_f64());
        let busy = busy.lock().unwrap_or_else(PoisonError::into_inner);
        self.busiest = self.busiest.min(busy.values().copied().fold(0.0, f64::max));
        Ok(())
    }
}

/// Nodes of a millisecond, which compute or wait, one by one and at once.
fn at_once(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let busy = Busy::default();
    let registry = slow_nodes(&busy)?;
    let workers = Workers::new(2, account).map_err(failed)?;
    for name in ["compute", "wait"] {
        let nodes: Vec<_> = (0..SLOW_NODES)
            .map(|number| {
                serde_json::json!({"id": format!("n{number}"), "kind": "function",
                    "with": {"name": name}, "write": {"out": format!("out{number}")}})
            })
            .collect();
        let def: GraphDef = serde_json::from_value(serde_json::json!({"nodes": nodes}))?;
        let graph = Graph::build(&def, &registry, account).map_err(failed)?;
        let mut serial = Executor::new(&graph, account).map_err(failed)?;
        let mut parallel = ParallelExecutor::new(&graph, &workers, account).map_err(failed)?;
        let mut context = Context::new(account);
        let (mut one, mut all) = (Least::NONE, Least::NONE);
        for _ in 0..SLOW_ROUNDS {
            one.take(&busy, || serial.run(&mut context))?;
            all.take(&busy, || parallel.run(&mut context))?;
        }
        let case = format!("flow, {SLOW_NODES} nodes that {name} for 1 ms, 2 threads");
        rows_at_once(table, &case, (&one, &all), name == "compute")?;
    }
    Ok(())
}

/// A list whose elements compute for a millisecond, one by one and at once.
fn lists(account: &Account, table: &mut Table) -> Result<(), BenchError> {
    let busy = Busy::default();
    let registry = slow_nodes(&busy)?;
    let workers = Workers::new(2, account).map_err(failed)?;
    let def: GraphDef = serde_json::from_value(serde_json::json!({"nodes": [
        {"id": "each", "kind": "map", "with": {"graph": {"outputs": ["out"], "nodes": [
            {"id": "n", "kind": "function", "with": {"name": "compute"}}]}}}]}))?;
    let graph = Graph::build(&def, &registry, account).map_err(failed)?;
    let mut serial = Executor::new(&graph, account).map_err(failed)?;
    let mut parallel = ParallelExecutor::new(&graph, &workers, account).map_err(failed)?;
    let mut context = Context::new(account);
    context.set("items", &Json::from(vec![0; SLOW_NODES])).map_err(failed)?;
    let (mut one, mut all) = (Least::NONE, Least::NONE);
    for _ in 0..SLOW_ROUNDS {
        one.take(&busy, || serial.run(&mut context))?;
        all.take(&busy, || parallel.run(&mut context))?;
    }
    let case = format!("flow, a list of {SLOW_NODES} that compute for 1 ms, 2 threads");
    rows_at_once(table, &case, (&one, &all), true)
}

/// The rows of work that was done one by one and at once.
fn rows_at_once(
    table: &mut Table,
    case: &str,
    (one, all): (&Least, &Least),
    computes: bool,
) -> Result<(), BenchError> {
    table.add(
        Row::new(case, "runs per second, wall time", 1.0 / all.wall, "/s")
            .peer("one by one", 1.0 / one.wall)
            .ratio_target(Target::AtLeast(1.8))
            .note("needs both processors to itself"),
    )?;
    if computes {
        table.add(
            Row::new(case, "processor time of the busier thread", all.busiest * 1e3, "ms")
                .peer("one by one", one.busiest * 1e3)
                .ratio_target(Target::AtMost(1.0 / 1.8)),
        )?;
    }
    Ok(())
}

/// A graph of 100,000 nodes in one line: what it takes to check, to hold and to run it.
fn large(table: &mut Table) -> Result<(), BenchError> {
    const NODES: usize = 100_000;
    let node = |number: usize| {
        serde_json::json!({"id": format!("n{number}"), "kind": "condition",
            "with": {"rule": "true"}})
    };
    let nodes: Vec<_> = (0..NODES).map(node).collect();
    let edge =
        |to: usize| serde_json::json!({"from": format!("n{}", to - 1), "to": format!("n{to}")});
    let edges: Vec<_> = (1..NODES).map(edge).collect();
    let def: GraphDef =
        serde_json::from_value(serde_json::json!({"nodes": nodes, "edges": edges}))?;
    let budget = Budget::new(Bytes::mib(256));
    let account = budget.account("bench/large", Priority::Query);
    let start = Instant::now();
    let graph = Graph::build(&def, &Registry::new(), &account).map_err(failed)?;
    let took = start.elapsed().as_secs_f64();
    let case = "flow, 100,000 nodes in a line";
    table.add(Row::new(case, "check and build, wall time", took, "s"))?;
    let bytes = graph.footprint().get() as f64 / NODES as f64;
    table.add(Row::new(case, "held for each node", bytes, "B"))?;
    let mut executor = Executor::new(&graph, &account).map_err(failed)?;
    let mut context = Context::new(&account);
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let (ran, took) = time(|| executor.run(&mut context))?;
        ran.map_err(failed)?;
        least = least.min(took.cpu * 1e9 / NODES as f64);
    }
    table.add(Row::new(case, "a run, for each node", least, "ns"))
}

/// What the command line says of each example: allocations and reuse, counted by its allocator and its pool.
fn examples(bench: &mut Bench, table: &mut Table) -> Result<(), BenchError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/flow");
    let store = bench.fresh("flow")?;
    let question = bench.fresh("question.json")?;
    std::fs::write(&question, r#"{"question": "what makes a write durable?"}"#)?;
    let runs = [
        ("loan.yaml", folder.join("loans.jsonl"), "100000"),
        ("ingest.yaml", folder.join("notes.jsonl"), "100"),
        ("retrieve.yaml", question, "1000"),
    ];
    for (graph, input, repeat) in runs {
        let repeated = repeated(bench, &store, &folder.join(graph), &input, repeat)?;
        let field = |name: &str| repeated[name].as_f64().unwrap_or(f64::NAN);
        let case = format!("flow, example {graph}");
        table.add(
            Row::new(&case, "contexts used again", field("reuse_rate") * 100.0, "%")
                .target(Target::AtLeast(99.0)),
        )?;
        if graph == "loan.yaml" {
            table.add(
                Row::new(&case, "allocations of a run", field("allocations_per_run"), "")
                    .target(Target::AtMost(0.0)),
            )?;
        }
        table.add(Row::new(&case, "a run, wall time", field("us_per_run"), "us"))?;
    }
    let words = "a write is on disk before it is acknowledged. ".repeat(22);
    let text = serde_json::json!({"text": words}).to_string();
    let input = bench.fresh("text.json")?;
    std::fs::write(&input, text)?;
    let mut took = |name: &str, cache: bool| -> Result<f64, BenchError> {
        let def = serde_json::json!({"outputs": ["vector"],
            "nodes": [{"id": "embed", "kind": "embed", "cache": cache}]});
        let graph = bench.fresh(name)?;
        std::fs::write(&graph, def.to_string())?;
        let repeated = repeated(bench, &store, &graph, &input, "20000")?;
        Ok(repeated["us_per_run"].as_f64().unwrap_or(f64::NAN))
    };
    let (kept, asked) = (took("kept.json", true)?, took("asked.json", false)?);
    table.add(
        Row::new(
            "flow, embed a text of 1 KiB",
            "a run whose result is kept, wall time",
            kept,
            "us",
        )
        .peer("asked each time", asked),
    )
}

/// What `flow run --repeat` says of its first input.
fn repeated(
    bench: &mut Bench,
    store: &Path,
    graph: &Path,
    input: &Path,
    repeat: &str,
) -> Result<Json, BenchError> {
    let mut command = bench.ambit(store, ["flow", "run"])?;
    command.arg(graph).arg("--input").arg(input).args(["--repeat", repeat]);
    let ran = process::run(&command)?;
    let first = ran.stdout.lines().next().unwrap_or_default();
    Ok(serde_json::from_str::<Json>(first)?["repeated"].clone())
}
