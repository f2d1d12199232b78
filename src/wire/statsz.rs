//! STATSZ: `{server, statsz}`, or `{server, error}`.

use super::WireError;
use super::envelope::{ApiError, Object, ServerInfo};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeSet;
use std::fmt;

/// The part of STATSZ that is used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Statsz {
    /// Start of the process.
    pub start: String,
    /// The servers it has routes to, by the names they go by. A server has several routes to each (a pool, from 2.10 on).
    #[serde(deserialize_with = "names")]
    pub routes: BTreeSet<String>,
    /// The clusters it has a gateway to.
    #[serde(deserialize_with = "names")]
    pub gateways: BTreeSet<String>,
}

/// The names in a list of objects; those without one are left out.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Named {
        name: Option<String>,
    }
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = BTreeSet<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of objects")
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(BTreeSet::new())
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut names = BTreeSet::new();
            while let Some(Object(Named { name })) = list.next_element()? {
                names.extend(name.filter(|name| !name.is_empty()));
            }
            Ok(names)
        }
    }
    deserializer.deserialize_any(Names)
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

/// Who published a heartbeat, and the start of its process as it is written; empty where that is not told. Servers write
/// both first, so the rest, which is long where there are many routes, is not looked at.
pub fn heartbeat(body: &[u8]) -> Result<(ServerInfo, String), WireError> {
    const HEAD: &[u8] = br#"{"server":"#;
    if let Some(rest) = body.strip_prefix(HEAD) {
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Object<ServerInfo>>();
        if let Some(Ok(Object(server))) = values.next() {
            let start = rest.get(values.byte_offset()..).and_then(start_of).unwrap_or_default();
            return Ok((server, start.to_owned()));
        }
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Started {
        start: String,
    }
    #[derive(Deserialize)]
    struct Heartbeat {
        server: Object<ServerInfo>,
        statsz: Option<Object<Started>>,
    }
    let Heartbeat { server, statsz } = super::parse(body)?;
    Ok((server.0, statsz.map(|Object(started)| started.start).unwrap_or_default()))
}

/// The start, where it is the first of the statistics.
fn start_of(after_server: &[u8]) -> Option<&str> {
    const START: &[u8] = br#","statsz":{"start":""#;
    let text = after_server.strip_prefix(START)?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    std::str::from_utf8(text.get(..end)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_named_once_each() {
        let body = br#"{"server":{"id":"A","name":"n1"},"statsz":{"start":"x",
            "routes":[{"rid":1,"name":"n2"},{"rid":2,"name":"n2"},{"rid":3,"name":"n3"},{"rid":4},{"rid":5,"name":""}],
            "gateways":[{"gwid":8,"name":"west"}]}}"#;
        let (info, statsz) = parse(body).unwrap();
        let statsz = statsz.unwrap();
        assert_eq!(info.name, "n1");
        assert_eq!(statsz.routes.iter().collect::<Vec<_>>(), ["n2", "n3"]);
        assert_eq!(statsz.gateways.iter().collect::<Vec<_>>(), ["west"]);
        for none in [r#"{"statsz":{}}"#, r#"{"statsz":{"routes":null,"gateways":[]}}"#] {
            assert!(parse(none.as_bytes()).unwrap().1.unwrap().routes.is_empty(), "{none}");
        }
        for bad in [r#"{"statsz":{"routes":7}}"#, r#"{"statsz":{"routes":[[]]}}"#] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_heartbeat_tells_who_sent_it() {
        for (body, started) in [
            (r#"{"server":{"name":"n1","id":"A","cluster":"east"},"statsz":{"start":"#, ""),
            (r#"{"server":{"name":"n1","id":"A","cluster":"east"},"statsz":{"start":"x","mem":1"#, "x"),
            (r#"{"server":{"name":"n1","id":"A","cluster":"east"},"statsz":{"mem":1,"start":"x"}}"#, ""),
            (r#"{"statsz":{"start":"x"},"server":{"name":"n1","id":"A","cluster":"east"}}"#, "x"),
            (r#"{"cut":true,"server":{"name":"n1","id":"A","cluster":"east"}}"#, ""),
        ] {
            let (info, start) = heartbeat(body.as_bytes()).unwrap();
            assert_eq!((&*info.name, &*info.id, info.cluster.as_deref()), ("n1", "A", Some("east")));
            assert_eq!(start, started, "{body}");
        }
        for bad in
            ["", "{}", "garbage", r#"{"server":[]}"#, r#"{"server":{"name":"#, r#"{"server":{"id":7}}"#]
        {
            assert!(heartbeat(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
