//! Ten thousand epochs in which findings come and go, without a network and in the time that judging takes: what the agent
//! keeps of them must not grow. The outlets are there with what they keep, but for their connections.

use crate::figures::Figures;
use crate::process;
use insights_agent::admin::Metrics;
use insights_agent::alertmanager::{Decision, Outcome, Queue, update};
use insights_agent::config::{Config, Overrides};
use insights_agent::epoch::{Memory, judge, summarize};
use insights_agent::finding::{
    AgentInfo, EpochSummary, Ledger, Mirror, Moment, Origin, Outbox, Said, Status, Terms, fit, step,
};
use insights_agent::snapshot::{
    Answer, ConnectionFold, Endpoint, FoldRules, Login, PageSource, Server, ServerVars, Snapshot, Version,
};
use insights_agent::text::Name;
use insights_agent::wire::connz;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;

const EPOCHS: u64 = 10_000;
/// The length of an epoch: what is remembered for an hour is forgotten after 60 of them.
const EPOCH: Duration = Duration::from_secs(60);
/// Epochs after which everything that fills up is full.
const WARM: u64 = 1_000;

const SERVERS: usize = 3;
/// Users with more connections than they should have, at a time.
const OFFENDERS: u64 = 100;
/// How many of those end with each epoch, and how many new ones begin.
const TURNOVER: u64 = 5;

/// Section `soak`.
pub(crate) fn measure(figures: &mut Figures) {
    let file = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(file.path(), "[checks.USER_002]\nmax_connections = 2\n").unwrap();
    let config = Arc::new(Config::load(Some(file.path()), Overrides::default()).unwrap());
    let mut agent = Agent::new(Arc::clone(&config));
    let (mut early, mut late) = (0.0_f64, 0.0_f64);
    let mut said = 0;
    for epoch in 0..EPOCHS {
        said += agent.epoch(epoch);
        let (_, now) = process::memory(std::process::id()).unwrap();
        match epoch {
            epoch if (WARM..2 * WARM).contains(&epoch) => early = early.max(now),
            epoch if epoch >= EPOCHS - WARM => late = late.max(now),
            _ => {}
        }
    }
    figures.note("soak: messages about findings", said);
    figures.note("soak: findings that fire in the end", agent.ledger.open().count());
    figures.note("soak: resident in epochs 1,000 to 2,000", format!("{early:.1} MiB"));
    figures.at_most(
        "soak: resident in the last 1,000 of 10,000 epochs against those",
        late / early,
        1.05,
        " times",
    );
}

struct Agent {
    config: Arc<Config>,
    memory: Memory,
    ledger: Ledger,
    origin: Origin,
    outbox: Outbox,
    mirror: Mirror,
    alerts: Queue,
    metrics: Metrics,
}

impl Agent {
    fn new(config: Arc<Config>) -> Self {
        let agent = AgentInfo { id: "soak".into(), name: "soak".into(), version: "0".into() };
        let origin = Origin { system: "soak".into(), system_account: "SYS".into(), agent };
        Self {
            config,
            memory: Memory::new(),
            ledger: Ledger::default(),
            origin,
            outbox: Outbox::new(1_000),
            mirror: Mirror::default(),
            alerts: Queue::default(),
            metrics: Metrics::new("0"),
        }
    }

    /// What the agent does in an epoch, but for the network; how many messages that makes.
    fn epoch(&mut self, number: u64) -> usize {
        let snapshot = self.look(number);
        let (checks, declared) = (&self.config.checks, &self.config.accounts);
        self.memory.settle();
        let judgements = judge(checks, &snapshot, &self.memory, declared);
        let terms = Terms::plain(&self.origin);
        let moment = Moment { epoch: snapshot.epoch, at: snapshot.taken_at };
        let (ledger, stepped) = step(std::mem::take(&mut self.ledger), &judgements, &terms, moment);
        self.ledger = ledger;
        let summary = summarize(&snapshot, checks, &judgements, &stepped, &terms, 1);
        assert!(fit(&summary, 1 << 20).is_some());
        for said in &stepped.said {
            assert!(fit(&*said.finding, 1 << 20).is_some());
        }
        self.memory.push(snapshot);
        self.hand_out(number, &stepped.said, summary, moment.at);
        stepped.said.len()
    }

