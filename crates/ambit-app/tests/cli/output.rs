//! Where things are printed, and for whom.

use std::io::Read;
use std::process::Stdio;

use crate::ambit::{Ambit, Ran, fields};

#[test]
fn errors_are_json_on_standard_error_where_json_was_asked_for() {
    let ran = Ambit::new().run("get a --json");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(fields(&error), ["error", "exit_code", "message"]);
    assert_eq!((&error["error"], &error["exit_code"]), (&"not_found".into(), &1.into()));
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let ambit = Ambit::new();
    let lines: String = (0..20_000).map(|n| format!("{{\"key\":\"key number {n}\"}}\n")).collect();
    ambit.fed("add", &lines);
    let mut command = ambit.command("list");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[test]
fn quiet_leaves_out_notes_and_pipes_get_no_colour() {
    let ambit = Ambit::new();
    let loud = ambit.fed("add", "{\"key\":\"a\"}\n");
    assert!(loud.stderr.contains("budget"), "{loud:?}");
    let quiet = ambit.fed("add --quiet", "{\"key\":\"b\"}\n");
    assert_eq!(quiet.stderr, "");
    assert!(!ambit.done("list").stdout.contains('\x1b'));
}

#[test]
fn stored_text_cannot_steer_the_terminal() {
    let ambit = Ambit::new();
    ambit.fed("add", "{\"key\":\"a\",\"text\":\"\\u001b[2Jgone\"}\n");
    let printed = ambit.done("get a").stdout;
    assert!(printed.contains("\u{fffd}[2Jgone") && !printed.contains('\x1b'), "{printed}");
}

#[test]
fn help_names_commands_exit_codes_and_settings() {
    let help = Ambit::new().done("--help").stdout;
    for word in ["import", "completions", "130", "over", "AMBIT_BUDGET", "ambit.toml"] {
        assert!(help.contains(word), "no {word} in {help}");
    }
    Ambit::new().fails("frobnicate", 2, &["frobnicate"]);
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Ambit::new().done(&format!("completions {shell}")).stdout;
        assert!(script.contains("collections"), "{shell}");
    }
}

#[test]
fn the_documentation_lists_every_exit_code_and_setting() {
    let docs = include_str!("../../../../docs/cli.md");
    let help = Ambit::new().done("--help").stdout;
    let (_, codes) = help.split_once("Exit codes:\n").unwrap();
    for line in codes.lines().take_while(|line| !line.trim().is_empty()) {
        let (code, meaning) = line.trim().split_once(' ').unwrap();
        let row = format!("| {code} | {} |", meaning.trim());
        assert!(docs.contains(&row), "no row '{row}' in docs/cli.md");
    }
    for setting in Ambit::new().done("config --json").json_lines() {
        let name = setting["name"].as_str().unwrap();
        assert!(docs.contains(&format!("| `{name}` |")), "no setting {name} in docs/cli.md");
    }
}
