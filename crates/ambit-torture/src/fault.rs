//! T3: a disk that fails.
//!
//! A seeded workload runs once for each of its calls, each fault that fits the call, and each
//! way that it can strike: once, or from then on. Short reads, short writes and interruptions
//! must not be noticed at all. After an error the store must still show the last acknowledged
//! state; later operations succeed or are refused as poisoned; and whether the process or the
//! power dies then, the next opening holds the acknowledged operations and at most the one
//! that failed. A failed sync loses its bytes for good, as kernels do.

use std::ops::AddAssign;
use std::sync::Arc;

use ambit_store::bugs::Bugs;
use ambit_store::vfs::{CallKind, Crash, Event, Fault, FaultFs, FaultMode, SimFs, TraceFs};
use ambit_store::{ErrorKind, StoreError};

use crate::crash::settle;
use crate::dice::Dice;
use crate::fleet::{self, Outcome};
use crate::model::Model;
use crate::subject::{Opening, Subject};
use crate::workload::{self, Op};

/// Operations of one workload.
const OPS: usize = 18;

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Workloads whose every call was made to fail.
    pub workloads: u64,
    /// Runs, each with one fault.
    pub runs: u64,
    /// Runs in which an operation failed.
    pub failed: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.workloads += other.workloads;
        self.runs += other.runs;
        self.failed += other.failed;
    }
}

/// Takes workloads from `seed` on through all their faults until at least `runs` were made or
/// one broke a promise, on all cores.
pub fn torture(seed: u64, runs: u64, bugs: Bugs) -> Outcome<Tally> {
    fleet::run(seed, |run| workload(run, bugs), |tally: &Tally| tally.runs >= runs)
}

/// All faults of one workload.
fn workload(seed: u64, bugs: Bugs) -> (Tally, Result<(), String>) {
    let mut tally = Tally { workloads: 1, ..Tally::default() };
    let opening = Opening { bugs, ..Opening::default() };
    let ops = workload::draw(seed, OPS);
    let kinds = match kinds_of_calls(&ops, opening) {
        Ok(kinds) => kinds,
        Err(what) => return (tally, Err(format!("seed {seed}, no fault: {what}"))),
    };
    for (call, kind) in (0..).zip(kinds) {
        for fault in Fault::ALL.into_iter().filter(|fault| fault.applies(kind)) {
            for mode in [FaultMode::Once, FaultMode::Sticky] {
                tally.runs += 1;
                let dice = Dice::stream(seed, call);
                match Run::new(opening, dice).go(&ops, (call, fault, mode)) {
                    Ok(failed) => tally.failed += u64::from(failed),
                    Err(what) => {
                        let place = format!("seed {seed}, {fault:?} {mode:?} at call {call}");
                        let ops = show(&ops);
                        return (tally, Err(format!("{place} ({kind:?}): {what}\n{ops}")));
                    }
                }
            }
        }
    }
    (tally, Ok(()))
}

fn show(ops: &[Op]) -> String {
    let lines = ops.iter().enumerate().map(|(index, op)| format!("  op {index}: {op:?}\n"));
    lines.collect()
}

/// The kind of each call of the workload, without a fault.
fn kinds_of_calls(ops: &[Op], opening: Opening) -> Result<Vec<CallKind>, String> {
    let (traced, events) = TraceFs::collect(Arc::new(SimFs::new()));
    let told = |error: StoreError| error.to_string();
    let open = || Subject::open(Arc::new(traced.clone()), opening).map_err(told);
    let mut subject = Some(open()?);
    for op in ops {
        if let Some(subject) = &subject {
            subject.apply(op).map_err(told)?;
        }
        if matches!(op, Op::Close | Op::Kill) {
            drop(subject.take());
            subject = Some(open()?);
        }
    }
    let events = events.lock().map_err(|_| "the trace is poisoned")?;
    let kinds = events.iter().filter_map(|event| match event {
        Event::Begin(call) => Some(call.kind),
        _ => None,
    });
    Ok(kinds.collect())
}

/// One run of the workload with one fault.
struct Run {
    disk: SimFs,
    fs: FaultFs,
    opening: Opening,
    dice: Dice,
    /// What was acknowledged last, and what a reader must see.
    shown: Model,
    /// What the next opening may find.
    allowed: Vec<Model>,
    failed: bool,
}

impl Run {
    fn new(opening: Opening, dice: Dice) -> Self {
        let disk = SimFs::new();
        let fs = FaultFs::over(&disk);
        let empty = Model::default();
        Self { disk, fs, opening, dice, shown: empty.clone(), allowed: vec![empty], failed: false }
    }

