//! STATSZ: `{server, statsz}`, or `{server, error}`.

use super::WireError;
use super::envelope::{ApiError, Object, ServerInfo};
use serde::Deserialize;

/// The part of STATSZ that is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Statsz {
    /// Start of the process.
    pub start: String,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    server: ServerInfo,
    statsz: Option<Object<Statsz>>,
    error: Option<ApiError>,
}

/// Reads an answer to STATSZ.
pub fn parse(body: &[u8]) -> Result<(ServerInfo, Result<Statsz, WireError>), WireError> {
    let answer: Answer = super::parse(body)?;
    let data = match (answer.error, answer.statsz) {
        (Some(error), _) => Err(error.into()),
        (None, Some(Object(statsz))) => Ok(statsz),
        (None, None) => Err(WireError::NoData),
    };
    Ok((answer.server, data))
}
