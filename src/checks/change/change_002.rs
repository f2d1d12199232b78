//! CHANGE_002: a server belongs to another JetStream domain than before.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict,
};
use crate::checks::evidence::{first_names, rfc3339};
use crate::snapshot::{Endpoint, Server};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// See [`Rule::META`].
pub(super) struct JetStreamDomainChanged;

/// It has nothing to set.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        Ok(())
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The domain; none where it has none.
    #[schemars(with = "Option<String>")]
    domain: Option<Name>,
    /// The domain before.
    #[schemars(with = "Option<String>")]
    domain_before: Option<Name>,
    /// Whether the server is another process than before; a domain cannot be changed without a restart.
    restarted: bool,
    /// When it was last seen in the domain before, by the agent's clock.
    last_seen_before: Option<String>,
    /// Servers of its cluster in another domain than it is now, at most 5.
    #[schemars(with = "Vec<String>")]
    others_differ: Vec<Name>,
}

impl Rule for JetStreamDomainChanged {
    const META: Meta = Meta {
        id: "CHANGE_002",
        name: "JetStream Domain Changed",
        severity: Severity::Warning,
        category: Category::Change,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "A server is compared with what it was before a restart, found by its cluster and name, because the domain cannot \
             be changed without one, and after it the server has another id.",
        ),
        rule: "The JetStream domain of a server differs from the one that it had when it was last seen.",
        why: "Clients and mirrors that name a domain (`$JS.<domain>.API`) no longer reach a server that has left it, and a \
              leafnode that had a domain of its own and now has that of its hub extends the hub's JetStream instead of having its \
              own: its streams may meet others of the same name.\n\n\
              A server keeps its domain until it is restarted. It is compared over the restart, also where it did not \
              answer for up to a day. While JetStream of a server is off, nothing is said about its domain. The finding lasts \
              one epoch.",
        remedy: &[
            "If that was not meant, bring back the `domain` of the `jetstream` block and restart the server.",
            "Give every server of a cluster the same domain.",
            "Give clients, mirrors and sources that name the domain its new name.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    const EPOCHS: u64 = 2;
    // It lasts one epoch, right after a restart: held back, it would never be told.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        let mut keys: BTreeMap<Name, u64> = BTreeMap::new();
        for server in context.now.servers.values() {
            *keys.entry(server.key()).or_default() += 1;
        }
        // Where two servers have one name, neither is the other one's past.
        let alone = |server: &&Server| keys.get(&server.key()) == Some(&1);
        let servers = context.now.servers.values().filter(alone);
        servers.filter_map(|server| judge_server(context, server)).collect()
    }
}

fn told(server: &Server) -> Option<Option<&Name>> {
    let jetstream = server.vars.as_ref()?.jetstream.as_ref()?;
    Some(jetstream.domain.as_ref())
}

fn words(domain: Option<&Name>) -> String {
    domain.map_or_else(|| "no domain".into(), |domain| format!("domain {domain}"))
}

