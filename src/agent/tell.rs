//! The log of an epoch: what changed; what stays as it was is not repeated.

use super::Report;
use crate::check::Severity;
use crate::finding::{Said, Why};

/// Findings that are told in one epoch; of more, how many there are.
const FINDINGS: usize = 20;
/// A condition that lasts is told again after so many epochs.
const AGAIN: u64 = 60;

/// Logs what changed.
pub(super) fn tell(report: &Report) {
    let told = changes(&report.said);
    for change in &told.changes {
        let finding = &change.said.finding;
        let entity = &finding.entity;
        // One that is silenced is said to be resolved, and is not.
        let status = if finding.silenced.is_some() { "silenced" } else { finding.status.as_str() };
        // Fields without a value are left out.
        tracing::info!(
            why = change.said.why.as_str(),
            check = &*finding.check,
            severity = finding.severity.as_str(),
            from = change.from.map(Severity::as_str),
            status,
            entity_type = entity.kind.as_str(),
            entity = &*entity.id,
            account = entity.account.as_deref(),
            fingerprint = %finding.fingerprint,
            "{}",
            finding.summary
        );
    }
    if let Some(sentence) = told.rest() {
        tracing::info!("{sentence}");
    }
    let summary = &report.summary;
    tracing::debug!(
        epoch = summary.epoch,
        duration_ms = summary.duration_ms,
        complete = summary.complete,
        "epoch"
    );
}

/// A change of one finding.
#[derive(Debug, PartialEq)]
struct Change<'a> {
    said: &'a Said,
    /// Its severity before, where that is what changed.
    from: Option<Severity>,
}

/// What an epoch has to tell.
#[derive(Debug, Default, PartialEq)]
struct Told<'a> {
    /// The worst come first.
    changes: Vec<Change<'a>>,
    /// How many are left out, from critical to info.
    left_out: [usize; 3],
}

fn changes(said: &[Said]) -> Told<'_> {
    let mut changes: Vec<Change<'_>> = Vec::new();
    let mut from = None;
    for said in said.iter().filter(|said| said.why.is_transition()) {
        match said.why {
            // Its other half comes next and tells both.
            Why::Succeeded => from = Some((&said.finding.fingerprint, said.finding.severity)),
            _ => {
                let before = from.take().filter(|(fingerprint, _)| **fingerprint == said.finding.fingerprint);
                changes.push(Change { said, from: before.map(|(_, severity)| severity) });
            }
        }
    }
    changes.sort_by_key(|change| std::cmp::Reverse(change.said.finding.severity));
    let mut told = Told::default();
    for change in changes.drain(changes.len().min(FINDINGS)..) {
        told.left_out[place(change.said.finding.severity)] += 1;
    }
    told.changes = changes;
    told
}

const fn place(severity: Severity) -> usize {
    match severity {
        Severity::Critical => 0,
        Severity::Warning => 1,
        Severity::Info => 2,
    }
}

impl Told<'_> {
    /// The sentence about what is left out.
    fn rest(&self) -> Option<String> {
        let [critical, warning, info] = self.left_out;
        let all = critical + warning + info;
        (all > 0).then(|| {
            format!("and {all} more findings changed: {critical} critical, {warning} warning, {info} info")
        })
    }
}

/// A condition that may last for many epochs.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lasting(u64);

/// What is to be told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tell {
    /// Nothing: it is as it was.
    Nothing,
    /// It began, or lasts for so many epochs now.
    Holds(u64),
    /// It is over after so many epochs.
    Over(u64),
}

impl Lasting {
    /// Takes in an epoch in which it holds or not.
    pub(super) const fn epoch(&mut self, holds: bool) -> Tell {
        let before = self.0;
        self.0 = if holds { before + 1 } else { 0 };
        match (holds, before) {
            (true, before) if before.is_multiple_of(AGAIN) => Tell::Holds(before + 1),
            (false, 1..) => Tell::Over(before),
            _ => Tell::Nothing,
        }
    }
}

/// Logs that messages could not be published, at the beginning, now and then, and at the end of it.
pub(super) fn tell_unpublished(lasting: &mut Lasting, problems: usize, first: Option<String>) {
    match (lasting.epoch(problems > 0), first) {
        (Tell::Holds(1), Some(first)) => tracing::error!(problems, "{first}"),
        (Tell::Holds(epochs), Some(first)) => tracing::error!(problems, epochs, "still: {first}"),
        (Tell::Over(epochs), _) => tracing::info!(epochs, "everything is published again"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples::with;
    use std::sync::Arc;

    fn said(whys: &[(Why, Severity)]) -> Vec<Said> {
        let severities: Vec<Severity> = whys.iter().map(|(_, severity)| *severity).collect();
        let said = with(&severities).said;
        said.into_iter().zip(whys).map(|(said, (why, _))| Said { why: *why, ..said }).collect()
    }

    #[test]
    fn what_stays_as_it_was_is_not_told() {
        use Severity::Warning;
        let said = said(&[
            (Why::Repeated, Warning),
            (Why::Kept, Warning),
            (Why::Held, Warning),
            (Why::EndedAgain, Warning),
        ]);
        assert_eq!(changes(&said), Told::default());
        assert_eq!(changes(&said).rest(), None);
    }

    #[test]
    fn the_worst_comes_first() {
        let said = said(&[
            (Why::Began, Severity::Info),
            (Why::Ended, Severity::Warning),
            (Why::Began, Severity::Critical),
        ]);
        let told = changes(&said);
        let whys: Vec<_> =
            told.changes.iter().map(|change| (change.said.why, change.said.finding.severity)).collect();
        let expected =
            [(Why::Began, Severity::Critical), (Why::Ended, Severity::Warning), (Why::Began, Severity::Info)];
        assert_eq!(whys, expected);
    }

    #[test]
    fn a_changed_severity_is_one_line_with_both() {
        let mut said = said(&[(Why::Succeeded, Severity::Warning), (Why::Changed, Severity::Critical)]);
        let fingerprint = said[0].finding.fingerprint.clone();
        Arc::make_mut(&mut said[1].finding).fingerprint = fingerprint;
        let told = changes(&said);
        let [change] = &told.changes[..] else { panic!("{told:?}") };
        assert_eq!(
            (change.from, change.said.finding.severity),
            (Some(Severity::Warning), Severity::Critical)
        );
    }

    #[test]
    fn of_many_changes_twenty_are_told_and_the_others_counted() {
        let mut all = vec![(Why::Began, Severity::Info); 15];
        all.extend([(Why::Began, Severity::Warning); 12]);
        all.extend([(Why::Ended, Severity::Critical); 3]);
        let said = said(&all);
        let told = changes(&said);
        assert_eq!((told.changes.len(), told.left_out), (20, [0, 0, 10]));
        let sentence = told.rest().unwrap();
        assert_eq!(sentence, "and 10 more findings changed: 0 critical, 0 warning, 10 info");
    }

    #[test]
    fn what_lasts_is_told_at_its_beginning_now_and_then_and_at_its_end() {
        let mut lasting = Lasting::default();
        let mut told = Vec::new();
        for epoch in 0..130 {
            told.push(lasting.epoch((2..128).contains(&epoch)));
        }
        let said: Vec<_> = (0..).zip(told).filter(|(_, tell)| *tell != Tell::Nothing).collect();
        assert_eq!(
            said,
            [(2, Tell::Holds(1)), (62, Tell::Holds(61)), (122, Tell::Holds(121)), (128, Tell::Over(126))]
        );
    }
}
