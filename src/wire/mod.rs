//! The shapes of what servers answer under `$SYS`: narrow, borrowed where it pays, every field optional that a
//! version may lack. No logic.
//!
//! Servers also send what must not be kept: login tokens in clear (before 2.10.28, 2.11.0 and 2.11.1), MQTT
//! passwords and bearer JWTs. These shapes have no place for them, but for the two borrowed texts of
//! [`connz::Connection`] from which an identity is derived while the answer is still in memory.

pub mod account_statz;
pub mod accountz;
pub mod claims_list;
pub mod connz;
pub mod envelope;
pub mod event;
pub mod gatewayz;
pub mod healthz;
pub mod jwt;
pub mod leafz;
pub mod routez;
pub mod statsz;
pub mod subsz;
pub mod time;
pub mod varz;

/// Why an answer could not be used. Never carries the answer's text, which may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// No body at all.
    #[error("the answer is empty")]
    Empty,
    /// Not UTF-8.
    #[error("the answer is not UTF-8 after {0} bytes")]
    Utf8(usize),
    /// Not the expected JSON.
    #[error("the answer is not the expected JSON: {0}")]
    Json(String),
    /// The server says no.
    #[error("error {code}: {description}")]
    Refused {
        /// The server's code, as in HTTP.
        code: i64,
        /// The server's text, cut if it is long.
        description: String,
    },
    /// Neither data nor an error.
    #[error("the answer has neither data nor an error")]
    NoData,
}

impl WireError {
    /// Keeps class, line and column; serde_json's message may quote values of the answer.
    pub(crate) fn json(error: &serde_json::Error) -> Self {
        let class = match error.classify() {
            serde_json::error::Category::Eof => "it ends early",
            serde_json::error::Category::Syntax => "syntax error",
            _ => "a field has another type",
        };
        Self::Json(format!("{class} at line {} column {}", error.line(), error.column()))
    }
}

/// The body as text.
pub(crate) fn utf8(body: &[u8]) -> Result<&str, WireError> {
    if body.is_empty() {
        return Err(WireError::Empty);
    }
    std::str::from_utf8(body).map_err(|error| WireError::Utf8(error.valid_up_to()))
}

pub(crate) fn parse<'de, T: serde::Deserialize<'de>>(body: &'de [u8]) -> Result<T, WireError> {
    serde_json::from_str(utf8(body)?).map_err(|error| WireError::json(&error))
}
