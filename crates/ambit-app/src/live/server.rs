//! The listening side: a thread of the command, and one for each client.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ambit_mem::Priority;
use ambit_mem::profile::{
    FormatOptions, MemoryProfiler, Metric, ProfileConfig, ProfileError, forget_names,
};

use super::place;
use super::report::Memory;
use super::subject::Subject;
use super::wire::{Form, Hello, MAX_REQUEST, Reason, Refusal, Reply, Request, is_timeout};

/// Clients at a time; the next one is turned away.
const CLIENTS: usize = 4;
/// After this long a waiting thread looks whether the command has ended.
const TICK: Duration = Duration::from_millis(100);
/// A client that does not read its reply for this long is left alone.
const PATIENCE: Duration = Duration::from_secs(10);
/// Functions below each site of a profile in text.
const FRAMES: usize = 4;

/// A command that listens; it stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    ended: Arc<AtomicBool>,
    listener: Option<JoinHandle<()>>,
}

/// The threads of clients that were let in.
type Clients = Mutex<Vec<JoinHandle<()>>>;

impl Server {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn start(subject: Subject) -> io::Result<Self> {
        let path = place::directory()?.join(format!("{}.sock", std::process::id()));
        // Left by a process that had this id before.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&ended);
        let thread = std::thread::Builder::new().name("ambit-live".into());
        let listener = thread.spawn(move || listen(&listener, &subject, &flag));
        match listener {
            Ok(listener) => Ok(Self { path, ended, listener: Some(listener) }),
            Err(error) => {
                let _ = std::fs::remove_file(&path);
                Err(error)
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; where that fails nobody can reach it either.
        let is_woken = UnixStream::connect(&self.path).is_ok();
        let _ = std::fs::remove_file(&self.path);
        if let Some(listener) = self.listener.take()
            && is_woken
        {
            let _ = listener.join();
        }
    }
}

fn listen(listener: &UnixListener, subject: &Subject, ended: &Arc<AtomicBool>) {
    let clients = Clients::default();
    while let Ok((stream, _)) = listener.accept() {
        if ended.load(Ordering::SeqCst) {
            break;
        }
        let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| !client.is_finished());
        if clients.len() >= CLIENTS {
            continue;
        }
        let (subject, ended) = (subject.clone(), Arc::clone(ended));
        let thread = std::thread::Builder::new().name("ambit-live-client".into());
        // A client that goes away, or that no thread can be had for, concerns only itself.
        clients.extend(thread.spawn(move || drop(answer(stream, &subject, &ended))));
    }
    // Whoever waits for a profile gets it as it is now.
    for client in clients.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let _ = client.join();
    }
}

/// One client's connection.
struct Connection<'a> {
    reader: BufReader<UnixStream>,
    ended: &'a AtomicBool,
}

impl Connection<'_> {
    /// Waits until the command ends, the client stops sending, or a line is there.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while !self.ended.load(Ordering::SeqCst) {
            let left = (MAX_REQUEST + 1).saturating_sub(line.len() as u64);
            match self.reader.by_ref().take(left).read_until(b'\n', &mut line) {
                Ok(_) if line.ends_with(b"\n") => return Ok(Some(line)),
                Ok(0) => return Ok(None),
                Ok(_) if line.len() as u64 > MAX_REQUEST => {
                    return Err(io::Error::new(ErrorKind::InvalidData, "too long a request"));
                }
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Waits for `seconds`, or until the command ends or the client stops sending.
    fn wait(&mut self, until: Instant) -> Waited {
        loop {
            if self.ended.load(Ordering::SeqCst) {
                return Waited::Cut;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Waited::Full;
            }
            match self.reader.fill_buf() {
                // Closed, or it said something out of turn.
                Ok(_) => return Waited::Cut,
                Err(error) if is_timeout(&error) => {}
                Err(_) => return Waited::Cut,
            }
        }
    }

    fn send(&mut self, head: &impl serde::Serialize, body: &[u8]) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(head)?;
        bytes.push(b'\n');
        let stream = self.reader.get_mut();
        stream.write_all(&bytes)?;
        stream.write_all(body)
    }
}

