//! Models from a directory: a small one of the same format works; files that lie are errors that
//! name the file, never a panic and never a model that answers wrongly.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use std::fs;
use std::path::Path;

use ambit_embed::{EmbedError, Embedder, StaticEmbedder};
use ambit_mem::{Account, Budget, Bytes, Priority};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value, json};
use tempfile::TempDir;

const PIECES: [&str; 4] = ["red", "blue", "##ish", "!"];

fn account() -> Account {
    Budget::new(Bytes::mib(64)).account("embedder", Priority::Query)
}

fn config(dim: usize, rows: usize) -> Value {
    json!({
        "format": "static-embedding-v1", "base_model": "test/tiny", "dim": dim,
        "vocab_size": rows, "max_tokens": 8,
        "tokenizer": {
            "type": "bert-wordpiece", "clean_text": true, "isolate_cjk": true,
            "continuation_prefix": "##", "max_chars_per_word": 100,
        },
    })
}

fn characters() -> Value {
    json!({
        "drop": [[0, 8]], "space": [[9, 10], [32, 32]], "punct": [[33, 33]],
        "map": {"R": "r", "\u{e9}": "e"},
    })
}

fn tensors(dtype: Dtype, stride: usize, table: &[u8], weights: &[f32]) -> Vec<u8> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
    let (weights, scales) = (bytes(weights), bytes(&vec![0.5; weights.len()]));
    let rows = weights.len() / 4;
    let view = |dtype, shape, data| TensorView::new(dtype, shape, data).unwrap();
    let named = [
        ("table", view(dtype, vec![rows, stride], table)),
        ("weights", view(Dtype::F32, vec![rows], &weights)),
        ("scales", view(Dtype::F32, vec![rows], &scales)),
    ];
    serialize(named, None).unwrap()
}

/// Four dimensions, four pieces: red, blue and `##ish` point along the first three axes.
fn model() -> Vec<u8> {
    let rows = [0x89, 0x88, 0xA8, 0x88, 0x88, 0x8B, 0x88, 0x98];
    tensors(Dtype::U8, 2, &rows, &[1.0, 1.0, 1.0, 0.0])
}

struct Model(TempDir);

