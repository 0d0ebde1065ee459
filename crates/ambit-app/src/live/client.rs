//! The asking side: finds a running command and asks it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::place;
use super::server::name_of;
use super::wire::{Hello, Reason, Reply, Request, is_timeout};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;

/// After this long a wait for a reply looks for Ctrl-C.
const TICK: Duration = Duration::from_millis(100);
/// Bytes of a line, and of what comes behind a reply, at most.
const MAX_LINE: u64 = 64 << 10;
const MAX_BODY: u64 = 1 << 30;

/// A running command that answers.
#[derive(Debug)]
pub struct Running {
    /// Who it is.
    pub hello: Hello,
    reader: BufReader<UnixStream>,
}

impl Running {
    /// The command that works on the store in `directory`; the one of process `pid`, if given.
    ///
    /// # Errors
    /// Not found: there is none, or there are several and `pid` does not say which. The system's.
    pub fn find(directory: &Path, pid: Option<u32>) -> Result<Self, Failure> {
        let place = place::directory().map_err(|error| broken(&error))?;
        let store = name_of(directory);
        let mut found = Vec::new();
        let entries =
            std::fs::read_dir(&place).map_err(|error| Failure::io("read", &place, &error))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let wanted = pid.is_none_or(|pid| path.ends_with(format!("{pid}.sock")));
            if !wanted || path.extension().is_none_or(|extension| extension != "sock") {
                continue;
            }
            match Self::connect(&path) {
                Ok(running) if pid.is_some() || running.hello.store == store => found.push(running),
                Ok(_) => {}
                // Its process ended without removing it.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    let _ = std::fs::remove_file(&path);
                }
                // It is ending just now, or turns clients away.
                Err(_) => {}
            }
        }
        match (found.len(), found.pop(), pid) {
            (1, Some(running), _) => Ok(running),
            (0, _, Some(pid)) => Err(Failure::not_found(format!(
                "process {pid} is no running ambit command that can be asked"
            ))),
            (0, _, None) => Err(Failure::not_found(format!(
                "no command is running on the store {store}: start one (index, import, add, \
                 export, query or verify), or name another store with --store"
            ))),
            (_, last, _) => {
                let all = found
                    .iter()
                    .chain(&last)
                    .map(|running| format!("{} ({})", running.hello.pid, running.hello.command));
                let all = all.collect::<Vec<_>>().join(", ");
                Err(Failure::new(
                    Code::Usage,
                    format!(
                        "several commands are running on the store {store}: say which by --pid: {all}"
                    ),
                ))
            }
        }
    }

    fn connect(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(10 * TICK))?;
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        let hello = serde_json::from_slice(&line)?;
        reader.get_mut().set_read_timeout(Some(TICK))?;
        Ok(Self { hello, reader })
    }

    /// Asks, and waits for the answer; `None` where the command ended without one. Ctrl-C asks
    /// for what there is so far. `waiting` is called about ten times a second.
    ///
    /// # Errors
    /// The command's refusal; the system's.
    pub fn ask(
        &mut self,
        request: &Request,
        interrupt: &Interrupt,
        waiting: &mut dyn FnMut(),
    ) -> Result<Option<Vec<u8>>, Failure> {
        let mut bytes = serde_json::to_vec(request).map_err(|error| broken(&error.into()))?;
        bytes.push(b'\n');
        if self.reader.get_mut().write_all(&bytes).is_err() {
            return Ok(None);
        }
        let mut is_cut = false;
        let mut wait = |stream: &UnixStream| {
            if interrupt.requested() && !is_cut {
                is_cut = true;
                let _ = stream.shutdown(Shutdown::Write);
            }
            waiting();
        };
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            match self.reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => wait(self.reader.get_ref()),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(broken(&error)),
            }
        }
        let reply: Reply = serde_json::from_slice(&line).map_err(|error| broken(&error.into()))?;
        if let Some(refusal) = reply.error {
            let code = match refusal.reason {
                Reason::OverBudget => Code::OverBudget,
                Reason::Busy => Code::Locked,
                Reason::Empty => Code::NotFound,
                Reason::Failed => Code::Io,
            };
            return Err(Failure::new(code, refusal.message));
        }
        let mut body = Vec::new();
        let wanted = reply.bytes.min(MAX_BODY);
        while (body.len() as u64) < wanted {
            let left = wanted - body.len() as u64;
            match self.reader.by_ref().take(left).read_to_end(&mut body) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if is_timeout(&error) => wait(self.reader.get_ref()),
                Err(error) => return Err(broken(&error)),
            }
        }
        Ok(Some(body))
    }
}

fn broken(error: &io::Error) -> Failure {
    Failure::new(Code::Io, format!("cannot ask a running command: {error}"))
}
