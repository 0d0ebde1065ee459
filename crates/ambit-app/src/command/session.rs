//! What every command starts from: the settings, the output, and the store that they name.

use ambit_mem::AllocatorStats;
use ambitdb::{Access, Collection, Config, Durability, Error, ErrorKind, Io, Store};

use crate::config::{self, Settings};
use crate::exit::{Code, Failure};
use crate::live::{Server, Subject};
use crate::output::Output;

/// The settings and the output of a run.
#[derive(Debug)]
pub struct Session {
    /// Settled settings.
    pub settings: Settings,
    /// Where results go.
    pub output: Output,
    /// What the process's allocator counts.
    pub allocator: fn() -> AllocatorStats,
    /// Answers `ambit memory` while the command runs.
    pub live: Option<Server>,
}

impl Session {
    /// Opens the store for reading.
    ///
    /// # Errors
    /// The facade's; not found where there is no store.
    pub fn read(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.config(Access::Read))?)
    }

    /// Opens the store for writing; it must exist.
    ///
    /// # Errors
    /// The facade's; not found where there is no store.
    pub fn write(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.config(Access::Write))?)
    }

    /// Opens the store for writing, made if it is new, and says which budget holds.
    ///
    /// # Errors
    /// The facade's.
    pub fn create(&self) -> Result<Store, Failure> {
        let mut config = self.config(Access::Write);
        config.create = true;
        let store = Store::open(&config)?;
        if self.settings.budget.source == config::Source::Default {
            let limit = store.budget().limit();
            self.output.note(format_args!("budget {limit} (default; set it with --budget)"));
        }
        Ok(store)
    }

    /// Lets `ambit memory` ask about this process until the command ends.
    pub fn serve(&mut self, command: &'static str, store: &Store) {
        let subject = Subject {
            command,
            directory: self.settings.store.value.clone(),
            store: store.clone(),
            allocator: self.allocator,
        };
        match Server::start(subject) {
            Ok(server) => self.live = Some(server),
            // The work itself does not need it.
            Err(error) => {
                self.output.note(format_args!("`ambit memory` cannot watch this run: {error}"));
            }
        }
    }

    /// The collection that the settings name.
    ///
    /// # Errors
    /// Not found, with the nearest name.
    pub fn collection(&self, store: &Store) -> Result<Collection, Failure> {
        Ok(store.collection(self.name())?)
    }

    /// The collection that the settings name, made if it is new.
    ///
    /// # Errors
    /// The facade's.
    pub fn collection_or_new(&self, store: &Store) -> Result<Collection, Failure> {
        match store.collection(self.name()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(store.create_collection(self.name())?)
            }
            found => Ok(found?),
        }
    }

    /// Name of the collection that the settings name.
    pub fn name(&self) -> &str {
        &self.settings.collection.value
    }

    fn config(&self, access: Access) -> Config {
        let mut config = Config::new(&self.settings.store.value);
        config.access = access;
        config.create = false;
        config.budget = self.settings.budget.value;
        config.io = match self.settings.io.value {
            config::Io::Map => Io::Map,
            config::Io::Pread => Io::Pread,
        };
        config.durability = match self.settings.durability.value {
            config::Durability::Sync => Durability::Sync,
            config::Durability::Group(max_delay_ms) => Durability::Group { max_delay_ms },
            config::Durability::Async => Durability::Async,
        };
        config
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Invalid => Code::Usage,
            ErrorKind::OverBudget => Code::OverBudget,
            ErrorKind::Corrupt | ErrorKind::NewerFormat => Code::Corrupt,
            ErrorKind::Locked => Code::Locked,
            ErrorKind::Interrupted => Code::Interrupted,
            _ => Code::Io,
        };
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(below) = cause {
            let text = below.to_string();
            // Most messages hold those of their causes already.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = below.source();
        }
        Self::new(code, message)
    }
}
