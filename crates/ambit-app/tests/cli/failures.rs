//! Stores that cannot be opened, and budgets that are too small.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::ambit::Ambit;
use crate::array::{numbered, rows};

#[test]
fn a_store_that_is_not_there_is_not_found() {
    let ambit = Ambit::new();
    for line in ["list", "get a", "delete a", "search word", "collections", "memory", "verify"] {
        let ran = ambit.fails(&format!("{line} --store nowhere"), 1, &["nowhere"]);
        assert_eq!(ran.stdout, "");
        assert!(!ambit.path("nowhere").exists(), "{line} must not make a store");
    }
}

#[test]
fn a_store_path_that_is_a_file_is_refused() {
    let ambit = Ambit::new();
    ambit.write("file", "text");
    for line in ["add --store file", "list --store file"] {
        let ran = ambit.run(line);
        assert!([2, 6].contains(&ran.code), "{ran:?}");
        ran.failed(ran.code, &["file"]);
    }
    assert_eq!(ambit.read("file"), b"text");
}

#[test]
fn a_store_of_a_newer_format_is_refused_with_both_versions_and_left_alone() {
    let ambit = Ambit::new();
    assert_eq!(ambit.fed("add", "{\"key\":\"a\"}\n").code, 0);
    let path = ambit.path(".ambit/SUPER");
    let mut bytes = std::fs::read(&path).unwrap();
    for slot in bytes.chunks_exact_mut(4096) {
        slot[8..12].copy_from_slice(&2u32.to_le_bytes());
        let crc = crc32c::crc32c(&slot[..4092]);
        slot[4092..].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&path, &bytes).unwrap();
    for line in ["list", "delete a"] {
        ambit.fails(line, 4, &["newer", "2"]);
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_store_that_another_process_writes_to_is_locked() {
    let ambit = Ambit::new();
    let mut command = ambit.command("add --ack");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{{\"key\":\"a\"}}").unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "a");
    let pid = child.id().to_string();
    ambit.fails("delete a", 5, &[&pid]);
    assert_eq!(ambit.done("list --json").json_lines().len(), 1);
    drop(stdin);
    assert!(child.wait().unwrap().success());
    ambit.done("delete a");
}

#[test]
fn a_budget_below_what_is_needed_says_the_least_that_works() {
    let ambit = Ambit::new();
    ambit.write("x.npy", numbered(10));
    ambit.fails("import x.npy --space s --budget 1MiB", 3, &["1.0 MiB", "at least"]);
    assert!(!ambit.path(".ambit").exists());
    ambit.done("import x.npy --space s --budget 12MiB");
}

#[test]
fn an_import_of_any_size_stays_in_a_small_budget() {
    let ambit = Ambit::new();
    let values: Vec<f32> = (0..4_000_000).map(|n| (n % 1013) as f32 + 1.0).collect();
    ambit.write("x.npy", rows(&values, 400));
    ambit.done("import x.npy --space s --budget 12MiB");
    ambit.done("query x.npy --space s -k 1 --ids ids.npy --budget 12MiB");
    ambit.done("export y.npy --space s --budget 12MiB");
    assert!(ambit.read("x.npy") == ambit.read("y.npy"));
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_is_an_io_failure() {
    use std::os::unix::fs::PermissionsExt;
    let ambit = Ambit::new();
    ambit.write("locked/keep", "");
    let mode = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(ambit.path("locked"), mode(0o500)).unwrap();
    let may_anyway = std::fs::write(ambit.path("locked/probe"), "").is_ok();
    let ran = ambit.fed("add --store locked/store", "{\"key\":\"a\"}\n");
    std::fs::set_permissions(ambit.path("locked"), mode(0o700)).unwrap();
    // Root may write everywhere.
    if !may_anyway {
        ran.failed(6, &["locked/store"]);
    }
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_an_io_failure_and_what_was_stored_stays() {
    let ambit = Ambit::new();
    ambit.fed("add", "{\"key\":\"a\"}\n");
    ambit.write("x.npy", rows(&vec![1.5; 1_000_000], 100));
    // A limit on the size of files fails writes as a full disk does.
    let line = format!(
        "trap '' XFSZ; ulimit -f 2000; exec '{}' import x.npy --space s",
        env!("CARGO_BIN_EXE_ambit")
    );
    let mut shell = std::process::Command::new("sh");
    let ran = shell.args(["-c", &line]).current_dir(ambit.path(".")).output().unwrap();
    crate::ambit::Ran::from(ran).failed(6, &["File too large"]);
    assert_eq!(ambit.done("list --json").json_lines().len(), 1);
    ambit.done("verify");
}
