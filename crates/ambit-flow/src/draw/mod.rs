//! Graphs as pictures, with what a run did.
//!
//! | file | what is in it |
//! |---|---|
//! | `drawing` | what is drawn |
//! | `dot` | for Graphviz |
//! | `svg` | as it is |

mod dot;
mod drawing;
mod svg;

pub use drawing::Drawing;
