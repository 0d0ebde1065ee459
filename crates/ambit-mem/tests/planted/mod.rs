//! A program with ten leaks and ten things that look like leaks for a while.
//!
//! It runs in ticks on any [`Heap`]. Sizes, rates and phases come from a seed. Everything that is
//! not a leak has come to its steady state by 60 % of the ticks that it was told it would run.

/// Where blocks come from. They are freed when dropped.
pub trait Heap {
    type Block;

    /// A block of `size` bytes, allocated at the `site`-th of [`SITES`].
    fn take(&mut self, site: usize, size: usize) -> Self::Block;
}

/// The sites, leaks first.
pub const SITES: [&str; 20] = [
    "leak_fast",
    "leak_slow",
    "leak_in_bursts",
    "leak_among_churn",
    "leak_of_few_large",
    "leak_of_many_small",
    "leak_of_growing_size",
    "leak_by_cache_without_limit",
    "leak_that_starts_late",
    "leak_of_one_in_five",
    "cache_with_random_replacement",
    "cache_that_warms_slowly",
    "cache_that_is_cleared",
    "table_loaded_at_start",
    "snapshots_in_two_buffers",
    "map_that_stops_growing",
    "cache_with_expiry",
    "cache_with_pinned_half",
    "pool_that_breathes",
    "queue_with_bursts",
];

/// Functions named as [`SITES`] are, which call `$take`, each from a place of its own: `TAKE`.
#[allow(unused_macros, reason = "heaps that know their sites by number need no functions")]
macro_rules! sites {
    ($heap:ty, $block:ty, $take:path) => {
        planted::sites! {
            $heap, $block, $take,
            leak_fast
            leak_slow
            leak_in_bursts
            leak_among_churn
            leak_of_few_large
            leak_of_many_small
            leak_of_growing_size
            leak_by_cache_without_limit
            leak_that_starts_late
            leak_of_one_in_five
            cache_with_random_replacement
            cache_that_warms_slowly
            cache_that_is_cleared
            table_loaded_at_start
            snapshots_in_two_buffers
            map_that_stops_growing
            cache_with_expiry
            cache_with_pinned_half
            pool_that_breathes
            queue_with_bursts
        }
    };
    ($heap:ty, $block:ty, $take:path, $($name:ident)*) => {
        $(#[inline(never)]
        fn $name(heap: $heap, size: usize) -> $block {
            // Its own name keeps it from being merged with the others.
            std::hint::black_box(stringify!($name));
            std::hint::black_box($take(heap, size))
        })*

        const TAKE: [(&str, fn($heap, usize) -> $block); 20] = [$((stringify!($name), $name)),*];
    };
}
#[allow(unused_imports, reason = "as above")]
pub(crate) use sites;

/// How many of them are leaks.
pub const LEAKS: usize = 10;

/// Small numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }
}

/// One of the things the program does, with what it keeps.
struct Actor<B> {
    site: usize,
    /// Bytes of a block; blocks a tick, in 1/16; where in its cycle it starts.
    size: u64,
    rate: u64,
    phase: u64,
    /// Blocks and the tick at which they were taken.
    kept: Vec<(u64, B)>,
    /// Blocks that are given back at a tick.
    passing: Vec<(u64, B)>,
}

/// The program.
pub struct Program<B> {
    random: Random,
    ticks: u64,
    now: u64,
    /// Leaks less than a sampling profiler could see are no test of it: sizes times this.
    scale: u64,
    actors: Vec<Actor<B>>,
}

impl<B> Program<B> {
    /// A program that will run for `ticks`.
    pub fn new(seed: u64, ticks: u64, scale: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let actors = (0..SITES.len())
            .map(|site| {
                let (sizes, rates) = Self::ranges(SITES[site]);
                Actor {
                    site,
                    size: random.between(sizes.0, sizes.1),
                    rate: random.between(rates.0, rates.1),
                    phase: random.below(1000),
                    kept: Vec::new(),
                    passing: Vec::new(),
                }
            })
            .collect();
        Self { random, ticks, now: 0, scale, actors }
    }

