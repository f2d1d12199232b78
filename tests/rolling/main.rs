//! Healthy systems with clients that do what clients do: nothing is found while nothing is wrong, and servers that are
//! restarted and upgraded one after another leave no false critical finding and no finding behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod healthy;
mod restart;
#[path = "../support/mod.rs"]
mod support;
mod traffic;

use std::collections::BTreeMap;
use support::{Account, Cluster, Message, limits, server_of_version};

/// Two clusters of three and two servers with a leafnode, JetStream and the user `APP/a`.
async fn super_cluster(version: &str) -> Cluster {
    let app = Account::new("APP").limits(limits()).user("a").user("leaf").jetstream();
    let cluster = Cluster::config(3).second_cluster(2).jetstream().account(app).leaf("APP/leaf");
    cluster.binary(&server_of_version(version)).start().await
}

/// Every message about findings as one line, and how often it came: printed, so that a run tells what it saw.
fn told<'m>(messages: impl IntoIterator<Item = &'m Message>) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    for message in messages.into_iter().filter(|m| !m.is_epoch()) {
        let json = &message.json;
        let line = format!(
            "{} {} {} {}",
            json["severity"].as_str().unwrap_or_default(),
            message.check(),
            message.status(),
            json["summary"].as_str().unwrap_or_default(),
        );
        *lines.entry(line).or_default() += 1;
    }
    lines
}

/// The same, to read.
fn list(lines: &BTreeMap<String, u64>) -> String {
    lines.iter().map(|(line, times)| format!("{times:4} × {line}\n")).collect()
}
