//! CLAIMS.LIST: the accounts whose JWTs a server keeps, loaded or not. Servers of a `full` or a `cache` resolver answer.

use super::WireError;
use super::envelope::{ApiError, ServerInfo};
use serde::Deserialize;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    server: ServerInfo,
    data: Option<Vec<String>>,
    error: Option<ApiError>,
}

/// Who answers, and the names of the files in its directory: public keys, and whatever else somebody put there.
pub fn parse(body: &[u8]) -> Result<(ServerInfo, Result<Vec<String>, WireError>), WireError> {
    let Answer { server, data, error } = super::parse(body)?;
    let data = match (error, data) {
        (Some(error), _) => Err(error.into()),
        (None, Some(data)) => Ok(data),
        (None, None) => Err(WireError::NoData),
    };
    Ok((server, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_read_and_nothing_else() {
        for version in ["2.9.10", "2.10.26", "2.11.11", "2.12.8", "2.14.6", "2.15.1"] {
            let path =
                format!("{}/tests/fixtures/{version}/jwt/claims_list.json", env!("CARGO_MANIFEST_DIR"));
            let recorded: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let (server, accounts) = parse(recorded["replies"][0].to_string().as_bytes()).unwrap();
            assert_eq!((&*server.name, accounts.unwrap().len()), ("jw1", 6), "{version}");
        }
        let told = |body: &str| parse(body.as_bytes()).map(|(_, told)| told);
        assert_eq!(told(r#"{"data":[]}"#), Ok(Ok(Vec::new())));
        assert_eq!(told("{}"), Ok(Err(WireError::NoData)));
        assert!(matches!(told(r#"{"error":{"code":500}}"#), Ok(Err(WireError::Refused { .. }))));
        for bad in ["", "[]", r#"{"data":{}}"#, r#"{"data":[7]}"#, r#"{"data":["A"#] {
            assert!(told(bad).is_err(), "{bad}");
        }
    }
}
