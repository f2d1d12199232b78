use super::*;
use crate::snapshot::build::{System, at};

/// A system of which an epoch sees these servers, all of the cluster `east`.
fn see(second: i64, servers: &[&str]) -> Snapshot {
    let mut system = System::of(0).at(second);
    servers.iter().for_each(|name| system.add_server(name, Some("east")));
    let mut snapshot = system.done();
    snapshot.epoch = u64::try_from(second).unwrap();
    snapshot
}

/// Who names whom: `n1: n2 n3, n2: n1`.
fn routes(text: &str) -> Peers {
    let mut peers = Peers::new();
    for part in text.split(", ").filter(|part| !part.is_empty()) {
        let (by, names) = part.split_once(": ").unwrap();
        let routes = names.split(' ').map(Name::from).collect();
        peers.insert(by.into(), Neighbours { routes, gateways: BTreeSet::new() });
    }
    peers
}

/// What an epoch brings, and who is missed then: `name` or `name (silent for this many epochs)`.
struct Epoch {
    events: Vec<ServerEvent>,
    answer: &'static [&'static str],
    routes: &'static str,
    missing: &'static [&'static str],
}

fn epoch(answer: &'static [&'static str], routes: &'static str, missing: &'static [&'static str]) -> Epoch {
    Epoch { events: Vec::new(), answer, routes, missing }
}

impl Epoch {
    fn after(mut self, event: ServerEvent) -> Self {
        self.events.push(event);
        self
    }
}

fn shutdown(name: &str) -> ServerEvent {
    ServerEvent::Shutdown(format!("ID-{name}").into())
}

fn lame_duck(name: &str) -> ServerEvent {
    ServerEvent::LameDuck(format!("ID-{name}").into())
}

fn heartbeat(name: &str) -> ServerEvent {
    let id = format!("ID-{name}").into();
    ServerEvent::Heartbeat { id, name: name.into(), cluster: Some("east".into()) }
}

fn told(missing: &Missing) -> String {
    let mut text = format!("{} {}", missing.name, missing.silent_epochs);
    if missing.lame_duck {
        text += " lame";
    }
    if missing.heartbeats {
        text += " heard";
    }
    for by in &missing.named_by {
        text += &format!(" <-{by}");
    }
    text
}

/// Runs epochs ten seconds apart.
fn run(epochs: Vec<Epoch>) -> Roster {
    let mut roster = Roster::default();
    for (number, epoch) in (1..).zip(epochs) {
        let snapshot = see(number * 10, epoch.answer);
        roster.apply(epoch.events, snapshot.taken_at);
        let missing: Vec<String> =
            roster.call(&snapshot, &routes(epoch.routes), true).iter().map(told).collect();
        assert_eq!(missing, epoch.missing, "epoch {number}");
        roster.learn(&snapshot);
    }
    roster
}

const ALL: &[&str] = &["n1", "n2", "n3"];
const TWO: &[&str] = &["n1", "n2"];
const MESH: &str = "n1: n2 n3, n2: n1 n3, n3: n1 n2";

#[test]
fn a_crashed_server_is_missed_until_it_answers_under_its_name() {
    let roster = run(vec![
        epoch(ALL, MESH, &[]),
        epoch(TWO, "n1: n2 n3, n2: n1", &["n3 1 <-n1"]),
        epoch(TWO, "n1: n2, n2: n1", &["n3 2"]),
        epoch(TWO, "n1: n2, n2: n1", &["n3 3"]),
        epoch(ALL, MESH, &[]),
        epoch(TWO, "", &["n3 1"]),
    ]);
    assert_eq!(roster.ids().len(), 3);
}

#[test]
fn who_left_in_order_is_not_missed_even_if_a_route_to_it_lingers() {
    let gone = run(vec![
        epoch(ALL, MESH, &[]),
        epoch(TWO, "n1: n2 n3, n2: n1", &[]).after(shutdown("n3")),
        epoch(TWO, "n1: n2 n3, n2: n1", &[]).after(heartbeat("n3")),
        epoch(TWO, "n1: n2, n2: n1", &[]),
    ]);
    assert_eq!(gone.ids().len(), 2);
    // Of an earlier boot.
    let old = ServerEvent::Shutdown("ID-n3-before".into());
    run(vec![epoch(ALL, MESH, &[]), epoch(TWO, "", &["n3 1"]).after(old)]);
    // It comes up again, and hangs.
    run(vec![
        epoch(ALL, MESH, &[]),
        epoch(TWO, "", &[]).after(shutdown("n3")),
        epoch(TWO, "n1: n2 n3", &[]),
        epoch(TWO, "n1: n2 n3", &["n3 1 <-n1"]),
    ]);
}

