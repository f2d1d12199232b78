//! Standing by: hearing what the leader finds, so that whoever takes over goes on with it.

use super::election::Office;
use super::look::Looker;
use super::now;
use super::vitals::Vitals;
use crate::election::Role;
use crate::finding::{EPOCH_TYPE, FINDING_TYPE, Finding};
use crate::nats::watch::{Watch, WatchError};
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether this agent leads: its proofs may come back without a change of its role.
const LOOK: Duration = Duration::from_millis(250);

/// What is heard of one epoch of one agent.
#[derive(Debug, Default)]
struct Heard {
    agent: String,
    epoch: u64,
    firing: u64,
}

/// What matters here of a summary.
#[derive(Debug, Deserialize)]
struct Summary {
    epoch: u64,
    findings: Counts,
    system: String,
    agent: Agent,
}

#[derive(Debug, Deserialize)]
struct Counts {
    critical: u64,
    warning: u64,
    info: u64,
}

#[derive(Debug, Deserialize)]
struct Agent {
    id: String,
}

/// Waits until this agent leads, or `stop`. `last` becomes the last epoch that another agent was heard to publish.
///
/// May be dropped and begun anew: of an epoch that was not heard whole nothing ends.
pub(super) async fn stand_by(
    prefix: &str,
    looker: &mut Looker,
    office: &Office,
    vitals: &Vitals,
    stop: &CancellationToken,
    last: &mut Option<u64>,
) {
    let mut role = office.role();
    let mut watch = start(looker, prefix).await;
    let mut heard = Heard::default();
    loop {
        if office.holds() || stop.is_cancelled() {
            return;
        }
        vitals.progress(Duration::ZERO);
        looker.listen();
        tokio::select! {
            () = stop.cancelled() => {}
            changed = role.changed() => {
                if changed.is_err() {
                    // Only at the end.
                    stop.cancelled().await;
                }
            }
            told = next(&mut watch) => match told {
                Ok(json) if is_late(&json, *last, &role.borrow()) => {
                    tracing::debug!("a message of an earlier epoch: who sent it was stopped meanwhile");
                }
                Ok(json) => {
                    if let Some(epoch) = take_in(json, &mut heard, looker) {
                        *last = (*last).max(Some(epoch));
                        looker.stand_by();
                        vitals.health().leader_heard(vitals.now());
                    }
                }
                Err(error) => {
                    tracing::warn!("{error}; this agent knows nothing of earlier findings if it takes over");
                    watch = None;
                }
            },
            () = sleep(LOOK) => {}
        }
    }
}

async fn start(looker: &Looker, prefix: &str) -> Option<Watch> {
    match Watch::start(looker.connection(), prefix).await {
        Ok(watch) => Some(watch),
        Err(error) => {
            tracing::warn!("{error}");
            None
        }
    }
}

async fn next(watch: &mut Option<Watch>) -> Result<Value, WatchError> {
    match watch {
        Some(watch) => watch.next().await.map(|published| published.json),
        None => std::future::pending().await,
    }
}

/// Whether another agent has published a later epoch since this was said, by one that does not lead: a leader that is stopped
/// while it publishes says the rest when it goes on.
fn is_late(json: &Value, last: Option<u64>, role: &Role) -> bool {
    let epoch = json.get("epoch").and_then(Value::as_u64);
    let agent = json.get("agent").and_then(|agent| agent.get("id")).and_then(Value::as_str);
    let by_the_leader = matches!(role, Role::Standby { leader: Some(leader) } if Some(&*leader.id) == agent);
    epoch.is_some() && epoch < last && !by_the_leader
}

