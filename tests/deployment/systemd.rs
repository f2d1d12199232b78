//! deploy/systemd: what the unit gives the program must be what the program takes; where systemd's own judge is at hand, it
//! judges the file.

use crate::root;
use std::path::Path;
use std::process::Command;

fn unit() -> String {
    std::fs::read_to_string(root().join("deploy/systemd/insights-agent.service")).unwrap()
}

fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

#[test]
fn the_program_takes_what_the_unit_gives_it() {
    let unit = unit();
    let start: Vec<&str> = values(&unit, "ExecStart")[0].split(' ').collect();
    assert_eq!(start[1..], ["run"]);
    let (credential, _) = values(&unit, "LoadCredential")[0].split_once(':').unwrap();
    let environment = values(&unit, "Environment").into_iter().map(|of| of.split_once('=').unwrap());
    let shown = Command::new(env!("CARGO_BIN_EXE_insights-agent"))
        .args(["config", "show"])
        .env_clear()
        .envs(environment.map(|(name, value)| (name, value.replace("%d", "/run/credentials/x"))))
        .output()
        .unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let config: toml::Table = toml::from_str(std::str::from_utf8(&shown.stdout).unwrap()).unwrap();
    assert_eq!(config["connection"]["creds"].as_str().unwrap(), format!("/run/credentials/x/{credential}"));
    // The agent gets longer to end than it needs.
    assert!(values(&unit, "TimeoutStopSec")[0].parse::<u64>().unwrap() > 5);
}

#[test]
fn systemd_takes_the_unit() {
    let available = Command::new("systemd-analyze").arg("--version").output();
    if !available.is_ok_and(|output| output.status.success()) {
        eprintln!("no systemd-analyze here: the unit was not judged");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("insights-agent.service");
    // It wants the program to be there.
    std::fs::write(
        &path,
        unit().replace("/usr/local/bin/insights-agent", env!("CARGO_BIN_EXE_insights-agent")),
    )
    .unwrap();
    let judge = |arguments: &[&str], path: &Path| {
        let judged = Command::new("systemd-analyze").args(arguments).arg(path).output().unwrap();
        let told =
            format!("{}{}", String::from_utf8_lossy(&judged.stdout), String::from_utf8_lossy(&judged.stderr));
        assert!(judged.status.success(), "{told}");
        told
    };
    // Unknown keys and values are warnings, which do not fail.
    let told = judge(&["verify", "--man=no"], &path);
    assert!(!told.contains("insights-agent.service:"), "{told}");
    judge(&["security", "--offline=yes", "--threshold=20"], &path);
}
