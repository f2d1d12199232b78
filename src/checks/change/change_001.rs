//! CHANGE_001: a running server has read its configuration again.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, count,
};
use crate::checks::evidence::{first_names, rfc3339};
use crate::snapshot::{Endpoint, Server, ServerVars};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

/// See [`Rule::META`].
pub(super) struct ConfigurationReloaded;

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
    /// When the configuration was read, by the server's clock.
    loaded: Option<String>,
    /// When it had been read before.
    loaded_before: Option<String>,
    /// Digest of the configuration; none before 2.11.
    #[schemars(with = "Option<String>")]
    digest: Option<Name>,
    /// The digest before.
    #[schemars(with = "Option<String>")]
    digest_before: Option<Name>,
    /// Whether the text of the configuration differs; none where no digest tells.
    content_changed: Option<bool>,
    /// Other servers of the cluster that read theirs in the same epoch, at most 5.
    #[schemars(with = "Vec<String>")]
    together_with: Vec<Name>,
    /// How many they are.
    together: u64,
    /// Servers of the cluster that last read theirs an hour or more before this one, at most 5: a change may be missing there.
    #[schemars(with = "Vec<String>")]
    not_reloaded: Vec<Name>,
}

impl Rule for ConfigurationReloaded {
    const META: Meta = Meta {
        id: "CHANGE_001",
        name: "Configuration Reloaded",
        severity: Severity::Info,
        category: Category::Change,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        differs: Some(
            "A reload that changed nothing is told from one that did by the digest of the configuration that servers tell since \
             2.11, because the time moves with every reload.",
        ),
        rule: "A server has read its configuration again since it was last asked, without having been restarted.",
        why: "A reload is how limits, accounts, users and logging of a running server change. When something else changes at the \
              same time, it is good to know that there was one.\n\n\
              The finding lasts one epoch. Whether the configuration differs is told by its digest; where that is the same, \
              somebody sent the signal, or a tool did. Included files are part of the digest; certificates, keys and other \
              files that the configuration names are read again and are not, nor are JWTs that a resolver brings. Before 2.11 \
              there is no digest.\n\n\
              A server is compared with what it last told since it was started, within a day.",
        remedy: &[
            "Compare with what was meant to be changed, and when.",
            "Reload the other servers of the cluster as well, if the change is for all of them.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // One cause may be behind all of them.
    const MOST: usize = 100;
    const EPOCHS: u64 = 2;
    // It lasts one epoch: held back, it would never be told.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, _: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, server)).collect()
    }
}

struct Reload<'a> {
    now: OffsetDateTime,
    before: OffsetDateTime,
    vars: &'a ServerVars,
    digest_before: Option<&'a Name>,
}

/// Servers of a cluster that read their configuration within this time of each other did so together, one after another.
const TOGETHER: Duration = Duration::hours(1);

/// The reload of a server between the epochs, if there was one.
fn reload<'a>(context: &'a Context<'_>, server: &'a Server) -> Option<Reload<'a>> {
    let vars = server.vars.as_ref()?;
    let (before, digest_before) = context.history.boot(&server.id)?.config.as_ref()?;
    let now = vars.config_loaded?;
    let digest_before = digest_before.as_ref();
    (now != *before).then_some(Reload { now, before: *before, vars, digest_before })
}

fn loaded(server: &Server) -> Option<OffsetDateTime> {
    server.vars.as_ref()?.config_loaded
}

