//! The log of an epoch: what changed; what stays as it was is not repeated.

use super::Report;

/// Logs what changed.
pub(super) fn tell(report: &Report) {
    for said in report.said.iter().filter(|said| said.why.is_transition()) {
        let finding = &said.finding;
        let (check, severity) = (&*finding.check, finding.severity.as_str());
        // One that is silenced is said to be resolved, and is not.
        let status = if finding.silenced.is_some() { "silenced" } else { finding.status.as_str() };
        tracing::info!(check, severity, status, "{}", finding.summary);
    }
    let summary = &report.summary;
    tracing::debug!(
        epoch = summary.epoch,
        duration_ms = summary.duration_ms,
        complete = summary.complete,
        "epoch"
    );
}
