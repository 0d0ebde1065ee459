//! The node: sends, waits, reads.
//!
//! The answer is read piece by piece, each reserved before it comes, and never beyond `max_bytes`.
//! A request waits no longer than its own time and the run's; a run that is called off is noticed
//! between pieces. Redirects are answers, not orders: headers go to the server that the graph names.

use std::io::Read as _;
use std::time::Duration;

use ambit_flow::{Node, NodeError, Ports, Registry, Scope, Type, Value};
use ambit_mem::{Bytes, Reservation};
use serde_json::Value as Json;
use ureq::Agent;
use ureq::http::{HeaderValue, Response, header::CONTENT_TYPE};

use super::config::{Config, Header, Request};
use super::error::{HttpError, excerpt};
use super::template::Writing;

/// Bytes of an answer that are read at a time.
const PIECE: usize = 16 << 10;
/// Buffers of one connection, and the head of an answer, at most.
const INPUT: usize = 32 << 10;
const OUTPUT: usize = 16 << 10;
const HEAD: usize = 16 << 10;
/// Connections that are kept for the next request.
const IDLE: usize = 2;

struct Http {
    request: Request,
    agent: Agent,
}

pub(in crate::flow) fn add(registry: &mut Registry) {
    registry.add_kind("http", |def, building| {
        let config: Config = building.config(def)?;
        let request = Request::new(config)?;
        let agent = agent(&request);
        Ok(Box::new(Http { request, agent }))
    });
}

fn agent(request: &Request) -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HEAD)
        .input_buffer_size(INPUT)
        .output_buffer_size(OUTPUT)
        .max_idle_connections(IDLE)
        .max_idle_connections_per_host(IDLE)
        .user_agent(concat!("ambit/", env!("CARGO_PKG_VERSION")));
    // This machine is not asked by way of another.
    let config = if request.is_loopback { config.proxy(None) } else { config };
    config.build().new_agent()
}

/// The bytes of an answer, and what holds them on the ledger.
struct Answer {
    bytes: Vec<u8>,
    charge: Reservation,
}

impl Http {
    /// Header values, and those of them that are secrets.
    fn headers(&self, scope: &Scope<'_>) -> Result<(Vec<HeaderValue>, Vec<String>), NodeError> {
        let (mut values, mut secrets) = (Vec::new(), Vec::new());
        for (name, header) in &self.request.headers {
            let (text, is_secret) = match header {
                Header::Text(template) => (template.render(scope, Writing::Plain)?, false),
                Header::Secret { variable, prefix } => {
                    let Ok(secret) = std::env::var(variable) else {
                        let (header, variable) = (name.to_string(), variable.clone());
                        return Err(HttpError::NoSecret { header, variable }.into());
                    };
                    let text = format!("{prefix}{secret}");
                    secrets.push(secret);
                    (text, true)
                }
            };
            let Ok(mut value) = HeaderValue::from_str(&text) else {
                return Err(HttpError::Header { header: name.to_string() }.into());
            };
            value.set_sensitive(is_secret);
            values.push(value);
        }
        Ok((values, secrets))
    }

    fn send(
        &self,
        scope: &Scope<'_>,
        headers: Vec<HeaderValue>,
        timeout: Duration,
    ) -> Result<Response<ureq::Body>, NodeError> {
        let url = format!(
            "{}{}",
            self.request.server,
            self.request.path.render(scope, Writing::Encoded)?
        );
        let mut request =
            ureq::http::Request::builder().method(self.request.method.clone()).uri(url);
        let names = self.request.headers.iter().map(|(name, _)| name);
        for (name, value) in names.zip(headers) {
            request = request.header(name, value);
        }
        let sent = match &self.request.body {
            None => {
                let request = request.body(()).map_err(NodeError::hopeless)?;
                self.agent.run(self.within(request, timeout))
            }
            Some(shape) => {
                let body = shape.render(scope)?;
                let _charge = scope.account().reserve(ValueBytes(&body).both())?;
                let text = serde_json::to_vec(&body).map_err(NodeError::hopeless)?;
                let named = request.headers_ref().is_some_and(|all| all.contains_key(CONTENT_TYPE));
                if !named {
                    request = request.header(CONTENT_TYPE, "application/json");
                }
                let request = request.body(text).map_err(NodeError::hopeless)?;
                self.agent.run(self.within(request, timeout))
            }
        };
        sent.map_err(|error| self.failed(error, scope, timeout))
    }

    fn within<S: ureq::AsSendBody>(
        &self,
        request: ureq::http::Request<S>,
        timeout: Duration,
    ) -> ureq::http::Request<S> {
        self.agent.configure_request(request).timeout_global(Some(timeout)).build()
    }