fn judge_server(context: &Context<'_>, server: &Server) -> Option<Verdict> {
    let Reload { now, before, vars, digest_before } = reload(context, server)?;
    let digests = vars.config_digest.as_ref().zip(digest_before);
    let content_changed = digests.map(|(digest, before)| digest != before);
    let (mut with, mut without): (Vec<Name>, Vec<Name>) = (Vec::new(), Vec::new());
    for other in context.now.beside(server) {
        if reload(context, other).is_some() {
            with.push(other.name.clone());
        } else if loaded(other).is_some_and(|loaded| now - loaded >= TOGETHER) {
            without.push(other.name.clone());
        }
    }
    let (with, together) = first_names(with);
    let (without, _) = first_names(without);
    let what = match content_changed {
        Some(true) => ", and its content changed",
        Some(false) => "; its content is unchanged",
        None => "; whether its content changed is not told",
    };
    let mut summary = format!("server {} has read its configuration again{what}", server.name);
    if together > 0 {
        summary.push_str(&format!(" ({} of the cluster did so too)", count(together, "other server")));
    }
    let evidence = Evidence {
        loaded: rfc3339(now),
        loaded_before: rfc3339(before),
        digest: vars.config_digest.clone(),
        digest_before: digest_before.cloned(),
        content_changed,
        together_with: with,
        together,
        not_reloaded: without,
    };
    let mut steps = Vec::new();
    if content_changed == Some(false) {
        steps.push(
            "Nothing is to be done if only the signal was sent; certificates and other files that the configuration names were \
             read again and may have changed."
                .into(),
        );
    } else {
        steps.push(format!("Compare with what was meant to be changed on server {}.", server.name));
        if !evidence.not_reloaded.is_empty() {
            steps.push(
                "Reload the servers of the cluster that have not been yet, if the change is for all of them."
                    .into(),
            );
        }
    }
    let observed = Observed::count(1, 1u64, "reloads");
    Some(Verdict::firing(Entity::of_server(server), summary, observed, &evidence, steps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::laws::{judge, judge_with, only};
    use crate::snapshot::Snapshot;
    use crate::snapshot::build::{System, at};
    use serde_json::json;

    type Check = ConfigurationReloaded;

    fn epoch(loaded: i64, digest: Option<&str>) -> System {
        let system = System::of(3).vars("n1", |vars| {
            vars.config_loaded = Some(at(loaded));
            vars.config_digest = digest.map(Into::into);
        });
        ["n2", "n3"]
            .into_iter()
            .fold(system, |system, server| system.vars(server, |vars| vars.config_loaded = Some(at(-3605))))
    }

    fn after(now: System) -> crate::check::Judgement {
        judge_with::<Check>(&now.done(), Some(&epoch(-3600, Some("sha256:a")).done()), &[])
    }

    #[test]
    fn a_reload_is_told_with_what_became_of_the_digest() {
        let judgement = after(epoch(-5, Some("sha256:b")));
        let (entity, firing) = only(&judgement);
        assert_eq!(&*entity.id, "n1");
        assert_eq!(firing.summary, "server n1 has read its configuration again, and its content changed");
        assert_eq!(
            firing.evidence,
            json!({"loaded": "2023-11-14T22:13:15Z", "loaded_before": "2023-11-14T21:13:20Z", "digest": "sha256:b",
                   "digest_before": "sha256:a", "content_changed": true, "together_with": [], "together": 0,
                   "not_reloaded": ["n2", "n3"]})
        );
        let judgement = after(epoch(-5, Some("sha256:a")));
        assert!(only(&judgement).1.summary.ends_with("; its content is unchanged"));
        let steps = &only(&judgement).1.remediation;
        assert!(steps[0].contains("certificates") && steps.len() == 1, "{steps:?}");
        let judgement = after(epoch(-5, None));
        assert_eq!(only(&judgement).1.evidence["content_changed"], json!(null));
        assert!(after(epoch(-3600, Some("sha256:b"))).firing.is_empty());
    }

    #[test]
    fn a_restart_is_no_reload_and_one_epoch_tells_nothing() {
        let restarted = epoch(-5, Some("sha256:b")).with(|snapshot: &mut Snapshot| {
            let server = snapshot.servers.remove("ID-n1").unwrap();
            snapshot.servers.insert("NEW".into(), Server { id: "NEW".into(), ..server });
        });
        assert!(after(restarted).firing.is_empty());
        assert!(judge::<Check>(&epoch(-5, None).done()).nothing.is_some());
        let mut untold = epoch(-5, None);
        untold.server_mut("n1").vars.as_mut().unwrap().config_loaded = None;
        assert!(after(untold).firing.is_empty());
        assert!(after(epoch(-5, None).silent("n1", Endpoint::Varz)).firing.is_empty());
    }

    #[test]
    fn those_of_the_cluster_are_named() {
        let both = epoch(-5, None).vars("n2", |vars| vars.config_loaded = Some(at(-4)));
        let judgement = after(both);
        assert_eq!(judgement.firing.len(), 2);
        let firing = &judgement.firing[0].1;
        assert!(firing.summary.ends_with("(1 other server of the cluster did so too)"), "{}", firing.summary);
        assert_eq!(firing.evidence["together_with"], json!(["n2"]));
        assert_eq!(firing.evidence["not_reloaded"], json!(["n3"]));
    }

    #[test]
    fn who_reloaded_an_epoch_before_is_not_named_as_one_that_did_not() {
        let rolling = epoch(-5, None).vars("n2", |vars| vars.config_loaded = Some(at(-3604)));
        assert_eq!(only(&after_same(rolling, "n2", -3604)).1.evidence["not_reloaded"], json!(["n3"]));
    }

    fn after_same(now: System, server: &str, loaded: i64) -> crate::check::Judgement {
        let before = epoch(-3600, None).vars(server, |vars| vars.config_loaded = Some(at(loaded)));
        judge_with::<Check>(&now.done(), Some(&before.done()), &[])
    }

    #[test]
    fn a_reload_is_told_after_an_epoch_without_an_answer() {
        let mut silent = epoch(-3600, None).silent("n1", Endpoint::Varz);
        silent.server_mut("n1").vars = None;
        let epochs =
            [epoch(-3600, Some("sha256:a")).done(), silent.done(), epoch(-5, Some("sha256:b")).done()];
        let judgement = crate::checks::laws::judge_last::<Check>(&epochs);
        assert_eq!(only(&judgement).1.evidence["content_changed"], json!(true));
    }
}