#[test]
fn a_lame_duck_is_explained_until_its_routes_are_gone() {
    let roster = run(vec![
        epoch(ALL, MESH, &[]),
        epoch(TWO, "n1: n2 n3, n2: n1 n3", &["n3 1 lame <-n1 <-n2"]).after(lame_duck("n3")),
        epoch(TWO, "n1: n2 n3, n2: n1", &["n3 2 lame <-n1"]),
        epoch(TWO, "n1: n2, n2: n1", &[]),
        epoch(ALL, MESH, &[]),
        // It was over before anybody looked.
        epoch(TWO, "n1: n2, n2: n1", &[]).after(lame_duck("n3")),
    ]);
    assert_eq!(roster.ids().len(), 2);
    // Who names it no longer answers: nothing tells that it has ended.
    run(vec![
        epoch(ALL, "n2: n3", &[]),
        epoch(TWO, "n2: n3", &["n3 1 lame <-n2"]).after(lame_duck("n3")),
        epoch(&["n1"], "", &["n2 1", "n3 2 lame"]),
        epoch(TWO, "", &[]),
    ]);
    // It was restarted before its time was over.
    let back = ServerEvent::Heartbeat { id: "NEW".into(), name: "n3".into(), cluster: None };
    let roster = run(vec![
        epoch(ALL, MESH, &[]),
        epoch(TWO, "n1: n3", &["n3 1 lame <-n1"]).after(lame_duck("n3")),
        epoch(TWO, "n1: n3", &["n3 2 heard <-n1"]).after(back),
    ]);
    assert!(roster.ids().contains("NEW"));
}

#[test]
fn a_lame_duck_without_routes_is_waited_for_an_hour() {
    let mut roster = Roster::default();
    let none = Peers::new();
    roster.call(&see(0, TWO), &none, true);
    roster.apply(vec![lame_duck("n2")], at(10));
    assert_eq!(roster.call(&see(10, &["n1"]), &none, true).len(), 1);
    assert_eq!(roster.ids().len(), 1, "nobody waits for it");
    assert_eq!(roster.call(&see(3609, &["n1"]), &none, true).len(), 1);
    assert_eq!(roster.call(&see(3610, &["n1"]), &none, true), []);
}

#[test]
fn a_star_hides_servers_that_its_hub_names() {
    // The agent is at the spoke n1; n2 is the hub.
    run(vec![
        epoch(TWO, "n1: n2, n2: n1 n3", &["n3 1 <-n2"]),
        epoch(TWO, "n1: n2, n2: n1 n3", &["n3 2 <-n2"]),
        // The hub falls silent: n3 did not end by that.
        epoch(&["n1"], "", &["n2 1", "n3 3"]),
        // The hub is back and names it no more.
        epoch(TWO, "n1: n2, n2: n1", &[]),
        // The hub leaves in order, and nobody else would know.
        epoch(TWO, "n1: n2, n2: n1 n3", &["n3 1 <-n2"]),
        epoch(&["n1"], "", &[]).after(shutdown("n2")),
    ]);
}

#[test]
fn a_server_that_only_sends_heartbeats_is_missed() {
    run(vec![
        epoch(TWO, "", &["n3 1 heard"]).after(heartbeat("n3")),
        epoch(TWO, "", &["n3 2 heard"]),
        epoch(TWO, "", &["n3 3 heard"]),
        epoch(TWO, "", &["n3 4 heard"]),
        epoch(TWO, "", &["n3 5"]),
        epoch(ALL, "", &[]).after(heartbeat("n3")),
        // The heartbeat came before it fell silent.
        epoch(TWO, "", &["n3 1"]).after(heartbeat("n3")),
        epoch(TWO, "", &["n3 2 heard"]).after(heartbeat("n3")),
        epoch(TWO, "", &[]).after(shutdown("n3")),
    ]);
}

