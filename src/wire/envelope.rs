//! What most answers are wrapped in.

use super::WireError;
use crate::text::{TEXT_BYTES, bounded};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// Who answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Configured name, or the id.
    pub name: String,
    /// Public key, new at every boot.
    pub id: String,
    /// Name of the cluster or gateway; a leaf server without either repeats its own name here.
    pub cluster: Option<String>,
    /// Version without `v`.
    pub ver: String,
    /// The server's clock.
    pub time: String,
}

/// The server's word on a request it refuses.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ApiError {
    /// As in HTTP.
    pub code: i64,
    /// In English.
    pub description: String,
}

impl From<ApiError> for WireError {
    fn from(error: ApiError) -> Self {
        Self::Refused { code: error.code, description: bounded(&error.description, TEXT_BYTES).to_string() }
    }
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    server: ServerInfo,
    data: Option<Object<T>>,
    error: Option<ApiError>,
}

/// A JSON object. Derived code takes an array for one as well, in which every field would be missing.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyMaps<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMaps<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(OnlyMaps(PhantomData)).map(Self)
    }
}

/// An answer in the usual envelope. The server is told also when it answers with an error.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<(ServerInfo, Result<T, WireError>), WireError> {
    let envelope: Envelope<T> = super::parse(body)?;
    let data = match (envelope.error, envelope.data) {
        (Some(error), _) => Err(error.into()),
        (None, Some(Object(data))) => Ok(data),
        (None, None) => Err(WireError::NoData),
    };
    Ok((envelope.server, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::varz::Varz;

    #[test]
    fn what_a_verdict_would_be_wrong_without_must_be_there() {
        for body in [
            r#"{"data":[]}"#,
            r#"{"data":{}}"#,
            r#"{"data":{"connections":1,"total_connections":1}}"#,
            r#"{"data":7}"#,
        ] {
            let outcome = parse::<Varz>(body.as_bytes());
            assert!(matches!(outcome, Err(WireError::Json(_))), "{body}");
        }
        assert!(matches!(parse::<Varz>(br#"{"data":null}"#), Ok((_, Err(WireError::NoData)))));
        assert!(matches!(parse::<Varz>(b"{}"), Ok((_, Err(WireError::NoData)))));
    }
}
