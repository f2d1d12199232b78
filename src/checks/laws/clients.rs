//! What the checks of connections, users and subscriptions read; and laws of those that take several epochs.

use super::*;
use crate::snapshot::Answer;
use crate::text::digest_hex;
use crate::wire::connz::Connection;
use crate::wire::subsz::Subsz;
use data_encoding::BASE64URL_NOPAD;

/// Checks that need longer than the two epochs of other laws; [`what_takes_time_fires`] provokes them.
pub(super) const SLOW: &[&str] = &["OPT_IDLE_001", "OPT_IDLE_005", "OPT_IDLE_006", "OPT_SYS_022"];

/// A user's JWT that is a bearer token.
pub(crate) fn bearer_jwt(user: &str) -> String {
    let claims = json!({"sub": user, "nats": {"bearer_token": true}}).to_string();
    let signature = digest_hex(claims.as_bytes(), 16);
    format!("e30.{}.{signature}", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

/// What a group of connections shows beside the rest.
#[derive(Debug, Clone)]
pub(super) struct Client {
    rtt: &'static str,
    pending_bytes: i64,
    bearer: bool,
}

prop_compose! {
    pub(super) fn any_client()(
        rtt in prop::sample::select(vec![
            "", "0s", "219µs", "99.9ms", "100ms", "162.06ms", "3.5s", "2562047h47m16.854775807s", "-1s", "x", "99999999999ms",
        ]),
        pending_bytes in prop::sample::select(vec![0, 0, -1, 1 << 20, 2 << 20, i64::MAX, i64::MIN]),
        bearer in prop::bool::weighted(0.2),
    ) -> Client {
        Client { rtt, pending_bytes, bearer }
    }
}

impl Client {
    pub(super) fn edit(&self, connection: &mut Connection<'_>) {
        connection.rtt = self.rtt.into();
        connection.pending_bytes = self.pending_bytes;
        if self.bearer {
            connection.jwt = bearer_jwt(&connection.authorized_user).into();
        }
    }
}

/// What servers and accounts tell of subscriptions and bytes.
#[derive(Debug, Clone)]
pub(super) struct Interest {
    /// By server.
    subsz: Vec<Option<(u64, u64, u64, f64)>>,
    bytes: u64,
    interest: Option<u64>,
    opened: u64,
}

prop_compose! {
    pub(super) fn any_interest()(
        subsz in prop::collection::vec(
            prop::option::weighted(0.9, (
                prop::sample::select(vec![0, 5, 9_000, 20_000, u64::MAX]),
                prop::sample::select(vec![0, 5, 9_000, u64::MAX]),
                prop::sample::select(vec![0, 3, 50, u64::MAX]),
                prop::sample::select(vec![0.0, 1.0, 1.5, -1.0, 1e300]),
            )),
            SERVERS.len(),
        ),
        bytes in prop::sample::select(vec![0, 7, u64::MAX]),
        interest in prop::sample::select(vec![None, Some(0), Some(90), Some(u64::MAX)]),
        opened in prop::sample::select(vec![0, 5, 300, u64::MAX]),
    ) -> Interest {
        Interest { subsz, bytes, interest, opened }
    }
}

impl Interest {
    /// Changes a snapshot accordingly.
    pub(super) fn fill(&self, snapshot: &mut Snapshot) {
        for (slot, told) in SERVERS.iter().zip(&self.subsz) {
            let id: Name = format!("ID-{slot}").into();
            let silent = snapshot.coverage.answer(Endpoint::Subsz, &id) == Some(&Answer::Silent);
            if let Some(server) = snapshot.servers.get_mut(&id) {
                server.interest =
                    told.filter(|_| !silent).map(|(num_inserts, num_removes, max_fanout, avg_fanout)| {
                        Subsz { num_inserts, num_removes, max_fanout, avg_fanout, ..Subsz::default() }
                    });
            }
        }
        for account in snapshot.accounts.values_mut() {
            account.bytes = self.bytes;
            account.interest = self.interest;
            account.fold.opened = self.opened;
        }
    }
}

/// Epochs of the same system hours apart, of which only numbers differ.
fn any_epochs() -> impl Strategy<Value = Vec<(World, i64)>> {
    (any_world(), prop::collection::vec((any_world(), 1i64..90_000), 11)).prop_map(|(first, rest)| {
        let mut second = 0;
        let mut epochs = vec![(first, 0)];
        for (world, later) in rest {
            second += later;
            epochs.push((world, second));
        }
        epochs
    })
}

fn judge_epochs(entry: &Entry, epochs: &[Snapshot]) -> Judgement {
    let (now, earlier) = epochs.split_last().unwrap();
    judge_after(entry, now, &earlier.iter().collect::<Vec<_>>(), &[], &Settings::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn what_takes_time_is_judged_without_a_panic(epochs in any_epochs(), lost in any_losses()) {
        let last = epochs.len() - 1;
        let snapshots: Vec<Snapshot> = epochs.iter().enumerate()
            .map(|(number, (world, second))| {
                let mut snapshot = world.snapshot(if number == last { &lost } else { &[] });
                snapshot.taken_at = at(*second);
                snapshot
            })
            .collect();
        for entry in catalogue().filter(|entry| entry.epochs > 1 || SLOW.contains(&entry.meta.id)) {
            let id = entry.meta.id;
            let judgement = judge_epochs(entry, &snapshots);
            for (entity, firing) in &judgement.firing {
                let errors: Vec<_> =
                    EVIDENCE[id].iter_errors(&firing.evidence).map(|error| error.to_string()).collect();
                prop_assert!(errors.is_empty(), "{id}: {errors:?} in {}", firing.evidence);
                prop_assert!(!firing.summary.is_empty() && !firing.remediation.is_empty(), "{}", id);
                if entry.meta.partial == Partial::CannotFire {
                    prop_assert!(!has_gap(entry, &snapshots[last], entity), "{id} fires with a gap: {entity:?}");
                }
            }
        }
    }

    /// The same of what compares with the epoch before, where that one was whole.
    #[test]
    fn fewer_answers_never_make_a_change_fire_or_end(
        before in any_world(), world in any_world(), lost in any_losses(),
    ) {
        let (before, full, partial) = (before.snapshot(&[]), world.snapshot(&[]), world.snapshot(&lost));
        for entry in super::super::system::CHECKS.iter().chain(super::super::idle::CHECKS) {
            let judge = |now: &Snapshot| judge_entry(entry, now, Some(&before), &[], &Settings::default());
            let (whole, judged) = (judge(&full), judge(&partial));
            for (entity, _) in &judged.firing {
                prop_assert!(whole.firing.iter().any(|(other, _)| same(other, entity)), "{entity:?}");
            }
            for (entity, _) in &whole.firing {
                let still = judged.firing.iter().any(|(other, _)| same(other, entity));
                if !still && has_gap(entry, &partial, entity) {
                    prop_assert!(matches!(judged.standing(entity), Standing::Unknown(_)), "{entity:?}");
                }
            }
        }
    }
}

/// The laws above would hold for checks that never fire.
#[test]
fn what_takes_time_fires() {
    for id in SLOW {
        let entry = find(id).unwrap();
        let epochs: Vec<Snapshot> = (0i64..12)
            .map(|n| {
                let minute = if *id == "OPT_IDLE_005" && n > 10 { 3000 } else { n * 2 };
                let mut system = System::of(1).at(minute * 60).account("QUIET", -1, -1, -1);
                system =
                    system.connect("n1", "APP", "u", 1, |c, _| c.subscriptions = 500 + 50 * n.unsigned_abs());
                // Long enough to be missed.
                if n <= if *id == "OPT_IDLE_006" { 5 } else { 0 } {
                    system = system.connect("n1", "APP", "gone", 1, |_, _| {});
                }
                system.done()
            })
            .collect();
        // Two connections, and then one: the first epoch is not of the window in which subscriptions grow.
        let epochs = if *id == "OPT_SYS_022" { &epochs[1..] } else { &epochs[..] };
        assert!(!judge_epochs(entry, epochs).firing.is_empty(), "{id}");
    }
}
