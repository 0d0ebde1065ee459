//! Ctrl-C: the batch in flight is finished, then the command says how to go on.
//!
//! The first signal only sets a flag that the command reads between two batches. While the
//! command waits for input nothing is in flight, so there the first signal ends the process at
//! once. The second signal always does: what is acknowledged is durable at any instant.

use std::io::Write;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Code, Failure};

#[derive(Debug, Default)]
struct Flags {
    requested: AtomicBool,
    waiting: AtomicBool,
}

/// The wish of the user to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    flags: Arc<Flags>,
}

impl Interrupt {
    /// Takes over SIGINT; SIGTERM and SIGHUP stay as they are.
    ///
    /// # Errors
    /// The operating system's, where the handler cannot be installed.
    pub fn listen() -> Result<Self, Failure> {
        let interrupt = Self::default();
        let flags = Arc::clone(&interrupt.flags);
        ctrlc::set_handler(move || {
            let again = flags.requested.swap(true, Ordering::SeqCst);
            if again || flags.waiting.load(Ordering::SeqCst) {
                process::exit(i32::from(Code::Interrupted.status()));
            }
            // A closed standard error must not stop the batch in flight.
            let _ = writeln!(
                std::io::stderr(),
                "\nambit: finishing the batch in flight (Ctrl-C again quits at once)"
            );
        })
        .map_err(|error| Failure::new(Code::Io, format!("cannot listen for Ctrl-C: {error}")))?;
        Ok(interrupt)
    }

    /// Whether Ctrl-C was pressed.
    pub fn requested(&self) -> bool {
        self.flags.requested.load(Ordering::SeqCst)
    }

    /// Runs `wait`, during which nothing is in flight and Ctrl-C may end the process at once.
    pub fn idle<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.flags.waiting.store(true, Ordering::SeqCst);
        let value = wait();
        self.flags.waiting.store(false, Ordering::SeqCst);
        value
    }
}
