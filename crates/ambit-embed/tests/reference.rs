//! The reference implementation's answers: token ids equal, vectors within 1e-5.
//!
//! `data/reference.json` was written by the recipe that made the model (`distil.py`, numpy): 50 texts
//! with accents, CJK, Hangul, emoji, nothing at all, and more than 512 word pieces.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test")]

use ambit_embed::{EmbedError, Embedded, Embedder, StaticEmbedder};
use ambit_mem::{Budget, Bytes, Priority};
use serde::Deserialize;

const TOLERANCE: f32 = 1e-5;

#[derive(Deserialize)]
struct Reference {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    text: String,
    token_ids: Vec<u32>,
    embedding: Vec<f32>,
}

fn reference() -> Vec<Item> {
    let file: Reference = serde_json::from_str(include_str!("data/reference.json")).unwrap();
    file.items
}

fn embedder() -> StaticEmbedder {
    let budget = Budget::new(Bytes::mib(16));
    StaticEmbedder::built_in(&budget.account("embedder", Priority::Query)).unwrap()
}

#[test]
fn all_fifty_reference_texts_have_the_same_tokens() {
    let (embedder, items) = (embedder(), reference());
    assert_eq!(items.len(), 50);
    let mut pieces = Vec::new();
    for item in items {
        embedder.tokenize(&item.text, &mut pieces);
        assert_eq!(pieces, item.token_ids, "{:?}", item.text);
    }
}

#[test]
fn all_fifty_reference_texts_are_within_1e_5() {
    let embedder = embedder();
    let mut vector = vec![0.0; embedder.dim()];
    let mut worst = 0.0_f32;
    for item in reference() {
        let embedded = embedder.embed(&item.text, &mut vector).unwrap();
        assert_eq!(embedded.tokens as usize, item.token_ids.len());
        assert_eq!(embedded.is_zero, item.token_ids.is_empty(), "{:?}", item.text);
        assert_eq!(vector.len(), item.embedding.len());
        for (found, expected) in vector.iter().zip(&item.embedding) {
            worst = worst.max((found - expected).abs());
            assert!((found - expected).abs() <= TOLERANCE, "{:?}", item.text);
        }
    }
    println!("largest difference {worst:e}");
}

#[test]
fn a_batch_gives_the_same_bits_as_one_text_at_a_time() {
    let (embedder, items) = (embedder(), reference());
    let texts: Vec<&str> = items.iter().map(|item| item.text.as_str()).collect();
    let mut rows = vec![0.0; texts.len() * embedder.dim()];
    let mut embedded = vec![Embedded::default(); 3];
    embedder.embed_batch(&texts, &mut rows, &mut embedded).unwrap();
    let mut vector = vec![0.0; embedder.dim()];
    for ((text, row), of_batch) in texts.iter().zip(rows.chunks(embedder.dim())).zip(&embedded) {
        assert_eq!(&embedder.embed(text, &mut vector).unwrap(), of_batch);
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&vector), bits(row), "{text:?}");
    }
}

/// Written down once: a change of the summation order, or of a fused multiplication, shows here on
/// every CPU.
#[test]
fn the_bits_of_a_vector_do_not_depend_on_the_cpu() {
    let embedder = embedder();
    let mut vector = vec![0.0; embedder.dim()];
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for item in reference() {
        embedder.embed(&item.text, &mut vector).unwrap();
        for byte in vector.iter().flat_map(|value| value.to_bits().to_le_bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
    assert_eq!(hash, 0xBF14_50DE_B349_B60E, "{hash:#018x}");
}

#[test]
fn an_output_of_the_wrong_length_is_refused_at_both_sides_of_the_limit() {
    let embedder = embedder();
    for len in [0, 255, 257, 512] {
        let mut out = vec![1.0; len];
        let error = embedder.embed("dog", &mut out).unwrap_err();
        assert!(matches!(error, EmbedError::WrongLength { expected: 256, found } if found == len));
        assert!(error.to_string().contains("256"), "{error}");
        assert!(embedder.embed_batch(&["dog"], &mut out, &mut Vec::new()).is_err());
    }
}

#[test]
fn everything_is_reserved_and_given_back() {
    let budget = Budget::new(Bytes::mib(16));
    let account = budget.account("embedder", Priority::Query);
    let embedder = StaticEmbedder::built_in(&account).unwrap();
    assert_eq!(budget.used(), embedder.footprint());
    assert!(embedder.footprint() > Bytes::mib(4) && embedder.footprint() < Bytes::mib(5));
    drop(embedder);
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn a_budget_that_is_too_small_is_an_error_and_keeps_nothing() {
    for kib in [0, 1, 64, 4_095, 4_400] {
        let budget = Budget::new(Bytes::kib(kib));
        let account = budget.account("embedder", Priority::Query);
        assert!(StaticEmbedder::built_in(&account).unwrap_err().is_over_budget());
        assert_eq!(budget.used(), Bytes::ZERO);
    }
}
