//! How many glosses a second does one thread embed, and what do loading and single steps cost?
//!
//! `cargo bench -p ambit-embed`. The texts are WordNet's 117,659 glosses where
//! `../shared/data/wordnet/entities.tsv.zst` lies beside the workspace, otherwise a few sentences.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use ambit_embed::{Embedder, StaticEmbedder};
use ambit_mem::{Budget, Bytes, Priority};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

/// Texts per measured pass.
const TEXTS: usize = 20_000;

fn main() {
    divan::main();
}

fn embedder() -> StaticEmbedder {
    let budget = Budget::new(Bytes::mib(64));
    StaticEmbedder::built_in(&budget.account("embedder", Priority::Query)).expect("64 MiB suffice")
}

fn glosses() -> Vec<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/wordnet/entities.tsv.zst");
    let mut table = String::new();
    if let Ok(file) = File::open(path) {
        ruzstd::decoding::StreamingDecoder::new(file)
            .expect("a zstd frame")
            .read_to_string(&mut table)
            .expect("UTF-8 text");
    } else {
        let own = include_str!("../assets/static-embedder/README.md");
        own.lines()
            .for_each(|line| table.push_str(&format!("id\tn\tlemma\t{line}\n")));
    }
    let gloss = |line: &str| line.split('\t').nth(3).map(str::to_owned);
    // Every sixth, so that all parts of speech are there.
    let mut glosses: Vec<String> = table.lines().step_by(6).filter_map(gloss).collect();
    glosses = glosses.into_iter().cycle().take(TEXTS).collect();
    glosses
}

#[divan::bench]
fn load(bencher: Bencher) {
    bencher.bench(embedder);
}

#[divan::bench]
fn tokenize_glosses(bencher: Bencher) {
    let (embedder, texts) = (embedder(), glosses());
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut pieces = Vec::new();
    bencher
        .counter(ItemsCount::new(texts.len()))
        .counter(BytesCount::new(bytes))
        .bench_local(|| {
            for text in &texts {
                embedder.tokenize(black_box(text), &mut pieces);
            }
        });
}

#[divan::bench]
fn embed_glosses(bencher: Bencher) {
    let (embedder, texts) = (embedder(), glosses());
    let bytes: usize = texts.iter().map(String::len).sum();
    let mut vector = vec![0.0; embedder.dim()];
    bencher
        .counter(ItemsCount::new(texts.len()))
        .counter(BytesCount::new(bytes))
        .bench_local(|| {
            for text in &texts {
                black_box(embedder.embed(black_box(text), &mut vector))
                    .expect("the length is right");
            }
        });
}

#[divan::bench]
fn embed_this_source(bencher: Bencher) {
    let embedder = embedder();
    let source = include_str!("../src/characters.rs");
    let texts: Vec<String> = (source.chars().collect::<Vec<_>>())
        .chunks(1_000)
        .map(|chunk| chunk.iter().collect())
        .collect();
    let mut vector = vec![0.0; embedder.dim()];
    bencher
        .counter(ItemsCount::new(texts.len()))
        .counter(BytesCount::new(source.len()))
        .bench_local(|| {
            for text in &texts {
                black_box(embedder.embed(black_box(text), &mut vector)).expect("right length");
            }
        });
}
