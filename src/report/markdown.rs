//! Markdown, for the job summaries of CI systems.

use super::{by_weight, first_remedy, looked_at, printable, totals, unknown, word};
use crate::agent::Report;
use std::fmt::Write;

/// A heading, a table of findings with what to do, and what was missing.
pub fn markdown(report: &Report) -> String {
    let mut out = format!("## NATS insights: {}\n\n", totals(report));
    let findings = by_weight(report);
    if findings.is_empty() {
        out.push_str("No findings.\n");
    } else {
        out.push_str("| severity | check | entity | finding |\n|---|---|---|---|\n");
        for finding in &findings {
            let (check, entity) = (escaped(&finding.check), escaped(finding.entity.label()));
            let kind = finding.entity.kind.as_str();
            let _ = writeln!(
                out,
                "| {} | {check} | {kind} {entity} | {} |",
                word(finding),
                escaped(&finding.summary)
            );
        }
        for finding in findings.iter().filter(|finding| first_remedy(finding).is_some()) {
            let _ = write!(out, "\n**{}**: {}\n\n", escaped(&finding.check), escaped(&finding.summary));
            for (number, remedy) in (1..).zip(&finding.remediation) {
                let _ = writeln!(out, "{number}. {}", escaped(remedy));
            }
        }
    }
    let missing = unknown(report);
    if !missing.is_empty() {
        out.push_str("\n### Unknown\n\n");
        for row in missing {
            let _ = writeln!(out, "- {}", escaped(&row));
        }
    }
    let _ = writeln!(out, "\n{}", escaped(&looked_at(report)));
    out
}

/// Text in which nothing is markup: not the bar of a table, not a tag, not a link.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in printable(text).chars() {
        match c {
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '!' => safe.extend(['\\', c]),
            _ => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity;
    use crate::report::samples;

    #[test]
    fn a_table_remedies_and_the_unknown() {
        insta::assert_snapshot!(markdown(&samples::report()));
    }

    #[test]
    fn nothing_found() {
        insta::assert_snapshot!(markdown(&samples::with(&[])), @r"
        ## NATS insights: 0 critical, 0 warnings, 0 info

        No findings.

        3 of 3 servers answered, 12 accounts and 5012 connections looked at in 412 ms
        ");
    }

    #[test]
    fn no_name_is_markup() {
        let mut report = samples::with(&[Severity::Warning]);
        samples::change(&mut report, 0).summary =
            "a|b\n| x | <img src=x> [l](http://h) `c` \\| \u{1b}".into();
        let text = markdown(&report);
        let row = text.lines().nth(4).unwrap();
        assert!(row.contains(r"a\|b\\u{a}\| x \| &lt;img src=x&gt; \[l\](http://h) \`c\` \\\|"), "{row}");
        assert!(!text.contains('\u{1b}'));
    }
}
