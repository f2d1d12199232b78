//! The election at work: a task that hears and speaks, and what the rest of the agent knows of it.

use super::look::Looker;
use super::now;
use crate::config::Config;
use crate::election::{
    AGENTS_SUBJECT, Action, Basis, Candidate, Clock, Election, Event, LeaseAction, LeaseOutcome, Listed, Now,
    Other, Role,
};
use crate::finding::{AgentInfo, AgentsAtWork, Finding};
use crate::nats::events::ClientEvents;
use crate::nats::inbox::InboxError;
use crate::nats::lease::LeaseKey;
use crate::nats::presence::{Heard, Presences};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often it is looked whether the connection stands, which nothing else tells.
const LOOK: Duration = Duration::from_millis(250);

/// Findings that are kept of agents that led as well, until the next epoch.
const MAX_HANDED: usize = 20_000;

/// What giving the lease back may take at the end.
const RELEASE: Duration = Duration::from_millis(500);

/// What this agent is among the others.
#[derive(Debug, Clone)]
pub(super) struct Office {
    shared: Arc<Shared>,
    role: watch::Receiver<Role>,
}

#[derive(Debug)]
struct Shared {
    began: Instant,
    clock: Mutex<Clock>,
    /// Until when the role may be relied on, on that clock, in milliseconds.
    until: AtomicU64,
    /// How many others are heard.
    others: AtomicU64,
    /// Their connections.
    connections: Mutex<Vec<Listed>>,
    denied: AtomicBool,
    /// The length of epochs in milliseconds.
    interval: AtomicU64,
    /// The agent that this one met when both led, and left the lead to.
    met: Mutex<Option<Other>>,
    /// What agents that left the lead to this one had found.
    handed: Mutex<Vec<Finding>>,
    leave: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is whole after each single change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            clock: Mutex::new(Clock::new(Duration::ZERO, now())),
            until: AtomicU64::new(0),
            others: AtomicU64::new(0),
            connections: Mutex::default(),
            denied: AtomicBool::new(false),
            interval: AtomicU64::new(u64::MAX),
            met: Mutex::default(),
            handed: Mutex::default(),
            leave: CancellationToken::new(),
        }
    }

    fn set_interval(&self, interval: Duration) {
        let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.interval.store(interval, Ordering::Relaxed);
    }

    fn now(&self) -> Now {
        let at = now();
        let mut clock = lock(&self.clock);
        Now { up: clock.read(self.began.elapsed(), at), at }
    }
}

impl Office {
    /// Takes part in the election until [`Member::leave`]; where there is none, leads from the beginning.
    pub(super) async fn start(
        config: &Config,
        looker: &Looker,
        lease: Option<LeaseKey>,
    ) -> Result<(Self, Member), InboxError> {
        let shared = Arc::new(Shared::new());
        shared.set_interval(config.epoch);
        if !config.election.enabled {
            let (role, told) = watch::channel(Role::Leader { by: Basis::Alone });
            shared.until.store(u64::MAX, Ordering::Relaxed);
            let leave = Arc::clone(&shared);
            let task = tokio::spawn(async move {
                leave.leave.cancelled().await;
                drop(role);
            });
            let task = AbortOnDropHandle::new(task);
            return Ok((Self { shared: Arc::clone(&shared), role: told }, Member { shared, task }));
        }
        let (connection, agent) = (looker.connection(), &looker.origin().agent);
        let own = Candidate {
            id: agent.id.clone(),
            name: agent.name.clone(),
            version: agent.version.clone(),
            prefix: config.subject_prefix.clone(),
            system_account: looker.account().map(str::to_owned),
            interval: config.epoch,
            lease: lease.is_some(),
        };
        let presences = Presences::start(connection, &agent.id).await?;
        let election = Election::new(own, shared.now());
        let (role, told) = watch::channel(Role::Undecided);
        let driver = Driver {
            shared: Arc::clone(&shared),
            election,
            presences,
            events: connection.events().clone(),
            role,
            connects: connection.events().connects(),
            connected: true,
            violations: 0,
            lease: lease.map(Keeper::start),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(driver.run()));
        Ok((Self { shared: Arc::clone(&shared), role: told }, Member { shared, task }))
    }

