//! `import` and `export`.

use crate::ambit::{Ambit, fields};
use crate::array::{npy, numbered, rows};

const IMPORT: &str = "import x.npy -c c --space s";

#[test]
fn what_is_exported_is_the_imported_file_byte_for_byte() {
    let ambit = Ambit::new();
    let odd = [0x7fc0_1234, 0xff80_0001, 0x8000_0000, 0x0000_0001, 0x7f80_0000, 0xff80_0000];
    let mut values: Vec<f32> = odd.map(f32::from_bits).to_vec();
    values.extend((0..60_000).map(|n| n as f32 / 7.0 - 11.0));
    ambit.write("x.npy", rows(&values, 6));
    ambit.done(&format!("{IMPORT} --metric inner-product"));
    ambit.done("export y.npy -c c --space s");
    assert!(ambit.read("x.npy") == ambit.read("y.npy"));
}

#[test]
fn an_import_and_an_export_say_what_they_did() {
    let ambit = Ambit::new();
    ambit.write("x.npy", numbered(3000));
    let imported = ambit.done(&format!("{IMPORT} --json")).json();
    assert_eq!(
        fields(&imported),
        [
            "bytes",
            "coded_rows",
            "collection",
            "complete",
            "first_id",
            "first_row",
            "import_seconds",
            "next_row",
            "rows",
            "seconds",
            "segments",
            "space"
        ]
    );
    assert_eq!((&imported["rows"], &imported["complete"]), (&3000.into(), &true.into()));
    let exported = ambit.done("export y.npy -c c --space s --json").json();
    assert_eq!(
        fields(&exported),
        ["bytes", "collection", "dim", "file", "rows", "seconds", "space"]
    );
    assert_eq!(exported["dim"], 4);
}

#[test]
fn float16_float64_and_big_endian_arrays_are_taken_exactly() {
    let values = [1.5_f32, -0.25, 3.0, 65504.0];
    let bytes =
        |of: &dyn Fn(f32) -> Vec<u8>| values.iter().flat_map(|v| of(*v)).collect::<Vec<_>>();
    let half = half::f16::from_f32;
    let files = [
        npy("<f2", "False", "(2, 2)", &bytes(&|v| half(v).to_le_bytes().into())),
        npy("<f8", "False", "(2, 2)", &bytes(&|v| f64::from(v).to_le_bytes().into())),
        npy(">f4", "False", "(2, 2)", &bytes(&|v| v.to_be_bytes().into())),
    ];
    for file in files {
        let ambit = Ambit::new();
        ambit.write("x.npy", file);
        ambit.done(IMPORT);
        ambit.done("export y.npy -c c --space s");
        let exported = ambit.read("y.npy");
        assert_eq!(exported[128..], bytes(&|v| v.to_le_bytes().into()));
    }
}

#[test]
fn a_float64_that_does_not_fit_is_refused_unless_rounding_is_asked_for() {
    let ambit = Ambit::new();
    let data: Vec<u8> = [1.0, 2.0, 0.1, 4.0].into_iter().flat_map(f64::to_le_bytes).collect();
    ambit.write("x.npy", npy("<f8", "False", "(2, 2)", &data));
    ambit.fails(IMPORT, 2, &["x.npy: row 1, column 0: 0.1 is no float32", "--round"]);
    ambit.done(&format!("{IMPORT} --round"));
}

#[test]
fn each_array_that_is_no_plain_matrix_is_refused() {
    let cases: [(Vec<u8>, &str); 9] = [
        (npy("<f4", "True", "(2, 3)", &[0; 24]), "Fortran order"),
        (npy("<i4", "False", "(2, 3)", &[0; 24]), "element type '<i4'"),
        (npy("|O", "False", "(2, 3)", &[0; 24]), "Python objects"),
        (npy("<f4", "False", "(6,)", &[0; 24]), "1 dimensions"),
        (npy("<f4", "False", "(2, 3)", &[0; 20]), "truncated"),
        (npy("<f4", "False", "(9000000000, 3)", &[0; 24]), "its header lies"),
        (npy("<f4", "False", "(1, 70000)", &[0; 280_000]), "rows of 70000 elements"),
        (b"not an array".to_vec(), "not a .npy file"),
        (Vec::new(), "inside its header"),
    ];
    for (file, words) in cases {
        let ambit = Ambit::new();
        ambit.write("x.npy", file);
        ambit.fails(IMPORT, 2, &["x.npy", words]);
        assert!(!ambit.path(".ambit").exists(), "a bad file must not leave a store");
    }
}

