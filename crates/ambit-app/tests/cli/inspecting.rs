//! `ambit inspect`: what an array is made of, without a store.

use crate::ambit::{Ambit, fields};
use crate::array::{npy, rows};

/// Values with no pattern, between -1 and 1.
fn values(count: usize) -> impl Iterator<Item = f32> {
    let mut state = 1u64;
    let mut next = move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(move |_| next() * next())
}

/// To 11 significant bits, as float16 has them, and each row divided by its length.
fn halves_normalised(count: usize, columns: usize) -> Vec<f32> {
    let mut all: Vec<f32> = values(count * columns)
        .map(|x| f32::from_bits((x.to_bits() + 0x1000) & 0xFFFF_E000))
        .collect();
    for row in all.chunks_exact_mut(columns) {
        let length = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    }
    all
}

#[test]
fn the_hidden_scalar_is_found_and_said_in_text_and_json() {
    let ambit = Ambit::new();
    ambit.write("halves.npy", rows(&halves_normalised(200, 256), 256));
    let text = ambit.done("inspect halves.npy").stdout;
    assert!(text.contains("200 rows of 256 numbers"), "{text}");
    // A row or two of small random ones may have a scalar that takes a byte more.
    let share: f64 = text.lines().nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(share >= 98.0 && text.contains(" % fp16 x scalar, "), "{text}");
    assert!(text.contains("% smaller, bit-exact"), "{text}");
    let json = ambit.done("inspect halves.npy --json").json();
    let expected = [
        "bit_exact",
        "bits_per_value",
        "bytes",
        "dim",
        "model_bytes",
        "origins",
        "rows",
        "seconds",
    ];
    assert_eq!(fields(&json), expected);
    assert_eq!((&json["rows"], &json["dim"]), (&200.into(), &256.into()));
    assert_eq!(json["bit_exact"], true);
    assert_eq!(json["origins"][0]["origin"], "fp16 x scalar");
    assert_eq!(fields(&json["origins"][0]), ["origin", "rows", "share"]);
    let bits = json["bits_per_value"].as_f64().unwrap();
    assert!((12.0..15.0).contains(&bits), "{bits}");
    let bytes = json["bytes"].as_f64().unwrap();
    assert!((bits - bytes * 8.0 / 51_200.0).abs() < 1e-9, "all bytes count");
    assert!(!ambit.path(".ambit").exists(), "no store was made");
}

#[test]
fn origins_share_the_rows_and_odd_bits_come_back() {
    let ambit = Ambit::new();
    let mut all: Vec<f32> = values(100 * 64).collect();
    for row in all.chunks_exact_mut(64).take(40) {
        row.iter_mut().for_each(|x| *x = f32::from_bits(x.to_bits() & 0xFFFF_0000));
    }
    all[70 * 64] = f32::from_bits(0x7F80_0001);
    all[70 * 64 + 1] = -0.0;
    ambit.write("mixed.npy", rows(&all, 64));
    let json = ambit.done("inspect mixed.npy --json").json();
    assert_eq!(json["bit_exact"], true);
    let origins = json["origins"].as_array().unwrap();
    let sum: f64 = origins.iter().map(|origin| origin["share"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{json}");
    let bf16 = origins.iter().find(|origin| origin["origin"] == "bf16").unwrap();
    assert_eq!(bf16["rows"], 40);
}

#[test]
fn an_empty_array_has_no_origins_and_a_bad_one_is_refused() {
    let ambit = Ambit::new();
    ambit.write("empty.npy", npy("<f4", "False", "(0, 8)", &[]));
    assert_eq!(ambit.done("inspect empty.npy").stdout.trim(), "0 rows of 8 numbers");
    ambit.write("bad.npy", "no array");
    ambit.fails("inspect bad.npy", 2, &["bad.npy"]);
    ambit.fails("inspect absent.npy", 6, &["absent.npy"]);
    ambit.write("some.npy", rows(&[1.0; 64], 8));
    ambit.fails("inspect some.npy --budget 1MiB", 3, &["inspect"]);
}
