//! Building codes at the end of a command that wrote vectors.

use ambitdb::{CodesReport, Store};

use super::Session;
use super::later::{self, Built};
use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// Builds the codes that the session's collection lacks. A budget without room for it, or
/// Ctrl-C, leaves the rest for `ambit optimize`, and says so.
///
/// # Errors
/// The facade's, but for those two.
pub fn build(
    session: &Session,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<CodesReport, Failure> {
    of_collection(&session.settings.collection.value, session, store, interrupt)
}

/// Builds the codes that `collection` lacks, as [`build`].
///
/// # Errors
/// As [`build`].
pub fn of_collection(
    collection: &str,
    session: &Session,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<CodesReport, Failure> {
    let what = Built {
        collection,
        name: "codes",
        without: "searches read all rows that have no codes yet",
        rest: "them",
    };
    later::build(&what, session, interrupt, |progress| store.build_codes(collection, progress))
}