fn judge_server(context: &Context<'_>, server: &Server) -> Option<Verdict> {
    let domain = told(server)?;
    let (id, before) = context.history.last_with_domain(&server.key())?;
    let domain_before = before.domain.as_ref()?.as_ref();
    if domain == domain_before {
        return None;
    }
    let differs = |other: &&Server| told(other).is_some_and(|other| other != domain);
    let differing = context.now.beside(server).filter(differs).map(|other| other.name.clone());
    let (others_differ, _) = first_names(differing);
    let evidence = Evidence {
        domain: domain.cloned(),
        domain_before: domain_before.cloned(),
        restarted: *id != server.id,
        last_seen_before: rfc3339(before.last),
        others_differ,
    };
    let summary = format!(
        "JetStream of server {} has {} now; it had {}",
        server.name,
        words(domain),
        words(domain_before)
    );
    let mut steps = Vec::new();
    if !evidence.others_differ.is_empty() {
        steps.push(
            "Give every server of the cluster the same domain: others of it have another one now.".into(),
        );
    }
    steps.push(match domain_before {
        Some(before) => format!("If that was not meant, set `domain: {before}` in the `jetstream` block again and restart the server."),
        None => "If that was not meant, take `domain` out of the `jetstream` block and restart the server.".into(),
    });
    steps.push("Give clients, mirrors and sources that name the old domain the new one.".into());
    let entity = Entity::of_server(server);
    Some(Verdict::firing(entity, summary, Observed::count(1, 1u64, "changes"), &evidence, steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::laws::{judge, judge_last, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{JetStreamVars, Snapshot};
    use serde_json::json;

    type Check = JetStreamDomainChanged;

    /// JetStream on, with this domain; `None` is off.
    fn epoch(second: i64, id: &str, domain: Option<Option<&str>>) -> Snapshot {
        let vars =
            |domain: Option<&str>| JetStreamVars { domain: domain.map(Into::into), ..Default::default() };
        let system = System::of(2)
            .at(second)
            .vars("n1", |own| own.jetstream = domain.map(vars))
            .vars("n2", |own| own.jetstream = Some(vars(Some("hub"))));
        let mut snapshot = system.done();
        let server = snapshot.servers.remove("ID-n1").unwrap();
        snapshot.servers.insert(id.into(), Server { id: id.into(), ..server });
        snapshot
    }

    #[test]
    fn another_domain_after_a_restart_fires_once() {
        let mut epochs = vec![
            epoch(0, "A", Some(Some("hub"))),
            System::of(2).at(60).gone("n1").done(),
            epoch(120, "B", Some(Some("edge"))),
        ];
        let judgement = judge_last::<Check>(&epochs);
        let (entity, firing) = only(&judgement);
        assert_eq!(&*entity.id, "n1");
        assert_eq!(firing.summary, "JetStream of server n1 has domain edge now; it had domain hub");
        assert_eq!(
            firing.evidence,
            json!({"domain": "edge", "domain_before": "hub", "restarted": true,
                   "last_seen_before": "2023-11-14T22:13:20Z", "others_differ": ["n2"]})
        );
        assert!(firing.remediation[0].starts_with("Give every server of the cluster the same domain"));
        epochs.push(epoch(180, "B", Some(Some("edge"))));
        assert!(judge_last::<Check>(&epochs).firing.is_empty());
    }

    #[test]
    fn to_none_and_from_none_and_not_while_jetstream_is_off() {
        let summary = |before, now| {
            let judgement = judge_last::<Check>(&[epoch(0, "A", before), epoch(60, "B", now)]);
            judgement.firing.first().map(|(_, firing)| firing.summary.clone())
        };
        let (none, hub) = (Some(None), Some(Some("hub")));
        assert_eq!(
            summary(hub, none).as_deref(),
            Some("JetStream of server n1 has no domain now; it had domain hub")
        );
        assert_eq!(
            summary(none, hub).as_deref(),
            Some("JetStream of server n1 has domain hub now; it had no domain")
        );
        for (before, now) in [(hub, hub), (none, none), (None, hub), (hub, None), (None, None)] {
            assert_eq!(summary(before, now), None, "{before:?} {now:?}");
        }
        // Off for an epoch, and another one afterwards.
        let epochs = [epoch(0, "A", hub), epoch(60, "B", None), epoch(120, "C", none)];
        assert_eq!(judge_last::<Check>(&epochs).firing.len(), 1);
        // The same process may have been seen before without JetStream.
        let epochs = [epoch(0, "A", hub), epoch(60, "B", None), epoch(120, "B", none)];
        assert_eq!(only(&judge_last::<Check>(&epochs)).1.evidence["restarted"], json!(true));
        assert!(judge::<Check>(&epoch(0, "A", hub)).nothing.is_some());
    }

    #[test]
    fn two_servers_of_one_name_are_not_compared() {
        let both = |second| {
            let mut snapshot = epoch(second, "A", Some(Some("hub")));
            let other = epoch(second, "B", Some(Some("edge")));
            snapshot.servers.insert("B".into(), other.servers["B"].clone());
            snapshot
        };
        assert!(judge_last::<Check>(&[both(0), both(60)]).firing.is_empty());
        assert!(judge_last::<Check>(&[both(0), epoch(60, "A", Some(Some("hub")))]).firing.is_empty());
    }
}