/// Takes in a message below the prefix; the epoch, if another agent has published all of it.
fn take_in(json: Value, heard: &mut Heard, looker: &mut Looker) -> Option<u64> {
    let kind = json.get("type").and_then(Value::as_str).unwrap_or_default();
    let own = looker.origin().clone();
    if kind == FINDING_TYPE {
        match serde_json::from_value::<Finding>(json) {
            Ok(finding) if finding.system == own.system && finding.agent.id != own.agent.id => {
                heard.count(&finding);
                looker.ledger().adopt(finding, now());
            }
            Ok(_) => {}
            Err(error) => tracing::debug!("a finding that cannot be read: {error}"),
        }
        return None;
    }
    if kind != EPOCH_TYPE {
        return None;
    }
    let summary = match serde_json::from_value::<Summary>(json) {
        Ok(summary) if summary.system == own.system && summary.agent.id != own.agent.id => summary,
        Ok(_) => return None,
        Err(error) => {
            tracing::debug!("a summary that cannot be read: {error}");
            return None;
        }
    };
    if heard.all_of(&summary) {
        looker.ledger().only_of_epoch(summary.epoch);
    }
    looker.ledger().forget(now());
    Some(summary.epoch)
}

impl Heard {
    fn count(&mut self, finding: &Finding) {
        if finding.resolved_at.is_some() {
            // May be the end of the epoch before, told once more.
            return;
        }
        if finding.agent.id != self.agent || finding.epoch != self.epoch {
            *self = Self { agent: finding.agent.id.clone(), epoch: finding.epoch, firing: 0 };
        }
        self.firing += 1;
    }

    /// Whether every finding that fires was heard: one that was lost on the way is not over.
    fn all_of(&self, summary: &Summary) -> bool {
        let Counts { critical, warning, info } = summary.findings;
        let fires = critical + warning + info;
        let same = self.agent == summary.agent.id && self.epoch == summary.epoch;
        fires == if same { self.firing } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::election::Other;
    use crate::report::samples;
    use serde_json::json;

    fn summary(epoch: u64, warnings: u64) -> Summary {
        let findings = Counts { critical: 0, warning: warnings, info: 0 };
        Summary { epoch, findings, system: "test".into(), agent: Agent { id: "a".into() } }
    }

    fn firing(agent: &str, epoch: u64) -> Finding {
        let mut finding = samples::finding(crate::check::Severity::Warning, "APP", 180);
        finding.agent.id = agent.into();
        finding.epoch = epoch;
        finding
    }

    #[test]
    fn an_epoch_of_which_a_finding_was_lost_ends_nothing() {
        let mut heard = Heard::default();
        heard.count(&firing("a", 60));
        heard.count(&firing("a", 60));
        assert!(heard.all_of(&summary(60, 2)));
        assert!(!heard.all_of(&summary(60, 3)), "one was lost");
        assert!(!heard.all_of(&summary(120, 2)), "none of that epoch was heard");
        assert!(heard.all_of(&summary(120, 0)));
    }

    #[test]
    fn what_a_leader_says_late_that_was_stopped_is_left_alone() {
        let leader = Other { id: "new".into(), name: "n2".into() };
        let standby = Role::Standby { leader: Some(leader) };
        let said = |agent: &str, epoch: u64| serde_json::to_value(firing(agent, epoch)).unwrap();
        assert!(is_late(&said("old", 60), Some(120), &standby));
        assert!(is_late(&said("old", 60), Some(120), &Role::Standby { leader: None }));
        assert!(is_late(&json!({"epoch": 60, "agent": {"id": "old"}}), Some(120), &standby), "its summary");
        assert!(!is_late(&said("old", 120), Some(120), &standby), "an end is told once more, with its epoch");
        assert!(!is_late(&said("old", 60), None, &standby), "the first that is heard");
        assert!(!is_late(&said("new", 60), Some(120), &standby), "the leader's clock was set back");
        assert!(!is_late(&json!({}), Some(120), &standby), "something else");
    }

    #[test]
    fn an_end_that_is_told_again_does_not_disturb_the_count() {
        let mut heard = Heard::default();
        heard.count(&firing("a", 60));
        let at = firing("a", 0).first_seen;
        heard.count(&Finding { resolved_at: Some(at), ..firing("a", 0) });
        heard.count(&firing("a", 60));
        assert!(heard.all_of(&summary(60, 2)));
        heard.count(&firing("b", 60));
        assert!(!heard.all_of(&summary(60, 2)), "two agents that were cut off from each other");
    }
}
