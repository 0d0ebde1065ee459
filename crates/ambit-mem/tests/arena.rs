//! Arenas and slots against naive models, and their limits.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::rc::Rc;

use ambit_mem::{
    Account, Arena, ArenaError, Budget, Bytes, EntityKey, GraphArena, Priority, Slots,
};
use proptest::prelude::*;

/// Cases of a property: few under an interpreter.
const CASES: u32 = if cfg!(miri) { 4 } else { 256 };
/// The largest allocation.
const LARGEST: usize = if cfg!(miri) { 300 } else { 9000 };
/// The most steps of a property.
const STEPS: usize = if cfg!(miri) { 40 } else { 400 };

fn account(limit: Bytes) -> (Budget, Account) {
    let budget = Budget::new(limit);
    let account = budget.account("arena", Priority::Write);
    (budget, account)
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u16),
    Remove(prop::sample::Index),
    Change(prop::sample::Index, u16),
    Retain(u16),
    Clear,
    Trim,
    Reserve(u16),
}

fn step() -> impl Strategy<Value = Step> {
    use prop::sample::Index;
    prop_oneof![
        20 => any::<u16>().prop_map(Step::Insert),
        12 => any::<Index>().prop_map(Step::Remove),
        4 => (any::<Index>(), any::<u16>()).prop_map(|(at, value)| Step::Change(at, value)),
        1 => (2u16..5).prop_map(Step::Retain),
        1 => Just(Step::Clear),
        2 => Just(Step::Trim),
        1 => (0u16..600).prop_map(Step::Reserve),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    /// The model keeps every key ever given: those that are gone must find nothing for ever.
    #[test]
    fn slots_behave_as_a_map_that_never_reuses_keys(steps in prop::collection::vec(step(), 1..STEPS)) {
        let (budget, account) = account(Bytes::mib(4));
        let mut slots = Slots::new(&account).unwrap();
        let mut model = BTreeMap::<EntityKey, Rc<u16>>::new();
        let mut ever = Vec::new();
        for step in steps {
            match step {
                Step::Insert(value) => {
                    let value = Rc::new(value);
                    let key = slots.insert(Rc::clone(&value)).unwrap();
                    prop_assert!(!ever.contains(&key));
                    ever.push(key);
                    model.insert(key, value);
                }
                Step::Remove(at) if !ever.is_empty() => {
                    let key = *at.get(&ever);
                    prop_assert_eq!(slots.remove(key), model.remove(&key));
                }
                Step::Change(at, value) if !ever.is_empty() => {
                    let key = *at.get(&ever);
                    if let Some(old) = slots.get_mut(key) {
                        *old = Rc::new(value);
                        model.insert(key, Rc::clone(old));
                    }
                }
                Step::Remove(_) | Step::Change(..) => {}
                Step::Retain(part) => {
                    slots.retain(|_, value| !value.is_multiple_of(part));
                    model.retain(|_, value| !value.is_multiple_of(part));
                }
                Step::Clear => {
                    slots.clear();
                    model.clear();
                }
                Step::Trim => slots.trim(),
                Step::Reserve(more) => {
                    slots.reserve(usize::from(more)).unwrap();
                    let held = slots.footprint();
                    let keys = (0..more).map(|value| slots.insert(Rc::new(value)).unwrap());
                    let keys: Vec<_> = keys.collect();
                    prop_assert_eq!(slots.footprint(), held);
                    for key in keys {
                        prop_assert!(slots.remove(key).is_some());
                        if !ever.contains(&key) {
                            ever.push(key);
                        }
                    }
                }
            }
            prop_assert_eq!(slots.len(), model.len());
            prop_assert_eq!(budget.used(), slots.footprint());
        }
        for key in &ever {
            prop_assert_eq!(slots.get(*key), model.get(key));
            prop_assert_eq!(EntityKey::from_bits(key.to_bits()), Some(*key));
        }
        // Keys are ordered by slot, as iteration is.
        let expected: Vec<_> = model.iter().map(|(&key, value)| (key, **value)).collect();
        let found: Vec<_> = slots.iter().map(|(key, value)| (key, **value)).collect();
        prop_assert_eq!(&found, &expected);
        let found: Vec<_> = slots.iter_mut().map(|(key, value)| (key, **value)).collect();
        prop_assert_eq!(&found, &expected);
        drop(slots);
        prop_assert_eq!(budget.used(), Bytes::ZERO);
        prop_assert!(model.values().all(|value| Rc::strong_count(value) == 1));
    }

    /// Each value is written with a pattern of its own, and read again at the end.
    #[test]
    fn allocations_are_aligned_and_do_not_overlap(
        layouts in prop::collection::vec((0..LARGEST, 0u32..9), 1..60),
        reuse in 0usize..60,
    ) {
        let (budget, account) = account(Bytes::mib(64));
        let mut arena = Arena::new(&account).unwrap();
        for layouts in [&layouts[..reuse.min(layouts.len())], &layouts] {
            arena.reset();
            let mut places = Vec::new();
            for (index, &(size, align)) in layouts.iter().enumerate() {
                let layout = Layout::from_size_align(size, 1 << align).unwrap();
                let place = arena.alloc_layout(layout).unwrap();
                prop_assert_eq!(place.addr().get() % layout.align(), 0);
                // SAFETY: the place has this size and is ours until the arena is reset.
                unsafe { place.write_bytes(index as u8, size) };
                places.push((place, size));
            }
            for (index, &(place, size)) in places.iter().enumerate() {
                // SAFETY: as above, and written.
                let bytes = unsafe { std::slice::from_raw_parts(place.as_ptr(), size) };
                prop_assert!(bytes.iter().all(|&byte| byte == index as u8));
            }
            prop_assert_eq!(budget.used(), arena.footprint());
            prop_assert!(arena.used() <= arena.footprint());
            prop_assert!(arena.used() >= places.iter().map(|&(_, size)| Bytes::of(size)).sum());
        }
        arena.reset();
        arena.trim();
        prop_assert_eq!(arena.used(), Bytes::ZERO);
        drop(arena);
        prop_assert_eq!(budget.used(), Bytes::ZERO);
    }
}

#[test]
fn scopes_give_back_what_they_allocated_also_by_panic() {
    let (_budget, account) = account(Bytes::mib(1));
    let mut arena = Arena::new(&account).unwrap();
    arena.scope(|outer| {
        let kept = outer.alloc_slice_with(100, |index| index).unwrap();
        let before = outer.alloc(0u8).unwrap() as *const u8 as usize;
        for _ in 0..STEPS / 4 {
            outer.scope(|inner| {
                let twice = inner.alloc_slice_with(LARGEST, |index| 2 * index as u32).unwrap();
                inner.scope(|last| assert_eq!(last.alloc(twice[7]).unwrap(), &14));
                kept[7] = twice[7] as usize;
                assert_eq!(inner.alloc_str("text").unwrap(), "text");
            });
        }
        let panic = std::panic::AssertUnwindSafe(|| {
            outer.scope(|inner| {
                inner.alloc_slice_copy(&[1u8; 500]).unwrap();
                panic!("on purpose");
            })
        });
        assert!(std::panic::catch_unwind(panic).is_err());
        assert_eq!(outer.alloc(0u8).unwrap() as *const u8 as usize, before - 1);
        assert_eq!((kept[7], kept[8]), (14, 8));
    });
    assert_eq!(arena.used(), Bytes::ZERO);
    assert!(arena.footprint() < Bytes::kib(128), "{:?}", arena.footprint());
    arena.trim();
    assert!(arena.footprint() < Bytes::kib(1), "{:?}", arena.footprint());
}

#[test]
fn an_arena_fits_its_budget_at_one_less_equal_and_one_more() {
    // A list of chunks, and one chunk of exactly what is asked for.
    let list = {
        let (_budget, account) = account(Bytes::mib(1));
        let mut arena = Arena::new(&account).unwrap();
        arena.alloc(1u8).unwrap();
        arena.reset();
        arena.trim();
        arena.footprint().get()
    };
    for (limit, fits) in [(list + 63, false), (list + 64, true), (list + 65, true)] {
        let (budget, account) = account(Bytes::new(limit));
        let arena = Arena::new(&account).unwrap();
        let slice = arena.alloc_slice_copy(&[7u64; 8]);
        assert_eq!(slice.is_ok(), fits, "{limit}");
        if let Err(error) = slice {
            assert!(matches!(error, ArenaError::OverBudget(_)), "{error}");
        } else {
            assert_eq!(budget.used(), Bytes::new(list + 64));
            assert!(arena.alloc(1u8).is_err());
        }
    }
}

#[test]
fn slots_fit_their_budget_at_one_less_equal_and_one_more() {
    let first = {
        let (_budget, account) = account(Bytes::mib(1));
        let mut slots = Slots::new(&account).unwrap();
        slots.insert(1u64).unwrap();
        slots.footprint().get()
    };
    for (limit, fits) in [(first - 1, false), (first, true), (first + 1, true)] {
        let (budget, account) = account(Bytes::new(limit));
        let mut slots = Slots::new(&account).unwrap();
        assert_eq!(slots.insert(1u64).is_ok(), fits, "{limit}");
        while slots.insert(2).is_ok() {}
        assert_eq!(slots.len(), if fits { 256 } else { 0 });
        assert_eq!(slots.iter().count(), slots.len());
        assert!(budget.used() <= Bytes::new(limit));
        let first = slots.iter().next().map(|(key, _)| key);
        assert_eq!(first.and_then(|key| slots.remove(key)), fits.then_some(1));
        assert_eq!(slots.insert(3).is_ok(), fits, "a free slot needs no bytes");
    }
}

#[test]
fn what_no_address_space_holds_is_an_error() {
    let (budget, account) = account(Bytes::MAX);
    let arena = Arena::new(&account).unwrap();
    let error = arena.alloc_slice_with(usize::MAX, |_| 0u64).unwrap_err();
    assert!(matches!(error, ArenaError::TooLarge { .. }), "{error}");
    let mut slots = Slots::<u64>::new(&account).unwrap();
    assert!(matches!(slots.reserve(usize::MAX), Err(ArenaError::OutOfKeys)));
    assert_eq!(budget.used(), Bytes::ZERO);
}

#[test]
fn different_entities_can_be_changed_at_once() {
    let (_budget, account) = account(Bytes::mib(1));
    let mut slots = Slots::new(&account).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| slots.insert(name.to_owned()).unwrap());
    let [left, right] = slots.get_disjoint_mut([c, a]).unwrap();
    std::mem::swap(left, right);
    assert_eq!(slots.get(a).unwrap(), "c");
    assert!(slots.get_disjoint_mut([a, b, a]).is_none());
    slots.remove(b);
    assert!(slots.get_disjoint_mut([a, b]).is_none());
    assert!(EntityKey::from_bits(0).is_none() && EntityKey::from_bits(2 << 32).is_none());
}

