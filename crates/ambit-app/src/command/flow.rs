//! `ambit flow run|check|draw FILE`: graphs of steps, from files.
//!
//! A graph that names nodes of the store opens it: for reading, or for writing where a node
//! writes. Others need no store. `run` reads JSON maps, one run for each, and prints what the
//! graph's outputs are; with `--repeat` it runs each again and says what a run takes.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ambit_flow::{
    BuildError, ContextPool, Drawing, FormatError, Graph, GraphDef, Lookup, MAX_FILE, NodeTrace,
    Port, RunError, RunOptions,
};
use ambit_mem::{Account, Budget, Bytes, PoolConfig, Priority, default_limit};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value as Json;

use super::Session;
use crate::exit::{Code, Failure};
use crate::flow::{Place, Results, Runner, keeps_results, registry, uses_store, writes};
use crate::output::{clean, counted};

/// Runs before what is measured, so that buffers have their sizes.
const WARM_UP: u64 = 100;

/// Options of `ambit flow`.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Run a graph, once for each JSON map of its input
    Run(RunArguments),
    /// Check a graph and say what it takes and gives, or everything that is wrong with it
    Check {
        /// The graph, in YAML or JSON
        file: PathBuf,
    },
    /// Draw a graph for Graphviz, or as SVG
    Draw {
        /// The graph, in YAML or JSON
        file: PathBuf,
        /// File for the drawing: .svg or .dot [default: dot on standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The graph, in YAML or JSON
    file: PathBuf,
    /// JSON maps of input values: a text that begins with {, a file, or - for standard input
    #[arg(long, value_name = "INPUT", default_value = "{}")]
    input: String,
    /// Run each input so many times, and say what a run takes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// Say of each node what became of it and how long it took
    #[arg(long)]
    trace: bool,
    /// File for a drawing of the last run: .svg or .dot
    #[arg(long, value_name = "FILE")]
    draw: Option<PathBuf>,
    /// Run independent nodes, and the elements of lists, on so many threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    workers: u16,
    /// Bytes that results of nodes with `cache` may take [default: 16MiB, or an eighth of the budget]
    #[arg(long, value_name = "BYTES")]
    cache: Option<Bytes>,
    /// Milliseconds that a run may take
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// Bytes that the values of a run may take, as in 1MiB
    #[arg(long, value_name = "BYTES")]
    run_budget: Option<Bytes>,
}

#[derive(Serialize)]
struct Checked<'a> {
    name: &'a str,
    nodes: usize,
    layers: usize,
    reads: Vec<PrintedPort<'a>>,
    writes: Vec<PrintedPort<'a>>,
    bytes: u64,
}

#[derive(Serialize)]
struct PrintedPort<'a> {
    key: &'a str,
    r#type: &'a str,
}

#[derive(Serialize)]
struct Ran {
    outputs: serde_json::Map<String, Json>,
    ran: u32,
    skipped: u32,
    failed: u32,
    failures: Vec<PrintedFailure>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trace: Vec<PrintedTrace>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated: Option<Repeated>,
}

#[derive(Serialize)]
struct PrintedFailure {
    node: String,
    error: String,
}

#[derive(Serialize)]
struct PrintedTrace {
    node: String,
    state: &'static str,
    seconds: f64,
    bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'static str>,
}

/// What many runs took.
#[derive(Debug, Clone, Copy, Serialize)]
struct Repeated {
    runs: u64,
    us_per_run: f64,
    allocations_per_run: f64,
    reuse_rate: f64,
}

/// Runs, checks or draws a graph.
///
/// # Errors
/// Bad input: the file, the graph, the values; the facade's; what a node fails with.
pub fn run(options: &Options, session: &mut Session) -> Result<Code, Failure> {
    match &options.action {
        Action::Run(arguments) => run_graph(arguments, session),
        Action::Check { file } => check(file, session),
        Action::Draw { file, out } => draw(file, out.as_deref(), session),
    }
}

/// A graph with what it was built for.
struct Opened {
    graph: Graph,
    account: Account,
}

fn read(file: &Path) -> Result<GraphDef, Failure> {
    let size = std::fs::metadata(file).map_err(|error| Failure::io("read", file, &error))?.len();
    if size > MAX_FILE as u64 {
        let message = format!("{}: {size} bytes; a graph has at most {MAX_FILE}", file.display());
        return Err(Failure::usage(message));
    }
    let text = std::fs::read_to_string(file).map_err(|error| Failure::io("read", file, &error))?;
    Ok(GraphDef::from_text(&text)?)
}

fn open(file: &Path, cache: Option<Bytes>, session: &Session) -> Result<Opened, Failure> {
    let def = read(file).map_err(|failure| failure.within(file.display()))?;
    let store = match (uses_store(&def), writes(&def)) {
        (false, _) => None,
        (true, false) => Some(session.read()?),
        (true, true) => Some(session.create()?),
    };
    let budget = match &store {
        Some(store) => store.budget().clone(),
        None => Budget::new(session.settings.budget.value.unwrap_or_else(|| default_limit().0)),
    };
    let place = Place::new(store, &budget, session.name());
    build(&def, &place, cache, &budget).map_err(|failure| failure.within(file.display()))
}

