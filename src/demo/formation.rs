//! Whether the servers have become one cluster.

use super::error::DemoError;
use crate::nats::ask::{Ask, Wait};
use bytes::Bytes;
use serde_json::Value;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const WAIT: Wait = Wait { first: Duration::from_secs(1), quiet: Duration::from_millis(150) };

/// Waits until `servers` servers answer, and each has all its routes to the others.
pub(super) async fn formed(asked: &impl Ask, servers: usize) -> Result<(), DemoError> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let answers = asked.ask("$SYS.REQ.SERVER.PING.VARZ", Bytes::new(), WAIT).await?;
        let answers = answers.iter().filter_map(|answer| serde_json::from_slice(&answer.payload).ok());
        match missing(&answers.collect::<Vec<Value>>(), servers) {
            None => return Ok(()),
            Some(seen) if Instant::now() >= deadline => {
                return Err(DemoError::NotFormed { within: WITHIN, seen });
            }
            Some(_) => sleep(POLL).await,
        }
    }
}

/// What is missing of a cluster of `servers` servers; none where it is whole.
fn missing(answers: &[Value], servers: usize) -> Option<String> {
    if answers.len() < servers {
        return Some(format!("{} of {servers} servers answered", answers.len()));
    }
    let peers = servers.saturating_sub(1) as u64;
    answers.iter().find_map(|answer| {
        let data = &answer["data"];
        // To each peer a pool of routes, which accounts share, and one of the system account's own. Until an account's
        // route stands its messages are lost.
        let needed = peers * (data["cluster"]["pool_size"].as_u64().unwrap_or(0) + 1);
        let routes = data["routes"].as_u64().unwrap_or(0);
        let name = answer["server"]["name"].as_str().unwrap_or("a server");
        (routes < needed).then(|| format!("{name} has {routes} of {needed} routes"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_server_needs_every_route() {
        let server = |name: &str, routes: u64| json!({ "server": { "name": name }, "data": { "routes": routes, "cluster": { "pool_size": 3 } } });
        assert_eq!(missing(&[server("n1", 4), server("n2", 4)], 2), None);
        assert_eq!(missing(&[server("n1", 4), server("n2", 3)], 2).unwrap(), "n2 has 3 of 4 routes");
        assert_eq!(missing(&[server("n1", 4)], 2).unwrap(), "1 of 2 servers answered");
    }
}
