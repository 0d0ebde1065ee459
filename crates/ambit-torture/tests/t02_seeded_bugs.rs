//! T2: every planted fault. Together they take seconds, so none waits for its turn.

use ambit_store::bugs::SeededBug;
use ambit_torture::seeded::{WITHIN, hunt};

#[test]
fn planted_faults_are_caught() {
    let mut missed = Vec::new();
    for bug in SeededBug::ALL {
        let found = hunt(bug, 1);
        let what = found.caught.as_deref().map(|what| what.lines().next().unwrap_or(what));
        println!("T2: {bug:?} by {} after {}: {what:?}", found.test, found.tried);
        if what.is_none() {
            missed.push(bug);
        }
    }
    assert!(missed.is_empty(), "not caught within {WITHIN}: {missed:?}");
}