/// Builds without a store: names, rules and types are checked, and nothing is opened.
fn open_to_look(file: &Path, session: &Session) -> Result<Opened, Failure> {
    let def = read(file).map_err(|failure| failure.within(file.display()))?;
    let budget = Budget::new(session.settings.budget.value.unwrap_or_else(|| default_limit().0));
    let place = Place::new(None, &budget, session.name());
    build(&def, &place, None, &budget).map_err(|failure| failure.within(file.display()))
}

fn build(
    def: &GraphDef,
    place: &Arc<Place>,
    cache: Option<Bytes>,
    budget: &Budget,
) -> Result<Opened, Failure> {
    let account = budget.account("flow", Priority::Query);
    let results = keeps_results(def).then(|| Results::new(cache, budget)).transpose()?;
    let graph = Graph::build(def, &registry(place, results), &account)?;
    Ok(Opened { graph, account })
}

fn check(file: &Path, session: &mut Session) -> Result<Code, Failure> {
    let Opened { graph, .. } = open_to_look(file, session)?;
    if session.output.is_json() {
        session.output.json(&Checked {
            name: graph.name(),
            nodes: graph.len(),
            layers: graph.depth(),
            reads: printed(graph.reads()),
            writes: printed(graph.writes()),
            bytes: graph.footprint().get(),
        })?;
        return Ok(Code::Done);
    }
    let nodes = counted(graph.len() as u64, "node", "nodes");
    let layers = counted(graph.depth() as u64, "layer", "layers");
    session.output.line(format_args!("sound: {nodes} in {layers}, {}", graph.footprint()))?;
    for (what, ports) in [("takes", graph.reads()), ("gives", graph.writes())] {
        for port in ports {
            session.output.line(format_args!("{what} {}: {}", clean(&port.name), port.kind))?;
        }
    }
    Ok(Code::Done)
}

fn printed(ports: &[Port]) -> Vec<PrintedPort<'_>> {
    ports.iter().map(|port| PrintedPort { key: &port.name, r#type: port.kind.name() }).collect()
}

fn draw(file: &Path, out: Option<&Path>, session: &mut Session) -> Result<Code, Failure> {
    let Opened { graph, .. } = open_to_look(file, session)?;
    let drawing = Drawing::new(&graph);
    match out {
        Some(out) => write_drawing(&drawing, out)?,
        None => session.output.line(drawing.dot().trim_end())?,
    }
    Ok(Code::Done)
}

fn write_drawing(drawing: &Drawing<'_>, out: &Path) -> Result<(), Failure> {
    let text = match out.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => drawing.svg(),
        Some("dot" | "gv") => drawing.dot(),
        _ => {
            let message = format!("{}: a drawing is a .svg or a .dot file", out.display());
            return Err(Failure::usage(message));
        }
    };
    std::fs::write(out, text).map_err(|error| Failure::io("write", out, &error))
}

fn run_graph(arguments: &RunArguments, session: &mut Session) -> Result<Code, Failure> {
    let inputs = inputs(&arguments.input)?;
    let Opened { graph, account } = open(&arguments.file, arguments.cache, session)?;
    let pool = ContextPool::new(PoolConfig::default(), &account.child("contexts"))?;
    let mut runner = Runner::new(&graph, arguments.workers.into(), &account)?;
    if arguments.trace || arguments.draw.is_some() {
        runner.take_times();
    }
    for input in &inputs {
        let ran = one_input(
            arguments,
            &mut Work {
                graph: &graph,
                pool: &pool,
                runner: &mut runner,
                allocator: session.allocator,
            },
            input,
        )?;
        print(&ran, session)?;
    }
    if let Some(out) = &arguments.draw {
        write_drawing(&Drawing::new(&graph).with_trace(runner.trace().into_iter()), out)?;
    }
    Ok(Code::Done)
}

/// What runs have in common.
struct Work<'a> {
    graph: &'a Graph,
    pool: &'a ContextPool,
    runner: &'a mut Runner,
    allocator: fn() -> ambit_mem::AllocatorStats,
}