    /// What a failure of the client means for the run.
    fn failed(&self, error: ureq::Error, scope: &Scope<'_>, timeout: Duration) -> NodeError {
        let server = self.request.server.clone();
        match error {
            // The run's own time is over, not the request's; to the last of it.
            ureq::Error::Timeout(_) if timeout < self.request.timeout => {
                while scope.check().is_ok() {
                    scope.wait(Duration::from_millis(1));
                }
                NodeError::CalledOff
            }
            _ if scope.check().is_err() => NodeError::CalledOff,
            ureq::Error::Timeout(_) => {
                let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                HttpError::TimedOut { server, ms }.into()
            }
            error @ (ureq::Error::BadUri(_) | ureq::Error::Http(_)) => NodeError::hopeless(error),
            error => HttpError::Failed { server, error: error.to_string() }.into(),
        }
    }

    fn read(
        &self,
        response: &mut Response<ureq::Body>,
        scope: &Scope<'_>,
        timeout: Duration,
    ) -> Result<Answer, NodeError> {
        let most = self.request.most;
        let too_large = || HttpError::TooLarge { server: self.request.server.clone(), most };
        let body = response.body_mut();
        if body.content_length().is_some_and(|len| len > most.get()) {
            return Err(too_large().into());
        }
        let mut charge = scope.account().reserve(Bytes::ZERO)?;
        let (mut bytes, mut reader) = (Vec::new(), body.as_reader());
        loop {
            scope.check()?;
            let len = bytes.len();
            if bytes.capacity() - len < PIECE {
                let more = len.max(PIECE);
                charge.grow(Bytes::of(more))?;
                bytes.reserve_exact(more);
            }
            bytes.resize(len + PIECE, 0);
            let read = reader.read(&mut bytes[len..]);
            let read = read.map_err(|error| self.failed(error.into(), scope, timeout))?;
            bytes.truncate(len + read);
            if read == 0 {
                return Ok(Answer { bytes, charge });
            }
            if bytes.len() as u64 > most.get() {
                return Err(too_large().into());
            }
        }
    }

    /// The part of an answer that is asked for.
    fn part(&self, answer: &mut Answer) -> Result<Json, NodeError> {
        let server = || self.request.server.clone();
        if answer.bytes.iter().all(u8::is_ascii_whitespace) && self.request.pick.is_none() {
            return Ok(Json::Null);
        }
        // Parsed, it takes several times its text.
        answer.charge.grow(Bytes::of(4 * answer.bytes.len()))?;
        let mut json: Json = serde_json::from_slice(&answer.bytes)
            .map_err(|error| HttpError::NotJson { server: server(), error: error.to_string() })?;
        match &self.request.pick {
            None => Ok(json),
            Some(pick) => match json.pointer_mut(pick) {
                Some(part) => Ok(part.take()),
                None => Err(HttpError::NoPart { server: server(), pick: pick.clone() }.into()),
            },
        }
    }
}

/// Bytes of a JSON value, as a value of a context counts them.
struct ValueBytes<'a>(&'a Json);

impl ValueBytes<'_> {
    /// The value and its text.
    fn both(&self) -> Bytes {
        Bytes::of(2 * ambit_flow::ValueRef::Json(self.0).len_bytes())
    }
}

impl Node for Http {
    fn ports(&self) -> Ports {
        let ports = self.request.ports().into_iter();
        let reads = ports.fold(Ports::new(), |ports, port| ports.read(port, Type::Any));
        reads.write("response", Type::Any).write("status", Type::Int)
    }

    fn run(&self, scope: &mut Scope<'_>) -> Result<(), NodeError> {
        scope.check()?;
        let left = scope.time_left().unwrap_or(Duration::MAX);
        let timeout = self.request.timeout.min(left);
        // The buffers of its connection, until that is idle.
        let _charge = scope.account().reserve(Bytes::of(INPUT + OUTPUT))?;
        let (headers, secrets) = self.headers(scope)?;
        let mut response = self.send(scope, headers, timeout)?;
        let status = response.status();
        let mut answer = self.read(&mut response, scope, timeout)?;
        if !status.is_success() {
            let server = self.request.server.clone();
            let excerpt = excerpt(&answer.bytes, &secrets);
            return Err(HttpError::Status { server, status: status.as_u16(), excerpt }.into());
        }
        let part = self.part(&mut answer)?;
        scope.put("response", Value::from(part))?;
        scope.set("status", i64::from(status.as_u16()))
    }

    fn footprint(&self) -> Bytes {
        let connections = IDLE * (INPUT + OUTPUT);
        Bytes::of(size_of::<Self>() + self.request.heap() + connections)
    }
}
