//! T1: a power cut at every call that changes something.
//!
//! A seeded workload runs once over a simulated disk that keeps its state after each call.
//! From each of these moments several images are made: the process died, nothing unsynced was
//! written, or a random part of it, torn and mixed with garbage. A quarter of the images crash
//! again inside their recovery, or a few operations later, a twentieth a third time.
//!
//! Each image must open; hold the acknowledged operations and at most the one in flight, all of
//! that or nothing, down to the byte, in every version; verify as clean; and have no file that
//! nobody names after a reclamation. What one opening has shown, no later crash may take back.

use std::fmt::Write;
use std::ops::AddAssign;
use std::sync::Arc;

use ambit_store::StoreError;
use ambit_store::bugs::Bugs;
use ambit_store::vfs::{Crash, Moment, SimFs};

use crate::dice::Dice;
use crate::fleet::{self, Outcome};
use crate::model::Model;
use crate::subject::{Opening, Subject, orphans};
use crate::workload::{self, Op};

/// Operations of one workload.
const OPS: usize = 60;
/// Images per changing call.
const IMAGES: u64 = 2;
/// Calls before the crash that a failure report shows.
const SHOWN: usize = 16;

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Workloads run.
    pub workloads: u64,
    /// Calls at which images were made.
    pub calls: u64,
    /// Images opened and checked to the end.
    pub images: u64,
    /// Of these, crashed a second time.
    pub second: u64,
    /// Of these, crashed a third time.
    pub third: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.workloads += other.workloads;
        self.calls += other.calls;
        self.images += other.images;
        self.second += other.second;
        self.third += other.third;
    }
}

/// Runs workloads from `seed` on until at least `images` images were checked or one broke a
/// promise, on all cores. A failure's run is the seed of its workload.
pub fn torture(seed: u64, images: u64, bugs: Bugs) -> Outcome<Tally> {
    fleet::run(seed, |run| workload(run, bugs), |tally: &Tally| tally.images >= images)
}

/// One workload and all its images: what was done, and what broke with the operations and
/// calls that led there.
pub fn workload(seed: u64, bugs: Bugs) -> (Tally, Result<(), String>) {
    let opening = Opening { bugs, ..Opening::default() };
    let ops = workload::draw(seed, OPS);
    let mut tally = Tally { workloads: 1, ..Tally::default() };
    let life = match Life::live(&SimFs::new(), opening, &Model::default(), &ops) {
        Ok(life) => life,
        Err(what) => return (tally, Err(format!("seed {seed}, no crash: {what}"))),
    };
    for at in 0..life.moments.len() {
        tally.calls += 1;
        for image in 0..IMAGES {
            let purpose = life.moments[at].call * IMAGES + image + 2;
            let mut dice = Dice::stream(seed, purpose);
            let crash = draw_crash(&mut dice);
            let mut trail = life.report(at, crash);
            let checked = check(&life, at, crash, (opening, &mut dice), (&mut tally, &mut trail));
            if let Err(what) = checked {
                return (tally, Err(format!("seed {seed}, image {image}: {what}\n{trail}")));
            }
        }
    }
    (tally, Ok(()))
}

fn draw_crash(dice: &mut Dice) -> Crash {
    match dice.below(100) {
        0..10 => Crash::Process,
        10..25 => Crash::LoseUnsynced,
        _ => Crash::Power(dice.draw()),
    }
}

/// The time between two openings, or the whole workload: what was done, and every moment.
struct Life {
    ops: Vec<Op>,
    /// The state before the first operation, and after each.
    states: Vec<Model>,
    /// Calls made until each operation was acknowledged; the first entry is the opening.
    acknowledged: Vec<u64>,
    moments: Vec<Moment>,
}

impl Life {
    /// Opens the store on `disk`, which must hold `before`, and does `ops`.
    fn live(disk: &SimFs, opening: Opening, before: &Model, ops: &[Op]) -> Result<Self, String> {
        let subject = open(disk, opening)?;
        Self::go_on(disk, opening, subject, before, ops)
    }

    /// Does `ops` on a store that was just opened on `disk`.
    fn go_on(
        disk: &SimFs,
        opening: Opening,
        subject: Subject,
        before: &Model,
        ops: &[Op],
    ) -> Result<Self, String> {
        let mut life = Self {
            ops: ops.to_vec(),
            states: vec![before.clone()],
            acknowledged: vec![disk.calls()],
            moments: Vec::new(),
        };
        let mut subject = Some(subject);
        let mut state = before.clone();
        for (index, op) in ops.iter().enumerate() {
            let failed = |error: StoreError| {
                format!("operation {index} ({op:?}): {:?}: {error}", error.kind())
            };
            if let Some(subject) = &subject {
                subject.apply(op).map_err(failed)?;
            }
            state = state.after(op);
            if matches!(op, Op::Close | Op::Kill) {
                drop(subject.take());
                let reopened = open(disk, opening)?;
                expect(&reopened, &[&state])
                    .map_err(|what| format!("operation {index} ({op:?}): {what}"))?;
                subject = Some(reopened);
            }
            life.states.push(state.clone());
            life.acknowledged.push(disk.calls());
        }
        if let Some(subject) = &subject {
            expect(subject, &[&state]).map_err(|what| format!("at the end: {what}"))?;
        }
        life.moments = disk.moments();
        Ok(life)
    }

    /// Index of the operation in flight at a call; `None` while the store was being opened.
    fn in_flight(&self, call: u64) -> Option<usize> {
        self.acknowledged.partition_point(|&done| done <= call).checked_sub(1)
    }