fn one_input(arguments: &RunArguments, work: &mut Work<'_>, input: &Json) -> Result<Ran, Failure> {
    let warm_up = if arguments.repeat > 1 { WARM_UP } else { 0 };
    let mut measured = None;
    let mut last = None;
    for run in 0..warm_up + arguments.repeat {
        if run == warm_up {
            measured = Some(((work.allocator)(), Instant::now()));
        }
        let mut context = work.pool.acquire();
        context.set_fields(input).map_err(|error| Failure::usage(error.to_string()))?;
        let deadline =
            arguments.timeout.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let budget = arguments.run_budget.unwrap_or(Bytes::MAX);
        let options = RunOptions { deadline, budget, ..RunOptions::default() };
        let outcome = work.runner.run(&mut context, &options)?;
        if run + 1 == warm_up + arguments.repeat {
            let taken = measured.map(|(before, start)| {
                let allocations = (work.allocator)().allocations - before.allocations;
                (start.elapsed(), allocations)
            });
            last = Some((outcome, outputs(work.graph, &context, input), taken));
        }
    }
    let Some((outcome, outputs, taken)) = last else {
        return Err(Failure::usage("nothing was run"));
    };
    let repeated = taken.filter(|_| arguments.repeat > 1).map(|(took, allocations)| Repeated {
        runs: arguments.repeat,
        us_per_run: took.as_secs_f64() * 1e6 / arguments.repeat as f64,
        allocations_per_run: allocations as f64 / arguments.repeat as f64,
        reuse_rate: work.pool.stats().reuse_rate(),
    });
    let failures = work.runner.failures().iter().map(|failure| PrintedFailure {
        node: failure.node.clone(),
        error: failure.error.to_string(),
    });
    let failures = failures.collect();
    let trace = if arguments.trace {
        work.runner.trace().into_iter().map(traced).collect()
    } else {
        vec![]
    };
    let (ran, skipped, failed) = (outcome.ran, outcome.skipped, outcome.failed);
    Ok(Ran { outputs, ran, skipped, failed, failures, trace, repeated })
}

fn traced(trace: NodeTrace<'_>) -> PrintedTrace {
    PrintedTrace {
        node: trace.node.to_owned(),
        state: trace.state.name(),
        seconds: trace.time.as_secs_f64(),
        bytes: trace.bytes,
        cache: match trace.lookup {
            Lookup::None => None,
            Lookup::Hit => Some("hit"),
            Lookup::Miss => Some("miss"),
        },
    }
}

/// What the graph names as outputs; where it names none, all that was not put in.
fn outputs(
    graph: &Graph,
    context: &ambit_flow::Context,
    input: &Json,
) -> serde_json::Map<String, Json> {
    if graph.writes().is_empty() {
        let new = context.iter().filter(|(key, _)| input.get(key).is_none());
        return new.map(|(key, value)| (key.to_owned(), value.to_json())).collect();
    }
    let set = graph.writes().iter().filter_map(|port| {
        context.get(&port.name).map(|value| (port.name.clone(), value.to_json()))
    });
    set.collect()
}

fn print(ran: &Ran, session: &mut Session) -> Result<(), Failure> {
    let output = &mut session.output;
    if output.is_json() {
        return output.json(ran);
    }
    for (key, value) in &ran.outputs {
        let text = match value {
            Json::String(text) => text.clone(),
            other => other.to_string(),
        };
        output.line(format_args!("{}: {}", output.bold(clean(key)), clean(&text)))?;
    }
    for PrintedFailure { node, error } in &ran.failures {
        output.line(format_args!("failed {}: {}", clean(node), clean(error)))?;
    }
    for PrintedTrace { node, state, seconds, bytes, cache } in &ran.trace {
        let took = Duration::from_secs_f64(*seconds);
        let cache = match cache {
            Some("hit") => ", from the cache",
            _ => "",
        };
        let node = clean(node);
        output.line(format_args!("{state:<8} {took:>10.1?} {bytes:>9} B  {node}{cache}"))?;
    }
    if let Some(Repeated { runs, us_per_run, allocations_per_run, reuse_rate }) = ran.repeated {
        output.line(format_args!(
            "{}: {us_per_run:.2} us and {allocations_per_run:.2} allocations each, {:.2} % of \
             contexts used again",
            counted(runs, "run", "runs"),
            reuse_rate * 100.0
        ))?;
    }
    Ok(())
}

/// The maps of `--input`.
fn inputs(input: &str) -> Result<Vec<Json>, Failure> {
    let text = if input.trim_start().starts_with('{') {
        input.to_owned()
    } else if input == "-" {
        let mut text = String::new();
        std::io::stdin().lock().read_to_string(&mut text).map_err(|error| {
            Failure::new(Code::Io, format!("cannot read standard input: {error}"))
        })?;
        text
    } else {
        let path = Path::new(input);
        std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?
    };
    let maps: Result<Vec<Json>, _> =
        serde_json::Deserializer::from_str(&text).into_iter::<Json>().collect();
    let maps = maps.map_err(|error| Failure::usage(format!("--input: {error}")))?;
    if maps.is_empty() {
        return Err(Failure::usage("--input: no JSON map is in it"));
    }
    Ok(maps)
}

impl From<FormatError> for Failure {
    fn from(error: FormatError) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let code = if error.is_over_budget() { Code::OverBudget } else { Code::Usage };
        Self::new(code, error.to_string())
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let code = if error.is_over_budget() {
            Code::OverBudget
        } else if error.is_retryable() {
            Code::Io
        } else {
            Code::Usage
        };
        Self::new(code, error.to_string())
    }
}
