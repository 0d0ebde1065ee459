//! Which instructions does this processor have? Functions behind checks of their lengths.

use std::sync::OnceLock;

use super::layout::{Field, ROWS, fields_len, tables_len};
use super::portable;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Portable,
}

impl Kind {
    /// All that were compiled, fastest first.
    const ALL: &[Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Portable,
    ];

    fn detected(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Self::Portable => true,
        }
    }
}

/// The kernels of one instruction set that this processor has.
///
/// Invariant: made by [`Blocks::best`] and [`Blocks::available`] alone, after detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocks(Kind);

impl Blocks {
    /// The fastest ones, chosen at the first call.
    pub(crate) fn best() -> Self {
        static CHOSEN: OnceLock<Blocks> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let best = Kind::ALL.iter().find(|kind| kind.detected());
            Self(best.copied().unwrap_or(Kind::Portable))
        })
    }

    /// All of them, fastest first; the last one is portable.
    #[cfg(test)]
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        Kind::ALL.iter().copied().filter(|kind| kind.detected()).map(Self)
    }

    /// `out[b][r]` = the sum over groups of the byte of the group's table that the nibble of row r
    /// of block b picks.
    ///
    /// `codes`: a block each `stride` bytes, which begins with a nibble a row for each table.
    pub(crate) fn tables(
        self,
        tables: &[[u8; 16]],
        codes: &[u8],
        stride: usize,
        out: &mut [[u32; ROWS]],
    ) {
        assert!(stride >= tables_len(tables.len()).max(1), "blocks of other codes");
        assert_eq!(codes.len(), stride * out.len(), "not a sum for each row");
        match self.0 {
            // SAFETY: this value exists, so the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { super::avx512::tables(tables, codes, stride, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { super::avx2::tables(tables, codes, stride, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Kind::Neon => unsafe { super::neon::tables(tables, codes, stride, out) },
            Kind::Portable => portable::tables(tables, codes, stride, out),
        }
    }

    /// `out[b][r]` = the sum over parts of the byte of the part's table that the byte of row r of
    /// block b picks.
    ///
    /// `codes`: a block each `stride` bytes, which begins with 32 bytes, one a row, for each table.
    pub(crate) fn bytes(
        self,
        tables: &[[u8; 256]],
        codes: &[u8],
        stride: usize,
        out: &mut [[u32; ROWS]],
    ) {
        assert!(stride >= (tables.len() * ROWS).max(1), "blocks of other codes");
        assert_eq!(codes.len(), stride * out.len(), "not a sum for each row");
        #[cfg(target_arch = "x86_64")]
        if self.0 == Kind::Avx512 && is_x86_feature_detected!("avx512vbmi") {
            // SAFETY: this value exists, so AVX-512F and BW were detected, and VBMI just now.
            return unsafe { super::avx512::bytes(tables, codes, stride, out) };
        }
        portable::bytes(tables, codes, stride, out);
    }

    /// `out[r]` += 2^`shift` times the inner product of the numbers of row r and the query.
    ///
    /// `block`: fields of as many numbers as the query has.
    pub(crate) fn fields(
        self,
        field: Field,
        query: &[[i8; 4]],
        block: &[u8],
        shift: u32,
        out: &mut [i32; ROWS],
    ) {
        assert_eq!(block.len(), fields_len(field, 4 * query.len()), "a block of other codes");
        match self.0 {
            // SAFETY: this value exists, so the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { super::avx512::fields(field, query, block, shift, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { super::avx2::fields(field, query, block, shift, out) },
            _ => portable::fields(field, query, block, shift, out),
        }
    }

    /// `out[r]` += the inner product of the query and what the nibbles of row r pick from a table.
    ///
    /// `table`: bytes from 1 up. `query`: bytes from -127 up. `block`: fields of four bits, as many
    /// as the query has numbers.
    pub(crate) fn levels(
        self,
        table: &[u8; 16],
        query: &[[i8; 4]],
        block: &[u8],
        out: &mut [i32; ROWS],
    ) {
        let expected = fields_len(Field::Four, 4 * query.len());
        assert_eq!(block.len(), expected, "a block of other codes");
        match self.0 {
            // SAFETY: this value exists, so the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { super::avx512::levels(table, query, block, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { super::avx2::levels(table, query, block, out) },
            _ => portable::levels(table, query, block, out),
        }
    }
}