#[test]
fn a_generation_uses_the_memory_of_the_one_before() {
    let (budget, account) = account(Bytes::mib(8));
    let mut graph = GraphArena::new(&account).unwrap();
    let keys: Vec<_> = (0..1000u32).map(|n| graph.entities.insert(n).unwrap()).collect();
    let mut held = Vec::new();
    for generation in 1..=4u64 {
        let frontier = graph.temporaries.alloc_slice_copy(&keys).unwrap();
        for &key in frontier.iter() {
            *graph.entities.get_mut(key).unwrap() += 1;
        }
        assert_eq!(graph.advance(), generation);
        assert_eq!(graph.temporaries.used(), Bytes::ZERO);
        held.push(graph.footprint());
    }
    assert!(held.iter().all(|&bytes| bytes == held[0]), "{held:?}");
    assert_eq!(graph.entities.get(keys[999]), Some(&1003));
    assert_eq!(budget.used(), graph.footprint());
    graph.entities.clear();
    graph.trim();
    assert!(graph.footprint() < Bytes::kib(1), "{:?}", graph.footprint());
    assert_eq!(graph.generation(), 4);
}

#[test]
fn a_destructor_that_panics_is_not_run_twice() {
    struct Bomb {
        is_live: bool,
        _count: Rc<()>,
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.is_live, "on purpose");
        }
    }
    let (budget, account) = account(Bytes::mib(1));
    let count = Rc::new(());
    let mut slots = Slots::new(&account).unwrap();
    for is_live in [false, true, false] {
        slots.insert(Bomb { is_live, _count: Rc::clone(&count) }).unwrap();
    }
    let clear = std::panic::AssertUnwindSafe(|| slots.clear());
    assert!(std::panic::catch_unwind(clear).is_err());
    assert_eq!(slots.len(), 1);
    drop(slots);
    assert_eq!((Rc::strong_count(&count), budget.used()), (1, Bytes::ZERO));
}
