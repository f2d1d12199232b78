//! SERVER_013: publishers have to wait for slow readers.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, above, rounded,
};
use crate::checks::evidence::since::{Before, before, counted_from};
use crate::checks::evidence::sweep_gaps_at;
use crate::snapshot::{Endpoint, Server, Snapshot, StalledReader, Version};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct StalledPublishers;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when publishers on the server had to wait at least so often a minute since the previous epoch, or since it last told.
    per_minute: f64,
}

impl Default for Limits {
    // A wait takes up to 5 ms: this is up to 3 seconds of every minute, a twentieth of one publisher's time.
    fn default() -> Self {
        Self { per_minute: 600.0 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        above("per_minute", self.per_minute, 0)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// How often a publisher had to wait since the server last told.
    stalls: u64,
    /// The same a minute.
    per_minute: f64,
    /// Since the server started.
    since_start: u64,
    /// Seconds that publishers waited in that time, at most: a wait ends after 5 ms, or when the reader has caught
    /// up.
    waited_seconds_at_most: f64,
    /// Open connections that publishers waited for most often since they connected, at most 5.
    readers: Vec<Reader>,
    /// What the sweep over the server's connections did not bring.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Reader {
    /// The connection's id on the server.
    cid: u64,
    /// The account, by the name that people know.
    #[schemars(with = "String")]
    account: Name,
    /// The user.
    #[schemars(with = "String")]
    user: Name,
    /// The client's name, where it has one.
    #[schemars(with = "Option<String>")]
    name: Option<Name>,
    /// Its address without the port.
    #[schemars(with = "String")]
    address: Name,
    /// How often publishers waited for it since it connected.
    stalls: u64,
    /// Bytes that wait for it.
    pending: u64,
}

impl Reader {
    fn of(now: &Snapshot, reader: &StalledReader) -> Self {
        let StalledReader { cid, account, user, name, address, stalls, pending } = reader.clone();
        Self { cid, account: now.account_label(&account), user, name, address, stalls, pending }
    }

    fn label(&self) -> String {
        match &self.name {
            Some(name) => format!("`{name}` (user {} of account {})", self.user, self.account),
            None => format!("user {} of account {} at {}", self.user, self.account, self.address),
        }
    }
}

/// The first version that counts them.
const COUNTED: Version = Version(2, 12, 0);

/// The longest wait, in seconds (server source, 2.12 to 2.14).
const LONGEST: f64 = 0.005;

impl Rule for StalledPublishers {
    const META: Meta = Meta {
        id: "SERVER_013",
        name: "Publishers Stalled by Slow Readers",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::Server,
        since: "2.12.0",
        differs: Some(
            "It fires from a rate on and not at the first stall, since a server makes a publisher wait for 2 to 5 ms \
             whenever a reader's buffer is three quarters full, which any burst does (230 times in one burst of some \
             megabytes, measured).",
        ),
        rule: "Publishers on a server had to wait for slow readers at least 600 times a minute since the previous epoch.",
        why: "When three quarters of what may wait for a reader (`max_pending`) are used, the server stops reading from \
              publishers to it, for 2 to 5 ms at a time. So one slow reader slows down everybody who publishes to its \
              subjects, and a little later it is closed as a slow consumer (SERVER_004).\n\n\
              Single stalls are how a burst is taken in, and no fault. 600 a minute are up to 3 seconds of waiting in every \
              minute: latency that publishers notice.\n\n\
              Servers count stalls from 2.12.0 on; of older ones it is unknown. Who the readers are is seen while they are \
              connected, with all stalls since they connected.",
        remedy: &[
            "Make the named readers faster: no slow work in the message callback, fewer subjects, a queue group.",
            "Let them pull from JetStream, so that publishers do not wait for them.",
            "If publishers must never wait, set `no_fast_producer_stall: true`: then slow readers miss messages.",
        ],
        needs: &[Endpoint::Varz],
        evidence_from: &[Endpoint::Connz],
        scope: Scope::Server,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // Bursts come again: that is one finding.
    const KEEP: u64 = 3;
    const DISTURBED: Disturbed = Disturbed::Own;
    const EPOCHS: u64 = 2;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let servers = context.now.servers.values();
        servers.filter_map(|server| judge_server(context, thresholds, server)).collect()
    }
}

fn judge_server(context: &Context<'_>, thresholds: &Thresholds<Limits>, server: &Server) -> Option<Verdict> {
    let vars = server.vars.as_ref()?;
    let name = &server.name;
    let entity = Entity::of_server(server);
    let Some(since_start) = counted_from(COUNTED, server, vars.stalled_clients) else {
        let version =
            server.version.map_or_else(|| "of unknown version".into(), |version| version.to_string());
        let reason =
            format!("server {name} ({version}) does not count stalls, which servers do from {COUNTED} on");
        return Some(Verdict::unknown(entity, reason));
    };
    let before = match before(context, server) {
        Ok(before) => before,
        Err(reason) => return Some(Verdict::unknown(entity, reason)),
    };
    let Before { counters, since, .. } = &before;
    let stalls = since_start.saturating_sub(counters.stalled_clients.unwrap_or(0));
    if stalls == 0 {
        return None;
    }
    let Some(rate) = before.rate(stalls) else {
        let reason =
            format!("no time has passed since the previous epoch, so that server {name} has no rate");
        return Some(Verdict::unknown(entity, reason));
    };
    let limit = thresholds.of(&entity).per_minute;
    if rate < limit {
        return None;
    }
    let readers = server.fold.iter().flat_map(|fold| fold.stalled.iter());
    let evidence = Evidence {
        stalls,
        per_minute: (rate * 10.0).round() / 10.0,
        since_start,
        waited_seconds_at_most: (stalls as f64 * LONGEST * 1000.0).round() / 1000.0,
        readers: readers.map(|reader| Reader::of(context.now, reader)).collect(),
        sweep_incomplete: sweep_gaps_at(context.now, name),
    };
    let whom = evidence.readers.first().map_or_else(String::new, |reader| {
        format!("; most often for {}, {} times since it connected", reader.label(), reader.stalls)
    });
    let summary =
        format!("publishers on server {name} had to wait {stalls} times {since}, {rate:.0} a minute{whom}");
    let observed =
        Observed { value: rounded(rate), ..Observed::count(0, rounded(limit), "stalls per minute") };
    let remediation = remediation(server, &evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn remediation(server: &Server, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    match evidence.readers.first() {
        Some(reader) => steps.push(format!(
            "Make {} read faster, then the others that are named: no slow work in the message callback, fewer subjects, a \
             queue group.",
            reader.label()
        )),
        None => steps.push(format!(
            "See who reads slowly: the connections of server {} with most pending bytes (`nats server report connections \
             --sort=pending`), and those that were closed as slow consumers.",
            server.name
        )),
    }
    steps.push("Let slow readers pull from JetStream, so that publishers do not wait for them.".into());
    steps.push(
        "Set `no_fast_producer_stall: true` only where publishers must never wait: slow readers miss messages then."
            .into(),
    );
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge_last, judge_last_set, only};
    use crate::snapshot::build::System;
    use serde_json::json;

    type Check = StalledPublishers;

    fn counted(system: System, stalls: Option<u64>) -> System {
        system.vars("n1", |vars| vars.stalled_clients = stalls)
    }

    fn server(name: &str) -> Entity {
        Entity::server(&name.into(), Some(&"east".into()))
    }

    #[test]
    fn fires_from_the_rate_on_and_names_the_readers() {
        let before = counted(System::of(2), Some(100)).done();
        let now = |stalls| {
            counted(System::of(2).at(30), Some(stalls)).connect("n1", "APP", "u", 3, |c, i| {
                (c.stalls, c.pending_bytes) = (i as i64 * 100, 4096);
            })
        };
        assert!(judge_last::<Check>(&[before.clone(), now(399).done()]).firing.is_empty());
        let judgement = judge_last::<Check>(&[before, now(400).done()]);
        let (entity, firing) = only(&judgement);
        assert_eq!(entity, &server("n1"));
        assert_eq!(
            firing.summary,
            "publishers on server n1 had to wait 300 times since the previous epoch, 600 a minute; most often for `app` \
             (user u of account APP), 200 times since it connected"
        );
        assert_eq!(
            json!(firing.observed),
            json!({"value": 600.0, "threshold": 600.0, "unit": "stalls per minute"})
        );
        assert_eq!(
            (&firing.evidence["waited_seconds_at_most"], &firing.evidence["since_start"]),
            (&json!(1.5), &json!(400))
        );
        let readers = firing.evidence["readers"].as_array().unwrap();
        assert_eq!((readers.len(), &readers[0]["pending"]), (2, &json!(4096)));
        assert_eq!(judgement.standing(&server("n2")), Standing::Clear);
    }

    #[test]
    fn the_rate_is_over_the_time_since_it_last_told() {
        let judged = |stalls| {
            let mut skipped = System::of(2).at(60);
            skipped.server_mut("n1").vars = None;
            let now = counted(System::of(2).at(120), Some(stalls)).done();
            judge_last::<Check>(&[counted(System::of(2), Some(0)).done(), skipped.done(), now])
        };
        assert!(judged(1199).firing.is_empty());
        assert_eq!(
            only(&judged(1200)).1.summary,
            "publishers on server n1 had to wait 1200 times in the last 2m, 600 a minute"
        );
    }

    #[test]
    fn an_old_server_is_unknown_and_a_zero_that_is_left_out_is_not() {
        let mut old = counted(System::of(1).at(60), None);
        old.server_mut("n1").version = Some(Version(2, 11, 17));
        let judgement = judge_last::<Check>(&[System::of(1).done(), old.done()]);
        assert_eq!(
            judgement.standing(&server("n1")),
            Standing::Unknown(
                "server n1 (2.11.17) does not count stalls, which servers do from 2.12.0 on".into()
            )
        );
        let zero = counted(System::of(1).at(60), None).done();
        let judgement = judge_last::<Check>(&[counted(System::of(1), None).done(), zero]);
        assert_eq!(judgement.standing(&server("n1")), Standing::Clear);
        let many = counted(System::of(1).at(60), Some(600)).done();
        assert_eq!(judge_last::<Check>(&[counted(System::of(1), None).done(), many]).firing.len(), 1);
    }

    #[test]
    fn restarts_standing_clocks_and_nonsense_are_no_finding() {
        let now = || counted(System::of(2).at(60), Some(u64::MAX));
        let judgement = judge_last::<Check>(&[System::of(2).gone("n1").done(), now().done()]);
        assert!(judgement.firing.is_empty());
        assert!(matches!(judgement.standing(&server("n1")), Standing::Unknown(_)));
        let standing = counted(System::of(2), Some(u64::MAX)).done();
        let judgement = judge_last::<Check>(&[System::of(2).done(), standing]);
        assert!(
            judgement.firing.is_empty() && matches!(judgement.standing(&server("n1")), Standing::Unknown(_))
        );
        assert_eq!(judge_last::<Check>(&[System::of(2).done(), now().done()]).firing.len(), 1);
        let less = counted(System::of(2).at(60), Some(3)).done();
        assert!(
            judge_last::<Check>(&[counted(System::of(2), Some(u64::MAX)).done(), less]).firing.is_empty()
        );
    }

    #[test]
    fn the_rate_can_be_set_above_zero() {
        for bad in [json!(0), json!(-1)] {
            let base = [("per_minute".to_owned(), bad)].into_iter().collect();
            let error = Thresholds::<Limits>::new(&Settings { base, ..Settings::default() }).unwrap_err();
            assert_eq!(error.key.as_deref(), Some("per_minute"));
        }
        let base = json!({"per_minute": 1}).as_object().cloned().unwrap();
        let settings = Settings { base, ..Settings::default() };
        let epochs = [System::of(1).done(), counted(System::of(1).at(60), Some(1)).done()];
        let judgement = judge_last_set::<Check>(&epochs, &settings);
        assert!(only(&judgement).1.remediation[0].contains("--sort=pending"));
    }
}
