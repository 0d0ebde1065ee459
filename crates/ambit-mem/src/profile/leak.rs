//! Which sites grow and never give back?
//!
//! What is judged is the history of one site ([`super::history`]): how many samples of each
//! window of time were alive at each snapshot. It counts *settled* samples, those that have
//! been through at least one whole window: what comes and goes between two snapshots says
//! nothing about leaks. Progress is counted in snapshots: they are best taken at regular
//! intervals, of time or of work. Four questions are asked, each is answered by a number from 0 to 1, and
//! the confidence is their product:
//!
//! - **growing**: in the last third, did more settle than was given back? A cache
//!   that is full takes one and gives one; under that assumption the number that settled is
//!   binomial, and the answer is one minus four times the probability of seeing as many. It is
//!   asked of the site, and of all sites with the same functions together: what one line of a
//!   function (or one copy of a loop's body) takes may be what another one gives back.
//! - **rising**: over the whole time, do later snapshots have more than earlier ones? One minus
//!   the probability of the trend by chance (Mann, Nonparametric tests against trend, 1945).
//! - **lasting**: of what had reached the age of a tenth, how much is alive now? A leak's old
//!   objects stay, a cache's make room. Squared.
//! - **ongoing**: does it grow in the last third as fast as in the one before? At half that
//!   speed or more the answer is 1, below it falls to 0: warming up ends.
//!
//! A cache that is still filling at the end cannot be told from a leak by its history, and a
//! single buffer that is allocated anew as it grows is no leak by this measure.

use std::collections::HashMap;
use std::time::Duration;

use super::capture;
use super::history::{History, Triangle};
use super::running::Run;
use super::site::{Estimate, Site};
use super::snapshot::{Cohort, site};
use super::stacks::Amount;
use crate::{Account, Bytes, OverBudget, Reservation, Tag};

/// Sites that may leak, as far as the snapshots so far tell.
#[derive(Debug)]
pub struct LeakReport {
    snapshots: usize,
    over: Duration,
    sites: Vec<SuspectSite>,
    held: Reservation,
}

/// A site that may leak.
#[derive(Debug, Clone, PartialEq)]
pub struct SuspectSite {
    /// Where.
    pub site: Site,
    /// Alive at the last snapshot.
    pub live: Estimate,
    /// Age of the oldest sample that is alive.
    pub oldest: Duration,
    /// Half of the samples that are alive are older; to within a window between snapshots.
    pub median_age: Duration,
    /// Bytes by which it grows in a minute: the median of the slopes between all snapshots
    /// (Sen, Estimates of the regression coefficient based on Kendall's tau, 1968).
    pub growth_per_minute: f64,
    /// From 0, no sign of a leak, to 1: the product of the evidence. From
    /// [`LeakReport::LIKELY`] on, the site counts as leaking.
    pub confidence: f64,
    /// What the confidence is made of.
    pub evidence: Evidence,
}

/// Answers from 0 to 1; see [`LeakReport`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evidence {
    /// In the last third, more settled than was given back.
    pub growing: f64,
    /// Later snapshots have more than earlier ones.
    pub rising: f64,
    /// What grew old is still alive.
    pub lasting: f64,
    /// It grows as fast as it did before.
    pub ongoing: f64,
    /// Samples that settled in the last third and are alive.
    pub settled: u64,
    /// Samples that had settled before and were given back in the last third.
    pub given_back: u64,
}

impl Evidence {
    /// The product of the four answers.
    pub fn confidence(&self) -> f64 {
        self.growing * self.rising * self.lasting * self.ongoing
    }
}

impl LeakReport {
    /// From this confidence on, a site counts as leaking.
    pub const LIKELY: f64 = 0.6;
    /// Sites below this confidence are not kept in a report.
    pub const LEAST: f64 = 0.05;
    /// Snapshots that are needed before anything is said.
    pub const SNAPSHOTS: usize = 6;

    pub(crate) fn of(run: &Run, history: &History, account: &Account) -> Result<Self, OverBudget> {
        let times = history.times_us();
        let mut held = account.reserve(Bytes::ZERO)?;
        let mut sites = Vec::new();
        let mut families = Families::default();
        for (number, triangle) in history.triangles() {
            if let Some(judgement) = Judgement::new(history.counts(), triangle) {
                families.add(&site(run, number), judgement.balance());
            }
        }
        for (number, triangle) in history.triangles() {
            let judgement = Judgement::new(history.counts(), triangle);
            let Some(mut evidence) = judgement.and_then(|one| one.evidence()) else {
                continue;
            };
            if evidence.confidence() >= Self::LEAST {
                let site = site(run, number);
                evidence.growing = evidence.growing.min(families.balance(&site).growing());
            }
            if evidence.confidence() >= Self::LEAST {
                let site = site(run, number);
                let kept = 2 * size_of::<SuspectSite>() + size_of_val(&*site.frames);
                held.grow(Bytes::of(kept))?;
                sites.push(SuspectSite::new(site, times, triangle, evidence));
            }
        }
        sites.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        let over = Duration::from_micros(times.last().copied().unwrap_or(0));
        Ok(Self { snapshots: times.len(), over, sites, held })
    }

