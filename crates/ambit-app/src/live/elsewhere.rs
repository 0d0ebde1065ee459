//! Where there are no Unix sockets: nobody listens, and asking says so.

use std::io;
use std::path::Path;

use super::subject::Subject;
use super::wire::{Hello, Request};
use crate::exit::{Code, Failure};
use crate::interrupt::Interrupt;

/// A command that would listen.
#[derive(Debug)]
pub struct Server;

impl Server {
    /// Does not listen.
    pub fn start(_: Subject) -> io::Result<Self> {
        Ok(Self)
    }
}

/// A running command; there is none that answers.
#[derive(Debug)]
pub struct Running {
    /// Who it would be.
    pub hello: Hello,
}

impl Running {
    /// Finds none.
    ///
    /// # Errors
    /// Always.
    pub fn find(_: &Path, _: Option<u32>) -> Result<Self, Failure> {
        Err(Failure::new(
            Code::Usage,
            "a running command can be asked on Unix only; `ambit memory` alone works everywhere",
        ))
    }

    /// Gets no answer.
    ///
    /// # Errors
    /// None.
    pub fn ask(
        &mut self,
        _: &Request,
        _: &Interrupt,
        _: &mut dyn FnMut(),
    ) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }
}