    /// The states that a crash at a call may leave.
    fn allowed(&self, call: u64) -> Vec<&Model> {
        match self.in_flight(call) {
            None => vec![&self.states[0]],
            Some(op) => self.states[op..self.states.len().min(op + 2)].iter().collect(),
        }
    }

    /// The operations and the last calls before moment `at`.
    fn report(&self, at: usize, crash: Crash) -> String {
        let mut report = String::new();
        let call = self.moments[at].call;
        let last = self.in_flight(call);
        for (index, op) in self.ops.iter().enumerate().take(last.map_or(0, |op| op + 1)) {
            let _ = writeln!(report, "  op {index}: {op:?}");
        }
        for moment in &self.moments[at.saturating_sub(SHOWN)..=at] {
            let Moment { call, kind, file, .. } = moment;
            let _ = writeln!(report, "  call {call}: {kind:?} {file}");
        }
        let _ = write!(report, "  {crash:?} after call {call}, op {last:?} in flight");
        report
    }
}

fn open(disk: &SimFs, opening: Opening) -> Result<Subject, String> {
    disk.record();
    Subject::open(Arc::new(disk.clone()), opening)
        .map_err(|error| format!("does not open: {:?}: {error}", error.kind()))
}

/// Reads everything and holds it against the allowed states; which one it is.
fn expect(subject: &Subject, allowed: &[&Model]) -> Result<usize, String> {
    let found = subject.read().map_err(|trouble| format!("does not read: {trouble}"))?;
    if let Some(index) = allowed.iter().position(|state| **state == found) {
        return Ok(index);
    }
    let mut what = String::from("holds a state that it never may:");
    for (state, which) in allowed.iter().zip(["before", "after"]) {
        let difference = found.difference(state).unwrap_or_default();
        let _ = write!(what, "\n    against {which}: {difference}");
    }
    Err(what)
}

/// Crashes at moment `at` of `life`, perhaps again, and holds what is left to the promise.
/// `trail` gets what led there.
fn check(
    life: &Life,
    at: usize,
    crash: Crash,
    (opening, dice): (Opening, &mut Dice),
    (tally, trail): (&mut Tally, &mut String),
) -> Result<(), String> {
    let crashes = match dice.below(100) {
        0..5 => 2,
        5..25 => 1,
        _ => 0,
    };
    let mut disk = life.moments[at].crash(crash);
    let mut allowed: Vec<Model> =
        life.allowed(life.moments[at].call).into_iter().cloned().collect();
    for again in 0..crashes {
        (disk, allowed) = crash_again(&disk, &allowed, (opening, dice), trail)
            .map_err(|what| format!("crash {}: {what}", again + 2))?;
    }
    settle(&disk, &allowed, opening)
        .map_err(|what| format!("after crash {}: {what}", crashes + 1))?;
    tally.images += 1;
    tally.second += u64::from(crashes > 0);
    tally.third += u64::from(crashes > 1);
    Ok(())
}

/// Opens an image, perhaps works on it a little, and crashes it at some call.
fn crash_again(
    disk: &SimFs,
    allowed: &[Model],
    (opening, dice): (Opening, &mut Dice),
    trail: &mut String,
) -> Result<(SimFs, Vec<Model>), String> {
    let subject = open(disk, opening)?;
    let opened = disk.calls();
    let seen = expect(&subject, &allowed.iter().collect::<Vec<_>>())?;
    let seen = allowed[seen].clone();
    let len = if dice.percent(30) { 1 + dice.below(5) } else { 0 };
    let ops = workload::draw_more(dice, &seen, len);
    let life = Life::go_on(disk, opening, subject, &seen, &ops)?;
    if life.moments.is_empty() {
        return Ok((disk.crash(draw_crash(dice)), vec![seen]));
    }
    let at = dice.below(life.moments.len());
    let crash = draw_crash(dice);
    let moment = &life.moments[at];
    let _ = write!(trail, "\n  then, opened at call {opened}:\n{}", life.report(at, crash));
    // While the store was being opened nobody had seen which of the states it is.
    let is_shown = moment.call >= opened || at + 1 == life.moments.len();
    let allowed = match is_shown {
        true if moment.call < opened => vec![seen],
        true => life.allowed(moment.call).into_iter().cloned().collect(),
        false => allowed.to_vec(),
    };
    Ok((moment.crash(crash), allowed))
}

/// Opens the store on `disk`, holds it to every promise and closes it; which of the allowed
/// states it holds.
///
/// # Errors
/// A promise that is broken: state, checksums, invariants, or a file that nobody names.
pub fn settle(disk: &SimFs, allowed: &[Model], opening: Opening) -> Result<usize, String> {
    let told = |error: StoreError| format!("{:?}: {error}", error.kind());
    let subject = open(disk, opening)?;
    let seen = expect(&subject, &allowed.iter().collect::<Vec<_>>())?;
    let problems = subject.verify().map_err(told)?;
    if let Some(problem) = problems.first() {
        return Err(format!("does not verify: {problem} ({} problems)", problems.len()));
    }
    subject.apply(&Op::Reclaim).map_err(told)?;
    expect(&subject, &[&allowed[seen]]).map_err(|what| format!("after reclaiming: {what}"))?;
    subject.apply(&Op::Close).map_err(told)?;
    drop(subject);
    let strange = orphans(disk).map_err(told)?;
    if !strange.is_empty() {
        return Err(format!("files that nobody names after a reclamation: {strange:?}"));
    }
    Ok(seen)
}
