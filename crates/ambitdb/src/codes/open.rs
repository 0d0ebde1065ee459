//! Planes as a search reads them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use ambit_mem::{Account, Bytes, Reservation};
use ambit_search::{CodedPart, SourceError};
use ambit_store::StoreError;
use ambit_store::engine::{Derived, TableView};
use ambit_store::segment::{Section, Segment};
use ambit_store::sync::lock;
use ambit_vector::planes::groups::GROUPS_LEN;
use ambit_vector::planes::{BLOCK_ROWS, Lists, Model};

use super::{
    COARSE, FINE, GROUPS, INFO, Info, LISTS, MODEL, ORDER, ORDERED, position_len, rows_in, slots,
};
use crate::filter::Matches;
use crate::schema::vector_column;

/// The models in use, so that segments that were coded with the same one share it.
pub(crate) struct Models {
    account: Account,
    known: Mutex<HashMap<u64, Weak<HeldModel>>>,
}

/// A model and what pays for it.
pub(super) struct HeldModel {
    pub(super) model: Model,
    _charge: Reservation,
}

/// A coarse plane and its model.
pub(super) struct CoarsePlane {
    pub(super) model: Arc<HeldModel>,
    pub(super) info: Info,
    segment: Arc<Segment>,
    section: Section,
    order: Option<Order>,
}

/// Where which row stands, if not as in the segment.
struct Order {
    lists: Lists,
    /// Positions by place.
    positions: Section,
    groups: Option<Section>,
    _charge: Reservation,
}

/// A fine plane.
pub(super) struct FinePlane {
    info: Info,
    segment: Arc<Segment>,
    section: Section,
}

/// The planes of one space in one segment.
pub(crate) struct SegmentCodes<'a> {
    view: &'a TableView,
    part: u32,
    space: usize,
    rows: usize,
    blocks: Range<usize>,
    matches: Option<&'a Matches<'a>>,
    coarse: Arc<CoarsePlane>,
    fine: Arc<FinePlane>,
}

impl Models {
    pub(crate) fn new(account: Account) -> Self {
        Self { account, known: Mutex::default() }
    }

    /// The model of these bytes.
    fn read(&self, bytes: &[u8], file: &str) -> Result<Arc<HeldModel>, StoreError> {
        let key = u64::from(crc32c::crc32c(bytes)) << 32 | bytes.len() as u64 & 0xffff_ffff;
        let mut known = lock(&self.known);
        let found = known.get(&key).and_then(Weak::upgrade);
        let charge = self.account.reserve(Bytes::of(bytes.len()))?;
        let model = Model::decode(bytes).map_err(|error| StoreError::corrupt(file, 0, error))?;
        if let Some(held) = found.filter(|held| held.model == model) {
            return Ok(held);
        }
        let held = Arc::new(HeldModel { model, _charge: charge });
        known.retain(|_, held| held.strong_count() > 0);
        known.insert(key, Arc::downgrade(&held));
        Ok(held)
    }
}

impl CoarsePlane {
    /// The plane of a space in a segment, if it was built.
    pub(super) fn of(
        view: &TableView,
        part: u32,
        space: usize,
        models: &Models,
    ) -> Result<Derived<Self>, StoreError> {
        let rows = rows_in(view, part, space) as usize;
        view.derived(part, slots(space)[0], &|segment| {
            let file = name(view, part, slots(space)[0]);
            let model = whole(&segment, MODEL, &file)?;
            let model = models.read(&model, &file)?;
            let blocks = rows.div_ceil(BLOCK_ROWS) * model.model.layout().coarse_block_len();
            let order = Order::of(&segment, &file, rows, &model.model, models)?;
            let name = if order.is_some() { ORDERED } else { COARSE };
            let section = section(&segment, name, blocks, &file)?;
            Ok(Self { model, info: info(&segment, &file)?, segment, section, order })
        })
    }
}

