//! `memory --watch`, `--profile` and `--leaks` on a command that is running.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::Value;

use crate::ambit::{Ambit, Ran};

/// `add --ack` that waits for lines.
struct Adding {
    child: Child,
    input: ChildStdin,
    acks: BufReader<ChildStdout>,
    added: u32,
}

impl Adding {
    fn start(ambit: &Ambit) -> Self {
        let mut command = ambit.command("add --ack --budget 16MiB -q");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let acks = BufReader::new(child.stdout.take().unwrap());
        let mut adding = Self { child, input, acks, added: 0 };
        // It listens before it reads.
        adding.add(1);
        adding
    }

    fn add(&mut self, lines: u32) {
        for _ in 0..lines {
            let text = "word ".repeat(1000);
            writeln!(self.input, "{{\"key\": \"k{}\", \"text\": \"{text}\"}}", self.added).unwrap();
            self.added += 1;
            self.input.flush().unwrap();
            let mut ack = String::new();
            self.acks.read_line(&mut ack).unwrap();
            assert!(ack.contains('k'), "{ack}");
        }
    }

    fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

fn started(ambit: &Ambit, line: &str) -> Child {
    let mut command = ambit.command(line);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// One look at the running command.
fn look(ambit: &Ambit) -> Value {
    let mut watch = started(ambit, "memory --watch --every 86400 --json");
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    watch.kill().unwrap();
    watch.wait().unwrap();
    serde_json::from_str(&line).unwrap()
}

/// Waits until a profiler has begun: its tables are paid for.
fn wait_for_profiler(ambit: &Ambit) {
    let is_profiler = |owner: &Value| owner["name"] == "profiler" && owner["total"] != 0;
    while !look(ambit)["owners"]["children"].as_array().unwrap().iter().any(is_profiler) {}
}

#[test]
fn a_running_command_is_watched_until_it_ends() {
    let ambit = Ambit::new();
    let adding = Adding::start(&ambit);
    let mut watch = started(&ambit, "memory --watch --every 0.1 --json");
    let mut looks = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut look = || -> Value { serde_json::from_str(&looks.next().unwrap().unwrap()).unwrap() };
    let (first, second) = (look(), look());
    assert_eq!(first["pid"], adding.child.id());
    assert_eq!(first["command"], "add");
    assert_eq!(first["limit"], 16 << 20);
    assert!(first["owners"]["total"].as_u64().unwrap() > 0);
    assert!(second["seconds"].as_f64() > first["seconds"].as_f64());
    adding.end();
    assert!(looks.all(|look| look.is_ok()));
    assert!(watch.wait().unwrap().success());
    ambit.fails("memory --watch", 1, &["no command is running on the store", ".ambit"]);
    assert_eq!(std::fs::read_dir(ambit.path("ambit")).unwrap().count(), 0, "no socket is left");
}

#[test]
fn a_profile_ends_with_the_command_and_names_who_allocates() {
    let ambit = Ambit::new();
    let mut adding = Adding::start(&ambit);
    let profile = started(&ambit, "memory --profile --for 86400 --json");
    wait_for_profiler(&ambit);
    let other = ambit.run("memory --profile --for 0.1");
    other.failed(5, &["a memory profiler is running in this process"]);
    adding.add(400);
    adding.end();
    let profile = Ran::from(profile.wait_with_output().unwrap()).json();
    let sites = profile["sites"].as_array().unwrap();
    assert!(!sites.is_empty());
    let functions = sites.iter().flat_map(|site| site["stack"].as_array().unwrap());
    let functions: Vec<&str> = functions.filter_map(|frame| frame["function"].as_str()).collect();
    assert!(functions.iter().any(|name| name.contains("ambit")), "{functions:?}");
}

#[test]
fn a_profile_is_written_in_the_form_of_its_file() {
    let ambit = Ambit::new();
    let mut adding = Adding::start(&ambit);
    let profile = started(&ambit, "memory --profile --for 86400 --out a.svg");
    wait_for_profiler(&ambit);
    adding.add(1000);
    adding.end();
    let ran = Ran::from(profile.wait_with_output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ambit.read("a.svg").starts_with(b"<?xml"));
    let adding = Adding::start(&ambit);
    ambit.fails("memory --profile --for 0.1 --out b.svg", 1, &["a flame graph of nothing"]);
    let written = ambit.done("memory --profile --for 0.1 --out a.pb --json").json();
    assert_eq!(written["bytes"], ambit.read("a.pb").len() as u64);
    assert_eq!(written["command"], "add");
    ambit.fails("memory --profile --out a.txt", 2, &["a.txt", ".pb (pprof)"]);
    let text = ambit.done("memory --profile --for 0.1").stdout;
    assert!(text.contains("samples of one in 512.0 KiB"), "{text}");
    adding.end();
}

#[test]
fn leaks_are_looked_for_over_some_time() {
    let ambit = Ambit::new();
    let adding = Adding::start(&ambit);
    let report = ambit.done("memory --leaks --every 0.1 --for 0.5 --json").json();
    assert!(report["snapshots"].as_u64().unwrap() >= 3, "{report}");
    let pid = adding.child.id();
    let text = ambit.done(&format!("memory --leaks --every 0.1 --for 0.5 --pid {pid}")).stdout;
    assert!(text.contains("sites leak"), "{text}");
    ambit.fails("memory --leaks --pid 1", 1, &["process 1 is no running ambit command"]);
    adding.end();
}

#[test]
fn options_for_a_running_command_are_checked() {
    let ambit = Ambit::new();
    ambit.fails("memory --watch --leaks", 2, &["cannot be used with"]);
    ambit.fails("memory --pid 7", 2, &["--watch"]);
    ambit.fails("memory --leaks --for 0", 2, &["from 0.1 to 86400"]);
    ambit.fails("memory --profile --for soon", 2, &["from 0.1 to 86400"]);
    ambit.fails("memory --leaks --out a.pb", 2, &["--profile"]);
}
