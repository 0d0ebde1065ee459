//! Settings of a run: flag, then `AMBIT_*`, then `ambit.toml` of the working directory, then the
//! default; each remembers where its value came from, which `ambit config` shows.
//!
//! Every source is first brought to text and then goes through the same parser, so that a value
//! means the same wherever it stands and an error names the place that it was read from. What a
//! setting means for the store is the facade's matter; this module holds no facade type.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use ambit_mem::Bytes;

use crate::exit::Failure;

/// The file that is read from the working directory.
pub const FILE: &str = "ambit.toml";
/// Bytes of the longest configuration file.
const MAX_FILE: u64 = 64 << 10;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// The configuration file.
    File,
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File => f.write_str(FILE),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Who set it.
    pub source: Source,
}

/// How the store's files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// Through windows of a memory map.
    Map,
    /// With `pread`.
    Pread,
}

/// When a write is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After it is on disk.
    Sync,
    /// At once; it is on disk with the first write after this many milliseconds.
    Group(u32),
    /// At once; it is on disk when a group of writes is full or the command ends.
    Async,
}

/// What the command line gave for the settings; `None` where it said nothing.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--store`
    pub store: Option<PathBuf>,
    /// `--collection`
    pub collection: Option<String>,
    /// `--budget`
    pub budget: Option<String>,
    /// `--threads`
    pub threads: Option<String>,
    /// `--io`
    pub io: Option<String>,
    /// `--durability`
    pub durability: Option<String>,
    /// `--json`
    pub json: bool,
    /// `--quiet`
    pub quiet: bool,
}

/// Every setting of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The store's directory.
    pub store: Setting<PathBuf>,
    /// The collection that commands work on.
    pub collection: Setting<String>,
    /// The byte budget; `None` is a quarter of the machine's memory, at most 2 GiB.
    pub budget: Setting<Option<Bytes>>,
    /// Threads of searches and indexing, 1 to 1,024.
    pub threads: Setting<usize>,
    /// How files are read.
    pub io: Setting<Io>,
    /// When a write is acknowledged.
    pub durability: Setting<Durability>,
    /// JSON results.
    pub json: Setting<bool>,
    /// No notes, no progress.
    pub quiet: Setting<bool>,
}

impl Settings {
    /// Settles every setting from `flags`, the environment and the working directory's file.
    ///
    /// # Errors
    /// A value that does not parse, naming its source; a file that cannot be read or holds a
    /// setting that does not exist.
    pub fn resolve(flags: &Flags) -> Result<Self, Failure> {
        let file = File::read(Path::new(FILE))?;
        let environment = |variable: &str| std::env::var_os(variable);
        Layers { flags, environment: &environment, file: &file }.settle()
    }

    /// Each setting's name, value as text, and source, in the order of the documentation.
    pub fn listed(&self) -> Vec<(&'static str, Option<String>, &Source)> {
        vec![
            ("store", Some(self.store.value.display().to_string()), &self.store.source),
            ("collection", Some(self.collection.value.clone()), &self.collection.source),
            ("budget", self.budget.value.map(|bytes| bytes.to_string()), &self.budget.source),
            ("threads", Some(self.threads.value.to_string()), &self.threads.source),
            ("io", Some(io_name(self.io.value).into()), &self.io.source),
            ("durability", Some(durability_name(self.durability.value)), &self.durability.source),
            ("json", Some(self.json.value.to_string()), &self.json.source),
            ("quiet", Some(self.quiet.value.to_string()), &self.quiet.source),
        ]
    }
}

/// Names of the settings, as they stand in the file; `AMBIT_` + upper case in the environment.
pub const NAMES: [&str; 8] =
    ["store", "collection", "budget", "threads", "io", "durability", "json", "quiet"];

/// The three sources above the default.
struct Layers<'a> {
    flags: &'a Flags,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    file: &'a File,
}