    /// The sites that count as leaking, those that grow most first.
    pub fn likely(&self) -> Vec<&SuspectSite> {
        let likely = self.sites.iter().take_while(|site| site.confidence >= Self::LIKELY);
        let mut sites: Vec<&SuspectSite> = likely.collect();
        sites.sort_by(|a, b| b.growth_per_minute.total_cmp(&a.growth_per_minute));
        sites
    }

    /// All sites with any sign of a leak, the most suspicious first.
    pub fn sites(&self) -> &[SuspectSite] {
        &self.sites
    }

    /// Snapshots that it rests on.
    pub fn snapshots(&self) -> usize {
        self.snapshots
    }

    /// Time from the start of the profiler to the last of them.
    pub fn over(&self) -> Duration {
        self.over
    }

    /// Bytes that the report keeps.
    pub fn footprint(&self) -> Bytes {
        self.held.bytes()
    }
}

impl SuspectSite {
    fn new(site: Site, times: &[u64], triangle: &Triangle, evidence: Evidence) -> Self {
        let last = times.len() - 1;
        let now = times[last];
        let mut live = Amount::default();
        (0..=last).for_each(|column| live += triangle.at(last, column).into());
        let mut younger = 0;
        let median = (0..=last).rev().find(|&column| {
            younger += u64::from(triangle.at(last, column).samples);
            younger * 2 >= live.samples
        });
        let median = median.unwrap_or(last);
        let from = if median == 0 { 0 } else { times[median - 1] };
        let age = |birth: u64| Duration::from_micros(now.saturating_sub(birth));
        let totals: Vec<f64> = (0..=last).map(|row| f64::from(triangle.row(row).bytes)).collect();
        Self {
            site,
            live: live.into(),
            oldest: age(triangle.oldest_us),
            median_age: age(from.midpoint(times[median])),
            growth_per_minute: median_slope(times, &totals) * 60e6,
            confidence: evidence.confidence(),
            evidence,
        }
    }
}

/// What came to stay in the last third, and what of before went.
#[derive(Debug, Clone, Copy, Default)]
struct Balance {
    settled: u64,
    given_back: u64,
}

impl Balance {
    /// How sure it is that more came than went.
    fn growing(self) -> f64 {
        let by_chance = heads_at_least(self.settled, self.settled + self.given_back);
        (1.0 - 4.0 * by_chance).max(0.0)
    }
}

/// The balances of sites that are one another's: the same functions, at any line.
#[derive(Debug, Default)]
struct Families {
    functions: HashMap<usize, usize>,
    balances: HashMap<(Tag, Vec<usize>), Balance>,
}

impl Families {
    fn add(&mut self, site: &Site, balance: Balance) {
        let family = self.balances.entry(key(&mut self.functions, site)).or_default();
        family.settled += balance.settled;
        family.given_back += balance.given_back;
    }

    fn balance(&mut self, site: &Site) -> Balance {
        let key = key(&mut self.functions, site);
        self.balances.get(&key).copied().unwrap_or_default()
    }
}

/// A site's tag and functions; `known` are the functions of addresses that were asked for.
fn key(known: &mut HashMap<usize, usize>, site: &Site) -> (Tag, Vec<usize>) {
    let function =
        |address: &usize| *known.entry(*address).or_insert_with(|| capture::function_of(*address));
    (site.tag, site.frames.iter().map(function).collect())
}

/// One site's history, cut in three thirds.
struct Judgement<'a> {
    /// Snapshots taken at each row.
    counts: &'a [u64],
    triangle: &'a Triangle,
    /// The last snapshots of the first and of the second third, and the very last.
    first: usize,
    second: usize,
    last: usize,
}

impl<'a> Judgement<'a> {
    /// None where there are too few snapshots for thirds.
    fn new(counts: &'a [u64], triangle: &'a Triangle) -> Option<Self> {
        let last = counts.len().checked_sub(1)?;
        let end = |thirds: u64| counts.iter().rposition(|count| count * 3 <= counts[last] * thirds);
        let (first, second) = (end(1)?, end(2)?);
        let is_enough = counts.len() >= LeakReport::SNAPSHOTS && first < second && second < last;
        is_enough.then_some(Self { counts, triangle, first, second, last })
    }

    /// Samples of `columns` alive at `row`.
    fn samples(&self, row: usize, columns: std::ops::Range<usize>) -> u64 {
        columns.map(|column| u64::from(self.triangle.at(row, column).samples)).sum()
    }

