//! SERVER_019: JetStream of a server comes near the most that it may store.

use super::reserve::{Evidence, Medium, bytes, reaches};
use crate::check::{
    Category, Context, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, percent,
};
use crate::snapshot::{Endpoint, Server, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct JetStreamStorageNearMaximum;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Warn at this share of the most that JetStream may store in files, in percent.
    warn_percent: f64,
    /// Critical at this share, in percent; not less than `warn_percent`.
    critical_percent: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_percent: 90.0, critical_percent: 95.0 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("warn_percent", self.warn_percent)?;
        percent("critical_percent", self.critical_percent)?;
        if self.critical_percent < self.warn_percent {
            let value = self.critical_percent.to_string();
            return Err(OutOfRange { key: "critical_percent", value, expected: "at least warn_percent" });
        }
        Ok(())
    }
}

/// The first version that raises `max_file_store` by a reload (server source).
const RELOADS: Version = Version(2, 12, 7);

impl Rule for JetStreamStorageNearMaximum {
    const META: Meta = Meta {
        id: "SERVER_019",
        name: "JetStream Storage Near Maximum",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.9",
        rule: "JetStream of a server uses 90 % or more of the file storage that it may use; from 95 % on that is critical.",
        why: "At the most that its configuration allows (`max_file_store`), a server takes no further message for any stream \
              that it hosts: publishers are told \"insufficient resources\", and a replica that cannot store falls behind.\n\n\
              Without `max_file_store` a server takes three quarters of what was free on the disk when it started, and what \
              its streams hold by then is not free but counts as used: every restart of a full server leaves it less. It \
              does not look at the disk again: something else that fills it makes writes fail earlier than this tells.\n\n\
              From 2.12.7 on a reload raises a `max_file_store` that was set at the start. Older servers refuse such a reload, \
              and every server one that lowers it or sets it for the first time: those take a restart.",
        remedy: &[
            "Let streams keep less: `max_bytes`, `max_age` or `max_msgs`, beginning with the largest.",
            "Purge or delete streams that nobody needs any longer.",
            "Move streams to servers with room by placement tags, or add a server.",
            "Raise `max_file_store` if the disk has room: by a reload from 2.12.7 on where it was set before, else by a \
             restart.",
        ],
        needs: &[Endpoint::Varz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        context.now.servers.values().filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let here = Medium::File.of(server.vars.as_ref()?.jetstream.as_ref()?);
    let most = here.most?;
    let entity = Entity::of_server(server);
    let limits = thresholds.of(&entity);
    if !reaches(here.used, most, limits.warn_percent) {
        return None;
    }
    let critical = reaches(here.used, most, limits.critical_percent);
    let (severity, threshold) = match critical {
        true => (Severity::Critical, limits.critical_percent),
        false => (Severity::Warning, limits.warn_percent),
    };
    let evidence = Evidence::of(context.now, server, Medium::File, here);
    let observed = Observed::of_limit(here.used, most, threshold, "bytes", "server");
    let summary = format!(
        "JetStream of server {} uses {} of the {} of file storage that it may use ({:.1} %)",
        server.name,
        bytes(here.used),
        bytes(most),
        observed.percent.unwrap_or(0.0),
    );
    let mut steps = Vec::new();
    if critical {
        steps.push("Make room at once: purge or delete a stream that nobody needs any longer.".into());
    }
    steps.push(
        "Let streams keep less: `max_bytes`, `max_age` or `max_msgs`, beginning with the largest.".into(),
    );
    if evidence.others_have_room() {
        steps.push(format!(
            "Other servers of the cluster have room: move streams away from server {} by placement tags.",
            server.name
        ));
    }
    let how = match server.version.is_some_and(|version| version >= RELOADS) {
        true => "reload it, or restart it if none was set before",
        false => "restart it: a server of its version refuses that as a reload",
    };
    steps.push(format!("If the disk of server {} has room, raise `max_file_store` and {how}.", server.name));
    Some(Verdict::firing(entity, summary, observed, &evidence, steps).with_severity(severity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Settings;
    use crate::checks::laws::{judge, only};
    use crate::snapshot::JetStreamVars;
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = JetStreamStorageNearMaximum;

    fn system(storage: u64, max_storage: i64) -> System {
        System::of(1).vars("n1", |vars| {
            vars.jetstream = Some(JetStreamVars { storage, max_storage, ..JetStreamVars::default() });
        })
    }

    #[test]
    fn warns_at_ninety_and_is_critical_at_ninety_five() {
        assert!(judge::<Check>(&system(899, 1000).done()).firing.is_empty());
        for (used, severity, threshold) in [
            (900, Severity::Warning, 90.0),
            (949, Severity::Warning, 90.0),
            (950, Severity::Critical, 95.0),
            (2000, Severity::Critical, 95.0),
        ] {
            let judgement = judge::<Check>(&system(used, 1000).done());
            let firing = only(&judgement).1;
            assert_eq!(
                (firing.severity, json!(firing.observed.threshold)),
                (Some(severity), json!(threshold))
            );
        }
        assert_eq!(
            only(&judge::<Check>(&system(950, 1000).done())).1.summary,
            "JetStream of server n1 uses 950 bytes of the 1000 bytes of file storage that it may use (95.0 %)"
        );
    }

    #[test]
    fn only_newer_servers_take_a_higher_maximum_by_a_reload() {
        for (version, words) in [
            (Some(Version(2, 11, 9)), "restart it: a server of its version refuses that as a reload"),
            (Some(Version(2, 12, 6)), "restart it: a server of its version refuses that as a reload"),
            (None, "restart it: a server of its version refuses that as a reload"),
            (Some(Version(2, 12, 7)), "reload it, or restart it if none was set before"),
            (Some(Version(2, 14, 0)), "reload it, or restart it if none was set before"),
        ] {
            let mut system = system(900, 1000);
            system.server_mut("n1").version = version;
            let judgement = judge::<Check>(&system.done());
            let last = only(&judgement).1.remediation.last().unwrap();
            assert!(last.contains(words), "{version:?}: {last}");
        }
    }

    #[test]
    fn without_a_maximum_there_is_nothing_to_come_near() {
        for most in [0, -1, i64::MIN] {
            assert!(judge::<Check>(&system(u64::MAX, most).done()).firing.is_empty(), "{most}");
        }
        assert_eq!(judge::<Check>(&system(u64::MAX, i64::MAX).done()).firing.len(), 1);
        assert!(judge::<Check>(&System::of(1).done()).firing.is_empty());
    }

    #[test]
    fn thresholds_out_of_order_are_refused() {
        let base = json!({"warn_percent": 96.0}).as_object().cloned().unwrap();
        let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
        assert_eq!(error.key.as_deref(), Some("critical_percent"));
    }
}
