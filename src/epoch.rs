//! The pure middle of an epoch: from a snapshot to judgements, and from those to the summary.

use crate::check::{Context, DeclaredLimits, Judgement, Severity, UnknownRow, evaluate};
use crate::checks::ActiveChecks;
use crate::finding::{
    AnswerKind, CheckCounts, CoverageRow, EPOCH_TYPE, EpochSummary, FindingCounts, Maintenance,
    MaintenanceRow, Scanned, ServerCounts, Status, Step, SummaryCost, Terms, Why, Window,
};
use crate::snapshot::{Answer, Coverage, Endpoint, FollowUp, History, Shortfall, Snapshot};
use crate::text::Name;
use std::collections::{BTreeMap, BTreeSet};

/// What an epoch is judged with, beside its snapshot.
#[derive(Debug)]
pub struct Memory {
    /// The last epoch that was judged, whole.
    pub latest: Option<Snapshot>,
    /// The epoch before that which is to be judged.
    pub previous: Option<Snapshot>,
    /// The last epochs.
    pub history: History,
}

impl Memory {
    /// Nothing is remembered.
    pub fn new() -> Self {
        Self { latest: None, previous: None, history: History::default() }
    }

    /// Remembers an epoch, once it has been judged.
    pub fn push(&mut self, snapshot: Snapshot) {
        self.settle();
        self.latest = Some(snapshot);
    }

    /// Makes the latest epoch the one that the next is compared with; of its connections only what later epochs need is
    /// kept. To be called before the next epoch is judged.
    pub fn settle(&mut self) {
        if let Some(mut snapshot) = self.latest.take() {
            self.history.push(&snapshot);
            snapshot.forget_connections();
            self.previous = Some(snapshot);
        }
    }

    /// The same already while the next epoch is gathered, where the latest has more connections than so many.
    pub fn settle_if_above(&mut self, connections: u64) {
        if self.latest.as_ref().is_some_and(|latest| latest.connections_seen() > connections) {
            self.settle();
        }
    }
}

impl Memory {
    /// What the last epoch was judged from; none before the first, and from [`Self::settle`] to [`Self::push`].
    pub fn context_of_latest<'a>(
        &'a self,
        declared: &'a BTreeMap<String, DeclaredLimits>,
    ) -> Option<Context<'a>> {
        self.latest.as_ref().map(|latest| context(latest, self, declared))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

fn context<'a>(
    snapshot: &'a Snapshot,
    memory: &'a Memory,
    declared: &'a BTreeMap<String, DeclaredLimits>,
) -> Context<'a> {
    Context { now: snapshot, previous: memory.previous.as_ref(), history: &memory.history, declared }
}

/// The targeted requests that the enabled checks want, each once.
pub fn follow_ups(
    checks: &ActiveChecks,
    snapshot: &Snapshot,
    memory: &Memory,
    declared: &BTreeMap<String, DeclaredLimits>,
) -> Vec<FollowUp> {
    let context = context(snapshot, memory, declared);
    let wanted: BTreeSet<FollowUp> =
        checks.checks.iter().flat_map(|check| check.judge.follow_ups(&context)).collect();
    wanted.into_iter().collect()
}

/// Judges every enabled check.
pub fn judge(
    checks: &ActiveChecks,
    snapshot: &Snapshot,
    memory: &Memory,
    declared: &BTreeMap<String, DeclaredLimits>,
) -> Vec<Judgement> {
    let context = context(snapshot, memory, declared);
    checks
        .checks
        .iter()
        .map(|check| evaluate(check.entry, check.judge.as_ref(), &check.policies, &context))
        .collect()
}