    /// Samples alive at `row` that were alive at the snapshot before.
    fn settled(&self, row: usize) -> u64 {
        self.samples(row, 0..row)
    }

    fn balance(&self) -> Balance {
        let (second, last) = (self.second, self.last);
        let before = |row| self.samples(row, 0..second);
        // Saturating: what was being written while a snapshot passed is missing from it.
        let given_back = before(second).saturating_sub(before(last));
        Balance { settled: self.samples(last, second..last), given_back }
    }

    /// None where nothing is alive.
    fn evidence(&self) -> Option<Evidence> {
        if self.settled(self.last) == 0 {
            return None;
        }
        let balance = self.balance();
        let series: Vec<u64> = (1..=self.last).map(|row| self.settled(row)).collect();
        Some(Evidence {
            growing: balance.growing(),
            rising: 1.0 - trend_by_chance(&series),
            lasting: self.lasting().powi(2),
            ongoing: (self.speed_kept() / 0.5).clamp(0.0, 1.0),
            settled: balance.settled,
            given_back: balance.given_back,
        })
    }

    /// Of what was seen at an age of a tenth of all or more, the part that is alive.
    fn lasting(&self) -> f64 {
        let old = self.counts[self.last].div_ceil(10);
        let (mut seen, mut alive) = (0, 0);
        for column in 0..self.last {
            let is_old = |row: &usize| self.counts[*row] >= self.counts[column] + old;
            let Some(row) = (column..self.last).find(is_old) else { break };
            seen += self.samples(row, column..column + 1);
            alive += self.samples(self.last, column..column + 1);
        }
        // The mean of what is likely after that (Laplace's rule): no certainty from few.
        (alive as f64 + 1.0) / (seen as f64 + 2.0)
    }

    /// Growth in the last third, in terms of that in the second.
    fn speed_kept(&self) -> f64 {
        let steps = |from: usize, to: usize| (self.counts[to] - self.counts[from]) as f64;
        let grown = |from, to| self.settled(to) as f64 - self.settled(from) as f64;
        let before = grown(self.first, self.second).max(1.0) / steps(self.first, self.second);
        grown(self.second, self.last) / steps(self.second, self.last) / before
    }
}

/// Probability of at least `heads` in `tosses` of a fair coin.
fn heads_at_least(heads: u64, tosses: u64) -> f64 {
    // ln of binomial(tosses, n) / 2^tosses, from n to n + 1.
    let mut ln = -(tosses as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for n in 0..=tosses {
        if n >= heads {
            sum += ln.exp();
        }
        ln += ((tosses - n) as f64 / (n + 1) as f64).ln();
    }
    sum.min(1.0)
}

/// Probability that a series in random order rises as much as this one, counted by the pairs
/// that are in order less those that are not.
fn trend_by_chance(series: &[u64]) -> f64 {
    let n = series.len();
    let pairs = || (0..n).flat_map(|late| (0..late).map(move |early| (early, late)));
    let rising = pairs().filter(|(early, late)| series[*early] < series[*late]).count();
    let falling = pairs().filter(|(early, late)| series[*early] > series[*late]).count();
    let excess = rising as i64 - falling as i64;
    // chances[k]: probability that k pairs of an order of n values are inverted.
    let mut chances = vec![1.0];
    for inserted in 1..n {
        let mut next = vec![0.0; chances.len() + inserted];
        for (inverted, chance) in chances.iter().enumerate() {
            let each = chance / (inserted + 1) as f64;
            next[inverted..=inverted + inserted].iter_mut().for_each(|sum| *sum += each);
        }
        chances = next;
    }
    let all = pairs().count() as i64;
    let orders = chances.iter().enumerate();
    orders.filter(|(inverted, _)| all - 2 * *inverted as i64 >= excess).map(|(_, p)| p).sum()
}

/// The median of the slopes between all pairs of points; 0 of one point.
fn median_slope(times: &[u64], values: &[f64]) -> f64 {
    let pairs = (0..times.len()).flat_map(|late| (0..late).map(move |early| (early, late)));
    let mut slopes: Vec<f64> = pairs
        .filter(|(early, late)| times[*late] > times[*early])
        .map(|(early, late)| (values[late] - values[early]) / (times[late] - times[early]) as f64)
        .collect();
    slopes.sort_by(f64::total_cmp);
    slopes.get(slopes.len() / 2).copied().unwrap_or(0.0)
}

impl From<Cohort> for Amount {
    fn from(cohort: Cohort) -> Self {
        Self {
            samples: u64::from(cohort.samples),
            count: f64::from(cohort.count),
            bytes: f64::from(cohort.bytes),
        }
    }
}

#[cfg(test)]
#[path = "../../tests/planted/mod.rs"]
mod planted;
#[cfg(test)]
mod tests;