impl Layers<'_> {
    fn settle(&self) -> Result<Settings, Failure> {
        let flags = self.flags;
        let path = flags.store.as_ref().map(|path| path.clone().into_os_string());
        let text = |flag: &Option<String>| flag.clone().map(OsString::from);
        let switch = |flag: bool| flag.then(|| OsString::from("true"));
        Ok(Settings {
            store: self.store(path)?,
            collection: self
                .one("collection", text(&flags.collection), parse_name, || "main".to_owned())?,
            budget: self.one("budget", text(&flags.budget), parse_budget, || None)?,
            threads: self.one("threads", text(&flags.threads), parse_threads, || {
                std::thread::available_parallelism().map_or(1, usize::from)
            })?,
            io: self.one("io", text(&flags.io), parse_io, || Io::Map)?,
            durability: self.one(
                "durability",
                text(&flags.durability),
                parse_durability,
                || Durability::Sync,
            )?,
            json: self.one("json", switch(flags.json), parse_switch, || false)?,
            quiet: self.one("quiet", switch(flags.quiet), parse_switch, || false)?,
        })
    }

    /// The store is a path and so need not be UTF-8.
    fn store(&self, flag: Option<OsString>) -> Result<Setting<PathBuf>, Failure> {
        let (value, source) = self
            .first("store", flag)
            .unwrap_or_else(|| (OsString::from(".ambit"), Source::Default));
        if value.is_empty() {
            return Err(refused("store", &source, "", "it is empty, expected a directory"));
        }
        Ok(Setting { value: PathBuf::from(value), source })
    }

    fn one<T>(
        &self,
        name: &'static str,
        flag: Option<OsString>,
        parse: impl Fn(&str) -> Result<T, String>,
        default: impl FnOnce() -> T,
    ) -> Result<Setting<T>, Failure> {
        let Some((raw, source)) = self.first(name, flag) else {
            return Ok(Setting { value: default(), source: Source::Default });
        };
        let text = raw.to_string_lossy();
        match parse(&text) {
            Ok(value) => Ok(Setting { value, source }),
            Err(what) => Err(refused(name, &source, &text, &what)),
        }
    }

    /// The raw value of the highest source that has one.
    fn first(&self, name: &str, flag: Option<OsString>) -> Option<(OsString, Source)> {
        let variable = format!("AMBIT_{}", name.to_ascii_uppercase());
        if let Some(value) = flag {
            return Some((value, Source::Flag));
        }
        if let Some(value) = (self.environment)(&variable).filter(|value| !value.is_empty()) {
            return Some((value, Source::Environment(variable)));
        }
        let value = self.file.value(name)?;
        Some((OsString::from(value), Source::File))
    }
}

fn refused(name: &str, source: &Source, value: &str, what: &str) -> Failure {
    let place = match source {
        Source::Flag => format!("--{name} '{value}'"),
        Source::Environment(variable) => format!("{variable}='{value}'"),
        Source::File => format!("{FILE}: {name} = '{value}'"),
        Source::Default => name.to_owned(),
    };
    Failure::usage(format!("{place}: {what}"))
}

fn parse_name(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("it is empty".into()) } else { Ok(text.to_owned()) }
}

fn parse_budget(text: &str) -> Result<Option<Bytes>, String> {
    let bytes: Bytes =
        text.parse().map_err(|error| format!("{error}; expected bytes as in 64MiB or 1.5GiB"))?;
    if bytes == Bytes::ZERO {
        return Err("a budget of 0 bytes, expected at least some MiB as in 64MiB".into());
    }
    Ok(Some(bytes))
}

fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number of threads from 1 to 1024".into()),
    }
}

fn parse_io(text: &str) -> Result<Io, String> {
    match text {
        "map" => Ok(Io::Map),
        "pread" => Ok(Io::Pread),
        _ => Err("expected map or pread".into()),
    }
}

fn io_name(io: Io) -> &'static str {
    match io {
        Io::Map => "map",
        Io::Pread => "pread",
    }
}

fn parse_durability(text: &str) -> Result<Durability, String> {
    let expected = "expected sync, group:MS (1 to 1000 milliseconds) or async";
    match (text, text.strip_prefix("group:").map(str::parse)) {
        ("sync", _) => Ok(Durability::Sync),
        ("async", _) => Ok(Durability::Async),
        (_, Some(Ok(delay_ms @ 1..=1000))) => Ok(Durability::Group(delay_ms)),
        _ => Err(expected.into()),
    }
}