#[test]
fn epochs_without_any_answer_say_nothing_about_one_server() {
    let mut roster = Roster::default();
    roster.call(&see(0, ALL), &Peers::new(), true);
    for (second, answer, asked) in [(10, &[][..], true), (20, TWO, false), (30, &[], false)] {
        let missing = roster.call(&see(second, answer), &Peers::new(), asked);
        assert!(
            !missing.is_empty() && missing.iter().all(|missing| missing.silent_epochs == 0),
            "{missing:?}"
        );
    }
    let missing = roster.call(&see(40, TWO), &Peers::new(), true);
    assert_eq!((missing[0].silent_epochs, missing[0].last_epoch), (1, Some(0)));
}

#[test]
fn a_silent_server_is_forgotten_after_a_day_unless_others_name_it() {
    for (named, expected) in [("", 0), ("n1: n3", 1)] {
        let mut roster = Roster::default();
        roster.call(&see(0, ALL), &Peers::new(), true);
        let day = FORGET.whole_seconds();
        for second in [10, 9 + day] {
            assert_eq!(roster.call(&see(second, TWO), &routes(named), true).len(), 1);
        }
        // Not by an epoch in which nobody answers.
        assert_eq!(roster.call(&see(10 + day, &[]), &Peers::new(), true).len(), 3);
        assert_eq!(roster.call(&see(10 + day, TWO), &routes(named), true).len(), expected);
    }
}

#[test]
fn a_nameless_server_goes_by_its_id_and_is_forgotten_after_a_while() {
    let mut nameless = see(0, &["x"]);
    nameless.servers.values_mut().for_each(|server| server.name = server.id.clone());
    let mut roster = Roster::default();
    assert_eq!(roster.call(&nameless, &routes("ID-x: n1"), true).len(), 1);
    let of = |missing: &[Missing]| missing.iter().any(|missing| *missing.name == *"ID-x");
    for second in 1..i64::try_from(NAMELESS_EPOCHS).unwrap() {
        assert!(of(&roster.call(&see(second, &["n1"]), &Peers::new(), true)), "{second}");
    }
    assert!(of(&roster.call(&see(20, &["n1"]), &routes("n1: ID-x"), true)));
    assert!(!of(&roster.call(&see(21, &["n1"]), &Peers::new(), true)));
    // Known by name, and called by its id in a route.
    assert_eq!(roster.call(&see(22, TWO), &routes("n1: ID-n2"), true), []);
    let missing = roster.call(&see(23, &["n1"]), &routes("n1: ID-n2"), true);
    assert_eq!(missing.iter().map(told).collect::<Vec<_>>(), ["n2 1 <-n1"]);
}

#[test]
fn a_cluster_that_only_gateways_name_is_missed_as_a_whole() {
    let peers = |gateways: &[&str]| {
        let gateways = gateways.iter().map(|name| Name::from(*name)).collect();
        Peers::from([("n1".into(), Neighbours { routes: BTreeSet::new(), gateways })])
    };
    let mut roster = Roster::default();
    let missing = roster.call(&see(0, &["n1"]), &peers(&["west"]), true);
    assert_eq!(missing.iter().map(told).collect::<Vec<_>>(), ["*/west 1 <-n1"]);
    assert!(missing[0].is_cluster() && missing[0].cluster.as_deref() == Some("west"));
    let mut both = System::of(1);
    both.add_server("w1", Some("west"));
    let both = both.done();
    assert_eq!(roster.call(&both, &peers(&["west"]), true), []);
    let missing = roster.call(&see(20, &["n1"]), &peers(&["west"]), true);
    assert_eq!(missing.iter().map(told).collect::<Vec<_>>(), ["w1 1"]);
    roster.apply(vec![shutdown("w1")], at(30));
    assert_eq!(roster.call(&see(30, &["n1"]), &peers(&[]), true), []);
}

#[test]
fn what_others_tell_is_bounded() {
    let mut roster = Roster::default();
    let heard = |n: usize| ServerEvent::Heartbeat {
        id: format!("ID-{n}").into(),
        name: format!("n{n}").into(),
        cluster: None,
    };
    roster.apply((0..TOLD + 5).map(heard).collect(), at(0));
    assert!(roster.full());
    assert_eq!(roster.call(&see(0, &["real"]), &routes("real: other"), true).len(), TOLD);
}

fn expected(name: &str, silent_epochs: u64) -> Expected {
    let silent_since = (silent_epochs > 0).then(|| at(-60));
    let (name, cluster) = (name.into(), Some("east".into()));
    Expected { name, cluster, silent_epochs, silent_since, left_at: None }
}