/// The summary of an epoch that took `duration_ms` milliseconds.
pub fn summarize(
    snapshot: &Snapshot,
    checks: &ActiveChecks,
    judgements: &[Judgement],
    step: &Step,
    terms: &Terms<'_>,
    duration_ms: u64,
) -> EpochSummary {
    let coverage = &snapshot.coverage;
    let (shortfalls, coverage_omitted) = coverage_rows(coverage);
    let needed: BTreeSet<Endpoint> =
        checks.checks.iter().flat_map(|check| check.entry.meta.needs).copied().collect();
    let mut short: BTreeSet<Name> = coverage.missing.iter().map(|missing| missing.name.clone()).collect();
    for endpoint in needed.iter().chain([&Endpoint::Statsz]) {
        short.extend(coverage.gaps(*endpoint).into_iter().map(|gap| gap.server));
    }
    let held = step.held.iter().map(|held| held.row.clone()).collect();
    let (unknown, unknown_omitted) =
        rows(held, judgements.iter().flat_map(Judgement::unknown_rows).collect());
    let known = coverage.known() as u64;
    let (silenced, silenced_omitted) = first(step.silenced.iter().cloned());
    let (maintenance, maintenance_omitted) = first(maintenance_rows(terms.maintenance, step));
    let missing: Vec<String> = short.iter().map(ToString::to_string).collect();
    EpochSummary {
        kind_of_message: EPOCH_TYPE,
        epoch: snapshot.epoch,
        started_at: snapshot.taken_at,
        duration_ms,
        complete: known > 0 && missing.is_empty() && coverage.notes.is_empty(),
        servers: ServerCounts { known, responded: coverage.present.len() as u64, missing },
        coverage: shortfalls,
        coverage_omitted,
        checks: CheckCounts {
            evaluated: judgements.iter().filter(|judgement| judgement.evaluated()).count() as u64,
            unknown,
            unknown_omitted,
            disabled: checks.disabled,
        },
        findings: count(step),
        silenced,
        silenced_omitted,
        maintenance,
        maintenance_omitted,
        scanned: Scanned {
            accounts: snapshot.accounts.len() as u64,
            connections: snapshot.connections_seen(),
            streams: 0,
            consumers: 0,
        },
        cost: SummaryCost {
            requests: snapshot.cost.requests,
            responses: snapshot.cost.responses,
            bytes: snapshot.cost.bytes,
            slowest_server_ms: snapshot.cost.slowest_server_ms,
            duplicates: snapshot.cost.duplicates,
            strangers: snapshot.cost.strangers,
        },
        agents: None,
        sink: None,
        notes: coverage.notes.clone(),
        config: None,
        system: terms.origin.system.clone(),
        agent: terms.origin.agent.clone(),
    }
}

/// Rows of missing answers in one summary: those of a thousand servers that are down, once each.
const COVERAGE_ROWS: usize = 1000;

fn coverage_rows(coverage: &Coverage) -> (Vec<CoverageRow>, Option<u64>) {
    let row = |shortfall: Shortfall| {
        let answer = match shortfall.answer {
            // Complete ones are no shortfalls.
            Answer::Partial(_) | Answer::Complete => AnswerKind::Partial,
            Answer::Silent => AnswerKind::Silent,
            Answer::Denied(_) => AnswerKind::Denied,
            Answer::Failed(_) => AnswerKind::Failed,
            Answer::Unsupported(_) => AnswerKind::Unsupported,
        };
        let Shortfall { server, endpoint, reason, .. } = shortfall;
        CoverageRow { server, endpoint: endpoint.as_str(), answer, reason }
    };
    let mut rows: Vec<CoverageRow> = coverage.shortfalls().into_iter().map(row).collect();
    let omitted = rows.len().saturating_sub(COVERAGE_ROWS);
    rows.truncate(COVERAGE_ROWS);
    (rows, (omitted > 0).then_some(omitted as u64))
}

/// Rows of things that could not be judged in one summary. A system of ten thousand accounts whose limits nobody sees has
/// twenty thousand, the same in every epoch.
const UNKNOWN_ROWS: usize = 1000;

/// The rows for the summary, and how many are left out; findings that wait for their data are never among those.
fn rows(held: Vec<UnknownRow>, mut others: Vec<UnknownRow>) -> (Vec<UnknownRow>, Option<u64>) {
    others.retain(|row| !held.contains(row));
    others.sort();
    others.dedup();
    let kept = UNKNOWN_ROWS.saturating_sub(held.len()).min(others.len());
    let omitted = others.len() - kept;
    others.truncate(kept);
    let mut rows = held;
    rows.append(&mut others);
    rows.sort();
    (rows, (omitted > 0).then_some(omitted as u64))
}

