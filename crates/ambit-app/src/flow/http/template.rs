//! Text and JSON with values of the context in them.
//!
//! `{{name}}` stands for the value at port `name`. A JSON text that is nothing but one such becomes
//! the value itself, whatever its type; anywhere else the value is written as text.

use std::fmt::Write as _;

use ambit_flow::{ContextError, Scope, ValueRef};
use serde_json::Value as Json;

/// A text with values in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Port(String),
}

/// How values are written into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writing {
    /// As they are.
    Plain,
    /// With `%` and two digits for whatever means something in a URL.
    Encoded,
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some(start) = rest.find("{{") {
            if start > 0 {
                parts.push(Part::Text(rest[..start].to_owned()));
            }
            let after = &rest[start + 2..];
            let Some(end) = after.find("}}") else {
                return Err(format!("'{}' has a {{{{ without a }}}}", text.escape_debug()));
            };
            let port = after[..end].trim();
            if port.is_empty() {
                return Err(format!("'{}' has a {{{{ }}}} without a name", text.escape_debug()));
            }
            parts.push(Part::Port(port.to_owned()));
            rest = &after[end + 2..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The ports that it reads.
    pub(super) fn ports(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Port(port) => Some(port.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The port, where it is nothing else.
    fn only_port(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Port(port)] => Some(port),
            _ => None,
        }
    }

    /// The text, with the values of `scope`.
    pub(super) fn render(
        &self,
        scope: &Scope<'_>,
        writing: Writing,
    ) -> Result<String, ContextError> {
        let mut out = String::new();
        for part in &self.parts {
            match (part, writing) {
                (Part::Text(text), _) => out.push_str(text),
                (Part::Port(port), Writing::Plain) => write_plain(&mut out, scope.value(port)?),
                (Part::Port(port), Writing::Encoded) => {
                    let mut value = String::new();
                    write_plain(&mut value, scope.value(port)?);
                    write_encoded(&mut out, &value);
                }
            }
        }
        Ok(out)
    }

    pub(super) fn heap(&self) -> usize {
        let text = |part: &Part| match part {
            Part::Text(text) | Part::Port(text) => text.capacity(),
        };
        self.parts.capacity() * size_of::<Part>() + self.parts.iter().map(text).sum::<usize>()
    }
}

fn write_plain(out: &mut String, value: ValueRef<'_>) {
    match value {
        ValueRef::Text(text) => out.push_str(text),
        // Writing to a string does not fail.
        other => {
            let _ = write!(out, "{}", other.to_json());
        }
    }
}

fn write_encoded(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// JSON with values in its texts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    Text(Template),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
    Scalar(Json),
}

impl Shape {
    pub(super) fn parse(json: Json) -> Result<Self, String> {
        Ok(match json {
            Json::String(text) => Self::Text(Template::parse(&text)?),
            Json::Array(list) => {
                Self::List(list.into_iter().map(Self::parse).collect::<Result<_, _>>()?)
            }
            Json::Object(map) => Self::Map(
                map.into_iter()
                    .map(|(key, value)| Ok((key, Self::parse(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            scalar => Self::Scalar(scalar),
        })
    }

    pub(super) fn ports<'a>(&'a self, ports: &mut Vec<&'a str>) {
        match self {
            Self::Text(template) => ports.extend(template.ports()),
            Self::List(list) => list.iter().for_each(|shape| shape.ports(ports)),
            Self::Map(map) => map.iter().for_each(|(_, shape)| shape.ports(ports)),
            Self::Scalar(_) => {}
        }
    }

    /// The JSON, with the values of `scope`.
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<Json, ContextError> {
        Ok(match self {
            Self::Text(template) => match template.only_port() {
                Some(port) => scope.value(port)?.to_json(),
                None => template.render(scope, Writing::Plain)?.into(),
            },
            Self::List(list) => {
                Json::Array(list.iter().map(|shape| shape.render(scope)).collect::<Result<_, _>>()?)
            }
            Self::Map(map) => Json::Object(
                map.iter()
                    .map(|(key, shape)| Ok((key.clone(), shape.render(scope)?)))
                    .collect::<Result<_, ContextError>>()?,
            ),
            Self::Scalar(scalar) => scalar.clone(),
        })
    }

    pub(super) fn heap(&self) -> usize {
        match self {
            Self::Text(template) => template.heap(),
            Self::List(list) => {
                list.capacity() * size_of::<Self>() + list.iter().map(Self::heap).sum::<usize>()
            }
            Self::Map(map) => {
                let each = map.iter().map(|(key, shape)| key.capacity() + shape.heap());
                map.capacity() * size_of::<(String, Self)>() + each.sum::<usize>()
            }
            Self::Scalar(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_found_and_what_is_not_closed_is_named() {
        let ports = |text| -> Vec<String> {
            Template::parse(text).unwrap().ports().map(str::to_owned).collect()
        };
        assert_eq!(ports("a {{ b }} {c} {{d}}{{e}}"), ["b", "d", "e"]);
        assert_eq!(ports("{ \"json\": {} }"), [""; 0]);
        assert!(Template::parse("{{a}} {{b").unwrap_err().contains("{{ without a }}"));
        assert!(Template::parse("{{ }}").unwrap_err().contains("without a name"));
    }

    #[test]
    fn what_means_something_in_a_url_is_encoded() {
        let mut out = String::new();
        write_encoded(&mut out, "a/b?c=ä&../%");
        assert_eq!(out, "a%2Fb%3Fc%3D%C3%A4%26..%2F%25");
    }
}