    /// Runs `ops` with the fault armed; did one of them fail?
    fn go(mut self, ops: &[Op], fault: (u64, Fault, FaultMode)) -> Result<bool, String> {
        let (call, fault, mode) = fault;
        self.fs.arm(call, fault, mode);
        let is_masked = matches!(fault, Fault::Eintr | Fault::ShortRead | Fault::ShortWrite);
        let mut subject = self.open(is_masked)?;
        for (index, op) in ops.iter().enumerate() {
            let what = |what: String| format!("operation {index} ({op:?}): {what}");
            // What failed before may have been to make the table that this one needs.
            if !workload::fits(op, &self.shown) {
                continue;
            }
            if !self.step(&subject, op, is_masked).map_err(what)? {
                break;
            }
            if matches!(op, Op::Close | Op::Kill) {
                drop(subject);
                subject = self.open(is_masked).map_err(what)?;
            }
        }
        drop(subject);
        self.fs.disarm();
        self.end()?;
        Ok(self.failed)
    }

    /// Does one operation; is the store still there to go on with?
    fn step(&mut self, subject: &Subject, op: &Op, is_masked: bool) -> Result<bool, String> {
        let error = match subject.apply(op) {
            Ok(()) => {
                // An operation that changes no row may have had nothing to do; it says nothing
                // of one that failed before it.
                let after = self.shown.after(op);
                if after != self.shown {
                    self.shown = after;
                    self.allowed = vec![self.shown.clone()];
                }
                return Ok(true);
            }
            Err(error) => error,
        };
        self.judge(&error, is_masked)?;
        self.fs.disarm();
        if error.kind() != ErrorKind::Poisoned {
            self.allowed.push(self.shown.after(op));
        }
        let found = subject.read().map_err(|trouble| {
            format!("failed ({error}), and then the old state cannot be read: {trouble}")
        })?;
        if let Some(difference) = found.difference(&self.shown) {
            return Err(format!("failed ({error}), and then shows another state: {difference}"));
        }
        Ok(self.dice.percent(60))
    }

    /// Is the error one that this fault may cause?
    fn judge(&mut self, error: &StoreError, is_masked: bool) -> Result<(), String> {
        if self.fs.struck() == 0 {
            return Err(format!("failed before any fault: {:?}: {error}", error.kind()));
        }
        if is_masked {
            return Err(format!("should not have been noticed: {:?}: {error}", error.kind()));
        }
        if !matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned) {
            return Err(format!("failed as {:?}: {error}", error.kind()));
        }
        self.failed = true;
        Ok(())
    }

    /// Opens the store; where the fault hinders that, once more without it.
    fn open(&mut self, is_masked: bool) -> Result<Subject, String> {
        let fs = Arc::new(self.fs.clone());
        let subject = match Subject::open(fs.clone(), self.opening) {
            Ok(subject) => subject,
            Err(error) => {
                self.judge(&error, is_masked).map_err(|what| format!("opening {what}"))?;
                self.fs.disarm();
                Subject::open(fs, self.opening).map_err(|again| {
                    format!("opening failed ({error}), and again without a fault: {again}")
                })?
            }
        };
        let read = subject.read();
        let found = match read {
            Ok(found) => found,
            Err(crate::subject::Trouble::Refused(error)) => {
                self.judge(&error, is_masked).map_err(|what| format!("reading {what}"))?;
                self.fs.disarm();
                let again = subject.read();
                again.map_err(|again| format!("read failed ({error}), and then: {again}"))?
            }
            Err(trouble) => return Err(trouble.to_string()),
        };
        let Some(state) = self.allowed.iter().find(|state| **state == found) else {
            let difference = found.difference(&self.shown).unwrap_or_default();
            return Err(format!("opens with a state that it never may: {difference}"));
        };
        self.shown = state.clone();
        self.allowed = vec![self.shown.clone()];
        Ok(subject)
    }

    /// The process or the power dies, the store is opened again, and the power dies after.
    fn end(&mut self) -> Result<(), String> {
        let crash = match self.dice.below(4) {
            0 => Crash::LoseUnsynced,
            1 => Crash::Power(self.dice.draw()),
            _ => Crash::Process,
        };
        let disk = self.disk.crash(crash);
        let seen = settle(&disk, &self.allowed, self.opening)
            .map_err(|what| format!("then {crash:?}: {what}"))?;
        settle(&disk.crash(Crash::LoseUnsynced), &self.allowed[seen..=seen], self.opening)
            .map_err(|what| format!("then {crash:?}, a good opening, and a power cut: {what}"))?;
        Ok(())
    }
}
