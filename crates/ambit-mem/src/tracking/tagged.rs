//! A future that is polled under a tag, wherever it is polled.
//!
//! A scope belongs to a thread, and a task does not: so the scope is entered for each poll and
//! left when the poll returns. A task that is spawned starts without a tag; whoever spawns it
//! wraps it (`Tag::current().future(task)` hands the own tag on).

use std::pin::Pin;
use std::task::{Context, Poll};

use super::Tag;

/// A future that is polled, and dropped, under a tag; made by [`Tag::future`].
///
/// ```
/// # use ambit_mem::Tag;
/// # use std::pin::pin;
/// # use std::task::{Context, Poll, Waker};
/// let query = Tag::named("query")?;
/// let mut task = pin!(query.future(async { Tag::current() }));
/// assert_eq!(task.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(query));
/// assert_eq!(Tag::current(), Tag::UNTAGGED);
/// # Ok::<(), ambit_mem::TooManyTags>(())
/// ```
#[derive(Debug)]
#[must_use = "a future does nothing until it is polled"]
pub struct Tagged<F> {
    tag: Tag,
    /// `None` only while this is being dropped.
    future: Option<F>,
}

impl<F> Tagged<F> {
    pub(super) fn new(tag: Tag, future: F) -> Self {
        Self { tag, future: Some(future) }
    }

    /// The tag.
    pub fn tag(&self) -> Tag {
        self.tag
    }
}

impl<F: Future> Future for Tagged<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _scope = self.tag.enter();
        // SAFETY: `future` is pinned with `self`: nothing moves it out, it is dropped in place,
        // and `Tagged` is `Unpin` only where `F` is.
        let future = unsafe { self.map_unchecked_mut(|tagged| &mut tagged.future) };
        match future.as_pin_mut() {
            Some(future) => future.poll(context),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Tagged<F> {
    fn drop(&mut self) {
        let _scope = self.tag.enter();
        // Dropped in place: a pinned future is not moved.
        self.future = None;
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    /// Is pending once.
    #[derive(Default)]
    struct Yield(bool);

    impl Future for Yield {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
        }
    }

    struct TellsTag<'a>(&'a std::sync::Mutex<Vec<Tag>>);

    impl Drop for TellsTag<'_> {
        fn drop(&mut self) {
            crate::sync::lock(self.0).push(Tag::current());
        }
    }

    #[test]
    fn a_task_keeps_its_tags_across_await_and_threads_and_its_threads_do_not() {
        let [outer, inner] =
            ["tests/task/outer", "tests/task/inner"].map(|name| Tag::named(name).unwrap());
        let seen = std::sync::Mutex::new(Vec::new());
        let tell = || crate::sync::lock(&seen).push(Tag::current());
        let mut task = Box::pin(outer.future(async {
            let _held = TellsTag(&seen);
            tell();
            inner
                .future(async {
                    tell();
                    Yield::default().await;
                    tell();
                })
                .await;
            tell();
            Yield::default().await;
            tell();
            std::future::pending::<()>().await;
        }));
        for _ in 0..3 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut context = Context::from_waker(Waker::noop());
                    assert_eq!(task.as_mut().poll(&mut context), Poll::Pending);
                    assert_eq!(Tag::current(), Tag::UNTAGGED);
                });
            });
        }
        drop(task);
        assert_eq!(*crate::sync::lock(&seen), [outer, inner, inner, outer, outer, outer]);
        assert_eq!(Tag::current(), Tag::UNTAGGED);
    }

    #[test]
    fn a_poll_that_panics_leaves_the_threads_tag_as_it_was() {
        let tag = Tag::named("tests/task/panics").unwrap();
        let mut task = pin!(tag.future(async { panic!("as planned") }));
        let poll = std::panic::AssertUnwindSafe(|| {
            let _: Poll<()> = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        });
        assert!(std::panic::catch_unwind(poll).is_err());
        assert_eq!(Tag::current(), Tag::UNTAGGED);
    }
}
