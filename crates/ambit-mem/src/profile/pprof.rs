//! A snapshot for `pprof`.
//!
//! The messages are those of pprof's `profile.proto` (github.com/google/pprof), with the sample
//! types of a Go heap profile, so that its views apply. The bytes are not compressed: pprof
//! reads both.

use std::collections::HashMap;
use std::io::{self, Write};

use prost::Message;

use super::site::SiteUse;
use super::snapshot::Snapshot;
use super::symbol::{Frame, Symbols};
use crate::Tag;
use crate::tracking::hook;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

/// Strings are numbers in the string table, here and below.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct ValueType {
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Label {
    #[prost(int64, tag = "1")]
    pub key: i64,
    #[prost(int64, tag = "2")]
    pub str: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Mapping {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "5")]
    pub filename: i64,
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    #[prost(int64, tag = "4")]
    pub filename: i64,
}

impl Snapshot {
    /// Writes the snapshot in pprof's format, not compressed: `go tool pprof` and other viewers
    /// read it as they read a heap profile of Go.
    ///
    /// # Errors
    /// Those of the writer.
    ///
    /// # Cost
    /// Looks every name up, and builds the whole file in memory first.
    pub fn write_pprof(&self, mut writer: impl Write) -> io::Result<()> {
        hook::unsampled(|| writer.write_all(&Builder::default().build(self).encode_to_vec()))
    }
}

/// Values of the sample types, in the order of [`TYPES`].
fn values(site: &SiteUse) -> Vec<i64> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    [site.allocated, site.live]
        .into_iter()
        .flat_map(|estimate| [signed(estimate.count), signed(estimate.bytes.get())])
        .collect()
}

const TYPES: [(&str, &str); 4] = [
    ("alloc_objects", "count"),
    ("alloc_space", "bytes"),
    ("inuse_objects", "count"),
    ("inuse_space", "bytes"),
];

/// Numbers strings, functions and locations as it meets them.
#[derive(Default)]
struct Builder {
    profile: Profile,
    strings: HashMap<String, i64>,
    functions: HashMap<(i64, i64), u64>,
    locations: HashMap<Vec<Frame>, u64>,
}

