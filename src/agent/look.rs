//! One look at the system: gather, judge, and take the step in the life of findings.

use super::schedule::Schedule;
use super::{AgentError, Report, now};
use crate::check::Judgement;
use crate::config::{Config, ListConnections};
use crate::election::{AGENTS_SUBJECT, Listed};
use crate::epoch::{Memory, follow_ups, judge, summarize};
use crate::finding::{AgentInfo, Finding, Ledger, Maintenance, Moment, Origin, StaleConfig, Terms, step};
use crate::nats::connect::{Connection, connect};
use crate::nats::events::ClientEvents;
use crate::nats::gather::{Bystander, Expected, Gatherer, PAGE, Plan, Sweep};
use crate::nats::inbox::InboxError;
use crate::nats::selftest::{Needs, SelfTestError, self_test};
use crate::permissions::Permissions;
use crate::snapshot::{AccountLimits, Endpoint, FoldRules, Login, Pace};
use crate::text::{Name, digest_hex};
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::time::Instant;

/// The part of an epoch that one answer may take, if the timeout of the connection is not shorter.
const PATIENCE_SHARE: f64 = 0.4;

/// Connections up to which two epochs may be remembered whole at a time, that which was judged last and the one that is
/// being gathered. At a million a whole one takes some 60 MiB, and who judges on request can wait for the next.
const TWICE: u64 = 200_000;

/// The part of an epoch over which the first requests for connections are spread.
const SPREAD_SHARE: f64 = 0.1;

/// What the agent was started for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    Look,
}

/// What an epoch must know of other agents, and of what else this one does.
#[derive(Clone, Copy)]
pub(super) struct Beside<'a> {
    /// Whether this agent hears itself where agents speak to each other.
    pub(super) heard: bool,
    /// Whether it leads.
    pub(super) leads: &'a (dyn Fn() -> bool + Send + Sync),
    /// A connection of this agent beside the one that it looks over.
    pub(super) other: Option<&'a Connection>,
    /// The connections of other agents.
    pub(super) agents: &'a [Listed],
}

impl Beside<'_> {
    /// There are none.
    pub(super) const ALONE: Beside<'static> =
        Beside { heard: true, leads: &|| true, other: None, agents: &[] };
}

/// Everything that lives from epoch to epoch.
pub(super) struct Looker {
    connection: Connection,
    purpose: Purpose,
    /// Only while this agent looks.
    gatherer: Option<Gatherer>,
    /// Only while it does not.
    bystander: Option<Bystander>,
    /// What the self-test found: the system account, and subjects to publish and to subscribe to that are denied.
    account: Option<String>,
    denied: (Vec<String>, Vec<String>),
    config: Arc<Config>,
    memory: Arc<RwLock<Memory>>,
    ledger: Ledger,
    /// Findings of earlier runs, to be taken in as soon as it is known which system this is.
    earlier: Vec<Finding>,
    origin: Origin,
    /// The configured name of the system; none where the system account's key stands for it.
    system: Option<String>,
    /// How the last epochs went.
    pace: Pace,
    /// When the last epoch began.
    began: Instant,
    /// That the configuration could not be read again, if so.
    pub(super) stale: Option<StaleConfig>,
}

impl Looker {
    pub(super) async fn start(config: Arc<Config>, purpose: Purpose) -> Result<Self, AgentError> {
        let connection = connect(&config.connection, ClientEvents::new()).await?;
        let Permissions { publish, subscribe, .. } = Permissions::for_config(&config);
        let mut needs = Needs { publish, subscribe };
        if purpose == Purpose::Look {
            let published = format!("{}.>", config.subject_prefix);
            let others = |subject: &String| *subject != published && subject != AGENTS_SUBJECT;
            needs.publish.retain(others);
            needs.subscribe.retain(others);
        }
        let mut denied = (Vec::new(), Vec::new());
        let mut servers = BTreeMap::new();
        let account = match self_test(&connection, &needs).await {
            Ok(identity) => {
                tracing::info!(account = identity.account, servers = identity.servers.len(), "connected");
                servers = identity.servers;
                Some(identity.account)
            }
            Err(error) if can_go_on(&error, &config.subject_prefix) => {
                tracing::warn!("{error}; what depends on them is reported as unknown");
                if let SelfTestError::Denied { publish, subscribe } = error {
                    denied = (publish, subscribe);
                }
                None
            }
            Err(error) => return Err(error.into()),
        };
        let bystander = match purpose {
            Purpose::Publish => Some(Bystander::start(&connection, &servers, now()).await?),
            Purpose::Look => None,
        };
        let system_account = account.clone().unwrap_or_else(|| "$SYS".into());
        let system = config.system.clone();
        let name = config.agent_name.clone().unwrap_or_else(|| "insights-agent".into());
        let agent =
            AgentInfo { id: agent_id(&name), name: name.clone(), version: env!("CARGO_PKG_VERSION").into() };
        let pace = Pace { agent: name.into(), interval: config.epoch, ..Pace::default() };
        let origin = Origin {
            system: system.clone().unwrap_or_else(|| system_account.clone()),
            system_account,
            agent,
        };
        Ok(Self {
            connection,
            purpose,
            gatherer: None,
            bystander,
            account,
            denied,
            config,
            memory: Arc::default(),
            ledger: Ledger::default(),
            earlier: Vec::new(),
            origin,
            system,
            pace,
            began: Instant::now(),
            stale: None,
        })
    }

