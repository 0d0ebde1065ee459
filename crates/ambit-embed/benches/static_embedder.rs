//! How many glosses a second does one thread embed, and what do loading and tokenizing cost?
//!
//! `cargo bench -p ambit-embed`. The texts are 20,000 of WordNet's glosses where
//! `../shared/data/wordnet/entities.tsv.zst` lies beside the workspace, otherwise sentences about
//! the model; and a source file in pieces of 1,000 characters. All cases take turns, and the best
//! round of each counts.

#![expect(clippy::expect_used, reason = "a failure here fails the benchmark")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::{Budget, Bytes, Priority};

const ROUNDS: usize = 10;
/// Texts per round.
const TEXTS: usize = 20_000;

fn main() {
    let (embedder, source) = (embedder(), source());
    let (glosses, from) = glosses();
    let mut vector = vec![0.0; embedder.dim()];
    let mut pieces = Vec::new();
    let mut embed = |texts: &[String]| {
        for text in texts {
            black_box(embedder.embed(black_box(text), &mut vector)).expect("the length is right");
        }
    };
    let mut best = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        let round = [
            seconds(|| drop(black_box(self::embedder()))),
            seconds(|| {
                glosses.iter().for_each(|text| embedder.tokenize(black_box(text), &mut pieces));
            }),
            seconds(|| embed(&glosses)),
            seconds(|| embed(&source)),
        ];
        best.iter_mut().zip(round).for_each(|(best, seconds)| *best = best.min(seconds));
    }
    println!("load: {:.2} ms, {}", best[0] * 1e3, embedder.footprint());
    for (name, texts, seconds) in [
        ("tokenize glosses", &glosses, best[1]),
        ("embed glosses", &glosses, best[2]),
        ("embed source", &source, best[3]),
    ] {
        let bytes = texts.iter().map(String::len).sum::<usize>() as f64;
        let (rate, megabytes) = (texts.len() as f64 / seconds, bytes / seconds / 1e6);
        println!("{name}: {rate:.0} texts/s, {megabytes:.1} MB/s, one thread");
    }
    println!("glosses: {} from {from}", glosses.len());
}

fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
}

fn embedder() -> StaticEmbedder {
    let budget = Budget::new(Bytes::mib(64));
    StaticEmbedder::built_in(&budget.account("embedder", Priority::Query)).expect("64 MiB suffice")
}

/// The texts, and where they are from.
fn glosses() -> (Vec<String>, &'static str) {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/wordnet/entities.tsv.zst");
    let (lines, from): (Vec<String>, _) = if let Ok(file) = File::open(path) {
        let mut table = String::new();
        ruzstd::decoding::StreamingDecoder::new(file)
            .expect("a zstd frame")
            .read_to_string(&mut table)
            .expect("UTF-8 text");
        // Every fifth, so that all parts of speech are there.
        let glosses = table.lines().step_by(5).filter_map(|line| line.split('\t').nth(3));
        (glosses.map(str::to_owned).collect(), "WordNet")
    } else {
        let own = include_str!("../assets/static-embedder/README.md");
        (own.lines().map(str::to_owned).collect(), "the model's own description")
    };
    (lines.iter().cycle().take(TEXTS).cloned().collect(), from)
}

fn source() -> Vec<String> {
    let source: Vec<char> = include_str!("../src/characters.rs").chars().collect();
    let chunks = source.chunks(1_000).map(|chunk| chunk.iter().collect::<String>());
    chunks.collect::<Vec<_>>().into_iter().cycle().take(1_000).collect()
}
