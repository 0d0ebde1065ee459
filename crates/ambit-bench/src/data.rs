//! The real data where it is, stand-ins where it is not.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::error::BenchError;
use crate::noise::{Noise, normalise};
use crate::npy::{self, Array};

/// 50,425 x 384 embeddings of real sentences.
pub const GLOSSES: &str = "minilm/glosses_50k_384_f32.npy";
const QUERIES: &str = "minilm/queries_1k_384_f32.npy";
const PROVIDERS: &str = "providers";
const ENTITIES: &str = "wordnet/entities.tsv.zst";
const TRACES: &str = "traces";
const RELATIONS: &str = "wordnet/relations.tsv.zst";
const DIM: usize = 384;
const STAND_IN_ROWS: usize = 20_000;
const STAND_IN_QUERIES: usize = 200;

/// Where the data lies in a checkout: beside the workspace.
pub fn default_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data")
}

/// An array as a file and in memory.
pub struct Vectors {
    pub path: PathBuf,
    pub array: Array<f32>,
    /// What a row must say of it: empty for the real data.
    pub note: &'static str,
}

/// Finds data, or makes it.
pub struct Data {
    directory: PathBuf,
    work: PathBuf,
}

impl Data {
    pub fn new(directory: Option<PathBuf>, work: &Path) -> Result<Self, BenchError> {
        if let Some(directory) = directory.as_ref().filter(|directory| !directory.is_dir()) {
            return Err(BenchError::at(directory, "no such directory; give --data another one"));
        }
        let directory = directory.unwrap_or_else(default_directory);
        Ok(Self { directory, work: work.to_owned() })
    }

    /// The rows that searches run over.
    pub fn glosses(&self) -> Result<Vectors, BenchError> {
        self.vectors(GLOSSES, "stand-in-rows.npy", STAND_IN_ROWS, 11)
    }

    /// The queries that are asked of them.
    pub fn queries(&self) -> Result<Vectors, BenchError> {
        self.vectors(QUERIES, "stand-in-queries.npy", STAND_IN_QUERIES, 12)
    }

    fn vectors(
        &self,
        real: &str,
        stand_in: &str,
        rows: usize,
        seed: u64,
    ) -> Result<Vectors, BenchError> {
        let path = self.directory.join(real);
        if path.exists() {
            return Ok(Vectors { array: npy::read(&path)?, path, note: "" });
        }
        let path = self.work.join(stand_in);
        let mut noise = Noise::new(seed);
        let mut values: Vec<f32> = (0..rows * DIM).map(|_| noise.normal()).collect();
        values.chunks_exact_mut(DIM).for_each(normalise);
        npy::write(&path, DIM, &values)?;
        let array = Array { rows, columns: DIM, values };
        Ok(Vectors { path, array, note: "synthetic data: normal deviates, 20,000 x 384" })
    }

    /// Where access traces lie, if they are here.
    pub fn traces(&self) -> PathBuf {
        self.directory.join(TRACES)
    }

    /// Vectors as services returned them, by the name of the file; none without the real data.
    pub fn providers(&self) -> Result<Vec<(String, Array<f32>)>, BenchError> {
        let Ok(files) = std::fs::read_dir(self.directory.join(PROVIDERS)) else {
            return Ok(Vec::new());
        };
        let mut paths: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "npy"));
        paths.sort();
        let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into();
        paths.iter().map(|path| Ok((name(path), npy::read(path)?))).collect()
    }

    /// Short texts in English, and what a row must say of them.
    pub fn texts(&self) -> Result<(Vec<String>, &'static str), BenchError> {
        let Some(text) = self.decompressed(ENTITIES)? else {
            return Ok((stand_in_texts(), "synthetic data: 50,000 sentences of 60 words"));
        };
        let gloss = |line: &str| line.split('\t').nth(3).map(str::to_owned);
        Ok((text.lines().filter_map(gloss).collect(), ""))
    }

    /// As [`Data::texts`], each with the names of what it explains, between commas, before it.
    pub fn named_texts(&self) -> Result<(Vec<String>, &'static str), BenchError> {
        let Some(text) = self.decompressed(ENTITIES)? else {
            return self.texts();
        };
        let entry = |line: &str| {
            let mut fields = line.split('\t').skip(2);
            let (names, gloss) = (fields.next()?, fields.next()?);
            Some(format!("{}: {gloss}", names.replace('|', ", ")))
        };
        Ok((text.lines().filter_map(entry).collect(), ""))
    }

    /// Relations of a knowledge graph, a line each (source, type, target, between tabs), and what
    /// a row must say of them.
    pub fn relations(&self) -> Result<(String, &'static str), BenchError> {
        Ok(match self.decompressed(RELATIONS)? {
            Some(text) => (text, ""),
            None => (stand_in_relations(), "synthetic data: 300,000 relations of 26 types"),
        })
    }

    /// A text of the real data, where it is.
    fn decompressed(&self, name: &str) -> Result<Option<String>, BenchError> {
        let path = self.directory.join(name);
        if !path.exists() {
            return Ok(None);
        }
        let at = |error: &dyn std::fmt::Display| BenchError::at(&path, error);
        let file = std::fs::File::open(&path).map_err(|error| at(&error))?;
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(std::io::BufReader::new(file))
            .map_err(|error| at(&error))?;
        let mut text = String::new();
        decoder.read_to_string(&mut text).map_err(|error| at(&error))?;
        Ok(Some(text))
    }
}

/// Relations in order of their source, about three for each of 100,000 entities.
fn stand_in_relations() -> String {
    let mut noise = Noise::new(17);
    let mut text = String::new();
    for relation in 0..300_000u64 {
        let (source, target) = (relation / 3 * 37, noise.next_u64() % 100_000 * 37);
        text.push_str(&format!("n{source:08}\ttype {}\tn{target:08}\n", noise.next_u64() % 26));
    }
    text
}

/// Sentences of words that any vocabulary knows, of about the length of a gloss.
fn stand_in_texts() -> Vec<String> {
    const WORDS: &str = "the of a small large house river that which is used to make water food \
        tree bird person place by with in order from part body group state act being made old new \
        for plant animal having as or and an on any system form time line light sound field work";
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut noise = Noise::new(13);
    let mut sentence = || {
        let len = 6 + noise.next_u64() as usize % 9;
        let word = |_| words[noise.next_u64() as usize % words.len()];
        (0..len).map(word).collect::<Vec<&str>>().join(" ")
    };
    (0..50_000).map(|_| sentence()).collect()
}
