//! The interner against a map, at its limits, under threads, and through damaged images.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use ambit_mem::{
    Account, Budget, Bytes, InternError, Interner, InternerConfig, Priority, Refusal, RestoreError,
    Symbol,
};
use proptest::prelude::*;

fn account(budget: &Budget) -> Account {
    budget.account("symbols", Priority::Write)
}

fn interner(budget: &Budget) -> Interner {
    Interner::new(InternerConfig::default(), &account(budget)).unwrap()
}

fn budget() -> Budget {
    Budget::new(Bytes::mib(256))
}

fn intern_all(names: &Interner, texts: &[&str]) {
    names.intern_batch(texts, &mut Vec::new()).unwrap();
}

fn image(interner: &Interner) -> Vec<u8> {
    let mut image = Vec::new();
    interner.write_to(&mut image).unwrap();
    image
}

fn restore(mut image: &[u8]) -> Result<Interner, RestoreError> {
    let restored = Interner::read_from(&mut image, InternerConfig::default(), &account(&budget()))?;
    assert!(image.is_empty());
    Ok(restored)
}

#[test]
fn symbols_count_from_zero_in_order_of_first_sight() {
    let budget = budget();
    let names = interner(&budget);
    let seen = ["a", "", "b", "a", "", "c"].map(|text| names.intern(text).unwrap().get());
    assert_eq!(seen, [0, 1, 2, 0, 1, 3]);
    assert_eq!((names.len(), names.is_empty()), (4, false));
    let all: Vec<_> = names.iter().map(|(symbol, text)| (symbol.get(), text)).collect();
    assert_eq!(all, [(0, "a"), (1, ""), (2, "b"), (3, "c")]);
    assert_eq!(names.get("b"), Some(Symbol::new(2)));
    assert_eq!((names.get("d"), names.len()), (None, 4));
    assert_eq!(names.resolve(Symbol::new(4)), None);
    assert_eq!(names.resolve(Symbol::new(u32::MAX)), None);
}

#[test]
fn strings_of_every_length_at_every_place_of_a_piece_come_back() {
    let budget = budget();
    let names = interner(&budget);
    let long = "0123456789abcdef".repeat(1100);
    let lengths = (0..if cfg!(miri) { 8 } else { 300 })
        .chain([4094, 4095, 4096, 4097, 8191, 8192, 8193, 17_000, 1, 4096, 4096, 1, 0]);
    let mut expected = Vec::new();
    for (index, len) in lengths.enumerate() {
        let text = format!("{index}:{}", &long[..len]);
        expected.push((names.intern(&text).unwrap(), text));
    }
    for (symbol, text) in &expected {
        assert_eq!(names.resolve(*symbol), Some(text.as_str()));
        assert_eq!(names.get(text), Some(*symbol));
    }
    assert_eq!(budget.used(), names.footprint());
}

#[test]
fn a_borrowed_string_stays_where_it_is_while_others_come() {
    let budget = budget();
    let names = interner(&budget);
    let first = names.resolve(names.intern("first").unwrap()).unwrap();
    let more = if cfg!(miri) { 600 } else { 100_000 };
    for index in 0..more {
        names.intern(&index.to_string()).unwrap();
    }
    assert_eq!(first, "first");
    assert!(std::ptr::eq(first, names.resolve(Symbol::new(0)).unwrap()));
}

