//! A few lines of a finding's evidence, whatever its shape: the message has it all.

use super::scenario::PROVOKES;
use serde_json::{Map, Value};

/// Lines that are shown.
const LINES: usize = 3;
/// Entries of a list that are shown.
const ENTRIES: usize = 3;

/// For a check that the demo provokes what says most about its system, else what comes first.
pub(super) fn evidence(check: &str, evidence: &Value) -> Vec<String> {
    let provoked = PROVOKES.iter().find(|provoked| provoked.check == check);
    let lines: Vec<String> = match provoked {
        Some(provoked) => {
            let one = |path: &&str| line(path, evidence.pointer(&format!("/{path}"))?);
            provoked.evidence.iter().filter_map(one).collect()
        }
        None => {
            evidence.as_object().into_iter().flatten().filter_map(|(key, value)| line(key, value)).collect()
        }
    };
    lines.into_iter().take(LINES).collect()
}

fn line(path: &str, value: &Value) -> Option<String> {
    Some(format!("{}: {}", path.replace(['_', '/'], " "), short(value)?))
}

/// A value in a few words; none where it says nothing.
fn short(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Array(entries) => {
            let mut shown: Vec<String> = entries.iter().take(ENTRIES).filter_map(entry).collect();
            if entries.len() > ENTRIES {
                shown.push("…".into());
            }
            shown.join(", ")
        }
        // The most frequent of something.
        Value::Object(object) => match object.get("top") {
            Some(top) => return short(top),
            None => entry(value)?,
        },
        other => other.to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// An entry of a list: what it is called, where it is, and its numbers.
fn entry(value: &Value) -> Option<String> {
    let Value::Object(object) = value else {
        return short(value);
    };
    let mut words: Vec<String> = match (text(object, "name"), text(object, "server")) {
        (Some(name), Some(server)) => vec![format!("{name} on {server}")],
        (name, server) => name.or(server).map(str::to_owned).into_iter().collect(),
    };
    let named = !words.is_empty();
    for (key, value) in object {
        match (key.as_str(), value) {
            ("percent", Value::Number(percent)) => words.push(format!("({percent} %)")),
            ("cid", _) => {}
            // What is counted is clear from the list's own name.
            ("count" | "connections", Value::Number(count)) if named => words.push(count.to_string()),
            ("max_connections", Value::Number(most)) => words.push(format!("of {most}")),
            ("idle_seconds", Value::Number(seconds)) => words.push(format!("idle {seconds} s")),
            (key, Value::Number(number)) => words.push(format!("{number} {}", key.replace('_', " "))),
            _ => {}
        }
    }
    Some(words.join(" ")).filter(|text| !text.is_empty())
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_name_their_first_entries() {
        let servers = json!({
            "by_server": [
                { "server": "n1", "connections": 14, "percent": 36.8 }, { "server": "n2", "connections": 12, "percent": 31.6 },
                { "server": "n3", "connections": 12, "percent": 31.6 }, { "server": "n4", "connections": 0, "percent": 0.0 },
            ],
            "growth": null, "users": { "top": [{ "name": "u", "count": 3 }], "distinct": 1, "exact": true },
            "idle_without_messages": { "connections": 12, "percent": 31.6 },
        });
        assert_eq!(
            evidence("ACCOUNTS_001", &servers),
            [
                "by server: n1 14 (36.8 %), n2 12 (31.6 %), n3 12 (31.6 %), …",
                "idle without messages: 12 connections (31.6 %)",
                "users: u 3",
            ]
        );
    }

    #[test]
    fn evidence_of_any_shape_is_told() {
        let row = json!({ "server": "n1", "name": "app", "cid": 7, "idle_seconds": 9, "nested": { "x": 1 } });
        let any = json!({ "a": [row], "b": [[1, 2], "x"], "c": true, "d": {}, "e": [] });
        assert_eq!(evidence("OTHER_001", &any), ["a: app on n1 idle 9 s", "b: 1, 2, x", "c: true"]);
        assert!(evidence("OTHER_001", &Value::Null).is_empty());
    }
}
