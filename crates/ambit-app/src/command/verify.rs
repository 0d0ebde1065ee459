//! `ambit verify`: every checksum and invariant, and the place of what is wrong.

use ambit_mem::Bytes;
use serde::Serialize;

use super::Session;
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;
use crate::output::{Output, clean, counted};
use crate::progress::{Progress, Unit};

#[derive(Serialize)]
struct Verified {
    ok: bool,
    files: u64,
    bytes: u64,
    problems: Vec<String>,
}

/// Reads the whole store; exit code 1 when anything is wrong.
///
/// # Errors
/// The facade's. A failed write.
pub fn run(session: &mut Session) -> Result<Code, Failure> {
    let interrupt = Interrupt::listen()?;
    let store = match session.read() {
        // A store too damaged to open is what this command is there to report.
        Err(failure) if failure.code() == Code::Corrupt => {
            let problems = vec![failure.to_string()];
            return print(
                &Verified { ok: false, files: 0, bytes: 0, problems },
                &mut session.output,
            );
        }
        opened => opened?,
    };
    session.serve("verify", &store);
    let progress = Progress::new(&session.output, "verify", Unit::Bytes, Some(0));
    let report = store.verify(&mut |done, total| {
        progress.set_total(total);
        progress.set(done);
        !interrupt.requested()
    });
    progress.finish();
    let report = report?;
    let verified = Verified {
        ok: report.problems.is_empty(),
        files: report.files,
        bytes: report.bytes,
        problems: report.problems,
    };
    print(&verified, &mut session.output)
}

fn print(verified: &Verified, output: &mut Output) -> Result<Code, Failure> {
    if output.is_json() {
        output.json(verified)?;
    } else {
        for problem in &verified.problems {
            output.line(clean(problem))?;
        }
        let files = counted(verified.files, "file", "files");
        let found = match verified.problems.len() as u64 {
            0 => "all is well".to_owned(),
            n => counted(n, "problem", "problems"),
        };
        let bytes = Bytes::new(verified.bytes);
        output.line(format_args!("{files}, {bytes} read: {found}"))?;
    }
    Ok(if verified.ok { Code::Done } else { Code::NotFound })
}