#[test]
fn a_server_of_earlier_findings_is_missed_from_the_first_epoch_on() {
    let mut roster = Roster::default();
    roster.look_out_for([expected("n1", 0), expected("n3", 4), expected("n4", 0)].into_iter());
    assert_eq!(roster.ids().len(), 0, "nobody waits for them");
    let missing = roster.call(&see(10, TWO), &Peers::new(), true);
    assert_eq!(missing.iter().map(told).collect::<Vec<_>>(), ["n3 5", "n4 1"]);
    assert!(missing.iter().all(|missing| missing.expected && missing.cluster.as_deref() == Some("east")));
    // What answered is known better; of what never did, the longest silence holds.
    roster.look_out_for([expected("n1", 9), expected("n3", 9), expected("n3", 2)].into_iter());
    let missing = roster.call(&see(20, &["n2", "n4"]), &routes("n4: n3"), true);
    assert_eq!(missing.iter().map(told).collect::<Vec<_>>(), ["n1 1", "n3 10 <-n4"]);
    assert_eq!(missing.iter().map(|missing| missing.expected).collect::<Vec<_>>(), [false, true]);
    // Once it answers it is a server like any other.
    assert_eq!(roster.call(&see(30, &["n1", "n2", "n3", "n4"]), &Peers::new(), true), []);
    roster.apply(vec![shutdown("n3")], at(40));
    roster.look_out_for([expected("n3", 2)].into_iter());
    assert_eq!(roster.call(&see(40, &["n1", "n2", "n4"]), &Peers::new(), true), []);
}

#[test]
fn a_server_of_earlier_findings_is_forgotten_a_day_after_it_fell_silent() {
    let day = FORGET.whole_seconds();
    for (silent_epochs, gone_at) in [(3, day - 60), (0, day + 10)] {
        let mut roster = Roster::default();
        roster.look_out_for([expected("n3", silent_epochs)].into_iter());
        assert_eq!(roster.call(&see(10, TWO), &Peers::new(), true).len(), 1);
        assert_eq!(roster.call(&see(gone_at - 1, TWO), &Peers::new(), true).len(), 1);
        assert_eq!(roster.call(&see(gone_at, TWO), &Peers::new(), true), []);
    }
    // One without a name of its own comes back under another one.
    let id = "NCQRAXNACFCBEKAJDJCJHAVUMQEWEGHJCDOOZ6KRPC4NCUAMC3SDLIS2";
    let mut roster = Roster::default();
    roster.look_out_for([expected(id, 0)].into_iter());
    for second in 1..i64::try_from(NAMELESS_EPOCHS).unwrap() {
        assert_eq!(roster.call(&see(second, TWO), &Peers::new(), true).len(), 1);
    }
    assert_eq!(roster.call(&see(20, TWO), &Peers::new(), true), []);
}

/// The departures as `name how at` and, once it is back, `back_at`.
fn departures(roster: &Roster) -> Vec<String> {
    let second = |at: OffsetDateTime| (at - super::tests::at(0)).whole_seconds();
    let each = roster.departures().into_iter().map(|one| {
        let back = one.back_at.map_or_else(String::new, |at| format!(" back {}", second(at)));
        format!("{} {} {}{back}", one.server, one.how.as_str(), second(one.at))
    });
    each.collect()
}

/// The same servers under ids of another boot.
fn again(second: i64, servers: &[&str], restarted: &str) -> Snapshot {
    let mut snapshot = see(second, servers);
    let mut server = snapshot.servers.remove(&*format!("ID-{restarted}")).unwrap();
    server.id = format!("ID-{restarted}-again").into();
    snapshot.servers.insert(server.id.clone(), server);
    snapshot
}

