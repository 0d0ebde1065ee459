//! The parameters of `http`, checked.
//!
//! Scheme and server are written in the graph, not taken from the context: what a run reads decides
//! what is asked, never who is asked. A header that comes from the environment is a secret: it goes
//! to a server by https, or to this machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ambit_flow::NodeFault;
use ambit_mem::Bytes;
use serde::Deserialize;
use serde_json::Value as Json;
use ureq::http::{HeaderName, Method};

use super::template::{Shape, Template};

/// Milliseconds for one request, where the node does not say otherwise.
pub(super) const TIMEOUT_MS: u64 = 30_000;
/// Bytes of an answer, where the node does not say otherwise.
pub(super) const MAX_BYTES: Bytes = Bytes::mib(8);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    url: String,
    method: Option<Verb>,
    #[serde(default)]
    headers: BTreeMap<String, HeaderDef>,
    body: Option<Json>,
    pick: Option<String>,
    timeout_ms: Option<u64>,
    max_bytes: Option<u64>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a header is a text, or a map with `env` and perhaps `prefix`")]
enum HeaderDef {
    Text(String),
    Secret(SecretDef),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretDef {
    env: String,
    #[serde(default)]
    prefix: String,
}

/// Where a header's value comes from.
#[derive(Debug)]
pub(super) enum Header {
    Text(Template),
    /// From an environment variable, when the request is sent.
    Secret {
        variable: String,
        prefix: String,
    },
}

/// What is asked, of whom, and how long and how large an answer may be.
#[derive(Debug)]
pub(super) struct Request {
    /// Scheme and server: what messages name.
    pub server: String,
    /// Whether the server is this machine.
    pub is_loopback: bool,
    /// The rest of the URL.
    pub path: Template,
    pub method: Method,
    pub headers: Vec<(HeaderName, Header)>,
    pub body: Option<Shape>,
    /// A JSON pointer into the answer.
    pub pick: Option<String>,
    pub timeout: Duration,
    pub most: Bytes,
}

impl Request {
    pub(super) fn new(config: Config) -> Result<Self, NodeFault> {
        let Config { url, method, headers, body, pick, timeout_ms, max_bytes } = config;
        let (server, path) = split(&url).map_err(NodeFault::Config)?;
        let is_loopback = is_loopback(server);
        let is_plain = server.starts_with("http://");
        if !is_plain && !cfg!(feature = "https") {
            return fault(
                "this program was built without https; build it with the feature 'https'",
            );
        }
        let method = method.unwrap_or(if body.is_some() { Verb::Post } else { Verb::Get });
        if body.is_some() && matches!(method, Verb::Get) {
            return fault("a GET has no body; leave one of the two out");
        }
        if let Some(pick) = pick.as_ref().filter(|pick| !pick.starts_with('/')) {
            return fault(format!(
                "pick '{}' does not begin with '/', as in /choices/0/text",
                pick.escape_debug()
            ));
        }
        let timeout = Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS));
        let most = max_bytes.map_or(MAX_BYTES, Bytes::new);
        if timeout.is_zero() || most == Bytes::ZERO {
            return fault("timeout_ms and max_bytes are at least 1");
        }
        let headers: Vec<_> =
            headers.into_iter().map(|(name, def)| header(&name, def)).collect::<Result<_, _>>()?;
        let secret = headers.iter().find(|(_, header)| matches!(header, Header::Secret { .. }));
        if let Some((name, _)) = secret.filter(|_| is_plain && !is_loopback) {
            return fault(format!(
                "header '{name}' is a secret, and {server} would get it in plain text; use https"
            ));
        }
        Ok(Self {
            server: server.to_owned(),
            is_loopback,
            path: Template::parse(path).map_err(NodeFault::Config)?,
            method: method.into(),
            headers,
            body: body.map(Shape::parse).transpose().map_err(NodeFault::Config)?,
            pick,
            timeout,
            most,
        })
    }

    /// The ports that it reads, each once.
    pub(super) fn ports(&self) -> Vec<&str> {
        let mut ports: Vec<&str> = self.path.ports().collect();
        for (_, header) in &self.headers {
            if let Header::Text(template) = header {
                ports.extend(template.ports());
            }
        }
        if let Some(body) = &self.body {
            body.ports(&mut ports);
        }
        ports.sort_unstable();
        ports.dedup();
        ports
    }

    pub(super) fn heap(&self) -> usize {
        let header = |(name, header): &(HeaderName, Header)| {
            name.as_str().len()
                + match header {
                    Header::Text(template) => template.heap(),
                    Header::Secret { variable, prefix } => variable.capacity() + prefix.capacity(),
                }
        };
        self.server.capacity()
            + self.path.heap()
            + self.headers.capacity() * size_of::<(HeaderName, Header)>()
            + self.headers.iter().map(header).sum::<usize>()
            + self.body.as_ref().map_or(0, Shape::heap)
            + self.pick.as_ref().map_or(0, String::capacity)
    }
}

