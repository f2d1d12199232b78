//! CONN_002: clients that do not take what is sent to them.

use super::offenders::{Beyond, Place, beyond, only_address, only_server};
use crate::check::{
    Category, Context, Disturbed, EntityType, Kind, Meta, OutOfRange, Partial, Rule, Scope, Severity,
    Thresholds, Validate, Verdict, at_least, count,
};
use crate::checks::evidence::sweep_gaps;
use crate::checks::roll_up::MOST;
use crate::snapshot::{Endpoint, Offence, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct OutboundBacklog;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Count a connection for which more bytes than this wait on the server.
    max_pending: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pending: 1 << 20 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("max_pending", self.max_pending, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Connections of this user for which more bytes wait.
    backed_up: u64,
    /// All client connections of this user.
    connections: u64,
    /// The bytes that are too many.
    pending_above: u64,
    /// Those for which most bytes wait, at most 5.
    fullest: Vec<Row>,
    /// Of how many of the backed-up connections these are the fullest; left out where it is of all. Where very many users
    /// have some, there is not room to keep all of them apart; the counts are exact nevertheless.
    #[serde(skip_serializing_if = "Option::is_none")]
    fullest_of: Option<u64>,
    /// Slow consumers of the account that servers counted since their starts; one client may be counted more than once. None
    /// where they were not asked for.
    slow_consumers: Option<u64>,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    #[serde(flatten)]
    place: Place,
    /// Bytes that wait on the server.
    pending_bytes: u64,
}

impl Rule for OutboundBacklog {
    const META: Meta = Meta {
        id: "CONN_002",
        name: "Outbound Backlog of Clients",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Connection,
        since: "2.9",
        differs: Some(
            "A user must have such connections in 2 epochs in a row, not necessarily the same ones, and is one finding: what \
             a server shows is its buffer at that moment, which a large message fills for an instant. Whoever reads nothing \
             at all is mostly closed sooner than that, and told of by other checks.",
        ),
        rule: "More than 1 MiB wait on a server to be sent to one client.",
        why: "A server writes messages into a buffer for each client and empties it as fast as the client reads. What \
              stays there is what the client does not keep up with: its handler is too slow, or its link is too narrow for \
              what it has subscribed to. At `max_pending` (64 MiB unless configured), or when a write takes longer than \
              `write_deadline` (10 s unless configured), the server calls it a slow consumer and closes the connection; \
              what it had not read is lost, unless a stream keeps it.\n\n\
              So a client that reads nothing at all, because its process hangs or its host is gone, is mostly closed before \
              a second epoch sees it: ACCOUNTS_002 and CONN_003 tell of it. What is found here reads, steadily, and too \
              slowly.\n\n\
              The number is that of the moment in which the server is asked. A burst that is read a moment later is none: \
              connections of the user must be backed up in 2 epochs in a row, not necessarily the same ones. What waits in \
              the buffers of the client's own library, and of the operating systems, is not in it.\n\n\
              There is one finding per account and user, with the number of connections and the five fullest; at most \
              1,000 users are named.",
        remedy: &[
            "Take work out of the subscription's handler: read at once, and do the work in other tasks.",
            "Spread the subjects over several clients by a queue group.",
            "Subscribe to less: narrower subjects instead of a wildcard over everything.",
            "Use a JetStream pull consumer, with which the client asks for what it can take.",
            "Look at the load of the client's process and host, and at its link.",
        ],
        needs: &[Endpoint::Connz],
        evidence_from: &[Endpoint::AccountStatz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A large message fills the buffer for an instant.
    const FOR: u64 = 2;
    // What a server that leaves has not sent, it does not take to the next one.
    const DISTURBED: Disturbed = Disturbed::Cluster;
    const MOST: usize = MOST;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn pending_above(thresholds: &Limits) -> Option<u64> {
        Some(thresholds.max_pending)
    }

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        beyond(context, thresholds, Offence::Backlog, |backed_up| report(context.now, backed_up))
    }
}

fn report(now: &Snapshot, backed_up: Beyond<'_>) -> Verdict {
    let pending_above = backed_up.thresholds.pending_above;
    let row = |one| Row { place: Place::of(now, one), pending_bytes: one.value };
    let counted = now.coverage.heard(Endpoint::AccountStatz);
    let slow = backed_up.account.slow_consumers.values().fold(0u64, |sum, slow| sum.saturating_add(*slow));
    let evidence = Evidence {
        backed_up: backed_up.count,
        connections: backed_up.connections,
        pending_above,
        fullest: backed_up.worst.iter().map(row).collect(),
        fullest_of: backed_up.worst_of,
        slow_consumers: counted.then_some(slow),
        sweep_incomplete: sweep_gaps(now),
    };
    let observed = backed_up.observed();
    let Beyond { account, entity, count: number, connections: of, .. } = backed_up;
    let most = evidence.fullest.first();
    let most = most.map_or_else(String::new, |row| format!(", {} for the fullest one", row.pending_bytes));
    let summary = format!(
        "more than {pending_above} bytes wait for {} of user {} in account {}, of {of}{most}",
        count(number, "connection"),
        entity.label(),
        account.label(),
    );
    let remediation = remediation(&evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let places = || evidence.fullest.iter().map(|row| &row.place);
    match (only_address(places()), only_server(places()), places().next()) {
        (Some(address), ..) => steps.push(format!(
            "They are clients at {address}: look whether that host, or one process on it, is overloaded."
        )),
        (None, Some(server), Some(_)) if evidence.backed_up > 1 => steps.push(format!(
            "They come from several addresses and are all on server {server}: look at its link to them first."
        )),
        (None, _, Some(place)) => steps.push(format!("Begin with {}.", place.words())),
        _ => {}
    }
    if evidence.slow_consumers.is_some_and(|slow| slow > 0) {
        steps.push(
            "Servers have closed connections of this account as slow consumers before: what these had not read was lost."
                .into(),
        );
    }
    if evidence.backed_up == evidence.connections && evidence.backed_up > 1 {
        steps.push(
            "None of this user's connections keeps up: spread the subjects over more clients by a queue group, or \
             subscribe to less."
                .into(),
        );
    } else {
        steps.push(
            "Take work out of the subscription's handler: read at once, and do the work in other tasks."
                .into(),
        );
    }
    steps.push(
        "Where nothing may be lost, use a JetStream pull consumer, which takes what it asks for.".into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Entity, Entry, Settings, Standing};
    use crate::checks::laws::{judge, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = OutboundBacklog;

    fn entity(user: &str) -> Entity {
        Entity::connections("APP", None, user, None)
    }

    #[test]
    fn one_finding_for_a_user_with_the_five_fullest() {
        let system = System::of(2)
            .connect("n1", "APP", "u", 3, |c, i| c.pending_bytes = 2_000_000 + i as i64)
            .connect("n2", "APP", "u", 5, |_, _| {})
            .with(|snapshot| {
                let account = snapshot.accounts.get_mut("APP").unwrap();
                account.slow_consumers = [("ID-n1".into(), 3), ("ID-n2".into(), u64::MAX)].into();
            });
        let judgement = judge::<Check>(&system.done());
        let (found, firing) = only(&judgement);
        assert_eq!(found, &entity("u"));
        assert_eq!(
            firing.summary,
            "more than 1048576 bytes wait for 3 connections of user u in account APP, of 8, 2000002 for the fullest one"
        );
        let evidence = &firing.evidence;
        assert_eq!((&evidence["backed_up"], &evidence["connections"]), (&json!(3), &json!(8)));
        assert_eq!(evidence["slow_consumers"], json!(u64::MAX));
        assert_eq!(
            evidence["fullest"][0],
            json!({"server": "n1", "cid": 3, "name": "app", "address": "10.0.0.1", "kind": "nats",
                   "pending_bytes": 2_000_002})
        );
        assert!(firing.remediation[0].starts_with("They are clients at 10.0.0.1"));
        assert!(firing.remediation[1].contains("slow consumers before"));
        assert_eq!(judgement.standing(&entity("v")), Standing::Clear);
    }

    #[test]
    fn exactly_a_mebibyte_and_nonsense_are_no_backlog() {
        for (pending, fires) in [
            (0, false),
            (1 << 20, false),
            ((1 << 20) + 1, true),
            (-1, false),
            (i64::MIN, false),
            (i64::MAX, true),
        ] {
            let system = System::of(1).connect("n1", "APP", "u", 1, |c, _| c.pending_bytes = pending);
            assert_eq!(!judge::<Check>(&system.done()).firing.is_empty(), fires, "{pending}");
        }
        let leaf = System::of(1).connect("n1", "APP", "u", 1, |c, _| {
            (c.pending_bytes, c.kind) = (1 << 30, "Leafnode".into());
        });
        assert!(judge::<Check>(&leaf.done()).firing.is_empty());
    }

    #[test]
    fn a_missing_sweep_leaves_what_was_seen_firing_and_the_rest_unknown() {
        let system = System::of(2).connect("n1", "APP", "u", 1, |c, _| c.pending_bytes = 1 << 30);
        let judgement = judge::<Check>(&system.silent("n2", Endpoint::Connz).done());
        assert_eq!(only(&judgement).0, &entity("u"));
        assert!(matches!(judgement.standing(&entity("v")), Standing::Unknown(_)));
    }

    #[test]
    fn the_fold_learns_the_bytes() {
        let base = json!({"max_pending": 10}).as_object().cloned().unwrap();
        let rule = Entry::of::<Check>().configure(&Settings { base, ..Settings::default() }).unwrap();
        assert_eq!(rule.folds_by(&|| entity("u")).pending_above, Some(10));
        let base = json!({"max_pending": 0}).as_object().cloned().unwrap();
        let error = Entry::of::<Check>().configure(&Settings { base, ..Settings::default() }).err().unwrap();
        assert_eq!(error.key.as_deref(), Some("max_pending"));
    }
}