impl Order {
    /// The order of the rows in a coarse plane, if it has one of its own.
    fn of(
        segment: &Segment,
        file: &str,
        rows: usize,
        model: &Model,
        models: &Models,
    ) -> Result<Option<Self>, StoreError> {
        if segment.section(ORDERED).is_none() {
            return Ok(None);
        }
        let corrupt = |what: &str| StoreError::corrupt(file, 0, format!("{what}; build it again"));
        let bytes = whole(segment, LISTS, file)?;
        let charge = models.account.reserve(Bytes::of(bytes.len() + size_of::<Self>()))?;
        let lists = Lists::decode(&bytes).map_err(|error| corrupt(&error.to_string()))?;
        if lists.leaders() > rows || lists.dim() != model.layout().dim {
            return Err(corrupt("its lists are of other rows"));
        }
        let positions = section(segment, ORDER, rows * position_len(rows), file)?;
        let groups = match lists.leaders() < rows {
            false => None,
            true => {
                let len = lists.leaders().div_ceil(BLOCK_ROWS) * GROUPS_LEN;
                Some(section(segment, GROUPS, len, file)?)
            }
        };
        Ok(Some(Self { lists, positions, groups, _charge: charge }))
    }
}

impl FinePlane {
    fn of(
        view: &TableView,
        part: u32,
        space: usize,
        coarse: &CoarsePlane,
    ) -> Result<Derived<Self>, StoreError> {
        let slot = slots(space)[1];
        let len = rows_in(view, part, space) as usize * coarse.model.model.layout().fine_len();
        view.derived(part, slot, &|segment| {
            let file = name(view, part, slot);
            let section = section(&segment, FINE, len, &file)?;
            Ok(Self { info: info(&segment, &file)?, segment, section })
        })
    }
}

impl<'a> SegmentCodes<'a> {
    /// The planes of a space in segment `part`, whose rows are those of the source's `blocks`;
    /// none where there are none. Rows that do not meet `matches` are as if deleted. `Damaged` where there are some that cannot be used.
    pub(crate) fn of(
        view: &'a TableView,
        part: u32,
        space: usize,
        blocks: Range<usize>,
        models: &Models,
        matches: Option<&'a Matches<'a>>,
    ) -> Result<Derived<Self>, StoreError> {
        let coarse = match CoarsePlane::of(view, part, space, models)? {
            Derived::Ready(coarse) => coarse,
            Derived::Missing => return Ok(Derived::Missing),
            Derived::Damaged(what) => return Ok(Derived::Damaged(what)),
        };
        let fine = match FinePlane::of(view, part, space, &coarse)? {
            Derived::Ready(fine) => fine,
            Derived::Missing => return Ok(Derived::Missing),
            Derived::Damaged(what) => return Ok(Derived::Damaged(what)),
        };
        if fine.info.stamp != coarse.info.stamp {
            let what = "the planes are of two codings; build them again";
            return Ok(Derived::Damaged(what.to_owned()));
        }
        let rows = rows_in(view, part, space) as usize;
        let codes = Self { view, part, space, rows, blocks, matches, coarse, fine };
        Ok(Derived::Ready(Arc::new(codes)))
    }

    /// The position in the segment's column of the row at `place`.
    fn position(&self, place: usize) -> Result<u64, SourceError> {
        let Some(order) = &self.coarse.order else {
            return Ok(place as u64);
        };
        let len = position_len(self.rows);
        let range = (place * len) as u64..((place + 1) * len) as u64;
        let slot = slots(self.space)[0];
        let bytes = self.read(&self.coarse.segment, order.positions, range, slot)?;
        let mut eight = [0; 8];
        eight[..len].copy_from_slice(&bytes);
        let position = u64::from_le_bytes(eight);
        if position >= self.rows as u64 {
            let what = format!("place {place} has position {position} of {} rows", self.rows);
            self.view.forget_derived(self.part, slot, &what);
            return Err(what.into());
        }
        Ok(position)
    }

    /// A part of a plane that cannot be read is not asked for again.
    fn read<'p>(
        &self,
        segment: &'p Segment,
        section: Section,
        range: Range<u64>,
        slot: u16,
    ) -> Result<ambit_store::segment::View<'p>, SourceError> {
        segment.read(section, range).map_err(|error| {
            if error.kind() == ambit_store::ErrorKind::Corrupt {
                self.view.forget_derived(self.part, slot, &error.to_string());
            }
            error.into()
        })
    }
}

