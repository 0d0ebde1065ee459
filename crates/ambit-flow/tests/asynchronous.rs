//! Nodes that are written as async functions.

#![cfg(feature = "async")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use ambit_flow::{AsyncNode, Blocking, NodeError, Ports, Registry, Scope, Type};
use ambit_mem::Bytes;
use support::run_with;

/// Is ready when it is asked for the third time.
struct Third;

impl AsyncNode for Third {
    fn ports(&self) -> Ports {
        Ports::new().write("asked", Type::Int)
    }

    fn run<'a>(
        &'a self,
        scope: &'a mut Scope<'_>,
    ) -> Pin<Box<dyn Future<Output = Result<(), NodeError>> + 'a>> {
        Box::pin(async move {
            let mut asked = 0;
            std::future::poll_fn(|task| {
                asked += 1;
                task.waker().wake_by_ref();
                if asked < 3 { Poll::Pending } else { Poll::Ready(()) }
            })
            .await;
            scope.set("asked", asked)
        })
    }

    fn footprint(&self) -> Bytes {
        Bytes::ZERO
    }
}

#[test]
fn a_run_waits_for_the_future_of_an_async_node() {
    let mut registry = Registry::new();
    registry.add_kind("third", |_, _| Ok(Box::new(Blocking(Third))));
    let yaml = "nodes: [{ id: a, kind: third }]";
    let (context, _, outcome) = run_with(yaml, &registry, serde_json::json!({}));
    outcome.unwrap();
    assert_eq!(context.int("asked").unwrap(), 3);
}