    /// Goes on with another configuration, of the same connection and the same names.
    pub(super) fn configure(&mut self, config: Arc<Config>) {
        if let Some(gatherer) = &mut self.gatherer {
            gatherer.declare(declared(&config));
        }
        self.pace.interval = config.epoch;
        self.config = config;
    }

    /// The gather, begun now if this agent did not look before. It begins with the servers that were heard, and
    /// those that open findings are about.
    async fn gatherer(&mut self) -> Result<&mut Gatherer, InboxError> {
        let gatherer = match self.gatherer.take() {
            Some(gatherer) => gatherer,
            None => {
                let (connection, account) = (&self.connection, self.account.as_deref());
                let mut gatherer = match self.bystander.take() {
                    Some(bystander) => Gatherer::after(bystander, connection, account, now()).await?,
                    None => Gatherer::start(connection, account).await?,
                };
                gatherer.declare(declared(&self.config));
                gatherer.note_denied(&self.denied.0, &self.denied.1);
                gatherer
                    .look_out_for(Expected::of(self.ledger.living().map(|finding| &**finding)).into_iter());
                gatherer
            }
        };
        Ok(self.gatherer.insert(gatherer))
    }

    /// Another agent has looked: what this one saw is of the past, but for its findings, and what an earlier run left has been
    /// judged.
    pub(super) fn stand_by(&mut self) {
        self.earlier.clear();
        if let Some(bystander) = &mut self.bystander {
            bystander.epoch_ended();
        }
        if let Some(gatherer) = self.gatherer.take() {
            self.bystander = Some(gatherer.stand_by());
            *self.memory.write().unwrap_or_else(PoisonError::into_inner) = Memory::new();
            self.pace =
                Pace { agent: self.pace.agent.clone(), interval: self.pace.interval, ..Pace::default() };
        }
    }

    /// Takes in what servers announced, while another agent looks.
    pub(super) fn listen(&mut self) {
        if let Some(bystander) = &mut self.bystander {
            bystander.listen(now());
        }
    }

    /// What is known of findings.
    pub(super) const fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Where findings of this agent come from.
    pub(super) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The system account, where the self-test found it.
    pub(super) fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The id of this run of the agent.
    pub(super) fn id(&self) -> &str {
        &self.origin.agent.id
    }

    /// What epochs are judged with.
    pub(super) fn memory(&self) -> Arc<RwLock<Memory>> {
        Arc::clone(&self.memory)
    }

    /// The system account's name or public key; `$SYS` until a server has told it.
    pub(super) fn system_account(&self) -> &str {
        &self.origin.system_account
    }

    /// Takes in findings of earlier runs, those of other systems aside.
    pub(super) fn adopt(&mut self, findings: Vec<Finding>) {
        self.earlier.extend(findings);
    }

    /// Notes that everything of the last epoch has been published.
    pub(super) fn published(&mut self) {
        self.pace.previous_took = Some(self.began.elapsed());
    }

