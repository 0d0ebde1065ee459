//! Who is worth least per byte? GreedyDual-Size-Frequency in queues.
//!
//! An entry is worth its hits by its bytes, above the level of the time when it was asked for
//! last; the level is the worth of who went last, so what is not asked for sinks. Entries of
//! about the same hits by bytes (within the square root of two) stand in one queue in the order
//! of their level, so the cheapest is the back of one of a few dozen queues. The level lives in
//! an entry's stamp, as the upper bits of a float; when it has grown so large that this is too
//! coarse, it starts from zero again.

use crate::link::{Link, Links, LinksExt as _, Slot};
use crate::list::List;

const CLASSES: usize = 80;
/// The level starts anew at so many times the worth of who went last.
const HIGHEST: f32 = 1024.0;

#[derive(Debug)]
pub(crate) struct Values {
    classes: Box<[List; CLASSES]>,
    /// Bit of each class that has entries.
    taken: u128,
    level: f32,
    len: u32,
    bytes: u64,
}

impl Default for Values {
    fn default() -> Self {
        let classes = Box::new(std::array::from_fn(|_| List::default()));
        Self { classes, taken: 0, level: 0.0, len: 0, bytes: 0 }
    }
}

fn level_of(link: &Link) -> f32 {
    f32::from_bits(link.stamp() << 7)
}

fn own_worth(link: &Link) -> f32 {
    (link.mark() + 1) as f32 / link.weight().max(1) as f32
}

fn class(link: &Link) -> usize {
    // Halves of octaves; 1 hit by 4 GiB is class 0, 64 hits by a byte are class 76.
    ((own_worth(link).log2() + 32.0) * 2.0).clamp(0.0, (CLASSES - 1) as f32) as usize
}

impl Values {
    pub const BYTES: u64 = (CLASSES * size_of::<List>()) as u64;

    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes one in, as of now.
    pub fn push(&mut self, links: &mut impl Links, slot: Slot) {
        let link = links.link_mut(slot);
        link.set_stamp(self.level.to_bits() >> 7);
        let class = class(link);
        self.bytes += u64::from(link.weight());
        self.len += 1;
        self.taken |= 1 << class;
        self.classes[class].push_front(links, slot);
    }

    pub fn remove(&mut self, links: &mut impl Links, slot: Slot) {
        let link = links.link(slot);
        let class = class(link);
        self.bytes -= u64::from(link.weight());
        self.len -= 1;
        self.classes[class].remove(links, slot);
        if self.classes[class].len() == 0 {
            self.taken &= !(1 << class);
        }
    }

    pub fn relocate(&mut self, links: &mut impl Links, to: Slot) {
        self.classes[class(links.link(to))].relocate(links, to);
    }

    pub fn hit(&mut self, links: &mut impl Links, slot: Slot) {
        self.remove(links, slot);
        let link = links.link_mut(slot);
        link.set_mark(link.mark() + 1);
        self.push(links, slot);
    }

    /// Takes out who is worth least.
    pub fn pop(&mut self, links: &mut impl Links) -> Option<Slot> {
        let (mut left, mut least) = (self.taken, None);
        while left != 0 {
            let class = left.trailing_zeros() as usize;
            left &= left - 1;
            let Some(slot) = self.classes[class].back() else { continue };
            let link = links.link(slot);
            let worth = level_of(link) + own_worth(link);
            if least.is_none_or(|(_, other)| worth < other) {
                least = Some((slot, worth));
            }
        }
        let (slot, worth) = least?;
        let own = own_worth(links.link(slot));
        self.remove(links, slot);
        self.level = self.level.max(worth);
        if self.level > HIGHEST * own {
            self.lower(links);
        }
        Some(slot)
    }

    /// Takes the level from all, so that it is zero; who would fall below is at zero, too.
    #[cold]
    fn lower(&mut self, links: &mut impl Links) {
        for list in self.classes.iter() {
            let mut next = list.back();
            while let Some(slot) = next {
                let link = links.link_mut(slot);
                let level = (level_of(link) - self.level).max(0.0);
                link.set_stamp(level.to_bits() >> 7);
                next = links.before(slot);
            }
        }
        self.level = 0.0;
    }
}