fn durability_name(durability: Durability) -> String {
    match durability {
        Durability::Sync => "sync".into(),
        Durability::Group(delay_ms) => format!("group:{delay_ms}"),
        Durability::Async => "async".into(),
    }
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected true or false".into()),
    }
}

/// The configuration file, or an empty one where there is none.
#[derive(Debug, Default)]
struct File {
    /// Values as text, by the names of their settings.
    values: BTreeMap<String, String>,
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let len = match path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(Failure::io("read", path, &error)),
        };
        if len > MAX_FILE {
            return Err(Failure::usage(format!(
                "{FILE}: {len} bytes, at most {MAX_FILE} are read"
            )));
        }
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
        Self::parse(&text)
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        let table: toml::Table =
            text.parse().map_err(|error| Failure::usage(format!("{FILE}: {error}")))?;
        let mut values = BTreeMap::new();
        for (name, value) in table {
            if !NAMES.contains(&name.as_str()) {
                let known = NAMES.join(", ");
                return Err(Failure::usage(format!(
                    "{FILE}: there is no setting '{}'; the settings are {known}",
                    name.escape_debug()
                )));
            }
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(switch) => switch.to_string(),
                other => {
                    return Err(Failure::usage(format!(
                        "{FILE}: {name} holds a value of type {}, \
                         expected a string, a whole number or a bool",
                        other.type_str()
                    )));
                }
            };
            values.insert(name, text);
        }
        Ok(Self { values })
    }

    fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(flags: &Flags, environment: &[(&str, &str)], file: &str) -> Result<Settings, String> {
        let environment = |variable: &str| {
            let found = environment.iter().find(|(name, _)| *name == variable);
            found.map(|(_, value)| OsString::from(value))
        };
        let file = File::parse(file).map_err(|failure| failure.to_string())?;
        let layers = Layers { flags, environment: &environment, file: &file };
        layers.settle().map_err(|failure| failure.to_string())
    }

    #[test]
    fn defaults_stand_where_nobody_says_anything() {
        let settings = settle(&Flags::default(), &[], "").unwrap();
        assert_eq!(settings.store.value, Path::new(".ambit"));
        assert_eq!(settings.collection.value, "main");
        assert_eq!(settings.budget.value, None);
        assert_eq!(settings.io.value, Io::Map);
        assert_eq!(settings.durability.value, Durability::Sync);
        assert!(!settings.json.value && !settings.quiet.value);
        assert!(settings.listed().iter().all(|(.., source)| **source == Source::Default));
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let file = "budget = '1MiB'\nthreads = 3\njson = true\nio = 'pread'";
        let environment = [("AMBIT_BUDGET", "2MiB"), ("AMBIT_THREADS", "4")];
        let flags = Flags { budget: Some("3MiB".into()), ..Flags::default() };
        let settings = settle(&flags, &environment, file).unwrap();
        assert_eq!(settings.budget.value, Some(Bytes::mib(3)));
        assert_eq!(settings.budget.source, Source::Flag);
        assert_eq!(settings.threads.value, 4);
        assert_eq!(settings.threads.source.to_string(), "AMBIT_THREADS");
        assert_eq!((settings.io.value, &settings.io.source), (Io::Pread, &Source::File));
        assert!(settings.json.value);
    }

    #[test]
    fn a_bad_value_names_its_place() {
        type Case<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str);
        let cases: [Case<'_>; 7] = [
            (&[("AMBIT_BUDGET", "many")], "", "AMBIT_BUDGET='many'"),
            (&[("AMBIT_IO", "tape")], "", "AMBIT_IO='tape': expected map or pread"),
            (&[], "threads = 0", "ambit.toml: threads = '0': expected a number of threads"),
            (&[], "budget = 0", "a budget of 0 bytes"),
            (&[], "durability = 'group:0'", "expected sync, group:MS"),
            (&[], "budjet = 1", "there is no setting 'budjet'"),
            (&[], "store = ['a']", "store holds a value of type array, expected a string"),
        ];
        for (environment, file, expected) in cases {
            let message = settle(&Flags::default(), environment, file).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn the_names_are_those_that_are_listed() {
        let settings = settle(&Flags::default(), &[], "").unwrap();
        let listed: Vec<&str> = settings.listed().into_iter().map(|(name, ..)| name).collect();
        assert_eq!(listed, NAMES);
    }
}
