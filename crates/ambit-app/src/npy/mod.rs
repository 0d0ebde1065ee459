//! NumPy's array files: how vectors come in and go out.
//!
//! A `.npy` file is a short header (magic, version, a Python dictionary with the element type,
//! the order and the shape) and then the plain elements. Reading is strict: a header is held
//! against the real length of the file before anything is allocated, and everything that would
//! need a guess (Fortran order, integers, objects, a third dimension, trailing bytes) is refused
//! with the NumPy expression that mends it. Both directions stream; their buffers are the
//! caller's and do not depend on the size of the file.
//!
//! - [`header`]: the header's bytes, in and out
//! - [`convert`]: elements to float32, exactly or not at all
//! - [`Reader`], [`Writer`]: whole rows, in order

pub mod convert;
pub mod header;
mod reader;
mod writer;

pub use convert::Rounding;
pub use reader::Reader;
pub use writer::Writer;
