//! Flags, environment, `ambit.toml` and defaults.

use crate::ambit::{Ambit, Ran, fields};

fn sources(ran: &Ran) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    ran.json_lines().iter().map(|line| (text(&line["name"]), text(&line["source"]))).collect()
}

#[test]
fn config_shows_each_value_and_where_it_came_from() {
    let ambit = Ambit::new();
    ambit.write("ambit.toml", "store = 'kept'\nbudget = '32MiB'\nthreads = 3\n");
    let mut command = ambit.command("config --json --threads 5");
    let ran = Ran::from(command.env("AMBIT_BUDGET", "48MiB").output().unwrap());
    assert_eq!(fields(&ran.json_lines()[0]), ["name", "source", "value"]);
    let found = sources(&ran);
    for (name, source) in [
        ("store", "ambit.toml"),
        ("budget", "AMBIT_BUDGET"),
        ("threads", "flag"),
        ("io", "default"),
    ] {
        assert!(found.contains(&(name.to_owned(), source.to_owned())), "{found:?}");
    }
    ambit.fed("add", "{\"key\":\"a\"}\n");
    assert!(ambit.path("kept").is_dir());
}

#[test]
fn a_wrong_setting_is_refused_with_its_place() {
    let ambit = Ambit::new();
    ambit.fails("config --budget 12parsecs", 2, &["--budget '12parsecs'", "64MiB"]);
    ambit.fails("config --threads 0", 2, &["--threads '0'", "1 to 1024"]);
    ambit.fails("config --io tape", 2, &["map or pread"]);
    ambit.write("ambit.toml", "budjet = 1\n");
    ambit.fails("config", 2, &["ambit.toml", "budjet", "budget"]);
    ambit.write("ambit.toml", "budget = [");
    ambit.fails("config", 2, &["ambit.toml"]);
}

#[test]
fn json_may_be_the_default() {
    let ambit = Ambit::new();
    ambit.write("ambit.toml", "json = true\n");
    assert!(ambit.fed("add", "{\"key\":\"a\"}\n").stdout.starts_with('{'));
}
