//! Single turns of the state machine, as a table of what is heard and said.

use super::presence::tests::presence;
use super::*;
use std::time::Duration;
use time::OffsetDateTime;

struct One {
    election: Election,
    now: Duration,
}

impl One {
    fn new(lease: bool) -> Self {
        let own = Candidate {
            id: "own".into(),
            name: "host".into(),
            version: "0.1.0".into(),
            prefix: "insights.checks".into(),
            system_account: Some("SYS".into()),
            interval: Duration::from_secs(2),
            lease,
        };
        let now = Now { up: Duration::ZERO, at: OffsetDateTime::UNIX_EPOCH };
        Self { election: Election::new(own, now), now: Duration::ZERO }
    }

    fn step(&mut self, event: Event) -> Vec<Action> {
        let now = Now { up: self.now, at: OffsetDateTime::UNIX_EPOCH + self.now };
        self.election.step(event, now)
    }

    /// Lets time pass and has what is said come back at once; gives what was said.
    fn live(&mut self, milliseconds: u64) -> Vec<Presence> {
        let end = self.now + Duration::from_millis(milliseconds);
        let mut said = Vec::new();
        loop {
            let actions = self.step(Event::Tick);
            for action in actions {
                if let Action::Say(told) = action {
                    said.push(told.clone());
                    self.step(Event::Heard(told));
                }
            }
            let next = self.election.wake();
            if next > end {
                self.now = end;
                return said;
            }
            self.now = next;
        }
    }

    fn hear(&mut self, told: Presence) -> Vec<Action> {
        self.step(Event::Heard(told))
    }

    fn leads_by(&self) -> Option<Basis> {
        match self.election.role() {
            Role::Leader { by } => Some(*by),
            Role::Standby { .. } | Role::Undecided => None,
        }
    }
}

fn said(actions: &[Action]) -> Vec<&Presence> {
    let mut said = Vec::new();
    for action in actions {
        if let Action::Say(told) = action {
            said.push(told);
        }
    }
    said
}

#[test]
fn one_alone_says_hello_and_leads_when_nobody_has_answered() {
    let mut one = One::new(false);
    let hello = one.live(700);
    assert!(hello.iter().all(|told| told.hello && !told.leading), "{hello:?}");
    assert_eq!(one.election.role(), &Role::Undecided);
    let then = one.live(100);
    assert_eq!(one.leads_by(), Some(Basis::Presence));
    assert!(then.last().is_some_and(|told| told.leading && !told.hello), "{then:?}");
    let beats = one.live(5000);
    assert_eq!(beats.len(), 10, "every half second");
}

#[test]
fn who_does_not_hear_itself_does_not_begin() {
    let mut one = One::new(false);
    for _ in 0..100 {
        one.now += Duration::from_millis(100);
        one.step(Event::Tick);
        assert_eq!(one.election.role(), &Role::Undecided);
    }
    assert_eq!(one.election.holds_until(), Duration::ZERO);
}

#[test]
fn a_leader_that_is_there_is_followed_at_once() {
    let mut one = One::new(false);
    one.live(100);
    one.hear(Presence { leading: true, ..presence("there", 9_999) });
    let leader = Other { id: "there".into(), name: "host-there".into() };
    assert_eq!(one.election.role(), &Role::Standby { leader: Some(leader) });
    // It falls silent, and nobody else is there.
    one.live(1990);
    assert_eq!(one.leads_by(), None);
    one.live(20);
    assert_eq!(one.leads_by(), Some(Basis::Presence));
}

#[test]
fn agents_with_another_prefix_or_of_another_system_do_not_count() {
    let mut one = One::new(false);
    one.live(1000);
    let other = Presence { leading: true, lease: true, ..presence("other", 0) };
    one.hear(Presence { prefix: "team.checks".into(), ..other.clone() });
    one.hear(Presence { system_account: Some("LEAFSYS".into()), ..other.clone() });
    assert_eq!((one.leads_by(), one.election.peers()), (Some(Basis::Presence), 0));
    one.hear(other);
    assert_eq!((one.leads_by(), one.election.peers()), (None, 1));
}

