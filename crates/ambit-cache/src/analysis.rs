//! Is a cache worth its bytes, and what would make it better?

use ambit_mem::Bytes;

use crate::curve::MissRatioCurve;
use crate::stats::CacheStats;

/// Requests without which nothing is advised.
const ENOUGH: u64 = 1_000;

/// What a cache achieves, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// Hits of all requests, 0 to 1.
    pub hit_ratio: f64,
    /// Hits of those that a cache of four times the size would have, by the curve, 0 to 1.
    pub effectiveness: f64,
    /// What to do, the most useful first.
    pub advice: Vec<Advice>,
}

/// Something to do about a cache.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Advice {
    /// Give it more bytes: so many would save this part of its misses.
    Grow {
        /// Bytes more.
        more: Bytes,
        /// The part of its misses that they would save, 0 to 1.
        saves: f64,
    },
    /// Take bytes away: so many less would add this part to its misses.
    Shrink {
        /// Bytes less.
        less: Bytes,
        /// The part by which misses would grow.
        costs: f64,
    },
    /// Values are larger than fits: so many of those that came were not let in.
    RaiseCapForLarge {
        /// The part of values that were rejected, 0 to 1.
        rejected: f64,
    },
    /// Values end before they go: more of them by time than for room.
    LengthenLife {
        /// The part of those that left whose time was over, 0 to 1.
        expired: f64,
    },
    /// Much is pinned, and the rest of the cache is as much smaller.
    PinLess {
        /// The part of the cap that is pinned, 0 to 1.
        pinned: f64,
    },
    /// Hardly anything is asked for twice: the cache could be left out.
    LeaveOut {
        /// Hits of all requests, 0 to 1.
        hit_ratio: f64,
    },
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = |part: f64| (part * 100.0).round();
        match *self {
            Self::Grow { more, saves } => {
                write!(f, "{more} more would save {} % of the loads", percent(saves))
            }
            Self::Shrink { less, costs } => {
                write!(f, "{less} less would add {} % to the loads", percent(costs))
            }
            Self::RaiseCapForLarge { rejected } => {
                write!(f, "{} % of the values are too large for the cap", percent(rejected))
            }
            Self::LengthenLife { expired } => {
                write!(f, "{} % of what left had ended; let entries live longer", percent(expired))
            }
            Self::PinLess { pinned } => {
                write!(f, "{} % of the cap are pinned", percent(pinned))
            }
            Self::LeaveOut { hit_ratio } => {
                write!(
                    f,
                    "{} % of requests hit, at any size; leave the cache out",
                    percent(hit_ratio)
                )
            }
        }
    }
}

impl Analysis {
    pub(crate) fn of(stats: &CacheStats, curve: &MissRatioCurve) -> Self {
        let hit_ratio = stats.hit_ratio();
        let (cap, most) = (stats.cap, stats.cap.saturating_mul(4));
        let could = 1.0 - curve.at(most);
        let does = 1.0 - curve.at(cap);
        let effectiveness = if could > 0.0 { (does / could).min(1.0) } else { 1.0 };
        let mut advice = Vec::new();
        if stats.hits + stats.misses >= ENOUGH {
            advise(stats, curve, &mut advice);
        }
        Self { hit_ratio, effectiveness, advice }
    }
}

fn advise(stats: &CacheStats, curve: &MissRatioCurve, advice: &mut Vec<Advice>) {
    let cap = stats.cap;
    let misses = curve.at(cap).max(f64::MIN_POSITIVE);
    if stats.hit_ratio() < 0.01 && curve.at(cap.saturating_mul(4)) > 0.98 {
        advice.push(Advice::LeaveOut { hit_ratio: stats.hit_ratio() });
        return;
    }
    // The size up to four times this one that saves most for each byte.
    let saves = |factor: f64| {
        let more = Bytes::new((cap.get() as f64 * factor) as u64);
        (more, (misses - curve.at(cap.saturating_add(more))) / misses)
    };
    let best = [0.25, 0.5, 1.0, 2.0, 3.0]
        .map(|factor| (saves(factor), factor))
        .into_iter()
        .filter(|((_, saves), _)| *saves > 0.1)
        .max_by(|((_, one), by), ((_, other), by_other)| (one / by).total_cmp(&(other / by_other)));
    if let Some(((more, saves), _)) = best {
        advice.push(Advice::Grow { more, saves });
    }
    let less = Bytes::new(cap.get() / 2);
    let costs = (curve.at(less) - misses) / misses;
    if best.is_none() && costs < 0.02 {
        advice.push(Advice::Shrink { less, costs });
    }
    let part = |of: u64, all: u64| of as f64 / all.max(1) as f64;
    let rejected = part(stats.rejected, stats.rejected + stats.inserted);
    if rejected > 0.01 {
        advice.push(Advice::RaiseCapForLarge { rejected });
    }
    let evicted = stats.evicted_for_room + stats.evicted_on_request;
    let expired = part(stats.expired, stats.expired + evicted);
    if expired > 0.5 && stats.misses > stats.hits {
        advice.push(Advice::LengthenLife { expired });
    }
    let pinned = part(stats.pinned.get(), cap.get());
    if pinned > 0.5 {
        advice.push(Advice::PinLess { pinned });
    }
}
