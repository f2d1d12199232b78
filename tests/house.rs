//! The direction of dependencies: a datum goes from the network to a finding and never back.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Which modules a module may name. What judges knows nothing of what does I/O.
const MAY_USE: &[(&str, &[&str])] = &[
    ("text", &[]),
    ("wire", &["text"]),
    ("snapshot", &["text", "wire"]),
    ("check", &["snapshot", "text"]),
    ("checks", &["check", "snapshot", "text"]),
    ("finding", &["check", "snapshot", "text"]),
    ("epoch", &["check", "checks", "finding", "snapshot", "text"]),
    ("election", &[]),
    ("admin", &["check", "finding"]),
    ("alertmanager", &["check", "finding", "text"]),
    ("connection", &[]),
    ("http", &["admin", "connection"]),
    ("config", &["check", "checks", "connection", "finding", "snapshot", "text"]),
    ("api", &["check", "checks", "config", "finding", "snapshot", "text"]),
    ("permissions", &["api", "config", "election", "snapshot"]),
    ("simulate", &["check", "checks", "text"]),
    ("nats", &["config", "connection", "election", "finding", "simulate", "snapshot", "text", "wire"]),
    (
        "agent",
        &[
            "admin",
            "alertmanager",
            "api",
            "check",
            "checks",
            "config",
            "connection",
            "election",
            "epoch",
            "finding",
            "http",
            "nats",
            "permissions",
            "snapshot",
            "text",
        ],
    ),
    ("report", &["agent", "check", "finding"]),
    ("watch", &["check", "finding", "report"]),
    (
        "demo",
        &[
            "agent",
            "check",
            "checks",
            "config",
            "connection",
            "finding",
            "nats",
            "permissions",
            "report",
            "text",
        ],
    ),
    (
        "cli",
        &[
            "agent",
            "api",
            "check",
            "checks",
            "config",
            "connection",
            "demo",
            "finding",
            "nats",
            "permissions",
            "report",
            "simulate",
            "snapshot",
            "watch",
        ],
    ),
];

/// Modules that know no network, no file, no clock and no configuration: the same input gives the same findings.
const PURE: &[&str] = &[
    "wire",
    "snapshot",
    "check",
    "checks",
    "finding",
    "text",
    "epoch",
    "simulate",
    "admin",
    "alertmanager",
    "api",
    "watch",
    "election",
];

const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::time::Instant",
    "SystemTime::now",
    "Instant::now",
    "now_utc",
    "async_nats",
];

struct Source {
    path: PathBuf,
    module: String,
    /// Without comments and tests.
    code: String,
}

#[test]
fn every_module_names_only_what_is_below_it() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for Source { path, module, code } in sources() {
        let Some(may_use) = allowed.get(module.as_str()) else {
            wrong.push(format!("{} is in a module that the table does not know", path.display()));
            continue;
        };
        for named in named_modules(&code) {
            if named != module && !may_use.contains(&named.as_str()) && allowed.contains_key(named.as_str()) {
                wrong.push(format!("{}: `{module}` names `{named}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_judges_is_pure() {
    let mut wrong = Vec::new();
    for Source { path, module, code } in sources() {
        for word in IMPURE.iter().filter(|_| PURE.contains(&module.as_str())) {
            if names(&code, word) {
                wrong.push(format!("{} names {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn one_module_names_the_client() {
    for Source { path, module, code } in sources() {
        // As a path: the log filters of `cli` name it as a word.
        let uses = code.contains("async_nats::") || code.contains("use async_nats");
        assert!(module == "nats" || !uses, "{} uses async_nats", path.display());
    }
}

#[test]
fn one_module_speaks_http() {
    for Source { path, module, code } in sources() {
        assert!(module == "http" || !code.contains("hyper"), "{} uses hyper", path.display());
    }
}

#[test]
fn names_are_found_where_they_stand() {
    let code = "use crate::{\n    a::{b, c},\n    d,\n};\nuse crate::e::f; fn g(_: crate::h::I) {}";
    assert_eq!(named_modules(code), ["a", "d", "e", "h"]);
    assert!(names("use tokio::time;", "tokio") && !names("use tokio_util::x;", "tokio"));
}

/// `crate::a`, and the first names within `crate::{a, b::c}`.
fn named_modules(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            Some(list) => {
                let (mut depth, mut start) = (0_i32, true);
                for (at, c) in list.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && !c.is_whitespace() => {
                            found.push(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
            None => found.push(word(rest)),
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Whether a path is named, and not only the end or the beginning of a longer name.
fn names(code: &str, path: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(path)
        .any(|(at, _)| !part(code[..at].chars().next_back()) && !part(code[at + path.len()..].chars().next()))
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    let mut directories = vec![src.clone()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources.extend(source(&src, path));
            }
        }
    }
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

/// A file as far as it belongs to the program: none of a test, and not the roots that only list modules.
fn source(src: &Path, path: PathBuf) -> Option<Source> {
    let relative = path.strip_prefix(src).unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    let module = first.strip_suffix(".rs").unwrap_or(first).to_owned();
    if matches!(module.as_str(), "main" | "lib") || is_test(&path) {
        return None;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let lines = text.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    let code: Vec<&str> = lines.collect();
    let code = code.join("\n");
    // Unit tests are the last thing in a file.
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
    Some(Source { path, module, code })
}

/// Whether a file, or the directory it lies in, is declared under `#[cfg(test)]`.
fn is_test(path: &Path) -> bool {
    let (directory, stem) = (path.parent().unwrap(), path.file_stem().unwrap().to_str().unwrap());
    let beside = directory.with_extension("rs");
    [directory.join("mod.rs"), directory.join("lib.rs"), beside].iter().any(|parent| {
        let declared = std::fs::read_to_string(parent).unwrap_or_default();
        let words = declared.replace('\n', " ");
        ["mod", "pub(crate) mod", "pub(super) mod"]
            .iter()
            .any(|how| words.contains(&format!("#[cfg(test)] {how} {stem};")))
    })
}