impl Model {
    fn tiny() -> Self {
        let dir = Self(tempfile::tempdir().unwrap());
        dir.write("config.json", config(4, 4).to_string());
        dir.write("normalize.json", characters().to_string());
        dir.write("vocab.txt", PIECES.join("\n") + "\n");
        dir.write("model.safetensors", model());
        dir
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    /// The error's text, after a check that it names `file`.
    fn refused(&self, file: &str) -> String {
        let error = StaticEmbedder::load(self.path(), &account()).unwrap_err();
        assert!(
            matches!(&error, EmbedError::Malformed { file: named, .. } if *named == file),
            "{error}"
        );
        error.to_string()
    }
}

fn embed(embedder: &StaticEmbedder, text: &str) -> Vec<f32> {
    let mut out = vec![0.0; embedder.dim()];
    embedder.embed(text, &mut out).unwrap();
    out
}

#[test]
fn a_small_model_from_a_directory_sums_its_rows() {
    let budget = Budget::new(Bytes::mib(1));
    let account = budget.account("embedder", Priority::Query);
    let embedder = StaticEmbedder::load(Model::tiny().path(), &account).unwrap();
    assert_eq!((embedder.dim(), embedder.name()), (4, "static-tiny-4"));
    assert_eq!(embed(&embedder, "Red"), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(embed(&embedder, "red red Redish"), {
        let norm = f64::from(9.0_f32 + 9.0).sqrt();
        [(3.0 / norm) as f32, 0.0, (3.0 / norm) as f32, 0.0]
    });
    // An unknown rest makes the whole word unknown.
    assert_eq!(embed(&embedder, "blue reddish"), [0.0, 1.0, 0.0, 0.0]);
    assert_eq!(budget.used(), embedder.footprint());
    drop(embedder);
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn a_known_piece_of_weight_zero_gives_a_zero_vector_that_says_so() {
    let embedder = StaticEmbedder::load(Model::tiny().path(), &account()).unwrap();
    let mut out = vec![1.0; 4];
    let embedded = embedder.embed("!", &mut out).unwrap();
    assert_eq!((embedded.tokens, embedded.is_zero), (1, true));
    assert_eq!(out, [0.0; 4]);
}

#[test]
fn an_int8_model_of_the_same_format_gives_the_same_vectors() {
    let model = Model::tiny();
    let rows: Vec<u8> = [1_i8, 0, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 1]
        .iter()
        .map(|value| value.to_le_bytes()[0])
        .collect();
    model.write("model.safetensors", tensors(Dtype::I8, 4, &rows, &[1.0, 1.0, 1.0, 0.0]));
    let embedder = StaticEmbedder::load(model.path(), &account()).unwrap();
    let packed = StaticEmbedder::load(Model::tiny().path(), &account()).unwrap();
    for text in ["red", "blue red", "redish blueish!", ""] {
        assert_eq!(embed(&embedder, text), embed(&packed, text), "{text:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    for name in ["config.json", "normalize.json", "vocab.txt", "model.safetensors"] {
        let model = Model::tiny();
        fs::remove_file(model.path().join(name)).unwrap();
        let error = StaticEmbedder::load(model.path(), &account()).unwrap_err();
        assert!(matches!(error, EmbedError::Unreadable { .. }));
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_configuration_that_this_crate_does_not_implement_is_refused() {
    let changes: [(&str, Value); 10] = [
        ("/format", json!("static-embedding-v2")),
        ("/dim", json!(0)),
        ("/dim", json!(3)),
        ("/dim", json!(8_194)),
        ("/vocab_size", json!(u64::MAX)),
        ("/max_tokens", json!(0)),
        ("/tokenizer/type", json!("sentencepiece")),
        ("/tokenizer/continuation_prefix", json!("@@")),
        ("/tokenizer/max_chars_per_word", json!(129)),
        ("/tokenizer/isolate_cjk", json!(false)),
    ];
    for (field, value) in changes {
        let model = Model::tiny();
        let mut changed = config(4, 4);
        *changed.pointer_mut(field).unwrap() = value;
        model.write("config.json", changed.to_string());
        model.refused("config.json");
    }
}

#[test]
fn a_vocabulary_that_does_not_match_the_table_is_refused() {
    let long = "x".repeat(129);
    let texts = [
        "",
        "red\nblue\n##ish\n",
        "red\nblue\n##ish\n!",
        "red\nblue\n##ish\n!\nmore\n",
        "red\nred\n##ish\n!\n",
        "red\n\n##ish\n!\n",
        &format!("red\n{long}\n##ish\n!\n"),
    ];
    for text in texts {
        let model = Model::tiny();
        model.write("vocab.txt", text);
        model.refused("vocab.txt");
    }
    let model = Model::tiny();
    model.write("vocab.txt", b"red\nblue\n##ish\n\xFF\n");
    model.refused("vocab.txt");
}

#[test]
fn pieces_of_127_and_128_bytes_are_found() {
    for len in [127, 128] {
        let (model, word) = (Model::tiny(), "x".repeat(len));
        let mut described = config(4, 4);
        described["tokenizer"]["max_chars_per_word"] = json!(128);
        model.write("config.json", described.to_string());
        model.write("vocab.txt", format!("{word}\nblue\n##ish\n!\n"));
        let embedder = StaticEmbedder::load(model.path(), &account()).unwrap();
        assert_eq!(embed(&embedder, &word), [1.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn character_tables_that_are_not_of_characters_are_refused() {
    let changes = [
        ("drop", json!([[5, 4]])),
        ("space", json!([[0, 0x11_0000]])),
        ("punct", json!([[1, 2, 3]])),
        ("map", json!({"ab": "c"})),
        ("map", json!({"": "c"})),
        ("map", json!([1])),
    ];
    for (field, value) in changes {
        let model = Model::tiny();
        let mut changed = characters();
        changed[field] = value;
        model.write("normalize.json", changed.to_string());
        model.refused("normalize.json");
    }
    let model = Model::tiny();
    let twice = r#"{"drop": [], "space": [], "punct": [], "map": {"a": "b", "a": "c"}}"#;
    model.write("normalize.json", twice);
    assert!(model.refused("normalize.json").contains("'a'"));
}

#[test]
fn tensors_of_another_shape_type_or_size_are_refused() {
    let rows = [0x88; 8];
    let files = [
        vec![],
        model()[..model().len() - 1].to_vec(),
        tensors(Dtype::U8, 2, &rows[..6], &[1.0; 3]),
        tensors(Dtype::I8, 2, &rows, &[1.0; 4]),
        tensors(Dtype::U16, 1, &rows, &[1.0; 4]),
        tensors(Dtype::U8, 2, &rows, &[1.0, f32::NAN, 1.0, 1.0]),
        tensors(Dtype::U8, 2, &rows, &[1.0, 1.0, f32::INFINITY, 1.0]),
        tensors(Dtype::U8, 2, &rows, &[1.0, 1.0, 1.0, 3e12]),
        u64::MAX.to_le_bytes().to_vec(),
        [&(1_u64 << 40).to_le_bytes()[..], b"{}"].concat(),
    ];
    for bytes in files {
        let model = Model::tiny();
        model.write("model.safetensors", bytes);
        model.refused("model.safetensors");
    }
}

#[test]
fn a_model_with_a_byte_changed_or_cut_off_is_refused_or_still_gives_unit_vectors() {
    const FILES: &[&str] = &["config.json", "normalize.json", "vocab.txt", "model.safetensors"];
    let strategy = (prop::sample::select(FILES), any::<prop::sample::Index>(), any::<u8>());
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) };
    proptest!(config, |((name, at, byte) in strategy, cut in any::<bool>())| {
        let model = Model::tiny();
        let mut bytes = fs::read(model.path().join(name)).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if cut {
            bytes.truncate(at);
        }
        model.write(name, bytes);
        if let Ok(embedder) = StaticEmbedder::load(model.path(), &account()) {
            let vector = embed(&embedder, "red blueish! caf\u{e9} \u{1F600}");
            let norm = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
            prop_assert!(norm == 0.0 || (norm - 1.0).abs() < 1e-6);
        }
    });
}
