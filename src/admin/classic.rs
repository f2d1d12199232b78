//! The Prometheus text format 0.0.4, made of OpenMetrics text of counters and gauges.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Rewrites the comments, in which the two formats differ: the older one names a counter as its samples do, and knows
/// neither units nor an end.
pub(super) fn from_open_metrics(text: &str) -> String {
    let type_line = |line: &str| Some(line.strip_prefix("# TYPE ")?.strip_suffix(" counter")?.to_owned());
    let counters: BTreeSet<String> = text.lines().filter_map(type_line).collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        let mut words = line.splitn(4, ' ');
        let parts = (words.next(), words.next(), words.next(), words.next());
        let _ = match parts {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                writeln!(classic, "# {what} {name}_total {rest}")
            }
            _ => writeln!(classic, "{line}"),
        };
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_their_samples_are() {
        let open = "# HELP a_seconds How long it took.\n# TYPE a_seconds gauge\n# UNIT a_seconds seconds\n\
                    a_seconds{x=\"# HELP b b\"} 1.5\n# HELP b All of b.\n# TYPE b counter\nb_total 7\n# EOF\n";
        let classic = "# HELP a_seconds How long it took.\n# TYPE a_seconds gauge\n\
                       a_seconds{x=\"# HELP b b\"} 1.5\n# HELP b_total All of b.\n# TYPE b_total counter\nb_total 7\n";
        assert_eq!(from_open_metrics(open), classic);
    }
}