#[test]
fn a_hello_is_answered_at_once_and_many_are_answered_together() {
    let mut one = One::new(false);
    one.live(1010);
    one.now += Duration::from_millis(100);
    let answers = one.hear(Presence { hello: true, ..presence("new", 9_999) });
    assert!(
        said(&answers).iter().all(|told| told.leading && !told.hello) && answers.len() == 1,
        "{answers:?}"
    );
    for n in 0..20 {
        let more = one.hear(Presence { hello: true, ..presence(&format!("new{n}"), 9_999) });
        assert_eq!(said(&more).len(), 0, "{more:?}");
    }
    assert_eq!(one.live(50).len(), 1);
}

#[test]
fn who_may_not_speak_leads_alone_and_tries_again_seldom() {
    let mut one = One::new(false);
    one.step(Event::Tick);
    one.step(Event::Denied);
    assert_eq!(one.leads_by(), Some(Basis::Alone));
    // Nobody is heard who may be there.
    one.hear(Presence { leading: true, ..presence("there", 0) });
    assert_eq!(one.leads_by(), Some(Basis::Alone));
    let mut tries = 0;
    for _ in 0..600 {
        one.now += Duration::from_millis(250);
        tries += said(&one.step(Event::Tick)).len();
        assert_eq!(one.leads_by(), Some(Basis::Alone));
    }
    assert_eq!(tries, 2, "in 150 seconds");
    // It is allowed: as after a start, the others are asked first.
    let told = Presence { up_ms: one.now.as_millis() as u64, ..presence("own", 0) };
    one.hear(told);
    assert!(!one.election.denied());
    one.hear(Presence { leading: true, ..presence("there", -9_999) });
    assert_eq!(one.leads_by(), None);
}

#[test]
fn who_wakes_up_knows_before_it_publishes_that_its_time_is_over() {
    let mut one = One::new(false);
    one.live(1000);
    one.hear(presence("other", 9_999));
    one.live(1000);
    assert!(one.election.holds_until() > one.now);
    // Stopped for a minute: nothing has been told to the state machine yet.
    one.now += Duration::from_secs(60);
    assert!(one.election.holds_until() < one.now);
    // The first thing that it hears is a message of before.
    one.hear(presence("other", 9_999));
    assert_eq!(one.election.role(), &Role::Undecided);
}

#[test]
fn a_new_length_of_epochs_holds_at_once() {
    let mut one = One::new(false);
    one.live(1000);
    one.election.set_interval(Duration::from_secs(60));
    one.live(1000);
    assert_eq!(one.live(10_000).len(), 2);
}

#[test]
fn a_lease_that_is_never_answered_does_not_keep_the_agent_from_its_work() {
    let mut one = One::new(true);
    one.live(1500);
    assert_eq!(one.leads_by(), None);
    one.live(1000);
    assert_eq!(one.leads_by(), Some(Basis::Presence));
}

#[test]
fn a_lease_that_an_earlier_run_left_does_not_stop_who_leads() {
    let mut one = One::new(true);
    one.live(10);
    one.step(Event::Lease(LeaseOutcome::Unavailable));
    one.live(1000);
    assert_eq!(one.leads_by(), Some(Basis::Presence));
    let holder = Holder {
        id: "dead".into(),
        name: "dead".into(),
        since: OffsetDateTime::UNIX_EPOCH,
        interval_ms: 2000,
    };
    one.step(Event::Lease(LeaseOutcome::Seen(Some((7, holder.clone())))));
    assert_eq!(one.leads_by(), Some(Basis::Presence), "nothing shows that the holder lives");
    one.live(600);
    one.step(Event::Lease(LeaseOutcome::Seen(Some((8, holder)))));
    assert_eq!(one.leads_by(), None, "it has renewed it");
}