#[test]
fn a_file_that_is_not_there_is_an_io_failure() {
    Ambit::new().fails(IMPORT, 6, &["cannot open x.npy"]);
}

#[test]
fn keys_name_the_rows() {
    let ambit = Ambit::new();
    ambit.write("x.npy", numbered(3));
    ambit.write("keys", "apple\npear\nplum tree\n");
    ambit.done(&format!("{IMPORT} --keys keys"));
    let entity = ambit.done("get 'plum tree' -c c --json").json();
    assert_eq!(entity["dims"]["s"], 4);
}

#[test]
fn bad_keys_are_refused_before_anything_is_written() {
    let long = format!("a\n{}\nc\n", "k".repeat(64 << 10));
    let cases = [
        ("a\nb\n", "2 keys for 3 rows"),
        ("a\nb\nc\nd\n", "4 keys for 3 rows"),
        ("a\nb\na\n", "the key 'a' stands on line 1 and again on line 3"),
        ("a\n\nc\n", "line 2: a key is empty"),
        (long.as_str(), "line 2: a key of more than 4,096 bytes"),
    ];
    for (keys, words) in cases {
        let ambit = Ambit::new();
        ambit.write("x.npy", numbered(3));
        ambit.write("keys", keys);
        ambit.fails(&format!("{IMPORT} --keys keys"), 2, &["keys", words]);
        assert_eq!(ambit.done("collections --json").stdout, "");
    }
}

#[test]
fn a_zero_row_under_cosine_is_named_and_the_rows_before_it_stay() {
    let ambit = Ambit::new();
    ambit.write("x.npy", rows(&[1.0, 2.0, 3.0, 4.0, 0.0, -0.0, 5.0, 6.0], 2));
    ambit.fails(IMPORT, 2, &["x.npy", "row 2", "zero", "--from 2"]);
    assert_eq!(ambit.done("collections --json").json()["spaces"][0]["vectors"], 2);
    let ambit_again = format!("{IMPORT} --from 3");
    ambit.done(&ambit_again);
    let other = Ambit::new();
    other.write("x.npy", rows(&[0.0, 0.0], 2));
    other.done(&format!("{IMPORT} --metric euclidean"));
}

#[test]
fn an_import_goes_on_where_it_is_told_to_or_where_it_ended() {
    let ambit = Ambit::new();
    let whole = numbered(1000);
    ambit.write("whole.npy", &whole);
    let first: Vec<u8> = whole[128..128 + 400 * 16].into();
    ambit.write("x.npy", npy("<f4", "False", "(400, 4)", &first));
    ambit.done(IMPORT);
    ambit.write("x.npy", &whole);
    let resumed = ambit.done(&format!("{IMPORT} --resume --json")).json();
    assert_eq!((&resumed["first_row"], &resumed["rows"]), (&400.into(), &600.into()));
    ambit.done("export y.npy -c c --space s");
    assert!(ambit.read("y.npy") == whole);
    ambit.write("x.npy", rows(&[9.0; 8000], 4));
    ambit.fails(&format!("{IMPORT} --resume"), 2, &["is not row 999 of this file"]);
    ambit.fails(&format!("{IMPORT} --from 2001"), 2, &["the file has 2000 rows"]);
}

#[test]
fn another_dimension_or_metric_than_the_spaces_is_refused() {
    let ambit = Ambit::new();
    ambit.write("x.npy", numbered(3));
    ambit.done(IMPORT);
    ambit.fails(&format!("{IMPORT} --metric euclidean"), 2, &["space 's' is cosine"]);
    ambit.write("x.npy", rows(&[1.0, 2.0, 3.0], 3));
    ambit.fails(IMPORT, 2, &["rows of 3 numbers, space 's' has 4"]);
    ambit.fails(&format!("{IMPORT} --metric manhattan"), 2, &["cosine, inner-product, euclidean"]);
}

#[test]
fn an_export_leaves_an_older_file_until_it_is_complete() {
    let ambit = Ambit::new();
    ambit.write("x.npy", numbered(3));
    ambit.done(IMPORT);
    ambit.write("y.npy", "older");
    ambit.fails("export y.npy -c c --space t", 1, &["no space t", "did you mean s?"]);
    assert_eq!(ambit.read("y.npy"), b"older");
    ambit.done("export y.npy -c c --space s");
    assert!(ambit.read("x.npy") == ambit.read("y.npy"));
}