    /// Bytes of a block, and blocks in sixteen ticks: from, to.
    fn ranges(name: &str) -> ((u64, u64), (u64, u64)) {
        match name {
            "leak_fast" => ((256, 2048), (64, 128)),
            "leak_slow" => ((4096, 8192), (4, 8)),
            "leak_in_bursts" => ((1024, 2048), (24, 40)),
            "leak_among_churn" => ((512, 2048), (640, 800)),
            "leak_of_few_large" => ((65_536, 131_072), (1, 2)),
            "leak_of_many_small" => ((24, 64), (3200, 4800)),
            "leak_of_growing_size" => ((64, 128), (32, 48)),
            "leak_by_cache_without_limit" => ((512, 1024), (80, 128)),
            "leak_that_starts_late" => ((1024, 2048), (40, 80)),
            "leak_of_one_in_five" => ((1024, 2048), (80, 160)),
            "table_loaded_at_start" => ((512, 4096), (0, 0)),
            _ => ((512, 4096), (48, 96)),
        }
    }

    /// One step.
    pub fn tick(&mut self, heap: &mut impl Heap<Block = B>) {
        let now = self.now;
        for actor in &mut self.actors {
            actor.passing.retain(|(end, _)| *end > now);
            let due = (now + 1) * actor.rate / 16 - now * actor.rate / 16;
            actor.act(&mut Turn {
                now,
                ticks: self.ticks,
                scale: self.scale,
                due,
                random: &mut self.random,
                heap,
            });
        }
        self.now += 1;
    }
}

/// What an actor may use in a tick.
struct Turn<'a, H> {
    now: u64,
    ticks: u64,
    scale: u64,
    /// Blocks that it takes this tick, if it takes any.
    due: u64,
    random: &'a mut Random,
    heap: &'a mut H,
}

impl<B> Actor<B> {
    fn take<H: Heap<Block = B>>(&self, turn: &mut Turn<'_, H>) -> (u64, B) {
        let size = self.size * turn.scale;
        (turn.now, turn.heap.take(self.site, size as usize))
    }

    fn fill<H: Heap<Block = B>>(&mut self, turn: &mut Turn<'_, H>, blocks: u64) {
        for _ in 0..blocks {
            let block = self.take(turn);
            self.kept.push(block);
        }
    }

    fn act<H: Heap<Block = B>>(&mut self, turn: &mut Turn<'_, H>) {
        match SITES[self.site] {
            "leak_fast" | "leak_slow" | "leak_of_few_large" | "leak_of_many_small" => {
                self.fill(turn, turn.due);
            }
            "leak_in_bursts" => {
                let every = turn.ticks / 12 + self.phase % 8;
                if (turn.now + self.phase).is_multiple_of(every) {
                    self.fill(turn, every * self.rate / 16);
                }
            }
            "leak_among_churn" => self.churn_and_leak(turn, 40, 5),
            "leak_of_one_in_five" => self.churn_and_leak(turn, 5, turn.ticks / 14),
            "leak_of_growing_size" => {
                let grown = self.size * (1 + turn.now * 32 / turn.ticks) * turn.scale;
                for _ in 0..turn.due {
                    self.kept.push((turn.now, turn.heap.take(self.site, grown as usize)));
                }
            }
            "leak_by_cache_without_limit" => {
                // The longer it runs, the more of the keys it has seen already.
                let seen = turn.now * 2 / turn.ticks + 1;
                self.fill(turn, turn.due / seen);
            }
            "leak_that_starts_late" => {
                if turn.now > turn.ticks * (20 + self.phase % 20) / 100 {
                    self.fill(turn, turn.due);
                }
            }
            "queue_with_bursts" | "pool_that_breathes" | "cache_with_pinned_half" => {
                self.fluctuate(turn);
            }
            _ => self.cache(turn),
        }
    }

