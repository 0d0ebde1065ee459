//! What else hit ratios are held against: what can be had at all, and policies that keep more
//! than a cache can afford.
//!
//! Belady's rule looks into the future and is no policy. ARC (Megiddo and Modha, 2003) keeps as
//! many ghosts as entries, LIRS (Jiang and Zhang, 2002) here as many as it likes, and
//! GreedyDual-Size-Frequency (Cherkasova, 1998) its exact order.

use std::collections::{BTreeSet, HashMap};

use super::simulators::Score;

/// Hits of Belady's rule for entries of one size; the key that is needed last goes, or does not
/// come in.
pub fn belady(keys: &[u32], cap: usize) -> Score {
    let mut next = vec![u32::MAX; keys.len()];
    let mut seen = HashMap::new();
    for (at, key) in keys.iter().enumerate().rev() {
        if let Some(later) = seen.insert(key, at as u32) {
            next[at] = later;
        }
    }
    let (mut order, mut cached, mut score) = (BTreeSet::new(), HashMap::new(), Score::default());
    for (&key, &next) in keys.iter().zip(&next) {
        let before = cached.get(&key).copied();
        score.count(before.is_some(), 1);
        if let Some(before) = before {
            order.remove(&(before, key));
        } else if cached.len() == cap {
            let Some(&(last, victim)) = order.last() else { continue };
            if last <= next {
                continue;
            }
            order.remove(&(last, victim));
            cached.remove(&victim);
        }
        order.insert((next, key));
        cached.insert(key, next);
    }
    score
}

const NOBODY: u32 = u32::MAX;

/// Lists of keys, each key in one of them or in none (0).
struct Lists {
    prev: Vec<u32>,
    next: Vec<u32>,
    list: Vec<u8>,
    front: [u32; 5],
    back: [u32; 5],
    len: [usize; 5],
}

impl Lists {
    fn new(keys: usize) -> Self {
        Self {
            prev: vec![NOBODY; keys],
            next: vec![NOBODY; keys],
            list: vec![0; keys],
            front: [NOBODY; 5],
            back: [NOBODY; 5],
            len: [0; 5],
        }
    }

    fn of(&self, key: u32) -> usize {
        usize::from(self.list[key as usize])
    }

    fn remove(&mut self, key: u32) {
        let (list, at) = (self.of(key), key as usize);
        if list == 0 {
            return;
        }
        let (prev, next) = (self.prev[at], self.next[at]);
        match prev {
            NOBODY => self.front[list] = next,
            prev => self.next[prev as usize] = next,
        }
        match next {
            NOBODY => self.back[list] = prev,
            next => self.prev[next as usize] = prev,
        }
        self.len[list] -= 1;
        self.list[at] = 0;
    }

    fn push(&mut self, key: u32, list: usize) {
        self.remove(key);
        let front = self.front[list];
        self.prev[key as usize] = NOBODY;
        self.next[key as usize] = front;
        match front {
            NOBODY => self.back[list] = key,
            front => self.prev[front as usize] = key,
        }
        self.front[list] = key;
        self.len[list] += 1;
        self.list[key as usize] = list as u8;
    }

    /// The oldest of one list becomes the newest of another, or of none.
    fn shift(&mut self, from: usize, to: usize) {
        let key = self.back[from];
        if key == NOBODY {
            return;
        }
        match to {
            0 => self.remove(key),
            to => self.push(key, to),
        }
    }
}

const T1: usize = 1;
const T2: usize = 2;
const B1: usize = 3;
const B2: usize = 4;

/// Hits of ARC for entries of one size.
pub fn arc(keys: &[u32], unique: usize, cap: usize) -> Score {
    let (mut lists, mut wanted, mut score) = (Lists::new(unique), 0.0_f64, Score::default());
    let make_room = |lists: &mut Lists, wanted: f64, of_b2: bool| {
        let recent = lists.len[T1] as f64;
        let from_recent = recent > 0.0 && (recent > wanted || (of_b2 && recent == wanted));
        let (from, to) = if from_recent || lists.len[T2] == 0 { (T1, B1) } else { (T2, B2) };
        lists.shift(from, to);
    };
    for &key in keys {
        let list = lists.of(key);
        score.count(matches!(list, T1 | T2), 1);
        let [_, t1, t2, b1, b2] = lists.len;
        match list {
            T1 | T2 => {}
            B1 => {
                wanted = (wanted + (b2 as f64 / b1 as f64).max(1.0)).min(cap as f64);
                make_room(&mut lists, wanted, false);
            }
            B2 => {
                wanted = (wanted - (b1 as f64 / b2 as f64).max(1.0)).max(0.0);
                make_room(&mut lists, wanted, true);
            }
            _ if t1 + b1 == cap && t1 < cap => {
                lists.shift(B1, 0);
                make_room(&mut lists, wanted, false);
            }
            _ if t1 + b1 == cap => lists.shift(T1, 0),
            _ if t1 + t2 >= cap => {
                if t1 + t2 + b1 + b2 >= 2 * cap {
                    lists.shift(B2, 0);
                }
                make_room(&mut lists, wanted, false);
            }
            _ => {}
        }
        lists.push(key, if list == 0 { T1 } else { T2 });
    }
    score
}