    /// The role, as it changes.
    pub(super) fn role(&self) -> watch::Receiver<Role> {
        self.role.clone()
    }

    /// Makes epochs of another length.
    pub(super) fn set_interval(&self, interval: Duration) {
        self.shared.set_interval(interval);
    }

    /// The agent to which this one left the lead when it met it, once.
    pub(super) fn take_met(&self) -> Option<Other> {
        lock(&self.shared.met).take()
    }

    /// What agents that left the lead to this one had found, since the last call.
    pub(super) fn take_handed(&self) -> Vec<Finding> {
        std::mem::take(&mut lock(&self.shared.handed))
    }

    /// Waits until this agent does not lead.
    pub(super) async fn lost(&self) {
        // An error means that the end has begun.
        let _ = self.role.clone().wait_for(|role| !role.leads()).await;
    }

    /// Whether this agent leads, and knows it from proofs that are not too old: to be asked before each thing that only a
    /// leader may do, since the process may have been stopped in between.
    pub(super) fn holds(&self) -> bool {
        let leads = self.role.borrow().leads();
        let until = Duration::from_millis(self.shared.until.load(Ordering::Relaxed));
        leads && self.shared.now().up < until
    }

    /// For the summary of an epoch of this agent.
    pub(super) fn at_work(&self, agent: &AgentInfo) -> AgentsAtWork {
        let by = match *self.role.borrow() {
            Role::Leader { by } => by,
            Role::Standby { .. } | Role::Undecided => Basis::Presence,
        };
        AgentsAtWork {
            leader: agent.id.clone(),
            standby: self.shared.others.load(Ordering::Relaxed),
            by: by.as_str(),
        }
    }

    /// The connections of the others that are heard.
    pub(super) fn connections(&self) -> Vec<Listed> {
        lock(&self.shared.connections).clone()
    }

    /// Whether the server does not let this agent speak to others, or hear them.
    pub(super) fn denied(&self) -> bool {
        self.shared.denied.load(Ordering::Relaxed)
    }
}

/// The part in the election; ends when it is dropped, without a word to the others.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
}

impl Member {
    /// Tells the others that this agent ends, and gives up the lease, so that the next one begins at once.
    pub(super) async fn leave(self, within: Duration) {
        self.shared.leave.cancel();
        let _ = tokio::time::timeout(within, self.task).await;
    }
}

/// Does what is to be done with the lease, one after the other, however long that takes.
#[derive(Debug)]
struct Keeper {
    asked: mpsc::UnboundedSender<LeaseAction>,
    outcomes: mpsc::UnboundedReceiver<LeaseOutcome>,
    _task: AbortOnDropHandle<()>,
}

impl Keeper {
    fn start(mut key: LeaseKey) -> Self {
        // Bounded by the election: it asks for one thing at a time, and for a release.
        let (asked, mut questions) = mpsc::unbounded_channel();
        let (answer, outcomes) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(action) = questions.recv().await {
                if answer.send(key.carry_out(action).await).is_err() {
                    return;
                }
            }
        });
        Self { asked, outcomes, _task: AbortOnDropHandle::new(task) }
    }
}

struct Driver {
    shared: Arc<Shared>,
    election: Election,
    presences: Presences,
    events: ClientEvents,
    role: watch::Sender<Role>,
    connects: u64,
    connected: bool,
    violations: u64,
    lease: Option<Keeper>,
}

impl Driver {
    async fn run(mut self) {
        self.step(Event::Tick).await;
        let leave = self.shared.clone();
        loop {
            let until = self.election.wake().saturating_sub(self.shared.now().up).min(LOOK);
            let event = tokio::select! {
                biased;
                () = leave.leave.cancelled() => break,
                outcome = outcome(&mut self.lease) => Event::Lease(outcome),
                heard = self.presences.next() => match heard {
                    Heard::Presence(told) => Event::Heard(*told),
                    Heard::Finding(finding) => {
                        self.take_in(*finding);
                        continue;
                    }
                },
                () = sleep(until) => Event::Tick,
            };
            self.look().await;
            self.step(event).await;
        }
        self.step(Event::Leave).await;
    }

