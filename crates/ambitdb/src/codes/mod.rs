//! Code planes beside the segments: what makes a search read a twelfth of the bytes.
//!
//! Of each space of each large segment two derived files hold the planes of its rows
//! ([`ambit_vector::planes`]): the coarse one with the model and the order of the rows, and the fine one. They are caches:
//! a segment without them is searched exactly, all rows read; one whose planes are damaged, too,
//! and the answer says so.

mod build;
mod open;
mod order;

pub use build::CodesReport;
pub(crate) use open::{Models, SegmentCodes};

use ambit_store::engine::TableView;

use crate::schema::vector_column;

/// Sections of the files.
const MODEL: &str = "codes.model";
const COARSE: &str = "codes.coarse";
const ORDERED: &str = "codes.ordered";
const ORDER: &str = "codes.order";
const LISTS: &str = "codes.lists";
const GROUPS: &str = "codes.groups";
const FINE: &str = "codes.fine";
const INFO: &str = "codes.info";

/// The slots of a space's coarse and fine plane.
fn slots(space: usize) -> [u16; 2] {
    [2 * space as u16, 2 * space as u16 + 1]
}

/// Bytes of a position in `codes.order` of a segment with `rows` rows: 2 to 4.
fn position_len(rows: usize) -> usize {
    match rows {
        0..=0x1_0000 => 2,
        0x1_0001..=0x100_0000 => 3,
        _ => 4,
    }
}

/// Is it worth coding `rows` rows? The model has dim^2 numbers, the rows rows x dim.
fn is_worth_coding(rows: u64, dim: usize) -> bool {
    rows >= (8 * dim as u64).max(1024) && dim <= ambit_vector::planes::MAX_DIM
}

/// Rows of `space` in segment `part`.
fn rows_in(view: &TableView, part: u32, space: usize) -> u64 {
    view.cells_in(part, vector_column(space))
}

/// What both files say of the planes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Info {
    /// CRC-32C of the coarse plane: planes of one coding have the same.
    stamp: u32,
    /// What the coarse plane left of a row, on average ([`ambit_vector::planes::Encoder::mean_left`]).
    left: f64,
}

impl Info {
    const LEN: usize = 16;

    fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.stamp.to_le_bytes());
        bytes[8..].copy_from_slice(&self.left.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (stamp, left) = (bytes.first_chunk::<4>()?, bytes.last_chunk::<8>()?);
        let info = Self { stamp: u32::from_le_bytes(*stamp), left: f64::from_le_bytes(*left) };
        (bytes.len() == Self::LEN).then_some(info)
    }
}
