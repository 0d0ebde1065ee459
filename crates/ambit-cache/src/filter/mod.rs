//! Is a key surely absent? Filters in front of what would have to be read.

mod bloom;
mod error;
mod frame;
mod fuse;

pub use bloom::BloomFilter;
pub use error::FilterError;
pub use fuse::FuseFilter;
