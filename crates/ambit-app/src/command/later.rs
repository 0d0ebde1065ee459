//! What is built at the end of a command, and may be left for `ambit optimize`.

use ambitdb::{Error, ErrorKind};

use super::Session;
use crate::exit::Failure;
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Unit};

/// What is built.
pub struct Built<'a> {
    /// Whose it is.
    pub collection: &'a str,
    /// What the progress says.
    pub name: &'static str,
    /// What searches do without it.
    pub without: &'static str,
    /// What `ambit optimize` builds: `it` or `them`.
    pub rest: &'static str,
}

/// Calls `build`, which hears how far it is and ends when told so. A budget without room for it, or Ctrl-C,
/// leaves the rest for `ambit optimize`, and says so.
///
/// # Errors
/// Those of `build`, but for those two.
pub fn build<T: Default>(
    what: &Built<'_>,
    session: &Session,
    interrupt: &Interrupt,
    build: impl FnOnce(&mut dyn FnMut(u64, u64) -> bool) -> Result<T, Error>,
) -> Result<T, Failure> {
    let progress = Progress::new(&session.output, what.name, Unit::Items("rows"), Some(0));
    let built = build(&mut |done, total| {
        progress.set_total(total);
        progress.set(done);
        !interrupt.requested()
    });
    progress.finish();
    match built {
        Err(error) if matches!(error.kind(), ErrorKind::OverBudget | ErrorKind::Interrupted) => {
            let Built { collection, without, rest, .. } = what;
            session.output.note(format_args!(
                "{collection}: {without} ({error}); `ambit optimize` builds {rest}"
            ));
            Ok(T::default())
        }
        built => Ok(built?),
    }
}
