//! docs/ is what the program prints. `UPDATE_DOCS=1 cargo test --test docs` writes it anew.

#![allow(clippy::unwrap_used)]

use insights_agent::api::SCHEMAS;
use insights_agent::checks::catalogue;
use insights_agent::cli;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn print(arguments: &[&str]) -> String {
    let line = ["insights-agent", "catalog"].iter().chain(arguments);
    let output = cli::parse(line).and_then(cli::Invocation::run).unwrap();
    output.text
}

#[test]
fn docs_are_what_the_program_prints() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<(PathBuf, String)> = vec![
        ("checks.md".into(), print(&["show", "--format", "markdown"])),
        ("schema/finding.json".into(), print(&["schema", "finding"])),
        ("schema/epoch.json".into(), print(&["schema", "epoch"])),
    ];
    for name in SCHEMAS {
        pages.push((format!("schema/{name}.json").into(), print(&["schema", name])));
    }
    for entry in catalogue() {
        let id = entry.meta.id;
        pages.push((format!("schema/{id}.json").into(), print(&["schema", id])));
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(docs.join("schema")).unwrap();
        for (name, text) in &pages {
            std::fs::write(docs.join(name), text).unwrap();
        }
    }
    for (name, text) in &pages {
        let found = std::fs::read_to_string(docs.join(name)).unwrap_or_default();
        assert!(
            found == *text,
            "docs/{} is out of date: UPDATE_DOCS=1 cargo test --test docs",
            name.display()
        );
    }
    let known: BTreeSet<PathBuf> = pages.iter().map(|(name, _)| docs.join(name)).collect();
    for file in std::fs::read_dir(docs.join("schema")).unwrap() {
        let path = file.unwrap().path();
        assert!(known.contains(&path), "{} describes nothing that the program knows", path.display());
    }
}

#[test]
fn schemas_are_schemas() {
    for what in ["finding", "epoch"].iter().chain(SCHEMAS) {
        let schema: serde_json::Value = serde_json::from_str(&print(&["schema", what])).unwrap();
        jsonschema::validator_for(&schema).unwrap();
    }
    for entry in catalogue() {
        let schema: serde_json::Value = serde_json::from_str(&print(&["schema", entry.meta.id])).unwrap();
        let thresholds = jsonschema::validator_for(&schema["thresholds"]).unwrap();
        jsonschema::validator_for(&schema["evidence"]).unwrap();
        let defaults = serde_json::Value::Object(entry.defaults());
        assert!(thresholds.is_valid(&defaults), "{} {defaults}", entry.meta.id);
    }
}
