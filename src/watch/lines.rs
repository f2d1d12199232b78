//! A line for each change: for people, and for programs.

use super::{Change, Row, What};
use crate::report::printable;
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The change in one line for people, without its end. Names come from the network: what could steer a terminal is written
/// out.
pub fn line(change: &Change, now: OffsetDateTime) -> String {
    let told = match change {
        Change::Finding(what, row) => finding(*what, row),
        Change::Silent(epochs) => {
            format!("silent: no agent heard for {epochs} epochs; what is open may be out of date")
        }
        Change::Heard => "heard: an agent is heard again".to_owned(),
    };
    format!("{} {told}", clock(now))
}

fn finding(what: What, row: &Row) -> String {
    let severity = row.severity.as_str();
    let severity = match what {
        What::Changed { from } => format!("{} -> {severity}", from.as_str()),
        _ => severity.to_owned(),
    };
    let after = match (what, row.successor) {
        (What::Ended, Some(successor)) => format!(" (goes on as {})", successor.as_str()),
        (What::Stale, _) => format!(" (not repeated since epoch {})", row.epoch),
        _ => String::new(),
    };
    let names = format!("{} {}: {}{after}", row.check, row.entity, row.summary);
    format!("{} {severity} {}", what.as_str(), printable(&names))
}

/// The change as a JSON object in one line, without its end; `finding` is the message as it was published.
pub fn ndjson(change: &Change, now: OffsetDateTime) -> serde_json::Result<String> {
    #[derive(Serialize)]
    struct Line<'a> {
        change: &'static str,
        at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        epochs: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        finding: Option<&'a Value>,
    }
    let mut line = Line { change: "heard", at: clock(now), from: None, epochs: None, finding: None };
    match change {
        Change::Finding(what, row) => {
            line.change = what.as_str();
            line.finding = Some(&row.json);
            if let What::Changed { from } = what {
                line.from = Some(from.as_str());
            }
        }
        Change::Silent(epochs) => {
            line.change = "silent";
            line.epochs = Some(*epochs);
        }
        Change::Heard => {}
    }
    serde_json::to_string(&line)
}

/// The time to the second.
fn clock(now: OffsetDateTime) -> String {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use crate::watch::samples::{at, firing, resolved};

    #[test]
    fn a_line_tells_what_happened_and_cannot_steer_the_terminal() {
        let row = || Box::new(firing("svc", Severity::Warning, 60));
        let told = |change| line(&change, at(61));
        assert_eq!(
            told(Change::Finding(What::Began, row())),
            "1970-01-01T00:01:01Z began warning USER_002 user svc: user svc has 60 connections"
        );
        assert_eq!(
            told(Change::Finding(What::Changed { from: Severity::Info }, row())),
            "1970-01-01T00:01:01Z changed info -> warning USER_002 user svc: user svc has 60 connections"
        );
        let ended = resolved("svc", Severity::Critical, 60, Some(Severity::Info));
        assert!(
            told(Change::Finding(What::Ended, Box::new(ended))).ends_with("connections (goes on as info)")
        );
        assert!(told(Change::Finding(What::Stale, row())).ends_with("(not repeated since epoch 60)"));
        assert!(told(Change::Silent(3)).contains("no agent heard for 3 epochs"));
        let mut evil = row();
        evil.entity = "user \u{1b}[2Jx\ny".into();
        assert!(told(Change::Finding(What::Began, evil)).chars().all(|c| !c.is_control()));
    }

    #[test]
    fn a_program_gets_the_message_as_it_was_published() {
        let row = Box::new(firing("svc", Severity::Warning, 60));
        let json = row.json.clone();
        let text = ndjson(&Change::Finding(What::Changed { from: Severity::Info }, row), at(61)).unwrap();
        let told: Value = serde_json::from_str(&text).unwrap();
        let expected = serde_json::json!({
            "change": "changed", "at": "1970-01-01T00:01:01Z", "from": "info", "finding": json,
        });
        assert!(told == expected && !text.contains('\n'), "{text}");
        let silent: Value = serde_json::from_str(&ndjson(&Change::Silent(3), at(61)).unwrap()).unwrap();
        assert_eq!((&silent["change"], &silent["epochs"]), (&"silent".into(), &3.into()));
    }
}