#[test]
fn the_number_of_strings_is_limited_exactly() {
    for (strings, fits) in [(4, true), (5, true), (6, false)] {
        let budget = budget();
        let config = InternerConfig { max_strings: 5, ..InternerConfig::default() };
        let names = Interner::new(config, &account(&budget)).unwrap();
        let texts: Vec<String> = (0..strings).map(|index| index.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut symbols = Vec::new();
        let outcome = names.intern_batch(&texts, &mut symbols);
        assert_eq!(outcome.is_ok(), fits, "{strings}");
        assert_eq!(symbols.len(), strings.min(5));
        if !fits {
            assert!(matches!(outcome, Err(InternError::TooManyStrings { limit: 5 })));
            // What is known still is.
            assert_eq!(names.intern("4").unwrap(), Symbol::new(4));
        }
    }
}

#[test]
fn the_bytes_of_text_are_limited_exactly() {
    for (len, fits) in [(9, true), (10, true), (11, false)] {
        let budget = budget();
        let config = InternerConfig { max_text: Bytes::new(15), ..InternerConfig::default() };
        let names = Interner::new(config, &account(&budget)).unwrap();
        names.intern("12345").unwrap();
        let outcome = names.intern(&"x".repeat(len));
        assert_eq!(outcome.is_ok(), fits, "{len}");
        if !fits {
            let told = outcome.unwrap_err().to_string();
            assert!(told.contains("11 B") && told.contains("max_text"), "{told}");
            names.intern("1234567890").unwrap();
        }
    }
}

#[test]
fn every_refusal_leaves_the_interner_whole() {
    let texts: Vec<String> = (0..700).map(|n| format!("{n}").repeat(1 + n % 90)).collect();
    let calm = budget();
    calm.plant_refusal(None);
    let names = interner(&calm);
    for text in &texts {
        names.intern(text).unwrap();
    }
    let requests = calm.requests();
    let step = if cfg!(miri) { requests / 3 } else { 1 };
    let mut all = 0;
    for refused in (0..requests).step_by(step as usize) {
        let budget = budget();
        budget.plant_refusal(Some(Refusal::Once(refused)));
        let Ok(names) = Interner::new(InternerConfig::default(), &account(&budget)) else {
            assert_eq!((refused, budget.used()), (0, Bytes::ZERO));
            continue;
        };
        let mut errors = 0;
        for (index, text) in texts.iter().enumerate() {
            let symbol = names.intern(text).unwrap_or_else(|error| {
                assert!(matches!(error, InternError::OverBudget(_)));
                assert_eq!((names.len() as usize, names.get(text)), (index, None));
                assert_eq!(budget.used(), names.footprint());
                errors += 1;
                names.intern(text).unwrap()
            });
            assert_eq!(symbol.get() as usize, index);
        }
        // How often tables grow depends on the hashes, which differ from one to the next.
        assert!(errors <= 1);
        all += errors * step;
        for (index, text) in texts.iter().enumerate() {
            assert_eq!(names.resolve(Symbol::new(index as u32)), Some(text.as_str()));
        }
        assert_eq!(budget.used(), names.footprint());
        drop(names);
        assert_eq!((budget.used(), budget.misuses()), (Bytes::ZERO, 0));
    }
    assert!(all > requests / 2, "{all} of {requests}");
}

#[test]
fn a_string_costs_at_most_12_bytes_beyond_its_text_at_every_size() {
    let budget = budget();
    let names = interner(&budget);
    let mut text = 0;
    for index in 0..if cfg!(miri) { 0 } else { 300_000u64 } {
        let name = format!("n{:08}", index * 77);
        text += name.len() as u64;
        names.intern(&name).unwrap();
        if index >= 10_000 && index % 64 == 0 {
            let beyond = (names.footprint().get() - text) as f64 / (index + 1) as f64;
            assert!(beyond <= 12.0, "{beyond} bytes beyond the text of {} strings", index + 1);
        }
    }
    assert_eq!(budget.used(), names.footprint());
}

#[test]
fn threads_that_intern_the_same_strings_get_the_same_symbols() {
    let budget = budget();
    let names = interner(&budget);
    let rounds = if cfg!(miri) { 60u32 } else { 60_000 };
    let (start, done) = (Barrier::new(4), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3u32)
            .map(|thread| {
                let (names, start) = (&names, &start);
                scope.spawn(move || {
                    start.wait();
                    let text = |round: u32| format!("string {}", (round * 7919 + thread) % rounds);
                    (0..rounds)
                        .map(|round| (names.intern(&text(round)).unwrap(), text(round)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let reader = scope.spawn(|| {
            start.wait();
            let mut checked = 0u32;
            while !done.load(Ordering::Relaxed) || checked == 0 {
                for (symbol, text) in names.iter() {
                    assert_eq!(names.get(text), Some(symbol));
                    checked += 1;
                }
                std::thread::yield_now();
                if names.is_empty() && done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let mut seen: HashMap<String, Symbol> = HashMap::new();
        for writer in writers {
            for (symbol, text) in writer.join().unwrap() {
                assert_eq!(names.resolve(symbol), Some(text.as_str()));
                assert_eq!(*seen.entry(text).or_insert(symbol), symbol);
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        assert_eq!(names.len() as usize, seen.len());
    });
    assert_eq!(names.stats().total_references, 3 * u64::from(rounds));
    assert_eq!(budget.used(), names.footprint());
}

#[test]
fn the_figures_are_those_of_the_strings() {
    let budget = budget();
    let names = interner(&budget);
    assert_eq!(names.stats().deduplication_ratio, 0.0);
    for _ in 0..1000 {
        names.intern("hypernym").unwrap();
        names.intern("hyponym").unwrap();
    }
    let stats = names.stats();
    assert_eq!((stats.unique_strings, stats.total_references), (2, 2000));
    assert_eq!((stats.text_bytes.get(), stats.deduplication_ratio), (15, 1000.0));
    assert_eq!(stats.total_bytes, names.footprint());
    assert_eq!(stats.bytes_without.get(), 2000 * 24 + 1000 * 15);
    let with = 2000 * 4 + stats.total_bytes.get();
    assert_eq!(stats.bytes_saved.get(), stats.bytes_without.get() - with);
}

#[test]
fn an_image_gives_strings_symbols_and_counts_back() {
    let budget = budget();
    let names = interner(&budget);
    let long = "é".repeat(50_000);
    for text in ["b", "", "a", &long, "b"] {
        names.intern(text).unwrap();
    }
    for index in 0..if cfg!(miri) { 10 } else { 5000 } {
        names.intern(&format!("string {index}")).unwrap();
    }
    let image = image(&names);
    let again = restore(&image).unwrap();
    assert!(names.iter().eq(again.iter()));
    let figures = |names: &Interner| {
        let stats = names.stats();
        (stats.unique_strings, stats.total_references, stats.text_bytes, stats.bytes_without)
    };
    assert_eq!(figures(&again), figures(&names));
    assert_eq!(again.get(&long), Some(Symbol::new(3)));
    assert_eq!(again.intern("new").unwrap().get(), names.len());
    assert_eq!(restore(&self::image(&interner(&budget))).unwrap().len(), 0);
}

#[test]
fn reading_stops_where_the_image_ends() {
    let budget = budget();
    let names = interner(&budget);
    names.intern("one").unwrap();
    let mut bytes = image(&names);
    bytes.extend_from_slice(b"and something else");
    let mut rest = bytes.as_slice();
    Interner::read_from(&mut rest, InternerConfig::default(), &account(&budget)).unwrap();
    assert_eq!(rest, b"and something else");
}

#[test]
fn a_changed_bit_and_a_missing_byte_are_noticed_wherever_they_are() {
    let budget = budget();
    let names = interner(&budget);
    intern_all(&names, &["one", "", "three", "four"]);
    let image = image(&names);
    for len in 0..image.len() {
        let error = restore(&image[..len]).unwrap_err();
        assert!(matches!(error, RestoreError::Corrupt { what: "it ends early", .. }), "{error}");
    }
    for bit in 0..image.len() * 8 {
        let mut damaged = image.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let error = restore(&damaged).unwrap_err();
        let expected = match bit / 64 {
            0 => matches!(error, RestoreError::Unknown { version: None }),
            _ if bit / 8 < 12 => matches!(error, RestoreError::Unknown { version: Some(_) }),
            _ => matches!(error, RestoreError::Corrupt { .. }),
        };
        assert!(expected, "bit {bit}: {error}");
    }
}

#[test]
fn an_image_is_restored_within_the_limits_only() {
    let budget = budget();
    let names = interner(&budget);
    intern_all(&names, &["one", "two", "three"]);
    let image = image(&names);
    for (max_strings, max_text, fits) in
        [(3, 11, true), (4, 12, true), (2, 11, false), (3, 10, false)]
    {
        let config = InternerConfig { max_strings, max_text: Bytes::new(max_text) };
        let restored = Interner::read_from(&mut image.as_slice(), config, &account(&budget));
        assert_eq!(restored.is_ok(), fits);
        assert!(fits || matches!(restored, Err(RestoreError::Intern(_))));
    }
    let small = Budget::new(Bytes::kib(1));
    let config = InternerConfig::default();
    let refused = Interner::read_from(&mut image.as_slice(), config, &account(&small));
    assert!(matches!(refused, Err(RestoreError::Intern(InternError::OverBudget(_)))));
    assert_eq!(small.used(), Bytes::ZERO);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 3 } else { 64 }))]
    #[test]
    fn the_interner_does_what_a_map_and_a_vector_would(
        texts in prop::collection::vec("[a-c]{0,4}|.{0,40}|[xy]{60,1500}", 0..400),
        batch in 1_usize..40,
    ) {
        let budget = budget();
        let names = interner(&budget);
        let (mut known, mut order) = (HashMap::new(), Vec::new());
        for texts in texts.chunks(batch) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let mut symbols = vec![Symbol::new(7)];
            if batch % 2 == 0 {
                names.intern_batch(&texts, &mut symbols).unwrap();
            } else {
                symbols.extend(texts.iter().map(|text| names.intern(text).unwrap()));
            }
            prop_assert_eq!(symbols.len(), texts.len() + 1);
            for (text, symbol) in texts.iter().zip(&symbols[1..]) {
                let expected = *known.entry((*text).to_owned()).or_insert_with(|| {
                    order.push((*text).to_owned());
                    order.len() as u32 - 1
                });
                prop_assert_eq!(symbol.get(), expected);
            }
        }
        let all: Vec<&str> = names.iter().map(|(_, text)| text).collect();
        prop_assert_eq!(all, order);
        prop_assert_eq!(names.stats().total_references, texts.len() as u64);
        prop_assert_eq!(budget.used(), names.footprint());
        let again = restore(&image(&names)).unwrap();
        prop_assert!(names.iter().eq(again.iter()));
    }

    #[test]
    fn bytes_that_are_no_image_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(restore(&bytes).is_err());
    }
}