impl CodedPart for SegmentCodes<'_> {
    fn part(&self) -> u32 {
        self.part
    }

    fn blocks(&self) -> Range<usize> {
        self.blocks.clone()
    }

    fn model(&self) -> &Model {
        &self.coarse.model.model
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn leaders(&self) -> usize {
        self.coarse.order.as_ref().map_or(self.rows, |order| order.lists.leaders())
    }

    fn lists(&self) -> Option<&Lists> {
        self.coarse.order.as_ref().map(|order| &order.lists)
    }

    fn groups(&self, blocks: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        let groups = self.coarse.order.as_ref().and_then(|order| order.groups);
        let section = groups.ok_or("no row of this part follows another")?;
        let range = (blocks.start * GROUPS_LEN) as u64..(blocks.end * GROUPS_LEN) as u64;
        take(&self.read(&self.coarse.segment, section, range, slots(self.space)[0])?);
        Ok(())
    }

    fn coarse(&self, rows: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        let block = self.model().layout().coarse_block_len();
        let blocks = rows.start / BLOCK_ROWS..rows.end.div_ceil(BLOCK_ROWS);
        let range = (blocks.start * block) as u64..(blocks.end * block) as u64;
        let CoarsePlane { segment, section, .. } = &*self.coarse;
        take(&self.read(segment, *section, range, slots(self.space)[0])?);
        Ok(())
    }

    fn fine(&self, rows: Range<usize>, take: &mut dyn FnMut(&[u8])) -> Result<(), SourceError> {
        let row = self.model().layout().fine_len();
        let range = (rows.start * row) as u64..(rows.end * row) as u64;
        let FinePlane { segment, section, .. } = &*self.fine;
        take(&self.read(segment, *section, range, slots(self.space)[1])?);
        Ok(())
    }

    fn number(&self, position: usize) -> Result<u32, SourceError> {
        Ok(self.view.row_at(self.part, vector_column(self.space), self.position(position)?)?)
    }

    fn is_dead(&self, number: u32) -> bool {
        self.view.is_dead(self.part, number)
            || self.matches.is_some_and(|matches| !matches.meets(self.part, number))
    }

    fn vector(&self, position: usize, take: &mut dyn FnMut(&[f32])) -> Result<(), SourceError> {
        let position = self.position(position)?;
        let range = position..position + 1;
        let mut outcome = Ok(());
        self.view.cells(self.part, vector_column(self.space), range, &mut |cell| {
            outcome =
                bytemuck::try_cast_slice(cell).map(&mut *take).map_err(|error| error.to_string());
        })?;
        Ok(outcome?)
    }
}

/// The file in a slot, for messages.
fn name(view: &TableView, part: u32, slot: u16) -> String {
    format!("derived-{:08x}-{slot:04x}", view.segment_id(part).unwrap_or_default())
}

fn section(segment: &Segment, name: &str, len: usize, file: &str) -> Result<Section, StoreError> {
    segment.section(name).filter(|section| section.len == len as u64).ok_or_else(|| {
        let found = segment.section(name).map(|section| section.len);
        let what =
            format!("section {name} has {found:?} bytes, expected {len}; build the codes again");
        StoreError::corrupt(file, 0, what)
    })
}

/// All bytes of a section of any length.
fn whole(segment: &Segment, name: &str, file: &str) -> Result<Vec<u8>, StoreError> {
    let missing = || StoreError::corrupt(file, 0, format!("section {name} is missing"));
    let section = segment.section(name).ok_or_else(missing)?;
    Ok(segment.read(section, 0..section.len)?.to_vec())
}

fn info(segment: &Segment, file: &str) -> Result<Info, StoreError> {
    let bytes = whole(segment, INFO, file)?;
    Info::decode(&bytes).ok_or_else(|| StoreError::corrupt(file, 0, format!("section {INFO}")))
}
