//! JSON Schemas of requests and answers, by the names that discovery tells.

use super::{
    CatalogAnswer, CatalogRequest, CheckAnswer, CheckRequest, EmptyRequest, FindingsAnswer, FindingsRequest,
};
use crate::check::published_schema;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

/// The names of the schemas, in the order of the documentation.
pub const SCHEMAS: &[&str] = &[
    "api.findings.request",
    "api.findings.response",
    "api.catalog.request",
    "api.catalog.response",
    "api.check.request",
    "api.check.response",
    "api.empty.request",
];

/// The schema of this name.
pub fn schema(name: &str) -> Option<Value> {
    Some(match name {
        "api.findings.request" => request::<FindingsRequest>(),
        "api.findings.response" => published_schema::<FindingsAnswer<'_>>().to_value(),
        "api.catalog.request" => request::<CatalogRequest>(),
        "api.catalog.response" => published_schema::<CatalogAnswer>().to_value(),
        "api.check.request" => request::<CheckRequest>(),
        "api.check.response" => published_schema::<CheckAnswer>().to_value(),
        "api.empty.request" => request::<EmptyRequest>(),
        _ => return None,
    })
}

/// JSON Schema of something that is read: what has a default is not required.
fn request<T: JsonSchema>() -> Value {
    SchemaSettings::default().into_generator().into_root_schema_for::<T>().to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Endpoint;
    use crate::api::samples::World;
    use serde_json::json;

    #[test]
    fn every_name_has_a_schema_and_discovery_tells_no_other() {
        for name in SCHEMAS {
            jsonschema::validator_for(&schema(name).unwrap()).unwrap();
        }
        for endpoint in Endpoint::ALL {
            let known = |name: &str| matches!(name, "finding" | "epoch") || SCHEMAS.contains(&name);
            assert!(known(endpoint.request_schema()) && known(endpoint.response_schema()), "{endpoint:?}");
        }
    }

    #[test]
    fn answers_are_as_their_schemas_say_and_so_are_requests() {
        let world = World::with_findings();
        for (endpoint, subject, request) in [
            (
                Endpoint::Findings,
                "insights.api.findings",
                json!({"severity": "info", "type": "server", "limit": 3}),
            ),
            (Endpoint::Findings, "insights.api.findings", json!({})),
            (Endpoint::Catalog, "insights.api.catalog", json!({"check": "USER_002"})),
            (Endpoint::Check, "insights.api.check.USER_002", json!({"thresholds": {"max_connections": 1}})),
        ] {
            let of = |name: &str| jsonschema::validator_for(&schema(name).unwrap()).unwrap();
            assert!(of(endpoint.request_schema()).is_valid(&request), "{request}");
            let payload = request.to_string();
            let answer =
                super::super::answer(endpoint, subject, payload.as_bytes(), &world.view(), 1 << 20).unwrap();
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let errors: Vec<String> =
                of(endpoint.response_schema()).iter_errors(&answer).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?} {answer}");
        }
        let request = jsonschema::validator_for(&schema("api.findings.request").unwrap()).unwrap();
        for bad in [json!({"limit": 0}), json!({"severity": "urgent"}), json!({"severty": "info"}), json!([])]
        {
            assert!(!request.is_valid(&bad), "{bad}");
        }
    }
}
