//! What is kept beside the code of a row?

use bytemuck::{Pod, Zeroable};

/// What a code is worth: 16 bytes beside it.
///
/// A code stands for the row x' with elements `offset` + `step` times what the code says of the
/// element (plus what the model says of the dimension). `error` >= |x - x'|; it is infinite where
/// nothing is known of the row, because it has numbers that are not finite.
#[derive(Debug, Clone, Copy, PartialEq, Default, Pod, Zeroable)]
#[repr(C)]
pub struct RowTerms {
    /// What every element has in common.
    pub offset: f32,
    /// How much one level is.
    pub step: f32,
    /// The norm |x|, as [`Kernels::norm`](crate::Kernels::norm) gives it.
    pub norm: f32,
    /// An upper bound on the euclidean distance between the row and its code.
    pub error: f32,
}

/// Codes of n rows with their terms.
#[derive(Debug, Clone, Copy)]
pub struct Coded<'a> {
    /// n x [`code_len`](super::Quantizer::code_len) bytes.
    pub codes: &'a [u8],
    /// n terms.
    pub terms: &'a [RowTerms],
}

/// An upper bound on the norm whose square was added up in f64 from differences to a row of norm
/// `norm`, as f32.
///
/// Each difference is off by at most 2^-52 (|x'_i| + |x_i - x'_i|), so their norm by 2^-51 (|x| +
/// error); 2^16 squares are added with less than 2^-36 of their sum. Both fit into what is added.
pub(crate) fn error_above(squares: f64, norm: f32) -> f32 {
    let error = squares.sqrt() * (1.0 + 1e-9) + f64::from(norm) * 1e-14;
    let error = (error as f32).next_up();
    if error.is_nan() { f32::INFINITY } else { error }
}
