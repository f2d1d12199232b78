//! The catalogue of checks, as the command `catalog list` prints it.

use super::page::{Row, page};
use super::request::rows;
use super::{ApiError, Card};
use crate::checks::{catalogue, find};
use crate::config::unknown_id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which checks are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogRequest {
    /// Id or alias of one check; all of them by default.
    pub check: Option<String>,
    /// Most checks of the answer: 1 to 10,000, by default 1,000.
    #[schemars(range(min = 1, max = 10_000))]
    pub limit: Option<u64>,
    /// Checks to pass over: those of earlier answers.
    pub offset: Option<u64>,
}

/// Checks as they are explained.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CatalogAnswer {
    /// Always `io.nats.insights.v1.api.catalog`.
    #[serde(rename = "type")]
    pub kind_of_message: &'static str,
    /// Checks that were asked for.
    pub total: u64,
    /// Those that come after the ones below, for which one message has no room. Ask again with `offset`.
    pub omitted: u64,
    /// The checks, in the order of the catalogue: what `catalog list --format json` prints.
    pub checks: Vec<Card>,
}

impl Row for Card {
    /// A check without its texts is none.
    fn trim(&mut self) -> bool {
        false
    }
}

/// Answers with the catalogue, or one check of it.
pub(super) fn answer(request: &CatalogRequest, limit: usize) -> Result<Vec<u8>, ApiError> {
    let (offset, most) = rows(request.limit, request.offset)?;
    let one = match &request.check {
        Some(id) => Some(find(id).ok_or_else(|| ApiError::not_found(unknown_id(id)))?),
        None => None,
    };
    let chosen: Vec<_> =
        catalogue().filter(|entry| one.is_none_or(|one| one.meta.id == entry.meta.id)).collect();
    let mut answer = CatalogAnswer {
        kind_of_message: "io.nats.insights.v1.api.catalog",
        total: chosen.len() as u64,
        omitted: 0,
        checks: Vec::new(),
    };
    answer.checks = page(chosen.into_iter().skip(offset).take(most).map(Card::of), &answer, limit)?;
    let told = (offset as u64).saturating_add(answer.checks.len() as u64);
    answer.omitted = answer.total.saturating_sub(told);
    serde_json::to_vec(&answer).map_err(|_| ApiError::TooLarge { limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn ask(request: &CatalogRequest, limit: usize) -> Value {
        serde_json::from_slice(&answer(request, limit).unwrap()).unwrap()
    }

    #[test]
    fn the_whole_catalogue_comes_in_pages_that_fit() {
        let all = ask(&CatalogRequest::default(), 1 << 20);
        assert_eq!(
            (all["total"].as_u64(), all["omitted"].as_u64()),
            (Some(catalogue().count() as u64), Some(0))
        );
        let mut seen = Vec::new();
        loop {
            let request = CatalogRequest { offset: Some(seen.len() as u64), ..CatalogRequest::default() };
            let page = ask(&request, 16_384);
            seen.extend(page["checks"].as_array().unwrap().iter().cloned());
            if page["omitted"] == 0 {
                break;
            }
        }
        assert_eq!(Value::from(seen), all["checks"]);
    }

    #[test]
    fn one_check_is_found_by_its_id() {
        let one =
            ask(&CatalogRequest { check: Some("user_002".into()), ..CatalogRequest::default() }, 1 << 20);
        assert_eq!((one["total"].as_u64(), one["checks"][0]["id"].as_str()), (Some(1), Some("USER_002")));
        let request = CatalogRequest { check: Some("USR_002".into()), ..CatalogRequest::default() };
        let error = answer(&request, 1 << 20).unwrap_err();
        assert!(error.code() == 404 && error.to_string().contains("USER_002"), "{error}");
    }
}