/// Rows of silences and of maintenance in one summary, each.
const EXPECTED_ROWS: usize = 1000;

fn first<T>(rows: impl Iterator<Item = T>) -> (Vec<T>, Option<u64>) {
    let mut rows: Vec<T> = rows.collect();
    let omitted = rows.len().saturating_sub(EXPECTED_ROWS);
    rows.truncate(EXPECTED_ROWS);
    (rows, (omitted > 0).then_some(omitted as u64))
}

fn maintenance_rows(maintenance: &Maintenance, step: &Step) -> impl Iterator<Item = MaintenanceRow> {
    let held = step.maintained.iter().chain(std::iter::repeat(&0));
    maintenance.windows().iter().zip(held).map(|(window, held)| {
        let Window { server, how, since, until, .. } = window;
        MaintenanceRow { server: server.clone(), how: *how, since: *since, until: *until, held: *held }
    })
}

fn count(step: &Step) -> FindingCounts {
    let mut counts = FindingCounts {
        held: step.held.len() as u64,
        pending: step.pending,
        silenced: step.silenced.len() as u64,
        ..FindingCounts::default()
    };
    for said in step.said.iter().filter(|said| said.why != Why::EndedAgain) {
        match (said.finding.status, said.finding.severity) {
            (Status::Resolved, _) => counts.resolved += 1,
            (Status::Firing, Severity::Critical) => counts.critical += 1,
            (Status::Firing, Severity::Warning) => counts.warning += 1,
            (Status::Firing, Severity::Info) => counts.info += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(entity: usize) -> UnknownRow {
        UnknownRow { check: "C".into(), entity: format!("{entity:06}").into(), reason: "why".into() }
    }

    #[test]
    fn of_large_systems_one_epoch_at_a_time_is_remembered_whole() {
        use crate::snapshot::build::System;
        let mut memory = Memory::new();
        memory.push(System::of(1).connect("n1", "APP", "u", 3, |_, _| {}).done());
        memory.settle_if_above(3);
        assert!(memory.latest.is_some() && memory.previous.is_none());
        memory.settle_if_above(2);
        assert!(memory.latest.is_none());
        assert_eq!(memory.previous.map(|previous| previous.connections_seen()), Some(0));
    }

    #[test]
    fn missing_answers_are_rows_by_server_and_bounded() {
        let mut coverage = Coverage::default();
        for n in 0..COVERAGE_ROWS + 3 {
            let name: Name = format!("n{n:04}").into();
            coverage.present.insert(format!("ID-{n}").into(), (name, None));
        }
        assert_eq!(coverage_rows(&coverage), (Vec::new(), None));
        coverage.note(Endpoint::Varz, &"ID-7".into(), Answer::Failed("error 500".into()));
        coverage.note(Endpoint::Connz, &"ID-7".into(), Answer::Denied("$SYS.X".into()));
        let (rows, omitted) = coverage_rows(&coverage);
        let told: Vec<_> = rows.iter().map(|row| (&*row.server, row.endpoint, row.answer)).collect();
        assert_eq!(told, [("n0007", "VARZ", AnswerKind::Failed), ("n0007", "CONNZ", AnswerKind::Denied)]);
        assert_eq!(
            (rows[0].reason.as_str(), omitted),
            ("server n0007 answered VARZ with an error: error 500", None)
        );
        for n in 0..COVERAGE_ROWS + 3 {
            coverage.note(Endpoint::Accountz, &format!("ID-{n}").into(), Answer::Silent);
        }
        let (rows, omitted) = coverage_rows(&coverage);
        assert_eq!((rows.len(), omitted), (COVERAGE_ROWS, Some(5)));
    }

    #[test]
    fn rows_are_bounded_and_what_waits_is_never_left_out() {
        let (few, omitted) = rows(vec![row(2)], vec![row(3), row(1), row(2), row(1)]);
        assert_eq!((few, omitted), (vec![row(1), row(2), row(3)], None));
        let (many, omitted) = rows(vec![row(9_999)], (0..5000).map(row).collect());
        assert_eq!((many.len(), omitted), (UNKNOWN_ROWS, Some(4001)));
        assert_eq!(many.last(), Some(&row(9_999)));
    }
}
