//! HEALTHZ with details.

use serde::Deserialize;

/// What a server says of its health.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Healthz {
    /// `ok`, `unavailable` or `error`.
    pub status: String,
    /// The first problem, where there are no details (2.9).
    pub error: Option<String>,
    /// Every problem (2.10); one of JetStream as a whole hides the others.
    pub errors: Option<Vec<HealthError>>,
}

/// One problem.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HealthError {
    /// `CONNECTION`, `JETSTREAM`, `ACCOUNT`, `STREAM`, `CONSUMER` …
    #[serde(rename = "type")]
    pub kind: String,
    /// Name or public key.
    pub account: Option<String>,
    /// The stream.
    pub stream: Option<String>,
    /// The consumer.
    pub consumer: Option<String>,
    /// In English.
    pub error: String,
}
