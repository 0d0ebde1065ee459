//! Which dimensions can share a code? Those whose symbols are distributed alike.
//!
//! Dimensions of embeddings differ in scale and in their mean, so one code for all wastes about
//! a tenth of a bit a value, and one code each would cost more than it saves. Symbols fall into
//! 32 bins of about the same weight; dimensions are points of 32 counts; the clusters are those
//! of k-means with the code length as the distance (I. Dhillon, S. Mallela, R. Kumar, A divisive
//! information-theoretic feature clustering algorithm, 2003).

/// Bins of the symbols.
const BINS: usize = 32;
/// Rounds of the clustering.
const ROUNDS: usize = 8;

/// The class of each dimension, below `classes`; classes are numbered without gaps.
///
/// `symbols`: rows x dim, each below `alphabet`.
pub(super) fn cluster(symbols: &[u16], dim: usize, alphabet: usize, classes: usize) -> Vec<u8> {
    let bins = bins(symbols, alphabet);
    let mut counts = vec![[0.0f64; BINS]; dim];
    for row in symbols.chunks_exact(dim) {
        for (counts, symbol) in counts.iter_mut().zip(row) {
            counts[usize::from(bins[usize::from(*symbol)])] += 1.0;
        }
    }
    let mut assigned = first_guess(&counts, classes);
    for _ in 0..ROUNDS {
        let costs = costs(&counts, &assigned, classes);
        for (assigned, counts) in assigned.iter_mut().zip(&counts) {
            let bits = |class: &usize| -> f64 {
                counts.iter().zip(&costs[*class]).map(|(count, cost)| count * cost).sum()
            };
            let least = (0..classes).min_by(|a, b| bits(a).total_cmp(&bits(b)));
            *assigned = least.unwrap_or(0) as u8;
        }
    }
    renumber(&mut assigned, classes);
    assigned
}

/// The bin of each symbol: consecutive symbols of about 1/32 of all.
fn bins(symbols: &[u16], alphabet: usize) -> Vec<u8> {
    let mut counts = vec![0usize; alphabet];
    symbols.iter().for_each(|symbol| counts[usize::from(*symbol)] += 1);
    let mut below = 0;
    let bin = |count: &usize| {
        let bin = (2 * below + count) * BINS / (2 * symbols.len() + 1);
        below += count;
        bin.min(BINS - 1) as u8
    };
    counts.iter().map(bin).collect()
}

/// Dimensions in the order of their mean bin, cut into classes of one size.
fn first_guess(counts: &[[f64; BINS]], classes: usize) -> Vec<u8> {
    let mean = |counts: &[f64; BINS]| -> f64 {
        counts.iter().zip(0..).map(|(count, bin)| count * f64::from(bin)).sum()
    };
    let mut order: Vec<(f64, usize)> = counts.iter().map(mean).zip(0..).collect();
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut assigned = vec![0; counts.len()];
    for (rank, (_, dim)) in order.iter().enumerate() {
        assigned[*dim] = (rank * classes / counts.len()) as u8;
    }
    assigned
}

/// Bits of each bin in each class.
fn costs(counts: &[[f64; BINS]], assigned: &[u8], classes: usize) -> Vec<[f64; BINS]> {
    let mut sums = vec![[0.5f64; BINS]; classes];
    for (counts, class) in counts.iter().zip(assigned) {
        for (sum, count) in sums[usize::from(*class)].iter_mut().zip(counts) {
            *sum += count;
        }
    }
    for sum in &mut sums {
        let total: f64 = sum.iter().sum();
        sum.iter_mut().for_each(|count| *count = (total / *count).log2());
    }
    sums
}

fn renumber(assigned: &mut [u8], classes: usize) {
    let mut names = vec![None; classes];
    let mut next = 0;
    for class in assigned {
        let name = names[usize::from(*class)].get_or_insert_with(|| {
            next += 1;
            next - 1
        });
        *class = *name;
    }
}