fn fault<T>(message: impl Into<String>) -> Result<T, NodeFault> {
    Err(NodeFault::Config(message.into()))
}

fn header(name: &str, def: HeaderDef) -> Result<(HeaderName, Header), NodeFault> {
    let Ok(parsed) = HeaderName::from_bytes(name.as_bytes()) else {
        return fault(format!("'{}' is no name of a header", name.escape_debug()));
    };
    let header = match def {
        HeaderDef::Text(text) => Header::Text(Template::parse(&text).map_err(NodeFault::Config)?),
        HeaderDef::Secret(SecretDef { env, prefix }) => {
            if env.is_empty() || env.contains(['=', '\0']) {
                let env = env.escape_debug();
                return fault(format!("'{env}' is no name of an environment variable"));
            }
            Header::Secret { variable: env, prefix }
        }
    };
    Ok((parsed, header))
}

/// Scheme and server of a URL, and the rest.
fn split(url: &str) -> Result<(&str, &str), String> {
    let shown = url.escape_debug();
    let after = ["http://", "https://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    let Some(after) = after else {
        return Err(format!("url '{shown}' does not begin with http:// or https://"));
    };
    let start = url.len() - after.len();
    let end = after.find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let server = &url[start..end];
    if server.contains("{{") || server.contains("}}") {
        return Err(format!("url '{shown}' takes its server from the context; write it out"));
    }
    if server.contains('@') {
        return Err("the url has a user or password in it; use a header with env".to_owned());
    }
    let is_sound = |sign: char| sign.is_ascii_alphanumeric() || "-._:[]".contains(sign);
    if server.is_empty() || !server.chars().all(is_sound) {
        return Err(format!("url '{shown}' has no server that could be asked"));
    }
    Ok((&url[..end], &url[end..]))
}

/// Whether a server, with its scheme, is this machine.
fn is_loopback(server: &str) -> bool {
    let name = server.split_once("://").map_or(server, |(_, name)| name);
    let host = match name.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => name.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Post => Self::POST,
            Verb::Put => Self::PUT,
            Verb::Patch => Self::PATCH,
            Verb::Delete => Self::DELETE,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(json: Json) -> Result<Request, String> {
        let config = serde_json::from_value(json).map_err(|error| error.to_string())?;
        Request::new(config).map_err(|fault| fault.to_string())
    }

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let get = request(json!({"url": "http://localhost:8080"})).unwrap();
        assert_eq!((get.method, get.timeout), (Method::GET, Duration::from_secs(30)));
        assert_eq!(get.most, Bytes::mib(8));
        let post = request(json!({"url": "http://[::1]/{{a}}?q={{b}}", "body": ["{{c}}", 1]}));
        let post = post.unwrap();
        assert_eq!((post.method.clone(), post.is_loopback), (Method::POST, true));
        assert_eq!(post.ports(), ["a", "b", "c"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_a_remedy() {
        let secret = json!({"x-key": {"env": "K"}});
        for (json, expected) in [
            (json!({"url": "ftp://a"}), "does not begin with http:// or https://"),
            (json!({"url": "http://{{server}}/x"}), "takes its server from the context"),
            (json!({"url": "http://a{{b}}"}), "takes its server from the context"),
            (json!({"url": "http://user:pass@a/"}), "use a header with env"),
            (json!({"url": "http:///x"}), "has no server"),
            (json!({"url": "http://a b/"}), "has no server"),
            (json!({"url": "http://a/{{b"}), "{{ without a }}"),
            (json!({"url": "http://a", "method": "GET", "body": 1}), "a GET has no body"),
            (json!({"url": "http://a", "method": "get"}), "unknown variant `get`"),
            (json!({"url": "http://a", "pick": "x"}), "does not begin with '/'"),
            (json!({"url": "http://a", "timeout_ms": 0}), "at least 1"),
            (json!({"url": "http://a", "headers": {"a b": "c"}}), "no name of a header"),
            (json!({"url": "http://a", "headers": {"a": 3}}), "a header is a text, or a map"),
            (
                json!({"url": "http://a", "headers": {"a": {"env": ""}}}),
                "no name of an environment",
            ),
            (json!({"url": "http://example.org", "headers": secret}), "in plain text; use https"),
        ] {
            let error = request(json.clone()).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
        let of = |server: &str| request(json!({"url": server, "headers": secret})).is_ok();
        assert!(of("http://127.0.0.1:80") && of("http://localhost") && of("http://[::1]:80/x"));
        assert!(!of("http://localhost.example.org") && !of("http://127.0.0.1.example.org"));
        assert_eq!(of("https://example.org"), cfg!(feature = "https"));
    }
}