    /// The outlets: for a tenth of the time neither the sink nor Alertmanager can be reached.
    fn hand_out(&mut self, number: u64, said: &[Said], summary: EpochSummary, at: OffsetDateTime) {
        let reachable = number % 1_000 < 900;
        let summary = Arc::new(summary);
        self.outbox.take_in(said, &summary, "SYS", reachable);
        self.mirror.take_in(said);
        let since = EPOCH * u32::try_from(number).unwrap();
        let findings = said.iter().map(|said| &*said.finding);
        self.alerts.update(&update(findings, &BTreeMap::new(), at, EPOCH), since);
        while let Decision::Send(batch) = self.alerts.next(since) {
            self.alerts.settle(&batch, if reachable { Outcome::Accepted } else { Outcome::Failed }, since);
        }
        if reachable {
            let end = self.outbox.end();
            while let Some(letter) = self.outbox.next(end) {
                self.outbox.arrived(letter.number);
            }
            assert!(self.outbox.is_empty());
            for status in [Status::Firing, Status::Resolved] {
                for finding in self.mirror.wanted(status) {
                    self.mirror.written(&finding);
                }
            }
            let due = self.mirror.due(at);
            due.purge.iter().for_each(|fingerprint| self.mirror.purged(fingerprint, at));
            due.erase.iter().for_each(|fingerprint| self.mirror.erased(fingerprint));
        }
        let open = self.ledger.open().map(|finding| (finding.check.clone(), finding.severity));
        self.metrics.epoch_ended(&summary, open, at);
        assert!(!self.metrics.text().is_empty());
    }

    fn look(&self, number: u64) -> Snapshot {
        let epoch = 1_795_170_000 + number * EPOCH.as_secs();
        let at = OffsetDateTime::from_unix_timestamp(i64::try_from(epoch).unwrap()).unwrap();
        let mut snapshot = Snapshot::empty(epoch, at);
        let checks = Arc::clone(&self.config);
        let thresholds = move |login: Login<'_>| checks.checks.fold_thresholds(login);
        let mut fold = ConnectionFold::new(FoldRules { thresholds: Box::new(thresholds), own: Vec::new() });
        for server in 0..SERVERS {
            let (id, name): (Name, Name) = (format!("ID{server}").into(), format!("n{server}").into());
            let cluster = Some(Name::from("east"));
            for endpoint in [Endpoint::Statsz, Endpoint::Varz, Endpoint::AccountStatz, Endpoint::Accountz] {
                snapshot.coverage.note(endpoint, &id, Answer::Complete);
            }
            snapshot.coverage.note(Endpoint::Events, &id, Answer::Complete);
            snapshot.coverage.present.insert(id.clone(), (name.clone(), cluster.clone()));
            let vars = ServerVars { max_connections: 65_536, connections: 300, ..ServerVars::default() };
            let (now, version) = (Some(at), Some(Version(2, 15, 1)));
            let server_of =
                Server { version, now, vars: Some(vars), ..Server::new(id.clone(), name, cluster) };
            snapshot.servers.insert(id.clone(), server_of);
            // Now and then a server does not tell, and findings are held.
            if number % 10 == 9 && server == 0 {
                snapshot.coverage.note(Endpoint::Connz, &id, Answer::Silent);
                continue;
            }
            snapshot.coverage.note(Endpoint::Connz, &id, Answer::Complete);
            let source = PageSource { server: id, version, since: None, max_subscriptions: None };
            let page = page(number, server, at);
            connz::parse(page.as_bytes(), &mut |head, connection| fold.add(&source, head, connection))
                .unwrap();
        }
        snapshot.take_fold(fold);
        snapshot
    }
}

/// The connections of a server: some that stay, one of each offender, and a user who is one too many every other epoch.
fn page(epoch: u64, server: usize, now: OffsetDateTime) -> String {
    let now = now.format(&time::format_description::well_known::Rfc3339).unwrap();
    let mut page = format!(
        r#"{{"server":{{"name":"n{server}","id":"ID{server}","ver":"2.15.1","time":"{now}"}},"data":{{"server_id":"ID{server}","now":"{now}","connections":["#
    );
    let steady = (0..200).map(|n| format!("web-{server}-{n}"));
    let first = epoch * TURNOVER;
    let offenders = (first..first + OFFENDERS).map(|n| format!("job-{n}"));
    let flapping = epoch.is_multiple_of(2).then(|| "restless".to_owned());
    for (cid, user) in (1..).zip(steady.chain(offenders).chain(flapping)) {
        let comma = if cid > 1 { "," } else { "" };
        write!(
            page,
            r#"{comma}{{"cid":{cid},"kind":"Client","type":"nats","ip":"10.0.0.{}","start":"{now}","last_activity":"{now}","idle":"0s","in_msgs":1,"out_msgs":1,"subscriptions":3,"name":"{user}-1","authorized_user":"{user}","account":"APP"}}"#,
            cid % 250
        )
        .unwrap();
    }
    let total = page.matches("\"cid\"").count();
    write!(page, r#"],"num_connections":{total},"total":{total},"offset":0,"limit":100000}}}}"#).unwrap();
    page
}
