//! Why there is no answer.
//!
//! A message names the server, and never a header's value: what comes from the environment is a
//! secret. Parts of an answer that hold one are told without it.

use std::fmt;

use ambit_flow::NodeError;
use ambit_mem::Bytes;

/// Signs of an answer that a message tells.
const EXCERPT: usize = 200;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HttpError {
    /// The variable that a header comes from is not set.
    NoSecret { header: String, variable: String },
    /// A header's value has signs that headers do not have.
    Header { header: String },
    /// The server could not be reached, or broke off.
    Failed { server: String, error: String },
    /// The server did not answer in time.
    TimedOut { server: String, ms: u64 },
    /// The server refused.
    Status { server: String, status: u16, excerpt: String },
    /// The answer is larger than the node takes.
    TooLarge { server: String, most: Bytes },
    /// The answer is no JSON.
    NotJson { server: String, error: String },
    /// The answer has no such part.
    NoPart { server: String, pick: String },
}

impl HttpError {
    /// Whether the same request may be answered another time.
    fn is_retryable(&self) -> bool {
        match self {
            Self::Failed { .. } | Self::TimedOut { .. } => true,
            Self::Status { status, .. } => {
                matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSecret { header, variable } => write!(
                f,
                "header '{header}' comes from the environment variable {variable}, which is not \
                 set, or is no text"
            ),
            Self::Header { header } => {
                write!(f, "header '{header}' has a value with signs that headers cannot have")
            }
            Self::Failed { server, error } => write!(f, "{server}: {error}"),
            Self::TimedOut { server, ms } => write!(f, "{server}: no answer within {ms} ms"),
            Self::Status { server, status, excerpt } => {
                write!(f, "{server}: status {status}")?;
                if (300..400).contains(status) {
                    f.write_str("; the node does not go where a server sends it")?;
                }
                if excerpt.is_empty() { Ok(()) } else { write!(f, ": {excerpt}") }
            }
            Self::TooLarge { server, most } => write!(
                f,
                "{server}: the answer is larger than {most}, the most that max_bytes allows"
            ),
            Self::NotJson { server, error } => {
                write!(f, "{server}: the answer is no JSON: {error}")
            }
            Self::NoPart { server, pick } => write!(
                f,
                "{server}: the answer has no part '{}', which 'pick' names",
                pick.escape_debug()
            ),
        }
    }
}

impl std::error::Error for HttpError {}

impl From<HttpError> for NodeError {
    fn from(error: HttpError) -> Self {
        if error.is_retryable() { Self::failed(error) } else { Self::hopeless(error) }
    }
}

/// The beginning of an answer as a message may tell it: in one line, without `secrets`.
pub(super) fn excerpt(answer: &[u8], secrets: &[String]) -> String {
    let mut text = String::from_utf8_lossy(answer).into_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret.as_str(), "***");
    }
    let signs = text.chars().map(|sign| if sign.is_control() { ' ' } else { sign });
    signs.take(EXCERPT).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_short_line_without_secrets() {
        let secrets = ["k-123".to_owned(), String::new()];
        assert_eq!(excerpt(b"bad key\r\nk-123!", &secrets), "bad key  ***!");
        // One that the end of the excerpt would cut in two is gone as well.
        let long = format!("{}k-123", "x".repeat(198));
        assert_eq!(excerpt(long.as_bytes(), &secrets), format!("{}**", "x".repeat(198)));
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_stays_is_not() {
        let status = |status| HttpError::Status {
            server: "http://a".into(),
            status,
            excerpt: String::new(),
        };
        for (error, retryable) in [
            (status(503), true),
            (status(429), true),
            (status(404), false),
            (status(301), false),
            (HttpError::TimedOut { server: "http://a".into(), ms: 5 }, true),
            (HttpError::TooLarge { server: "http://a".into(), most: Bytes::kib(1) }, false),
        ] {
            let message = error.to_string();
            assert_eq!(NodeError::from(error).is_retryable(), retryable, "{message}");
        }
        assert!(status(301).to_string().ends_with("does not go where a server sends it"));
    }
}