#[test]
fn a_departure_is_remembered_over_the_return_for_a_day() {
    let (mut roster, none) = (Roster::default(), Peers::new());
    roster.call(&see(0, ALL), &none, true);
    roster.apply(vec![shutdown("stranger"), heartbeat("n1")], at(5));
    assert_eq!(departures(&roster), Vec::<String>::new());
    roster.apply(vec![lame_duck("n3")], at(10));
    // It still answers: the announcement came before it fell silent.
    roster.call(&see(10, ALL), &none, true);
    assert_eq!(departures(&roster), ["n3 lame_duck 10"]);
    roster.call(&see(20, TWO), &none, true);
    roster.apply(vec![shutdown("n3")], at(130));
    assert_eq!(departures(&roster), ["n3 shutdown 130"]);
    assert_eq!(roster.departures()[0].cluster.as_deref(), Some("east"));
    roster.call(&see(130, TWO), &none, true);
    roster.call(&again(140, ALL, "n3"), &none, true);
    roster.call(&again(150, ALL, "n3"), &none, true);
    assert_eq!(departures(&roster), ["n3 shutdown 130 back 140"]);
    // Words of the boot that is over.
    roster.apply(vec![shutdown("n3")], at(160));
    assert_eq!(departures(&roster), ["n3 shutdown 130 back 140"]);
    // The next one begins anew.
    roster.apply(vec![ServerEvent::Shutdown("ID-n3-again".into()), shutdown("n2")], at(170));
    assert_eq!(departures(&roster), ["n2 shutdown 170", "n3 shutdown 170"]);
    let day = FORGET.whole_seconds();
    roster.call(&see(169 + day, &["n1"]), &none, true);
    assert_eq!(departures(&roster).len(), 2);
    roster.call(&see(170 + day, &["n1"]), &none, true);
    assert_eq!(departures(&roster), Vec::<String>::new());
}

/// Of an epoch that sees n1 of the cluster `east`, and these of the cluster `west`.
fn with_west(second: i64, servers: &[&str]) -> Snapshot {
    let mut system = System::of(1).at(second);
    servers.iter().for_each(|name| system.add_server(name, Some("west")));
    system.done()
}

#[test]
fn departures_of_a_whole_cluster_are_remembered_until_one_of_it_is_back() {
    let (mut roster, none) = (Roster::default(), Peers::new());
    roster.call(&with_west(0, &["w1", "w2"]), &none, true);
    roster.apply(vec![shutdown("w1")], at(10));
    roster.call(&with_west(10, &["w2"]), &none, true);
    roster.apply(vec![shutdown("w2")], at(20));
    let day = FORGET.whole_seconds();
    for second in [20, day + 10, day + 20, 40 * day] {
        roster.call(&with_west(second, &[]), &none, true);
        assert_eq!(departures(&roster), ["w1 shutdown 10", "w2 shutdown 20"], "{second}");
    }
    // Only of the one that is back it is worth knowing.
    let mut back = with_west(40 * day + 10, &["w2"]);
    let mut server = back.servers.remove("ID-w2").unwrap();
    server.id = "ID-w2-again".into();
    back.servers.insert(server.id.clone(), server);
    roster.call(&back, &none, true);
    assert_eq!(departures(&roster), [format!("w2 shutdown 20 back {}", 40 * day + 10)]);
}

#[test]
fn who_is_told_to_have_left_with_its_cluster_is_not_missed() {
    let left = |name: &str| Expected {
        cluster: Some("west".into()),
        left_at: Some(at(-9 * 86_400)),
        ..expected(name, 0)
    };
    let (mut roster, none) = (Roster::default(), Peers::new());
    roster.apply(vec![heartbeat("w3")], at(5));
    roster.look_out_for([left("w1"), left("w3")].into_iter());
    assert_eq!(
        roster.call(&with_west(10, &[]), &none, true).iter().map(told).collect::<Vec<_>>(),
        ["w3 1 heard"]
    );
    assert_eq!(departures(&roster), ["w1 shutdown -777600"]);
    // What was heard here is known better.
    roster.call(&with_west(20, &["w2"]), &none, true);
    roster.apply(vec![lame_duck("w2")], at(30));
    roster.look_out_for([left("w2")].into_iter());
    assert_eq!(departures(&roster), ["w2 lame_duck 30"]);
}

#[test]
fn departures_are_bounded() {
    let (mut roster, none) = (Roster::default(), Peers::new());
    roster.call(&see(0, &["n1"]), &none, true);
    let name = |n: usize| format!("x{n}");
    let life = |n: usize| [heartbeat(&name(n)), shutdown(&name(n))];
    for n in 0..TOLD + 5 {
        roster.apply(life(n).into(), at(i64::try_from(n).unwrap()));
        roster.left.clear();
    }
    let departures = departures(&roster);
    assert_eq!(departures.len(), TOLD);
    assert!(!departures.iter().any(|one| one.starts_with("x0 ") || one.starts_with("x4 ")));
}
