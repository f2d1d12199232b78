//! Texts that stand for values, wherever they come from: the file, a flag or the environment.

use serde::Serialize;
use std::time::Duration;

/// The shortest epoch: its id is a Unix time in seconds.
const SHORTEST_EPOCH: Duration = Duration::from_secs(1);
/// The longest epoch: beyond a day, silence of the agent would be found out too late.
const LONGEST_EPOCH: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest prefix of subjects: prefix and two escaped names must fit the 4,096 bytes of a server's control line.
const PREFIX_BYTES: usize = 128;

/// How the program writes its log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

/// Which connections the servers are asked to list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListConnections {
    /// All.
    #[default]
    All,
    /// Those of accounts that use 70 % or more of a limit.
    Flagged,
    /// None.
    Off,
}

/// Reads which connections are listed.
pub(super) fn list_connections(text: &str) -> Result<ListConnections, String> {
    match text {
        "all" => Ok(ListConnections::All),
        "flagged" => Ok(ListConnections::Flagged),
        "off" => Ok(ListConnections::Off),
        _ => Err(format!("{} is no choice; it is \"all\", \"flagged\" or \"off\"", shown(text))),
    }
}

/// Reads the length of an epoch: whole seconds, from 1s to 1day.
pub fn epoch(text: &str) -> Result<Duration, String> {
    let epoch = duration(text)?;
    if epoch < SHORTEST_EPOCH || epoch > LONGEST_EPOCH || epoch.subsec_nanos() != 0 {
        return Err(format!(
            "{} is out of range: an epoch lasts whole seconds, from 1s to 1day",
            shown(text)
        ));
    }
    Ok(epoch)
}

/// Reads a time limit, which is longer than nothing.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    if timeout.is_zero() || timeout > LONGEST_EPOCH {
        return Err(format!("{} is out of range: a timeout is above 0s and at most 1day", shown(text)));
    }
    Ok(timeout)
}

/// Reads a duration as humantime writes it.
pub fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| {
        format!("{} is not a duration ({error}); write it like \"30s\" or \"1m 30s\"", shown(text))
    })
}

/// Reads the first tokens of subjects: no wildcard, no empty token, nothing of the server's own.
pub fn prefix(text: &str) -> Result<String, String> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > PREFIX_BYTES {
        "is longer than 128 bytes"
    } else if text.split('.').any(str::is_empty) {
        "has an empty token: no dot at the beginning or the end, nor two in a row"
    } else if text.contains(['*', '>']) {
        "has a wildcard"
    } else if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        "has white space or a control character"
    } else if text.starts_with('$') {
        "begins with `$`, which servers keep for themselves"
    } else {
        return Ok(text.to_owned());
    };
    Err(format!("{} cannot be the beginning of subjects: it {problem}", shown(text)))
}

/// A text of a user in an error: visible, and of bounded length.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 80;
    let mut chars = text.chars();
    let start: String = chars.by_ref().take(MOST).flat_map(char::escape_debug).collect();
    if chars.next().is_some() { format!("\"{start}…\"") } else { format!("\"{start}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_are_whole_seconds_within_a_day() {
        assert_eq!(epoch("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["0s", "999ms", "1500ms", "2days", "1000000years"] {
            assert!(epoch(bad).is_err_and(|error| error.contains("out of range")), "{bad}");
        }
        for bad in ["", "soon", "-5s", "10"] {
            assert!(epoch(bad).is_err_and(|error| error.contains("not a duration")), "{bad}");
        }
        assert!(timeout("0s").is_err() && timeout("500ms").is_ok());
    }

    #[test]
    fn prefixes_are_plain_tokens() {
        for good in ["insights.checks", "a", "team-a.checks_1", "_INBOX_INSIGHTS", "a$b"] {
            assert_eq!(prefix(good).as_deref(), Ok(good));
        }
        let long = "a".repeat(129);
        for bad in ["", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "a\tb", "a\u{1b}", "$SYS.x", &long] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
        assert!(!prefix("a\u{1b}[2J").unwrap_err().contains('\u{1b}'));
    }
}
