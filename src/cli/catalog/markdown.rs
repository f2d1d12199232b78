//! The catalogue as documentation.

use crate::api::{Card, Field};
use crate::checks::RETIRED;
use std::fmt::Write;

/// The whole page: the list, then every check.
pub(super) fn page(cards: &[Card]) -> String {
    let mut out = String::from(
        "# Checks\n\nThis page is what `insights-agent catalog show --format markdown` prints; the program knows no \
         other checks.\n\n",
    );
    out.push_str(&list(cards));
    out.push('\n');
    out.push_str(&show(cards));
    out.push_str("\n## Retired ids\n\nThey stand for no check, and will be given to none.\n\n");
    for (id, why) in RETIRED {
        let _ = writeln!(out, "- {id}: {why}");
    }
    out
}

/// A row per check.
pub(super) fn list(cards: &[Card]) -> String {
    let mut out = String::from("| id | name | severity | about | fires when |\n|---|---|---|---|---|\n");
    for card in cards {
        let (severity, entity) = (card.severity.as_str(), card.entity.as_str());
        let _ = writeln!(
            out,
            "| [{id}](#{anchor}) | {} | {severity} | {entity} | {} |",
            card.name,
            in_row(card.rule),
            id = card.id,
            anchor = card.id.to_lowercase(),
        );
    }
    out
}

/// A section per check. The texts of the catalogue are Markdown already.
pub(super) fn show(cards: &[Card]) -> String {
    let mut out = String::new();
    for card in cards {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "## {}\n\n**{}**: {}\n", card.id, card.name, card.rule);
        let _ = writeln!(out, "{}.", capitalized(&card.facts()));
        let _ = writeln!(out, "\n{}", card.why);
        if let Some(differs) = card.differs {
            let _ = writeln!(out, "\nDifferent from the public catalogue: {differs}");
        }
        if !card.thresholds.is_empty() {
            let _ = writeln!(out, "\n| threshold | default | |\n|---|---|---|");
            for Field { key, default, description } in &card.thresholds {
                let default = default.as_ref().map_or_else(String::new, ToString::to_string);
                let _ = writeln!(out, "| `{key}` | `{default}` | {} |", in_row(description));
            }
        }
        let _ = writeln!(out, "\nWhat to do:\n");
        for remedy in card.remedy {
            let _ = writeln!(out, "- {remedy}");
        }
        if !card.evidence.is_empty() {
            let _ = writeln!(out, "\n| evidence | |\n|---|---|");
            for Field { key, description, .. } in &card.evidence {
                let _ = writeln!(out, "| `{key}` | {} |", in_row(description));
            }
        }
        let _ = match card.needs.join(", ").as_str() {
            "" => write!(out, "\nIt needs no answer, and is judged in every epoch."),
            needs => write!(out, "\nNothing can be judged without the answers to: {needs}."),
        };
        if !card.evidence_from.is_empty() {
            let _ = write!(out, " The evidence is completed by: {}.", card.evidence_from.join(", "));
        }
        if !card.listens_to.is_empty() {
            let _ = write!(out, " It goes by what servers announce on `{}`.", card.listens_to.join("`, `"));
        }
        out.push('\n');
        if let Some(url) = card.docs_url {
            let _ = writeln!(out, "\nSee also <{url}>.");
        }
    }
    out
}

fn in_row(text: &str) -> String {
    text.replace('|', r"\|").replace('\n', " ")
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
