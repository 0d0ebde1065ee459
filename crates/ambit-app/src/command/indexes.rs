//! Building indexes of words and terms at the end of a command that wrote some.

use ambitdb::{Collection, IndexReport, Language, SpaceKind, Store};

use super::later::{self, Built};
use super::{Session, TEXT_SPACE};
use crate::exit::Failure;
use crate::interrupt::Interrupt;

/// The space of the words of texts, where a command makes it.
pub const WORDS_SPACE: &str = "words";

/// Gives a collection a space of words, with English stems, unless it has one; says whether it did.
///
/// # Errors
/// The facade's; another space of this name.
pub fn add_words(collection: &Collection, store: &Store) -> Result<bool, Failure> {
    if words_space(collection).is_some() {
        return Ok(false);
    }
    let kind = SpaceKind::Text { stem: Some(Language::English) };
    store.create_space(collection.name(), WORDS_SPACE, kind)?;
    Ok(true)
}

/// Gives a collection that `index` filled a space of words, unless it has one.
///
/// # Errors
/// As [`add_words`].
pub fn add_words_to_indexed(collection: &Collection, store: &Store) -> Result<(), Failure> {
    let is_free = collection.space(WORDS_SPACE).is_err();
    if is_free && collection.space(TEXT_SPACE).is_ok_and(|space| space.is_dense()) {
        add_words(collection, store)?;
    }
    Ok(())
}

/// The first space of words of a collection.
pub fn words_space(collection: &Collection) -> Option<&str> {
    let mut spaces = collection.spaces().iter();
    let found = spaces.find(|space| matches!(space.kind, SpaceKind::Text { .. }));
    found.map(|space| space.name.as_str())
}

/// Builds the indexes that the session's collection lacks. A budget without room for them, or Ctrl-C,
/// leaves the rest for `ambit optimize`, and says so.
///
/// # Errors
/// The facade's, but for those two.
pub fn build(
    session: &Session,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<IndexReport, Failure> {
    of_collection(session.name(), session, store, interrupt)
}

/// Builds the indexes that `collection` lacks, as [`build`].
///
/// # Errors
/// As [`build`].
pub fn of_collection(
    collection: &str,
    session: &Session,
    store: &Store,
    interrupt: &Interrupt,
) -> Result<IndexReport, Failure> {
    let what = Built {
        collection,
        name: "words",
        without: "searches read the texts that have no index yet",
        rest: "it",
    };
    later::build(&what, session, interrupt, |progress| store.build_indexes(collection, progress))
}
