//! Tiers against the source alone: whatever is asked, written, removed or fails, a value is the source's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use ambit_cache::{Source, Tiers, TiersConfig};
use ambit_mem::{Budget, Bytes, Priority};
use proptest::prelude::*;

/// Packed: a number; unpacked: as many bytes of it as the key says.
#[derive(Default)]
struct Slow {
    values: Mutex<BTreeMap<u64, u8>>,
    fails: AtomicBool,
    passes: AtomicU64,
    unpacked: AtomicU64,
}

impl Source<u64, Vec<u8>, Arc<[u8]>> for Slow {
    type Error = String;

    fn load(&self, keys: &[&u64], take: &mut dyn FnMut(usize, Vec<u8>)) -> Result<(), String> {
        self.passes.fetch_add(1, Ordering::Relaxed);
        if self.fails.load(Ordering::Relaxed) {
            return Err("the source is away".to_owned());
        }
        let values = self.values.lock().unwrap();
        // In the order of the source, not in that of the question.
        let mut places: Vec<usize> = (0..keys.len()).collect();
        places.sort_by_key(|&place| keys[place]);
        for place in places {
            if let Some(&value) = values.get(keys[place]) {
                take(place, vec![value; 8 + *keys[place] as usize % 40]);
            }
        }
        Ok(())
    }

    fn unpack(&self, _: &u64, packed: &Vec<u8>) -> Result<Arc<[u8]>, String> {
        self.unpacked.fetch_add(1, Ordering::Relaxed);
        if packed.contains(&255) {
            return Err("damaged".to_owned());
        }
        Ok(packed.iter().flat_map(|&byte| [byte; 3]).collect())
    }
}

impl Slow {
    fn of(values: impl IntoIterator<Item = (u64, u8)>) -> Self {
        Self { values: Mutex::new(values.into_iter().collect()), ..Self::default() }
    }

    fn truth(&self, key: u64) -> Option<Arc<[u8]>> {
        let value = *self.values.lock().unwrap().get(&key)?;
        Some(vec![value; 3 * (8 + key as usize % 40)].into())
    }

    fn passes(&self) -> u64 {
        self.passes.load(Ordering::Relaxed)
    }
}

type Rows = Tiers<u64, Vec<u8>, Arc<[u8]>>;

fn tiers(cap: Bytes) -> (ambit_mem::Account, Rows) {
    let account = Budget::new(Bytes::mib(64)).account("cache/rows", Priority::Cache);
    let unpacked = Bytes::new(cap.get() / 4);
    let tiers = Tiers::new(TiersConfig { cap, unpacked }, &account).unwrap();
    (account, tiers)
}

