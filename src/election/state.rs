//! The state machine: what was heard, and the time, give the role and what to send.

use super::lease::{Holder, Lease, LeaseAction, LeaseOutcome, Says};
use super::peers::Peers;
use super::presence::{AGENT_TYPE, Listed, Presence};
use super::timing::{
    ANSWER_GAP, DENIED_RETRY, HELLO_AGAIN, HELLO_WAIT, RETURN, heartbeat, patience, silence,
};
use super::{Basis, Other, Role};
use std::cmp::Ordering;
use std::time::Duration;
use time::OffsetDateTime;

/// The time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// On the agent's own [`Clock`](super::Clock).
    pub up: Duration,
    /// On the wall.
    pub at: OffsetDateTime,
}

/// Who stands for election.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The agent's id: new at every start.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Its subject prefix.
    pub prefix: String,
    /// The system account, if known.
    pub system_account: Option<String>,
    /// The interval of its epochs.
    pub interval: Duration,
    /// Whether there is a key-value store for a lease.
    pub lease: bool,
}

/// What an agent learns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The connection to the system was lost.
    Lost,
    /// It stands again.
    Connected,
    /// An agent said that it is there; may be this agent itself.
    Heard(Presence),
    /// The server does not let this agent speak to others, or hear them.
    Denied,
    /// What came of the oldest [`Action::Lease`] that was not answered yet.
    Lease(LeaseOutcome),
    /// This agent is about to end.
    Leave,
}

/// What an agent does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Publish this, unless the connection is down.
    Say(Presence),
    /// Do this, after all that was asked before, and tell the outcome.
    Lease(LeaseAction),
}

/// Whether the agent knows who else is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Settled {
    /// It has not heard itself since then.
    Unheard(Duration),
    /// The others have until then to answer.
    Asked(Duration),
    Yes,
}

/// One agent's view of the election.
#[derive(Debug, Clone)]
pub struct Election {
    own: Candidate,
    since: OffsetDateTime,
    role: Role,
    peers: Peers,
    lease: Option<Lease>,
    settled: Settled,
    denied: bool,
    connected: bool,
    left: bool,
    /// When the latest message was sent that this agent heard from itself; at first, its start.
    proof: Duration,
    /// Whether others were heard when it last heard itself, or since: who hears neither is cut off, and not alone.
    others: bool,
    /// How long its messages take to come back.
    delay: Duration,
    last_said: Option<Duration>,
    next_say: Duration,
    /// Whether the latest message said that it leads, and that it holds the lease: a change is told at once.
    flags: (bool, bool),
    /// The time of the latest event.
    stepped: Duration,
}

impl Election {
    /// Begins undecided.
    pub fn new(own: Candidate, now: Now) -> Self {
        let lease = own.lease.then(|| Lease::new(&own.id, own.interval, now.up));
        Self {
            own,
            since: now.at,
            role: Role::Undecided,
            peers: Peers::default(),
            lease,
            settled: Settled::Unheard(now.up),
            denied: false,
            connected: true,
            left: false,
            proof: now.up,
            others: false,
            delay: Duration::ZERO,
            last_said: None,
            next_say: now.up,
            flags: (false, false),
            stepped: now.up,
        }
    }

    /// The role, as of the last event.
    pub fn role(&self) -> &Role {
        &self.role
    }

    /// How many others are heard.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// The connections of the others that are heard.
    pub fn connections(&self) -> impl Iterator<Item = &Listed> {
        self.peers.all().filter_map(|told| told.connection.as_ref())
    }

    /// Whether the server does not let this agent speak or hear.
    pub fn denied(&self) -> bool {
        self.denied
    }

    /// Goes on with epochs of another length.
    pub fn set_interval(&mut self, interval: Duration) {
        self.own.interval = interval;
        if let Some(lease) = &mut self.lease {
            lease.set_interval(interval);
        }
    }

    /// When the role ends if nothing more is heard: a leader publishes nothing at or after this time, on its own clock.
    pub fn holds_until(&self) -> Duration {
        if self.role.leads() { self.cut_off_at() } else { Duration::ZERO }
    }

    /// When an [`Event::Tick`] is due at the latest.
    pub fn wake(&self) -> Duration {
        let settled = match self.settled {
            Settled::Asked(until) => Some(until),
            Settled::Unheard(_) | Settled::Yes => None,
        };
        let lease = self.lease.iter().flat_map(Lease::wake);
        let times = [Some(self.next_say), settled, self.peers.next_expiry(), Some(self.cut_off_at())];
        let times = times.into_iter().flatten().chain(lease);
        // What lies in the past was dealt with when it came, or waits for an answer.
        let next = times.filter(|at| *at > self.stepped).min();
        let latest = self.stepped + heartbeat(self.own.interval);
        next.map_or(latest, |next| next.min(latest))
    }

