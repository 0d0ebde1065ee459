//! Which rows lie where a query points? Rows of planes in the order of inverted lists.
//!
//! Each row belongs to the list of its nearest centroid. In a part's planes the rows that lead
//! ([`super::groups`]; all, where none follow) stand list by list, so a list is a range of places.
//! A query ranks the lists by their centroids: by inner product, under euclidean by distance.
//!
//! How many lists are worth a look is measured when the planes are built: rows are drawn and held
//! out, each is asked for its nearest other rows among those that lead, and for each of those the
//! rank of its list is kept. The share of ranks below p is the recall of p probes
//! ([`Lists::recall`]). What is nearly the row itself is no neighbour, so duplicates do not flatter it.
//!
//! Source: inverted lists for vectors are those of J. Sivic and A. Zisserman, Video Google, 2003.

use super::model::PlaneError;
use crate::{Metric, kernels};

/// First bytes of stored lists.
const MAGIC: [u8; 8] = *b"AMBLIST1";

/// Bytes before the centroids: magic, dim, lists, neighbours, held-out rows, group unit.
const HEADER: usize = 8 + 5 * 4;

/// The most lists of a part.
pub const MAX_LISTS: usize = 1 << 16;

/// The lists of one part.
#[derive(Debug, Clone, PartialEq)]
pub struct Lists {
    dim: usize,
    /// lists x dim.
    centroids: Vec<f32>,
    /// Place of the first leader of each list, and at last the number of leaders.
    starts: Vec<u32>,
    /// Ranks of the lists of held-out rows' neighbours, ascending.
    ranks: Vec<u16>,
    held_out: u32,
    /// The radius that the largest code of a group stands for.
    group_unit: f32,
}

/// What lists are made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts {
    /// Elements of a row.
    pub dim: usize,
    /// lists x dim, row-major f32, finite.
    pub centroids: Vec<f32>,
    /// Place of the first leader of each list, and at last the number of leaders; ascending.
    pub starts: Vec<u32>,
    /// For each neighbour of a held-out row, the rank of its list; in any order.
    pub ranks: Vec<u16>,
    /// Rows that were held out.
    pub held_out: u32,
    /// See [`super::groups`]; 0 where no row follows another.
    pub group_unit: f32,
}

impl Lists {
    /// Checks the parts and takes them.
    ///
    /// # Errors
    /// `Corrupt` for what does not fit together.
    pub fn new(parts: Parts) -> Result<Self, PlaneError> {
        let Parts { dim, centroids, starts, mut ranks, held_out, group_unit } = parts;
        let lists = starts.len().saturating_sub(1);
        if dim == 0 || lists == 0 || lists > MAX_LISTS || centroids.len() != lists * dim {
            return Err(PlaneError::Corrupt("its lists do not fit its centroids"));
        }
        if starts[0] != 0 || !starts.is_sorted() {
            return Err(PlaneError::Corrupt("its lists are not in order"));
        }
        if !group_unit.is_finite() || group_unit < 0.0 {
            return Err(PlaneError::Corrupt("its radius is no radius"));
        }
        ranks.sort_unstable();
        Ok(Self { dim, centroids, starts, ranks, held_out, group_unit })
    }

    /// Elements of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many lists there are.
    pub fn count(&self) -> usize {
        self.starts.len() - 1
    }

    /// Rows that lead: those of all lists.
    pub fn leaders(&self) -> usize {
        self.starts.last().map_or(0, |&end| end as usize)
    }

    /// Places of the leaders of list `list` < `count()`.
    pub fn places(&self, list: usize) -> std::ops::Range<usize> {
        self.starts[list] as usize..self.starts[list + 1] as usize
    }

    /// The list of the leader at `place` < `leaders()`.
    pub fn list_of(&self, place: usize) -> usize {
        self.starts.partition_point(|&start| start as usize <= place) - 1
    }

    /// Rows that were held out to measure the recall.
    pub fn held_out(&self) -> u32 {
        self.held_out
    }

    /// The radius that the largest code of a group stands for; 0 where no row follows another.
    pub fn group_unit(&self) -> f32 {
        self.group_unit
    }

    /// Bytes that are held.
    pub fn footprint(&self) -> usize {
        size_of::<Self>() + 4 * (self.centroids.len() + self.starts.len()) + 2 * self.ranks.len()
    }

    /// Bytes that [`Lists::rank`] returns and works with.
    pub fn ranking_bytes(&self) -> usize {
        8 * self.count()
    }

    /// All lists, the most promising for `vector` (dim f32) first.
    ///
    /// # Errors
    /// `Length` where it has another dimension.
    ///
    /// # Cost
    /// One pass over the centroids: about 40 us for 1,000 of 384 dimensions.
    pub fn rank(
        &self,
        metric: Metric,
        vector: &[f32],
        most: usize,
    ) -> Result<Vec<u32>, PlaneError> {
        if vector.len() != self.dim {
            return Err(PlaneError::Length("elements of the query", self.dim, vector.len()));
        }
        let mut scores = vec![0.0f32; self.count()];
        match metric {
            Metric::Euclidean => {
                kernels().l2sq_rows(vector, &self.centroids, &mut scores);
                scores.iter_mut().for_each(|score| *score = -*score);
            }
            _ => kernels().dot_rows(vector, &self.centroids, &mut scores),
        }
        let mut order: Vec<u32> = (0..self.count() as u32).collect();
        let by_score =
            |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
        if most < order.len() {
            if most > 0 {
                order.select_nth_unstable_by(most - 1, by_score);
            }
            order.truncate(most);
        }
        order.sort_unstable_by(by_score);
        Ok(order)
    }

