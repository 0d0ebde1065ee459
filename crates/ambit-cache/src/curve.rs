//! How often would a cache miss if it had more bytes, or fewer?
//!
//! Of all keys, a sample by hash stands in a queue by recency; when one of it is asked for again,
//! the weights of those before it, scaled by the sampling rate, are the bytes that LRU would
//! have needed to hit (SHARDS: Waldspurger, Park, Garthwaite, Ahmad, FAST 2015). The rate follows
//! the number of keys, so that the sample stays at a few hundred: the curve is good to a few
//! points. It is LRU's curve; a policy that does better than LRU lies below it, by and
//! large evenly, so that differences along it hold.

use ambit_mem::Bytes;

use crate::sync::{AtomicU64, Mutex, Ordering, lock};

/// The most keys in the sample.
const SAMPLES: usize = 256;
/// Steps of the curve to the cap, and to its end at four times the cap.
const STEPS_TO_CAP: usize = 16;
const STEPS: usize = 4 * STEPS_TO_CAP;
/// Sampled requests after which older ones count half.
const MEMORY: f64 = 16_384.0;

/// How often a cache would miss at sizes up to four times its cap.
#[derive(Debug, Clone, PartialEq)]
pub struct MissRatioCurve {
    step: u64,
    /// Miss ratio at 0, 1, 2... steps.
    misses: Vec<f64>,
}

impl MissRatioCurve {
    /// The miss ratio of a cache of this size, 0 to 1.
    pub fn at(&self, size: Bytes) -> f64 {
        let at = size.get() as f64 / self.step.max(1) as f64;
        let below = (at as usize).min(self.misses.len() - 1);
        let above = (below + 1).min(self.misses.len() - 1);
        let part = (at - below as f64).clamp(0.0, 1.0);
        self.misses[below] * (1.0 - part) + self.misses[above] * part
    }

    /// Sizes and miss ratios, from zero to four times the cap.
    pub fn points(&self) -> impl Iterator<Item = (Bytes, f64)> + '_ {
        let size = |at: usize| Bytes::new(at as u64 * self.step);
        self.misses.iter().enumerate().map(move |(at, &misses)| (size(at), misses))
    }
}

#[derive(Debug)]
struct Sample {
    hash: u32,
    weight: u32,
}

#[derive(Debug)]
struct Samples {
    /// The most recent last.
    queue: Vec<Sample>,
    /// Of all of them.
    weight: u64,
    /// Requests by the size at which they would have hit, in steps.
    hits: Box<[f64; STEPS]>,
    requests: f64,
    cap: u64,
    mean_weight: f64,
}

/// The curve of one cache.
#[derive(Debug)]
pub(crate) struct Curve {
    /// Mixed hashes up to this one are in the sample.
    sampled: AtomicU64,
    samples: Mutex<Samples>,
}

const EVERYTHING: u64 = u32::MAX as u64;

#[inline]
const fn mix(hash: u32) -> u64 {
    hash.wrapping_mul(0x85eb_ca6b) as u64
}

impl Curve {
    pub fn new(cap: Bytes) -> Self {
        let samples = Samples {
            queue: Vec::with_capacity(SAMPLES + 1),
            weight: 0,
            hits: Box::new([0.0; STEPS]),
            requests: 0.0,
            cap: cap.get(),
            mean_weight: 0.0,
        };
        Self { sampled: AtomicU64::new(EVERYTHING), samples: Mutex::new(samples) }
    }

    /// Bytes that it takes beside its own size.
    pub fn bytes(&self) -> u64 {
        ((SAMPLES + 1) * size_of::<Sample>() + STEPS * size_of::<f64>()) as u64
    }

    /// A key is asked for.
    #[inline]
    pub fn ask(&self, hash: u32) {
        if mix(hash) <= self.sampled.load(Ordering::Relaxed) {
            self.count(hash);
        }
    }

    /// The weight of a key is known.
    #[inline]
    pub fn weigh(&self, hash: u32, weight: u32) {
        if mix(hash) <= self.sampled.load(Ordering::Relaxed) {
            let mut samples = lock(&self.samples);
            samples.mean_weight += (f64::from(weight) - samples.mean_weight)
                * if samples.mean_weight == 0.0 { 1.0 } else { 1.0 / 256.0 };
            let found = samples.queue.iter_mut().rev().find(|sample| sample.hash == hash);
            if let Some(sample) = found {
                let before = std::mem::replace(&mut sample.weight, weight);
                samples.weight = samples.weight - u64::from(before) + u64::from(weight);
            }
        }
    }

    #[cold]
    fn count(&self, hash: u32) {
        let sampled = self.sampled.load(Ordering::Relaxed);
        let rate = (sampled + 1) as f64 / (EVERYTHING + 1) as f64;
        let mut samples = lock(&self.samples);
        samples.ask(hash, rate);
        let far = samples.drop_far(rate);
        if samples.queue.len() > SAMPLES {
            let last = samples.queue.iter().map(|sample| mix(sample.hash)).max().unwrap_or(0);
            samples.queue.retain(|sample| mix(sample.hash) < last);
            samples.weight = samples.queue.iter().map(|sample| u64::from(sample.weight)).sum();
            self.sampled.store(last.saturating_sub(1), Ordering::Relaxed);
        } else if far && samples.queue.len() < SAMPLES / 2 {
            // More keys fit than are in the sample: those that come in are new to it.
            self.sampled.store((sampled + sampled / 8 + 1).min(EVERYTHING), Ordering::Relaxed);
        }
    }