/// Hits of LIRS for entries of one size; a hundredth, at least two, are not of low recency. A
/// stack (list 1) of all that were asked for since the oldest of low recency, and a queue.
pub fn lirs(keys: &[u32], unique: usize, cap: usize) -> Score {
    let most = cap.saturating_sub((cap / 100).max(2)).max(1);
    let (mut stack, mut queue) = (Lists::new(unique), Lists::new(unique));
    let (mut low, mut cached) = (vec![false; unique], vec![false; unique]);
    let (mut lows, mut entries, mut score) = (0, 0, Score::default());
    for &key in keys {
        let at = key as usize;
        score.count(cached[at], 1);
        let was_stacked = stack.of(key) == 1;
        if !cached[at] {
            if entries == cap {
                let victim = queue.back[1];
                let victim = if victim == NOBODY { stack.back[1] } else { victim };
                if low[victim as usize] {
                    low[victim as usize] = false;
                    lows -= 1;
                    stack.remove(victim);
                }
                queue.remove(victim);
                cached[victim as usize] = false;
                entries -= 1;
            }
            cached[at] = true;
            entries += 1;
        }
        stack.push(key, 1);
        if !low[at] && (was_stacked || lows < most) {
            low[at] = true;
            lows += 1;
            queue.remove(key);
        } else if !low[at] {
            queue.push(key, 1);
        }
        // Below the oldest of low recency nobody stands.
        while let Some(&oldest) = Some(&stack.back[1]).filter(|&&oldest| oldest != NOBODY) {
            if !low[oldest as usize] {
                stack.remove(oldest);
            } else if lows > most {
                low[oldest as usize] = false;
                lows -= 1;
                stack.remove(oldest);
                queue.push(oldest, 1);
            } else {
                break;
            }
        }
    }
    score
}

/// Hits of GreedyDual-Size-Frequency, every hit worth the same.
pub fn gdsf(requests: impl Iterator<Item = (u32, u32)>, cap: u64) -> Score {
    // Worth in the order of its bits, which is that of positive numbers; hits; size.
    let mut cached: HashMap<u32, (u64, u32, u32)> = HashMap::new();
    let (mut order, mut level, mut used, mut score) =
        (BTreeSet::new(), 0.0_f64, 0_u64, Score::default());
    for (key, size) in requests {
        let worth = |hits: u32, level: f64| (level + f64::from(hits) / f64::from(size)).to_bits();
        score.count(cached.contains_key(&key), size);
        if let Some((before, hits, _)) = cached.get_mut(&key) {
            order.remove(&(*before, key));
            *hits += 1;
            *before = worth(*hits, level);
            order.insert((*before, key));
            continue;
        }
        if u64::from(size) > cap {
            continue;
        }
        while used + u64::from(size) > cap {
            let Some((least, victim)) = order.pop_first() else { break };
            level = f64::from_bits(least);
            used -= cached.remove(&victim).map_or(0, |(_, _, size)| u64::from(size));
        }
        let first = worth(1, level);
        order.insert((first, key));
        cached.insert(key, (first, 1, size));
        used += u64::from(size);
    }
    score
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rounds of a loop of six through a cache of three.
    const LOOP: [u32; 12] = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5];

    #[test]
    fn yardsticks_hit_what_they_are_known_to_hit() {
        assert_eq!(belady(&LOOP, 3).hits, 3);
        assert_eq!(arc(&LOOP, 6, 3).hits, 0);
        assert!(lirs(&LOOP.repeat(10), 6, 3).hits > 10);
        let sized = LOOP.iter().map(|&key| (key, if key == 0 { 10 } else { 1 }));
        assert_eq!(gdsf(sized, 5).hits, 5);
    }
}
