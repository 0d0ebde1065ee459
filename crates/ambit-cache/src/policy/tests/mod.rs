//! Each policy against a slow one that is plain to read.
//!
//! The slow ones keep entries in vectors, front first, and search them from end to end. Both run
//! the same random requests in a cache of the same cap; every answer must agree. Ghosts and
//! sketches, which have oracles of their own, are shared.

mod adaptive;
mod oracles;

use proptest::prelude::*;

use super::*;
use crate::{Simulation, SimulationConfig};
use oracles::{Cached, Oracle};

const KEYS: u32 = 60;

/// Requests: popular keys, runs and loops, with weights by key.
fn requests() -> impl Strategy<Value = Vec<(u32, u32)>> {
    let key = prop_oneof![4 => 0..8_u32, 2 => 0..KEYS, 1 => 20..40_u32];
    let run = prop_oneof![
        3 => key.prop_map(|key| vec![key]),
        1 => (0..KEYS, 1..30_u32).prop_map(|(from, len)| (from..from + len).collect()),
    ];
    let weigh = prop::sample::select(vec![1_u32, 7]);
    (prop::collection::vec(run, 1..200), weigh).prop_map(|(runs, most)| {
        let spread = |key: u32| key.wrapping_mul(2_654_435_761);
        runs.concat().into_iter().map(|key| (spread(key), 1 + key % most)).collect()
    })
}

fn agree<P: Policy>(
    policy: P,
    oracle: impl Oracle,
    requests: &[(u32, u32)],
    cap: u64,
) -> Result<(), TestCaseError> {
    let mut fast = Simulation::new(policy, SimulationConfig { cap, entries: usize::MAX });
    let mut slow = Cached::new(oracle, cap);
    for (at, &(hash, weight)) in requests.iter().enumerate() {
        let hit = fast.access(hash, weight);
        prop_assert_eq!(hit, slow.access(hash, weight), "request {}", at);
        prop_assert_eq!(fast.len(), slow.len(), "request {}", at);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 128 }))]

    #[test]
    fn fifo_does_what_its_oracle_does(requests in requests(), cap in 1_u64..40) {
        agree(Fifo::default(), oracles::Fifo::default(), &requests, cap)?;
    }

    #[test]
    fn lru_does_what_its_oracle_does(requests in requests(), cap in 1_u64..40) {
        agree(Lru::default(), oracles::Lru::default(), &requests, cap)?;
    }

    #[test]
    fn lfu_does_what_its_oracle_does(requests in requests(), cap in 1_u64..40) {
        agree(Lfu::default(), oracles::Lfu::default(), &requests, cap)?;
    }

    #[test]
    fn sieve_does_what_its_oracle_does(requests in requests(), cap in 1_u64..40) {
        agree(Sieve::default(), oracles::Sieve::default(), &requests, cap)?;
    }

    #[test]
    fn s3_fifo_does_what_its_oracle_does(requests in requests(), cap in 1_u64..40) {
        agree(S3Fifo::default(), oracles::S3Fifo::default(), &requests, cap)?;
    }

    #[test]
    fn tiny_lfu_does_what_its_oracle_does(requests in requests(), cap in 1_u64..40) {
        agree(TinyLfu::default(), oracles::TinyLfu::default(), &requests, cap)?;
    }
}