    /// Takes in a finding of an agent that led as well.
    fn take_in(&self, finding: Finding) {
        let mut handed = lock(&self.shared.handed);
        if self.election.role().leads() && handed.len() < MAX_HANDED {
            handed.push(finding);
        }
    }

    /// Takes in what the connection tells only when it is asked.
    async fn look(&mut self) {
        self.election.set_interval(Duration::from_millis(self.shared.interval.load(Ordering::Relaxed)));
        let (connected, connects) = (self.events.connected(), self.events.connects());
        if self.connected && (!connected || connects != self.connects) {
            self.step(Event::Lost).await;
        }
        if connected && (!self.connected || connects != self.connects) {
            self.step(Event::Connected).await;
        }
        (self.connected, self.connects) = (connected, connects);
        let violations = self.events.violations();
        if violations != self.violations && self.presences.denied() {
            self.step(Event::Denied).await;
        }
        self.violations = violations;
    }

    async fn step(&mut self, event: Event) {
        let leaves = event == Event::Leave;
        let denied = self.election.denied();
        let actions = self.election.step(event, self.shared.now());
        // Before anything is sent: who does not lead any more stops at once.
        self.tell();
        if self.election.denied() && !denied {
            tracing::warn!(
                subject = AGENTS_SUBJECT,
                "the agent's user may not speak to other agents, or hear them: this one acts as if it were alone"
            );
        }
        for action in actions {
            match action {
                Action::Lease(action) => {
                    let Some(keeper) = &mut self.lease else { continue };
                    let _ = keeper.asked.send(action);
                    if leaves {
                        let released = keeper.outcomes.recv();
                        let _ = tokio::time::timeout(RELEASE, released).await;
                    }
                }
                Action::Say(told) if leaves => self.presences.say_and_flush(&told).await,
                Action::Say(told) => {
                    if self.election.denied() && self.presences.start_again().await.is_err() {
                        continue;
                    }
                    self.presences.say(&told).await;
                }
            }
        }
    }

    fn tell(&self) {
        let until = u64::try_from(self.election.holds_until().as_millis()).unwrap_or(u64::MAX);
        self.shared.until.store(until, Ordering::Relaxed);
        self.shared.others.store(self.election.peers() as u64, Ordering::Relaxed);
        let mut connections = lock(&self.shared.connections);
        if !self.election.connections().eq(&*connections) {
            *connections = self.election.connections().cloned().collect();
        }
        drop(connections);
        self.shared.denied.store(self.election.denied(), Ordering::Relaxed);
        self.role.send_if_modified(|role| {
            let new = self.election.role();
            let changed = role != new;
            if changed {
                if let (Role::Leader { .. }, Role::Standby { leader: Some(leader) }) = (&*role, new) {
                    *lock(&self.shared.met) = Some(leader.clone());
                }
                log(role, new);
                role.clone_from(new);
            }
            changed
        });
    }
}

async fn outcome(lease: &mut Option<Keeper>) -> LeaseOutcome {
    let told = match lease {
        Some(keeper) => keeper.outcomes.recv().await,
        None => None,
    };
    match told {
        Some(outcome) => outcome,
        None => std::future::pending().await,
    }
}

fn log(old: &Role, new: &Role) {
    match new {
        Role::Leader { by } => tracing::info!(by = by.as_str(), "this agent leads: it gathers and publishes"),
        Role::Standby { leader: Some(leader) } => {
            tracing::info!(leader = leader.name, id = leader.id, "this agent stands by");
        }
        Role::Standby { leader: None } => tracing::info!("this agent stands by, and hears no leader"),
        Role::Undecided if old.leads() => {
            tracing::warn!(
                "this agent was stopped or cut off: it no longer leads, and asks who else is there"
            );
        }
        Role::Undecided => tracing::debug!("this agent asks who else is there"),
    }
}