    /// Takes in an event, and tells what to do, in order.
    pub fn step(&mut self, event: Event, now: Now) -> Vec<Action> {
        self.stepped = now.up;
        let mut actions = Vec::new();
        if self.left {
            return actions;
        }
        if now.up >= self.cut_off_at() {
            self.come_back(now, &mut actions);
        }
        let mut answer = false;
        match event {
            Event::Tick => {}
            Event::Lost => self.connected = false,
            Event::Connected => {
                self.connected = true;
                self.next_say = now.up;
            }
            Event::Heard(told) if told.id == self.own.id => self.hear_oneself(&told, now),
            Event::Heard(told) => answer = self.hear(told, now.up),
            Event::Denied if !self.denied => {
                self.denied = true;
                self.peers.clear();
                self.settled = Settled::Yes;
                self.next_say = now.up + DENIED_RETRY;
            }
            Event::Denied => {}
            Event::Lease(outcome) => {
                if let Some(lease) = &mut self.lease {
                    lease.told(outcome, now.up);
                }
            }
            Event::Leave => {
                self.leave(&mut actions, now);
                return actions;
            }
        }
        if self.denied && self.connected {
            // There is no other proof.
            self.proof = now.up;
        }
        if let Settled::Asked(until) = self.settled
            && now.up >= until
        {
            self.settled = Settled::Yes;
        }
        self.peers.expire(now.up);
        self.role = self.decide(now.up);
        let wanted = self.wants_lease(now.up);
        let (kept, holder) = (self.connected, self.holder());
        if let Some(action) = self.lease.as_mut().and_then(|lease| lease.act(wanted, kept, holder, now.up)) {
            actions.push(Action::Lease(action));
        }
        self.say(answer, &mut actions, now.up);
        actions
    }

    /// The time from which nothing proves any more that the others hear this agent. What its messages take to come back
    /// is no silence.
    fn cut_off_at(&self) -> Duration {
        self.proof + patience(self.own.interval, self.others) + self.delay.min(silence(self.own.interval))
    }

    /// After it was stopped or cut off, an agent is as one that starts.
    fn come_back(&mut self, now: Now, actions: &mut Vec<Action>) {
        (self.since, self.proof, self.next_say) = (now.at, now.up, now.up);
        self.delay = Duration::ZERO;
        self.peers.clear();
        self.role = Role::Undecided;
        self.settled = if self.denied { Settled::Yes } else { Settled::Unheard(now.up) };
        if let Some(lease) = &mut self.lease {
            actions.extend(lease.release(now.up).map(Action::Lease));
            lease.forget(now.up);
        }
    }

    fn hear_oneself(&mut self, told: &Presence, now: Now) {
        let sent = Duration::from_millis(told.up_ms);
        if sent > now.up || told.leaving {
            return;
        }
        if self.denied {
            self.denied = false;
            self.settled = Settled::Unheard(sent);
            self.next_say = now.up;
        }
        let delay = now.up - sent;
        self.delay = if delay > self.delay { delay } else { (self.delay * 7 + delay) / 8 };
        self.proof = self.proof.max(sent);
        self.others = !self.peers.is_empty();
        if let Settled::Unheard(since) = self.settled
            && told.up_ms >= milliseconds(since)
        {
            self.settled = Settled::Asked(now.up + HELLO_WAIT);
        }
    }

    /// Takes in what another one said, and whether it wants an answer.
    fn hear(&mut self, told: Presence, now: Duration) -> bool {
        let own = self.presence(now);
        if self.denied || !own.concerns(&told) {
            return false;
        }
        // Who leads as well, and must not, has not heard of this one yet.
        let answer = told.hello || (own.leading && told.leading && own.rank(&told) == Ordering::Greater);
        if let Some(lease) = self.lease.as_mut().filter(|_| told.leaving) {
            lease.leaves(&told.id, now);
        }
        self.peers.hear(told, now);
        self.others = !self.peers.is_empty();
        answer
    }

    fn leave(&mut self, actions: &mut Vec<Action>, now: Now) {
        self.role = Role::Standby { leader: None };
        if let Some(lease) = &mut self.lease {
            actions.extend(lease.release(now.up).map(Action::Lease));
        }
        self.left = true;
        if !self.denied {
            actions.push(Action::Say(self.presence(now.up)));
        }
    }