    pub fn set_cap(&self, cap: Bytes) {
        let mut samples = lock(&self.samples);
        let (old, new) = (samples.cap.max(1) as f64, cap.get().max(1) as f64);
        // Requests keep the sizes at which they would have hit.
        let mut hits = [0.0; STEPS];
        for (at, count) in samples.hits.iter().enumerate() {
            let at = ((at as f64 + 0.5) * old / new) as usize;
            if let Some(hit) = hits.get_mut(at) {
                *hit += count;
            }
        }
        *samples.hits = hits;
        samples.cap = cap.get();
    }

    pub fn clear(&self) {
        let mut samples = lock(&self.samples);
        samples.queue.clear();
        samples.weight = 0;
        *samples.hits = [0.0; STEPS];
        samples.requests = 0.0;
        self.sampled.store(EVERYTHING, Ordering::Relaxed);
    }

    pub fn curve(&self) -> MissRatioCurve {
        let samples = lock(&self.samples);
        let mut missed = samples.requests;
        let all = samples.requests.max(f64::MIN_POSITIVE);
        let mut misses = vec![if samples.requests > 0.0 { 1.0 } else { 0.0 }];
        for hits in samples.hits.iter() {
            missed -= hits;
            misses.push((missed / all).max(0.0));
        }
        MissRatioCurve { step: samples.step(), misses }
    }
}

impl Samples {
    fn step(&self) -> u64 {
        (self.cap / STEPS_TO_CAP as u64).max(1)
    }

    fn ask(&mut self, hash: u32, rate: f64) {
        let mut before = 0_u64;
        let at = self.queue.iter().rposition(|sample| {
            let is_it = sample.hash == hash;
            before += u64::from(sample.weight);
            is_it
        });
        // A request that stands for many counts as many, so that a change of rate does not
        // shift the balance.
        let count = 1.0 / rate;
        self.requests += count;
        let sample = match at {
            Some(at) => {
                let step = (before as f64 / rate) as u64 / self.step();
                if let Some(hits) = self.hits.get_mut(step as usize) {
                    *hits += count;
                }
                self.queue.remove(at)
            }
            None => {
                let weight = self.mean_weight as u32;
                self.weight += u64::from(weight);
                Sample { hash, weight }
            }
        };
        self.queue.push(sample);
        if self.requests * rate > MEMORY {
            self.requests /= 2.0;
            self.hits.iter_mut().for_each(|hits| *hits /= 2.0);
        }
    }

    /// Forgets the oldest beyond the curve's end; was there one?
    fn drop_far(&mut self, rate: f64) -> bool {
        let is_far = self.weight as f64 / rate > 4.0 * self.cap as f64 && self.queue.len() > 1;
        if is_far {
            self.weight -= u64::from(self.queue.remove(0).weight);
        }
        is_far
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn spread(key: u32) -> u32 {
        key.wrapping_mul(2_654_435_761)
    }

    /// Exact miss ratio of LRU.
    fn lru(requests: &[u32], weight: u64, size: u64) -> f64 {
        let (mut queue, mut misses): (Vec<u32>, _) = (Vec::new(), 0.0);
        for key in requests {
            match queue.iter().rposition(|other| other == key) {
                Some(at) => {
                    queue.remove(at);
                }
                None => misses += 1.0,
            }
            queue.push(*key);
            if queue.len() as u64 * weight > size {
                queue.remove(0);
            }
        }
        misses / requests.len() as f64
    }

    fn skewed(len: usize, keys: u32) -> Vec<u32> {
        let mut state = 1_u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u32
        };
        (0..len).map(|_| random() % (1 + random() % keys)).collect()
    }

    #[test]
    fn the_curve_is_that_of_lru_within_a_few_points() {
        let requests = skewed(60_000, 4_000);
        let curve = Curve::new(Bytes::new(1_000 * 100));
        for &key in &requests {
            curve.ask(spread(key));
            curve.weigh(spread(key), 100);
        }
        let curve = curve.curve();
        for entries in [250, 500, 1_000, 2_000] {
            let (ours, exact) =
                (curve.at(Bytes::new(entries * 100)), lru(&requests, 100, entries * 100));
            assert!((ours - exact).abs() < 0.06, "{entries}: {ours} against {exact}");
        }
    }

    #[test]
    fn a_loop_is_a_cliff() {
        let curve = Curve::new(Bytes::new(1_000));
        for at in 0..20_000_u32 {
            curve.ask(spread(at % 150));
            curve.weigh(spread(at % 150), 10);
        }
        let curve = curve.curve();
        assert!(curve.at(Bytes::new(1_400)) > 0.95 && curve.at(Bytes::new(1_600)) < 0.1);
        assert!(curve.points().is_sorted_by(|one, other| one.1 >= other.1));
    }

    #[test]
    fn another_cap_keeps_what_is_known() {
        let curve = Curve::new(Bytes::new(1_000));
        for at in 0..20_000_u32 {
            curve.ask(spread(at % 100));
            curve.weigh(spread(at % 100), 10);
        }
        curve.set_cap(Bytes::new(2_000));
        let curve = curve.curve();
        assert!(curve.at(Bytes::new(750)) > 0.9 && curve.at(Bytes::new(1_250)) < 0.1);
    }
}