    /// Takes what passes, and keeps one in `one_in` for ever.
    fn churn_and_leak<H: Heap<Block = B>>(
        &mut self,
        turn: &mut Turn<'_, H>,
        one_in: u64,
        life: u64,
    ) {
        for _ in 0..turn.due {
            let block = self.take(turn).1;
            if turn.random.below(one_in) == 0 {
                self.kept.push((turn.now, block));
            } else {
                let end = turn.now + turn.random.between(1, life.max(1));
                self.passing.push((end, block));
            }
        }
    }

    fn cache<H: Heap<Block = B>>(&mut self, turn: &mut Turn<'_, H>) {
        let warm = turn.ticks * (40 + self.phase % 20) / 100;
        match SITES[self.site] {
            "cache_with_random_replacement" => {
                let most = (turn.ticks / 6 * self.rate / 16) as usize;
                self.fill(turn, turn.due);
                while self.kept.len() > most {
                    let at = turn.random.below(self.kept.len() as u64) as usize;
                    drop(self.kept.swap_remove(at));
                }
            }
            "cache_that_warms_slowly" => {
                self.fill(turn, turn.due);
                self.expire(turn.now, warm);
            }
            "cache_that_is_cleared" => {
                let every = turn.ticks / 6 + self.phase % 16;
                if (turn.now + self.phase).is_multiple_of(every) {
                    self.kept.clear();
                }
                self.fill(turn, turn.due);
            }
            "table_loaded_at_start" => {
                if turn.now == 0 {
                    self.fill(turn, 500);
                }
            }
            "snapshots_in_two_buffers" => {
                if turn.now.is_multiple_of(turn.ticks / 40 + 1) {
                    let before = std::mem::take(&mut self.kept);
                    self.fill(turn, 100 + self.phase % 100);
                    drop(before);
                }
            }
            "map_that_stops_growing" => {
                // Then it replaces a value in each tick.
                let is_full = turn.now >= warm;
                let before = self.kept.len() as u64;
                self.fill(turn, if is_full { 1 } else { turn.due });
                if is_full {
                    drop(self.kept.swap_remove(turn.random.below(before) as usize));
                }
            }
            _ => {
                self.fill(turn, turn.due);
                self.expire(turn.now, turn.ticks / 5);
            }
        }
    }

    /// Things that neither grow for ever nor are steady.
    fn fluctuate<H: Heap<Block = B>>(&mut self, turn: &mut Turn<'_, H>) {
        let period = turn.ticks / 4 + self.phase % 32;
        let at = (turn.now + self.phase) % period;
        match SITES[self.site] {
            "cache_with_pinned_half" => {
                if turn.now < turn.ticks / 8 {
                    self.fill(turn, turn.due);
                } else {
                    for _ in 0..turn.due {
                        let block = (turn.now + 1 + turn.random.below(period), self.take(turn).1);
                        self.passing.push(block);
                    }
                }
            }
            "pool_that_breathes" => {
                // Up and down in a triangle; the last taken goes first, the others stay.
                let most = (period * self.rate / 32).max(2);
                let wanted = most / 2 + most * at.min(period - at) / period;
                let held = self.kept.len() as u64;
                self.fill(turn, wanted.saturating_sub(held));
                self.kept.truncate(wanted as usize);
            }
            _ => {
                // Work comes in the first third of the period, and is done in order.
                if at < period / 3 {
                    self.fill(turn, turn.due * 2);
                }
                let done = (turn.due as usize).min(self.kept.len());
                drop(self.kept.drain(..done));
            }
        }
    }

    /// Gives back what is older than `life` ticks.
    fn expire(&mut self, now: u64, life: u64) {
        self.kept.retain(|(taken, _)| taken + life > now);
    }
}