impl Builder {
    fn build(mut self, snapshot: &Snapshot) -> Profile {
        // Number 0 is the empty string, by definition.
        self.string("");
        self.profile.sample_type = TYPES.map(|(name, unit)| self.value_type(name, unit)).to_vec();
        self.profile.default_sample_type = self.string("inuse_space");
        self.profile.period_type = Some(self.value_type("space", "bytes"));
        self.profile.period = i64::try_from(snapshot.interval().get()).unwrap_or(i64::MAX);
        self.profile.duration_nanos = i64::try_from(snapshot.at().as_nanos()).unwrap_or(i64::MAX);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        self.profile.time_nanos =
            now.map_or(0, |now| i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
        let program = std::env::current_exe().map(|path| path.display().to_string());
        let filename = self.string(&program.unwrap_or_default());
        self.profile.mapping = vec![Mapping {
            id: 1,
            filename,
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        }];
        let mut symbols = Symbols::default();
        for site in snapshot.sites() {
            let sample = self.sample(site, &mut symbols);
            self.profile.sample.push(sample);
        }
        self.profile
    }

    fn sample(&mut self, site: &SiteUse, symbols: &mut Symbols) -> Sample {
        let stack = symbols.stack(&site.site);
        // Frames that are inlined into one another share an address and a location.
        let location_id = stack
            .chunk_by(|inner, outer| inner.address == outer.address)
            .map(|frames| self.location(frames))
            .collect();
        let label = if site.site.tag == Tag::UNTAGGED {
            Vec::new()
        } else {
            vec![Label { key: self.string("tag"), str: self.string(site.site.tag.name()) }]
        };
        Sample { location_id, value: values(site), label }
    }

    fn location(&mut self, frames: &[Frame]) -> u64 {
        if let Some(known) = self.locations.get(frames) {
            return *known;
        }
        let line = frames.iter().map(|frame| self.line(frame)).collect();
        let id = self.locations.len() as u64 + 1;
        let address = frames.first().map_or(0, |frame| frame.address as u64);
        self.profile.location.push(Location { id, mapping_id: 1, address, line });
        self.locations.insert(frames.to_vec(), id);
        id
    }

    fn line(&mut self, frame: &Frame) -> Line {
        let name = self.string(&frame.function);
        let filename = self.string(frame.file.as_deref().unwrap_or_default());
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry((name, filename)).or_insert(next);
        if id == next {
            self.profile.function.push(Function { id, name, system_name: name, filename });
        }
        Line { function_id: id, line: i64::from(frame.line.unwrap_or(0)) }
    }

    fn value_type(&mut self, name: &str, unit: &str) -> ValueType {
        ValueType { r#type: self.string(name), unit: self.string(unit) }
    }

    fn string(&mut self, text: &str) -> i64 {
        if let Some(known) = self.strings.get(text) {
            return *known;
        }
        let number = self.profile.string_table.len() as i64;
        self.profile.string_table.push(text.to_owned());
        self.strings.insert(text.to_owned(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::ProfileConfig;
    use crate::profile::capture;
    use crate::profile::recorder::{Allocation, Recorder};
    use crate::profile::running::{Run, Settings};
    use crate::profile::snapshot::Scan;
    use crate::{Budget, Bytes, Priority};

    #[test]
    fn what_is_written_decodes_to_the_same_figures_with_every_reference_resolved() {
        let config = ProfileConfig {
            interval: Bytes::new(1),
            live_samples: 64,
            stacks: 8,
            ..ProfileConfig::default()
        };
        let recorder = Recorder::new(&config).unwrap();
        let run = Run::new(recorder, Settings { seed: 0, depth: 48 });
        let mut frames = [0; 48];
        let depth = capture::capture(&mut frames);
        let tag = Tag::named("tests/pprof").unwrap();
        for n in 1..=10 {
            let (address, frames) = (n * 64, &frames[..depth]);
            let (size, tag) = (100, tag.number());
            let sample = Allocation { address, size, at_us: 1, tag, thread: 0, frames };
            assert!(run.recorder.allocate(&sample));
        }
        run.recorder.free(64);
        let account = Budget::new(Bytes::mib(1)).account("pprof", Priority::Query);
        let scan = Scan::of(&run.recorder, 5_000_000, &[]);
        let snapshot = scan.snapshot(&run, Bytes::new(1), &account).unwrap();
        let mut file = Vec::new();
        snapshot.write_pprof(&mut file).unwrap();
        let profile = Profile::decode(file.as_slice()).unwrap();
        let text = |number: i64| profile.string_table[number as usize].as_str();
        let types: Vec<(&str, &str)> =
            profile.sample_type.iter().map(|one| (text(one.r#type), text(one.unit))).collect();
        assert_eq!((types.as_slice(), text(0)), (TYPES.as_slice(), ""));
        assert_eq!((profile.period, profile.duration_nanos), (1, 5_000_000_000));
        assert_eq!(profile.sample.len(), 1);
        let sample = &profile.sample[0];
        assert_eq!(sample.value, [10, 1000, 9, 900]);
        assert_eq!((text(sample.label[0].key), text(sample.label[0].str)), ("tag", "tests/pprof"));
        assert!(!sample.location_id.is_empty());
        let mut names = Vec::new();
        for id in &sample.location_id {
            let location = profile.location.iter().find(|location| location.id == *id).unwrap();
            assert_eq!((location.mapping_id, profile.mapping[0].id), (1, 1));
            for line in &location.line {
                let function = profile.function.iter().find(|one| one.id == line.function_id);
                names.push(text(function.unwrap().name));
                assert!(function.unwrap().filename < profile.string_table.len() as i64);
            }
        }
        let own = "what_is_written_decodes";
        assert!(names.iter().any(|name| name.contains(own)), "{names:?}");
    }
}