    fn decide(&self, now: Duration) -> Role {
        let standby = |leader: &Presence| {
            let leader = Other { id: leader.id.clone(), name: leader.name.clone() };
            Role::Standby { leader: Some(leader) }
        };
        let ahead = self.peers.best().filter(|best| self.presence(now).rank(best) == Ordering::Less);
        let leader = ahead.filter(|ahead| ahead.leading || ahead.lease);
        match self.lease.as_ref().map(|lease| (lease.says(now), lease.taken_at())) {
            Some((Says::Mine, taken_at)) => match self.peers.leader() {
                // The one that led until now is told first, so that not both publish.
                Some(leader)
                    if !self.role.leads() && taken_at.is_some_and(|taken| now < taken + HELLO_WAIT) =>
                {
                    standby(leader)
                }
                _ => Role::Leader { by: Basis::Lease },
            },
            Some((Says::Other { holder, proven }, _)) if proven || !self.role.leads() => {
                Role::Standby { leader: Some(Other { id: holder.id, name: holder.name }) }
            }
            Some((Says::Other { .. } | Says::Free(_) | Says::Stale(_) | Says::Wait, _)) => match leader {
                Some(leader) => standby(leader),
                None if self.role.leads() => Role::Leader { by: Basis::Presence },
                None if self.role == Role::Undecided => Role::Undecided,
                None => Role::Standby { leader: None },
            },
            Some((Says::Nothing, _)) | None if self.denied => Role::Leader { by: Basis::Alone },
            Some((Says::Nothing, _)) | None => match (leader, ahead) {
                (Some(leader), _) => standby(leader),
                (None, Some(_)) => Role::Standby { leader: None },
                (None, None) if self.role.leads() || self.settled == Settled::Yes => {
                    Role::Leader { by: Basis::Presence }
                }
                (None, None) => Role::Undecided,
            },
        }
    }

    /// Whether a lease that can be had is to be taken.
    fn wants_lease(&self, now: Duration) -> bool {
        let patience = silence(self.own.interval);
        let (since, stale) = match self.lease.as_ref().map(|lease| lease.says(now)) {
            Some(Says::Free(since)) => (since, false),
            Some(Says::Stale(since)) => (since, true),
            _ => return false,
        };
        let first = || {
            let best = self.peers.best();
            best.is_none_or(|best| self.presence(now).rank(best) == Ordering::Greater)
        };
        if self.settled != Settled::Yes {
            false
        } else if self.role.leads() {
            true
        } else if self.peers.leader().is_some() {
            // After an outage of the store each agent finds it again in its own time.
            now >= since + patience + RETURN
        } else {
            // The first in rank is let go ahead for a while.
            stale || first() || now >= since + patience
        }
    }

    fn say(&mut self, answer: bool, actions: &mut Vec<Action>, now: Duration) {
        let told = self.presence(now);
        let flags = (told.leading, told.lease);
        let settled = self.settled == Settled::Yes;
        let due = now >= self.next_say;
        if answer {
            let earliest = self.last_said.map_or(now, |last| last + ANSWER_GAP);
            self.next_say = self.next_say.min(earliest.max(now));
        }
        if !(due || now >= self.next_say || (flags != self.flags && !self.denied)) {
            return;
        }
        // An answer asks nothing, or two that start together would ask each other without end.
        actions.push(Action::Say(Presence { hello: due && (!settled || self.denied), ..told }));
        (self.flags, self.last_said) = (flags, Some(now));
        self.next_say = now
            + match () {
                () if self.denied => DENIED_RETRY,
                () if settled => heartbeat(self.own.interval),
                () => HELLO_AGAIN,
            };
    }

    fn presence(&self, now: Duration) -> Presence {
        Presence {
            kind_of_message: AGENT_TYPE.into(),
            id: self.own.id.clone(),
            name: self.own.name.clone(),
            version: self.own.version.clone(),
            prefix: self.own.prefix.clone(),
            system_account: self.own.system_account.clone(),
            since: self.since,
            interval_ms: milliseconds(self.own.interval),
            up_ms: milliseconds(now),
            // Known where it is sent.
            connection: None,
            leading: self.role.leads(),
            lease: !self.left && self.lease.as_ref().is_some_and(|lease| lease.is_mine(now)),
            leaving: self.left,
            hello: false,
        }
    }

    fn holder(&self) -> Holder {
        Holder {
            id: self.own.id.clone(),
            name: self.own.name.clone(),
            since: self.since,
            interval_ms: milliseconds(self.own.interval),
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
