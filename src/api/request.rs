//! Reading requests: nothing at all, or a JSON object whose keys are all known.

use super::ApiError;
use schemars::JsonSchema;
use serde::{Deserialize, de::DeserializeOwned};

/// Most rows of one answer that may be asked for.
pub(super) const MOST_ROWS: usize = 10_000;
/// Rows of one answer where the request does not say.
pub(super) const DEFAULT_ROWS: usize = 1000;

/// A request that asks for nothing in particular: an empty message, or an empty object.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmptyRequest {}

/// Reads a request; an empty message counts as an empty object.
pub(super) fn parse<T: DeserializeOwned + Default>(payload: &[u8]) -> Result<T, ApiError> {
    let payload = payload.trim_ascii();
    if payload.is_empty() {
        return Ok(T::default());
    }
    // serde reads a struct from an array as well, by position.
    if payload.first() != Some(&b'{') {
        return Err(ApiError::bad(
            "the request is no JSON object; send an empty message, or one like {\"limit\": 10}",
        ));
    }
    serde_json::from_slice(payload)
        .map_err(|error| ApiError::bad(format!("the request cannot be used: {error}")))
}

/// The rows that are asked for: how many are passed over, and how many are wanted at the most.
pub(super) fn rows(limit: Option<u64>, offset: Option<u64>) -> Result<(usize, usize), ApiError> {
    let limit = match limit {
        None => DEFAULT_ROWS,
        Some(limit) => usize::try_from(limit)
            .ok()
            .filter(|limit| (1..=MOST_ROWS).contains(limit))
            .ok_or_else(|| ApiError::bad(format!("limit = {limit} is out of range: 1 to {MOST_ROWS}")))?,
    };
    Ok((usize::try_from(offset.unwrap_or(0)).unwrap_or(usize::MAX), limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::FindingsRequest;

    #[test]
    fn what_is_no_request_is_said_by_name() {
        for good in ["", " \n", "{}", " { } "] {
            assert!(parse::<FindingsRequest>(good.as_bytes()).is_ok(), "{good:?}");
        }
        for (bad, named) in [
            ("[]", "no JSON object"),
            ("\"x\"", "no JSON object"),
            ("{", "EOF"),
            ("{} {}", "trailing"),
            (r#"{"severty": "info"}"#, "severty"),
            (r#"{"severity": "urgent"}"#, "urgent"),
            (r#"{"limit": -1}"#, "-1"),
            (r#"{"account": 7}"#, "7"),
            ("{\"account\": \"\u{fffd}", "EOF"),
        ] {
            let error = parse::<FindingsRequest>(bad.as_bytes()).unwrap_err();
            assert!(error.code() == 400 && error.to_string().contains(named), "{bad}: {error}");
        }
        assert_eq!(parse::<FindingsRequest>(b"{\"account\": \"\xff\"}").unwrap_err().code(), 400);
    }

    #[test]
    fn rows_are_bounded() {
        assert_eq!(rows(None, None), Ok((0, DEFAULT_ROWS)));
        assert_eq!(rows(Some(1), Some(u64::MAX)), Ok((usize::MAX, 1)));
        for bad in [0, MOST_ROWS as u64 + 1, u64::MAX] {
            assert!(rows(Some(bad), None).unwrap_err().to_string().contains("limit = "));
        }
    }
}
