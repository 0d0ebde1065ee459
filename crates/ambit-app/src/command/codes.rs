//! Building codes at the end of a command that wrote vectors.

use ambitdb::{CodesReport, ErrorKind, Store};

use super::Session;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Unit};

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
    let progress = Progress::new(&session.output, "codes", Unit::Items("rows"), Some(0));
    let built = store.build_codes(collection, &mut |done, total| {
        progress.set_total(total);
        progress.set(done);
        !interrupt.requested()
    });
    progress.finish();
    match built {
        Err(error) if matches!(error.kind(), ErrorKind::OverBudget | ErrorKind::Interrupted) => {
            session.output.note(format_args!(
                "{collection}: searches read all rows that have no codes yet ({error}); \
                 `ambit optimize` builds them"
            ));
            Ok(CodesReport::default())
        }
        built => Ok(built?),
    }
}