#[derive(Debug, Clone)]
enum Step {
    Get(u64),
    GetMany(Vec<u64>),
    Prefetch(Vec<u64>),
    Put(u64, u8),
    Remove(u64),
    Fail(bool),
    Clear,
    Cap(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop_oneof![4 => 0..12_u64, 1 => 0..400_u64];
    prop_oneof![
        10 => key().prop_map(Step::Get),
        4 => prop::collection::vec(key(), 0..12).prop_map(Step::GetMany),
        2 => prop::collection::vec(key(), 0..12).prop_map(Step::Prefetch),
        4 => (key(), 0..255_u8).prop_map(|(key, value)| Step::Put(key, value)),
        2 => key().prop_map(Step::Remove),
        1 => any::<bool>().prop_map(Step::Fail),
        1 => Just(Step::Clear),
        1 => (12..96_u64).prop_map(Step::Cap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_value_is_always_that_of_the_source(steps in prop::collection::vec(step(), 1..120)) {
        let slow = Slow::of((0..200).map(|key| (key, key as u8 % 250)));
        let mut cap = Bytes::kib(48);
        let (account, tiers) = tiers(cap);
        for step in steps {
            let fails = slow.fails.load(Ordering::Relaxed);
            match step {
                Step::Get(key) => match tiers.get(&slow, &key) {
                    Ok(value) => prop_assert_eq!(value, slow.truth(key)),
                    Err(_) => prop_assert!(fails),
                },
                Step::GetMany(keys) => match tiers.get_many(&slow, &keys) {
                    Ok(values) => {
                        let truth: Vec<_> = keys.iter().map(|&key| slow.truth(key)).collect();
                        prop_assert_eq!(values, truth);
                    }
                    Err(_) => prop_assert!(fails),
                },
                Step::Prefetch(keys) => prop_assert!(tiers.prefetch(&slow, &keys).is_ok() || fails),
                Step::Put(key, value) => {
                    slow.values.lock().unwrap().insert(key, value);
                    tiers.put(key, vec![value; 8 + key as usize % 40]);
                }
                Step::Remove(key) => {
                    slow.values.lock().unwrap().remove(&key);
                    tiers.remove(&key);
                }
                Step::Fail(fails) => slow.fails.store(fails, Ordering::Relaxed),
                Step::Clear => tiers.clear(),
                Step::Cap(kib) => {
                    cap = Bytes::kib(kib);
                    // What tables hold may not fit the smallest caps; the next step would show it.
                    if tiers.set_cap(cap).is_err() {
                        cap = Bytes::kib(96);
                    }
                }
            }
            prop_assert!(account.used() <= cap, "{} of {cap}", account.used());
        }
        drop(tiers);
        prop_assert_eq!(account.used(), Bytes::ZERO);
    }
}

#[test]
fn what_is_asked_for_again_is_promoted_and_then_costs_no_unpacking() {
    let slow = Slow::of((0..100).map(|key| (key, 7)));
    let (_, tiers) = tiers(Bytes::kib(128));
    for _ in 0..5 {
        tiers.get(&slow, &3).unwrap();
    }
    assert_eq!((slow.passes(), slow.unpacked.load(Ordering::Relaxed)), (1, 2));
    let stats = tiers.stats();
    assert_eq!((stats.unpacked.hits, stats.packed.hits, stats.loaded), (3, 1, 1));
    assert!((stats.hit_ratio() - 0.8).abs() < 1e-12);
}

#[test]
fn many_keys_are_loaded_in_one_pass_and_those_that_do_not_exist_are_none() {
    let slow = Slow::of((0..50).map(|key| (key, 9)));
    let (_, tiers) = tiers(Bytes::kib(128));
    tiers.prefetch(&slow, &[1, 2, 3]).unwrap();
    assert_eq!(slow.passes(), 1);
    let keys: Vec<u64> = (0..60).rev().collect();
    let values = tiers.get_many(&slow, &keys).unwrap();
    assert_eq!(slow.passes(), 2);
    assert!(values.iter().zip(&keys).all(|(value, &key)| *value == slow.truth(key)));
    assert_eq!(tiers.get(&slow, &77).unwrap(), None);
    tiers.prefetch(&slow, &keys[10..]).unwrap();
    assert_eq!(slow.passes(), 3);
}

#[test]
fn a_load_that_fails_is_an_error_and_is_made_again() {
    let slow = Slow::of([(5, 1), (6, 255)]);
    let (_, tiers) = tiers(Bytes::kib(128));
    slow.fails.store(true, Ordering::Relaxed);
    assert!(tiers.get(&slow, &5).is_err() && tiers.get_many(&slow, &[5, 6]).is_err());
    assert_eq!(tiers.stats().failed_loads, 2);
    slow.fails.store(false, Ordering::Relaxed);
    assert_eq!(tiers.get(&slow, &5).unwrap(), slow.truth(5));
    assert_eq!(tiers.get(&slow, &6).unwrap_err(), "damaged");
    assert_eq!(tiers.get_many(&slow, &[6]).unwrap_err(), "damaged");
}

#[test]
fn threads_that_want_one_key_load_it_once() {
    let slow = Slow::of((0..64).map(|key| (key, 3)));
    let (_, tiers) = tiers(Bytes::mib(1));
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for key in 0..64 {
                    barrier.wait();
                    assert_eq!(tiers.get(&slow, &key).unwrap(), slow.truth(key));
                }
            });
        }
    });
    assert_eq!(slow.passes(), 64);
}

#[test]
fn a_reader_beside_a_writer_never_keeps_an_old_value() {
    let slow = Slow::of((0..8).map(|key| (key, 0)));
    let (_, tiers) = tiers(Bytes::kib(256));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    (0..8).for_each(|key| drop(tiers.get(&slow, &key).unwrap()));
                    tiers.get_many(&slow, &[7, 3, 0]).unwrap();
                    tiers.prefetch(&slow, &[1, 2, 6]).unwrap();
                }
            });
        }
        for round in 0..4000_u64 {
            let (key, value) = (round % 8, (round % 250) as u8);
            slow.values.lock().unwrap().insert(key, value);
            match round % 3 {
                0 => tiers.remove(&key),
                _ => tiers.put(key, vec![value; 8 + key as usize % 40]),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    for key in 0..8 {
        assert_eq!(tiers.get(&slow, &key).unwrap(), slow.truth(key));
    }
}