    /// One epoch. `within` bounds the gather, `epoch` the patience with one answer. None if this agent does not lead any
    /// more when all is judged: then nothing began or ended.
    pub(super) async fn epoch(
        &mut self,
        schedule: &Schedule,
        within: Duration,
        epoch: Duration,
        beside: Beside<'_>,
    ) -> Result<Option<Report>, InboxError> {
        let (id, started) = (schedule.id, Instant::now());
        self.began = started;
        self.pace.skipped = schedule.skipped;
        // Who looks once waits for the answer.
        let (spread, period) = match self.purpose {
            Purpose::Publish => (epoch.mul_f64(SPREAD_SHARE), epoch),
            Purpose::Look => (Duration::ZERO, Duration::ZERO),
        };
        let requests = self.config.requests();
        let plan = Plan {
            epoch: id,
            taken_at: now(),
            deadline: started + within,
            patience: self.connection.timeout().min(epoch.mul_f64(PATIENCE_SHARE)),
            connections: sweep(&self.config),
            accounts: requests.contains(&Endpoint::AccountStatz) || requests.contains(&Endpoint::Accountz),
            requests: requests.iter().copied().collect(),
            page: PAGE,
            spread,
            period,
        };
        let config = Arc::clone(&self.config);
        let thresholds = Box::new(move |login: Login<'_>| config.checks.fold_thresholds(login));
        let rules = FoldRules { thresholds, own: Vec::new() };
        let other_systems = self.take_in_earlier();
        self.earlier = other_systems;
        self.memory.write().unwrap_or_else(PoisonError::into_inner).settle_if_above(TWICE);
        let gatherer = self.gatherer().await?;
        if beside.heard {
            gatherer.agents_heard();
        }
        if let Some(other) = beside.other {
            for (server, connection) in other.owned() {
                gatherer.note_own(&server, connection);
            }
            if other.events().connected() {
                let (server, connection) = other.own();
                gatherer.note_beside(&server, connection);
            }
        }
        for Listed { server, cid } in beside.agents {
            gatherer.note_beside(server, *cid);
        }
        let mut snapshot = gatherer.sweep(&plan, rules).await;
        let wanted = {
            let mut memory = self.memory.write().unwrap_or_else(PoisonError::into_inner);
            memory.history.follow(&self.config.checks.series());
            memory.history.look_back(self.config.checks.looks_back());
            memory.settle();
            follow_ups(&self.config.checks, &snapshot, &memory, &self.config.accounts)
        };
        if !wanted.is_empty() {
            self.gatherer().await?.follow_up(&plan, &mut snapshot, &wanted).await;
        }
        if !snapshot.servers.is_empty() {
            self.origin.system_account = snapshot.system_account.to_string();
            if self.system.is_none() {
                self.origin.system.clone_from(&self.origin.system_account);
            }
        }
        self.pace.took = started.elapsed();
        let overran = snapshot.cut || self.pace.skipped > 0;
        self.pace.overruns = if overran { self.pace.overruns + 1 } else { 0 };
        snapshot.pace = self.pace.clone();
        let judgements = {
            let memory = self.memory.read().unwrap_or_else(PoisonError::into_inner);
            judge(&self.config.checks, &snapshot, &memory, &self.config.accounts)
        };
        if !(beside.leads)() {
            self.gatherer().await?.not_judged();
            return Ok(None);
        }
        let moment = Moment { epoch: id, at: now() };
        self.take_in_earlier();
        let maintenance = Maintenance::of(&snapshot.departures, self.config.grace, snapshot.taken_at);
        let terms = Terms {
            origin: &self.origin,
            at_once: self.purpose == Purpose::Look,
            silences: &self.config.silences,
            maintenance: &maintenance,
        };
        let (ledger, stepped) = step(std::mem::take(&mut self.ledger), &judgements, &terms, moment);
        self.ledger = ledger;
        let took = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut summary = summarize(&snapshot, &self.config.checks, &judgements, &stepped, &terms, took);
        summary.config.clone_from(&self.stale);
        self.memory.write().unwrap_or_else(PoisonError::into_inner).push(snapshot);
        let mut needy = judgements.iter().filter(|judgement| !judgement.meta.needs.is_empty()).peekable();
        let judged = needy.peek().is_none() || needy.any(Judgement::evaluated);
        Ok(Some(Report { summary, said: stepped.said, judged }))
    }

    /// Takes in what an earlier run left of this system, as far as it is known which one that is; gives back the rest.
    fn take_in_earlier(&mut self) -> Vec<Finding> {
        let (known, rest): (Vec<_>, Vec<_>) =
            self.earlier.drain(..).partition(|finding| finding.system == self.origin.system);
        let servers = Expected::of(&known);
        for finding in known {
            self.ledger.adopt(finding, now());
        }
        if let Some(gatherer) = &mut self.gatherer {
            gatherer.look_out_for(servers.into_iter());
        }
        rest
    }
}

/// Which connections are listed.
fn sweep(config: &Config) -> Sweep {
    match config.list_connections {
        _ if !config.checks.requests().contains(&Endpoint::Connz) => Sweep::NotNeeded,
        ListConnections::All => Sweep::Whole,
        ListConnections::Flagged => Sweep::Flagged,
        ListConnections::Off => Sweep::Off,
    }
}

/// Declared limits as claims write them.
fn declared(config: &Config) -> BTreeMap<Name, AccountLimits> {
    let claim = |limit: Option<u64>| limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    let limits = config.accounts.iter().map(|(account, limits)| {
        let limits = AccountLimits {
            connections: claim(limits.max_connections),
            subscriptions: claim(limits.max_subscriptions),
            leafnodes: claim(limits.max_leafnodes),
        };
        (Name::from(account.as_str()), limits)
    });
    limits.collect()
}

/// Whether the agent is of use although subjects are denied: it must hear the roll call and be able to publish.
fn can_go_on(error: &SelfTestError, prefix: &str) -> bool {
    let SelfTestError::Denied { publish, .. } = error else {
        return false;
    };
    let vital = [format!("{prefix}.>"), "$SYS.REQ.SERVER.*.STATSZ".to_owned()];
    !publish.iter().any(|subject| vital.contains(subject))
}

/// New at every start: two agents on one host must not be taken for one.
fn agent_id(name: &str) -> String {
    let text = format!("{name}/{}/{}", std::process::id(), now().unix_timestamp_nanos());
    digest_hex(text.as_bytes(), 8)
}