    /// The share of held-out rows' neighbours that `probes` lists hold: 0 to 1; 1 for all lists.
    pub fn recall(&self, probes: usize) -> f64 {
        if probes >= self.count() || self.ranks.is_empty() {
            return f64::from(u8::from(probes >= self.count()));
        }
        let found = self.ranks.partition_point(|&rank| usize::from(rank) < probes);
        found as f64 / self.ranks.len() as f64
    }

    /// The fewest probes with at least this recall.
    pub fn probes(&self, recall: f64) -> usize {
        let wanted = (recall.clamp(0.0, 1.0) * self.ranks.len() as f64).ceil() as usize;
        match self.ranks.get(wanted.max(1) - 1) {
            Some(&rank) if recall < 1.0 => (usize::from(rank) + 1).min(self.count()),
            _ => self.count(),
        }
    }

    /// The lists as bytes: header, centroids, starts, ranks, CRC-32C.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.footprint());
        bytes.extend(MAGIC);
        for number in [self.dim, self.count(), self.ranks.len(), self.held_out as usize] {
            bytes.extend((number as u32).to_le_bytes());
        }
        bytes.extend(self.group_unit.to_le_bytes());
        self.centroids.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        self.starts.iter().for_each(|start| bytes.extend(start.to_le_bytes()));
        self.ranks.iter().for_each(|rank| bytes.extend(rank.to_le_bytes()));
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// The lists of these bytes.
    ///
    /// # Errors
    /// `Corrupt`. Whatever the bytes are, nothing beyond their length is allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, PlaneError> {
        let Some((content, crc)) = bytes.split_last_chunk::<4>() else {
            return Err(PlaneError::Corrupt("its lists are too short"));
        };
        if content.len() < HEADER || content[..8] != MAGIC {
            return Err(PlaneError::Corrupt("its lists do not begin as lists"));
        }
        if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
            return Err(PlaneError::Corrupt("the checksum of its lists is wrong"));
        }
        let (header, rest) = content.split_at(HEADER);
        let word = |four: &[u8]| u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        let number = |index: usize| word(&header[8 + 4 * index..]);
        let [dim, lists, ranks] = [0, 1, 2].map(|index| number(index) as usize);
        let floats = dim.saturating_mul(lists).saturating_mul(4);
        let starts = lists.saturating_add(1).saturating_mul(4);
        let expected = floats.saturating_add(starts).saturating_add(ranks.saturating_mul(2));
        if lists > MAX_LISTS || rest.len() != expected {
            return Err(PlaneError::Corrupt("its lists have another size"));
        }
        let (centroids, rest) = rest.split_at(floats);
        let (starts, ranks) = rest.split_at(starts);
        Self::new(Parts {
            dim,
            centroids: centroids.chunks_exact(4).map(|four| f32::from_bits(word(four))).collect(),
            starts: starts.chunks_exact(4).map(word).collect(),
            ranks: ranks.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect(),
            held_out: number(3),
            group_unit: f32::from_bits(number(4)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> Lists {
        Lists::new(Parts {
            dim: 2,
            centroids: vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0],
            starts: vec![0, 3, 3, 8],
            ranks: vec![2, 0, 0, 1],
            held_out: 2,
            group_unit: 0.25,
        })
        .unwrap()
    }

    #[test]
    fn lists_are_ranked_by_the_metric_and_cut_where_it_is_asked() {
        let lists = lists();
        assert_eq!(lists.rank(Metric::Cosine, &[1.0, 0.5], 3).unwrap(), [0, 1, 2]);
        assert_eq!(lists.rank(Metric::Euclidean, &[-2.0, 0.5], 2).unwrap(), [2, 1]);
        assert_eq!(lists.rank(Metric::InnerProduct, &[0.0, 1.0], 0).unwrap(), [0; 0]);
        assert!(lists.rank(Metric::Cosine, &[1.0], 1).is_err());
    }

    #[test]
    fn places_belong_to_the_list_that_is_not_empty() {
        let lists = lists();
        let of: Vec<usize> = (0..8).map(|place| lists.list_of(place)).collect();
        assert_eq!(of, [0, 0, 0, 2, 2, 2, 2, 2]);
        assert_eq!((lists.places(1), lists.leaders()), (3..3, 8));
    }

    #[test]
    fn recall_is_the_share_of_ranks_and_probes_are_the_fewest() {
        let lists = lists();
        assert_eq!([0, 1, 2, 3].map(|probes| lists.recall(probes)), [0.0, 0.5, 0.75, 1.0]);
        assert_eq!([0.0, 0.5, 0.6, 0.76, 1.0].map(|recall| lists.probes(recall)), [1, 1, 2, 3, 3]);
    }

    #[test]
    fn stored_lists_are_read_and_every_changed_byte_is_found() {
        let lists = lists();
        let bytes = lists.encode();
        assert_eq!(Lists::decode(&bytes).unwrap(), lists);
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 4;
            assert!(Lists::decode(&bytes).is_err(), "byte {at}");
            assert!(Lists::decode(&bytes[..at]).is_err(), "{at} bytes");
        }
    }
}
