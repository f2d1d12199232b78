//! The world in which the agents of the simulation live.

use super::super::timing::RETURN;
use super::super::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;
use time::OffsetDateTime;

pub(super) const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// The longest way of a message.
pub(super) const LONGEST: Duration = ms(40);

/// What happens to an agent or to the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Fault {
    Kill(usize),
    Start(usize),
    Leave(usize),
    /// SIGSTOP and SIGCONT.
    Stop(usize),
    Continue(usize),
    /// Its connection to its server.
    Cut(usize),
    Mend(usize),
    /// Agents whose bit differs do not hear each other.
    Split(u8),
    Heal,
    Store(usize, bool),
    /// Messages lost, in percent.
    Loss(u8),
}

#[derive(Debug, Clone)]
enum Arrival {
    Said(Presence),
    Asked(LeaseAction),
    Outcome(LeaseOutcome),
}

pub(super) struct Agent {
    pub(super) election: Election,
    started: Duration,
    stopped: bool,
    cut: bool,
    /// What came while it was stopped.
    waiting: Vec<Arrival>,
    ended: bool,
}

/// A random number that the seed decides.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

pub(super) struct World {
    pub(super) now: Duration,
    interval: Duration,
    lease: bool,
    pub(super) agents: Vec<Option<Agent>>,
    starts: u64,
    network: BTreeMap<u64, (usize, u64, Arrival)>,
    order: BinaryHeap<Reverse<(Duration, u64)>>,
    sent: u64,
    pub(super) random: Random,
    split: u8,
    loss: u8,
    store: Option<(u64, Option<Holder>)>,
    reach: Vec<bool>,
    revision: u64,
    /// Since when two agents that hear each other both publish.
    both: BTreeMap<(usize, usize), Duration>,
    pub(super) longest_both: Duration,
    /// Who published when nobody else did, in order.
    pub(super) leaders: Vec<(Duration, usize)>,
}