/// How a wait ended.
#[derive(PartialEq)]
enum Waited {
    Full,
    Cut,
}

fn answer(stream: UnixStream, subject: &Subject, ended: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut connection = Connection { reader: BufReader::new(stream), ended };
    let hello = Hello {
        pid: std::process::id(),
        command: subject.command.to_owned(),
        store: name_of(&subject.directory),
    };
    connection.send(&hello, &[])?;
    while let Some(line) = connection.next()? {
        let request = serde_json::from_slice(&line)?;
        let outcome = fulfil(request, subject, &mut connection);
        if !matches!(request, Request::Memory) {
            forget_names();
        }
        match outcome {
            Ok(body) => connection.send(&Reply { error: None, bytes: body.len() as u64 }, &body)?,
            Err(refusal) => connection.send(&Reply { error: Some(refusal), bytes: 0 }, &[])?,
        }
    }
    Ok(())
}

/// Absolute path of a store, by which clients look for it.
pub(super) fn name_of(directory: &Path) -> String {
    let path = directory.canonicalize().unwrap_or_else(|_| directory.to_owned());
    path.to_string_lossy().into_owned()
}

fn fulfil(
    request: Request,
    subject: &Subject,
    connection: &mut Connection<'_>,
) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    match request {
        Request::Memory => {
            let snapshot = subject.store.explain_memory(Some((subject.allocator)()));
            serde_json::to_writer(&mut body, &Memory::from(&snapshot)).map_err(other)?;
        }
        Request::Profile { seconds, form } => {
            let profiler = start(subject)?;
            connection.wait(after(Instant::now(), seconds));
            let profile = profiler.snapshot().map_err(|error| refused(error.into()))?;
            let options = FormatOptions { frames: FRAMES, ..FormatOptions::default() };
            match form {
                Form::Text => body = profile.format(options).into_bytes(),
                Form::Json => profile.write_json(&mut body).map_err(other)?,
                Form::Pprof => profile.write_pprof(&mut body).map_err(other)?,
                Form::FlameGraph if profile.sites().is_empty() => {
                    return Err(Refusal {
                        reason: Reason::Empty,
                        message:
                            "a flame graph of nothing: no allocation was sampled in that time; \
                                  look for longer"
                                .to_owned(),
                    });
                }
                Form::FlameGraph => {
                    profile.write_flame_graph(Metric::AllocatedBytes, &mut body).map_err(other)?;
                }
            }
        }
        Request::Leaks { seconds, every, form } => {
            let profiler = start(subject)?;
            let begun = Instant::now();
            let until = after(begun, seconds);
            let mut next = begun;
            loop {
                profiler.snapshot().map_err(|error| refused(error.into()))?;
                next = after(next, every.max(TICK.as_secs_f64()));
                if connection.wait(next.min(until)) == Waited::Cut || next >= until {
                    break;
                }
            }
            profiler.snapshot().map_err(|error| refused(error.into()))?;
            let leaks = profiler.leaks().map_err(|error| refused(error.into()))?;
            let options = FormatOptions { frames: FRAMES, ..FormatOptions::default() };
            match form {
                Form::Json => leaks.write_json(&mut body).map_err(other)?,
                _ => body = leaks.format(options).into_bytes(),
            }
        }
    }
    Ok(body)
}

fn start(subject: &Subject) -> Result<MemoryProfiler, Refusal> {
    let account = subject.store.budget().account("profiler", Priority::Query);
    MemoryProfiler::start(&account, ProfileConfig::default()).map_err(refused)
}

fn refused(error: ProfileError) -> Refusal {
    let reason = match error {
        ProfileError::OverBudget(_) => Reason::OverBudget,
        ProfileError::Running => Reason::Busy,
        _ => Reason::Failed,
    };
    Refusal { reason, message: error.to_string() }
}

fn other(error: impl std::fmt::Display) -> Refusal {
    Refusal { reason: Reason::Failed, message: error.to_string() }
}

/// `seconds` after `start`; a day at most.
fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds.clamp(0.0, 86_400.0))
}