impl World {
    pub(super) fn new(agents: usize, interval: Duration, lease: bool, seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            interval,
            lease,
            agents: (0..agents).map(|_| None).collect(),
            starts: 0,
            network: BTreeMap::new(),
            order: BinaryHeap::new(),
            sent: 0,
            random: Random(seed),
            split: 0,
            loss: 0,
            store: None,
            reach: vec![true; agents],
            revision: 0,
            both: BTreeMap::new(),
            longest_both: Duration::ZERO,
            leaders: Vec::new(),
        }
    }

    fn wall(&self) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_763_632_800).unwrap() + self.now
    }

    fn send(&mut self, to: usize, start: Duration, arrival: Arrival) {
        let delay = ms(self.random.below(LONGEST.as_millis() as u64) + 1);
        self.sent += 1;
        self.order.push(Reverse((self.now + delay, self.sent)));
        self.network.insert(self.sent, (to, start.as_nanos() as u64, arrival));
    }

    pub(super) fn start(&mut self, which: usize) {
        if self.agents[which].is_some() {
            return;
        }
        self.starts += 1;
        let own = Candidate {
            id: format!("{which}-{}", self.starts),
            name: format!("host-{which}"),
            version: "0".into(),
            prefix: "insights.checks".into(),
            system_account: Some("SYS".into()),
            interval: self.interval,
            lease: self.lease,
        };
        let election = Election::new(own, Now { up: Duration::ZERO, at: self.wall() });
        let agent = Agent {
            election,
            started: self.now,
            stopped: false,
            cut: false,
            waiting: Vec::new(),
            ended: false,
        };
        self.agents[which] = Some(agent);
        self.step(which, Event::Tick);
    }

    fn step(&mut self, which: usize, event: Event) {
        let at = self.wall();
        let now = self.now;
        let Some(agent) = self.agents[which].as_mut().filter(|agent| !agent.ended) else {
            return;
        };
        let started = agent.started;
        let actions = agent.election.step(event, Now { up: now - started, at });
        let cut = agent.cut;
        for action in actions {
            match action {
                Action::Say(_) if cut => {}
                Action::Say(told) => {
                    for other in 0..self.agents.len() {
                        let parted = (self.split >> which ^ self.split >> other) & 1 == 1;
                        let lost = other != which && self.random.below(100) < u64::from(self.loss);
                        if let Some(started) = self.agents[other].as_ref().map(|agent| agent.started)
                            && !parted
                            && !lost
                        {
                            self.send(other, started, Arrival::Said(told.clone()));
                        }
                    }
                }
                Action::Lease(action) => self.send(which, started, Arrival::Asked(action)),
            }
        }
    }

    fn arrive(&mut self, which: usize, start: u64, arrival: Arrival) {
        let reach = self.reach[which];
        let Some(agent) = &mut self.agents[which] else {
            return;
        };
        if agent.started.as_nanos() as u64 != start {
            return;
        }
        let started = agent.started;
        match arrival {
            // The store is asked, whatever has become of the agent.
            Arrival::Asked(action) => {
                let outcome = if reach { self.ask_store(action) } else { LeaseOutcome::Unavailable };
                self.send(which, started, Arrival::Outcome(outcome));
            }
            arrival if agent.stopped => agent.waiting.push(arrival),
            Arrival::Said(_) if agent.cut => {}
            Arrival::Said(told) => self.step(which, Event::Heard(told)),
            Arrival::Outcome(outcome) => self.step(which, Event::Lease(outcome)),
        }
    }

    fn ask_store(&mut self, action: LeaseAction) -> LeaseOutcome {
        let last = self.store.as_ref().and_then(|(revision, holder)| holder.as_ref().map(|_| *revision));
        match action {
            LeaseAction::Look => {
                let seen = self.store.clone();
                LeaseOutcome::Seen(seen.and_then(|(revision, holder)| Some((revision, holder?))))
            }
            LeaseAction::Take { over, holder } if over == last => {
                self.revision += 1;
                self.store = Some((self.revision, Some(holder)));
                LeaseOutcome::Written(self.revision)
            }
            LeaseAction::Release { revision } if Some(revision) == last => {
                self.revision += 1;
                self.store = Some((self.revision, None));
                LeaseOutcome::Released
            }
            LeaseAction::Take { .. } | LeaseAction::Release { .. } => LeaseOutcome::Refused,
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        match fault {
            Fault::Kill(which) => self.agents[which] = None,
            Fault::Start(which) => self.start(which),
            Fault::Leave(which) => {
                self.step(which, Event::Leave);
                if let Some(agent) = &mut self.agents[which] {
                    agent.ended = true;
                }
            }
            Fault::Stop(which) => {
                if let Some(agent) = &mut self.agents[which] {
                    agent.stopped = true;
                }
            }
            Fault::Continue(which) => {
                let Some(agent) = self.agents[which].as_mut().filter(|agent| agent.stopped) else {
                    return;
                };
                agent.stopped = false;
                let (start, waiting) = (agent.started.as_nanos() as u64, std::mem::take(&mut agent.waiting));
                for arrival in waiting {
                    self.arrive(which, start, arrival);
                }
                self.step(which, Event::Tick);
            }
            Fault::Cut(which) => {
                if let Some(agent) = &mut self.agents[which] {
                    agent.cut = true;
                    self.when_awake(which, Event::Lost);
                }
            }
            Fault::Mend(which) => {
                if let Some(agent) = &mut self.agents[which] {
                    agent.cut = false;
                    self.when_awake(which, Event::Connected);
                }
            }
            Fault::Split(sides) => self.split = sides,
            Fault::Heal => self.split = 0,
            Fault::Store(which, reach) => self.reach[which] = reach,
            Fault::Loss(percent) => self.loss = percent,
        }
    }

    fn when_awake(&mut self, which: usize, event: Event) {
        if self.agents[which].as_ref().is_some_and(|agent| !agent.stopped) {
            self.step(which, event);
        }
    }

    /// Lets time pass, event by event.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let wake = |(which, agent): (usize, &Option<Agent>)| {
                let agent = agent.as_ref().filter(|agent| !agent.stopped && !agent.ended)?;
                Some((agent.started + agent.election.wake(), which))
            };
            let tick = self.agents.iter().enumerate().filter_map(wake).min();
            let arrival = self.order.peek().map(|Reverse((at, _))| *at);
            let next = [tick.map(|(at, _)| at), arrival].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.look_at(next);
            self.now = next;
            if arrival == Some(next) {
                let Some(Reverse((_, id))) = self.order.pop() else { break };
                if let Some((to, start, arrival)) = self.network.remove(&id) {
                    self.arrive(to, start, arrival);
                }
            } else if let Some((_, which)) = tick {
                self.step(which, Event::Tick);
            }
        }
        self.look_at(end);
        self.now = end;
    }

    /// Who would publish now.
    fn publishers(&self, at: Duration) -> Vec<usize> {
        let publishes = |agent: &Agent| {
            let holds = agent.election.holds_until() > at - agent.started;
            !agent.stopped && !agent.ended && !agent.cut && agent.election.role().leads() && holds
        };
        let all = self.agents.iter().enumerate();
        all.filter(|(_, agent)| agent.as_ref().is_some_and(publishes)).map(|(which, _)| which).collect()
    }

    /// What held from `now` until `until`.
    fn look_at(&mut self, until: Duration) {
        let publishers = self.publishers(self.now);
        if let [one] = publishers[..]
            && self.leaders.last().is_none_or(|(_, last)| *last != one)
        {
            self.leaders.push((self.now, one));
        }
        let mut both = BTreeMap::new();
        for (place, one) in publishers.iter().enumerate() {
            for other in &publishers[place + 1..] {
                let parted = (self.split >> one ^ self.split >> other) & 1 == 1;
                if !parted && self.loss == 0 {
                    let since = self.both.get(&(*one, *other)).copied().unwrap_or(self.now);
                    // A leader whose time is over within this span publishes no longer.
                    let ends = [*one, *other].map(|which| match &self.agents[which] {
                        Some(agent) => agent.started + agent.election.holds_until(),
                        None => until,
                    });
                    let last = until.min(ends[0]).min(ends[1]);
                    self.longest_both = self.longest_both.max(last.saturating_sub(since));
                    both.insert((*one, *other), since);
                }
            }
        }
        self.both = both;
    }

    fn running(&self) -> usize {
        self.agents.iter().flatten().filter(|agent| !agent.ended).count()
    }

    /// All faults end, and everybody who is not there starts.
    pub(super) fn mend(&mut self) {
        self.fault(Fault::Heal);
        self.fault(Fault::Loss(0));
        for which in 0..self.agents.len() {
            self.fault(Fault::Store(which, true));
            self.fault(Fault::Mend(which));
            self.fault(Fault::Continue(which));
            if self.agents[which].as_ref().is_some_and(|agent| agent.ended) {
                self.agents[which] = None;
            }
            self.start(which);
        }
    }

    pub(super) fn settle(&self) -> Duration {
        HELLO_WAIT + silence(self.interval) * 4 + RETURN
    }

    pub(super) fn whoever_leads(&self) -> usize {
        let publishers = self.publishers(self.now);
        assert_eq!(publishers.len(), 1, "{publishers:?} of {} at {:?}", self.running(), self.now);
        publishers[0]
    }
}
