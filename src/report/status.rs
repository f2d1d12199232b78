//! The exit status, as monitoring plugins have it.

use super::firing;
use crate::agent::Report;
use crate::check::Severity;

/// What the program's exit status says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// 0: nothing to report.
    Clear,
    /// 1: there are warnings.
    Warning,
    /// 2: there is something critical.
    Critical,
    /// 3: nothing could be looked at, or the command was not understood.
    Unknown,
}

impl Status {
    /// The number that the process ends with.
    pub const fn code(self) -> u8 {
        match self {
            Self::Clear => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The word that monitoring systems use.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Clear => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The status of a report when findings below `fail_on` do not count. What is firing decides, unless nothing could be
/// looked at: where no server answered the roll call, or no check that needs an answer could be judged, silence is not
/// taken for health and the status is [`Status::Unknown`].
pub fn status(report: &Report, fail_on: Severity) -> Status {
    if report.summary.servers.responded == 0 || !report.judged {
        return Status::Unknown;
    }
    let counts = |severity| severity >= fail_on && firing(report, severity) > 0;
    if counts(Severity::Critical) {
        return Status::Critical;
    }
    if counts(Severity::Warning) || counts(Severity::Info) {
        return Status::Warning;
    }
    Status::Clear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn the_worst_finding_that_counts_decides() {
        use Severity::{Critical, Info, Warning};
        for (severities, fail_on, expected) in [
            (&[][..], Info, Status::Clear),
            (&[Info], Info, Status::Warning),
            (&[Info], Warning, Status::Clear),
            (&[Info, Warning], Warning, Status::Warning),
            (&[Warning], Critical, Status::Clear),
            (&[Warning, Critical], Critical, Status::Critical),
            (&[Critical], Info, Status::Critical),
        ] {
            let report = samples::with(severities);
            assert_eq!(status(&report, fail_on), expected, "{severities:?} {fail_on:?}");
        }
    }

    #[test]
    fn silence_is_unknown_and_what_has_ended_does_not_count() {
        let mut report = samples::with(&[]);
        report.summary.servers.responded = 0;
        assert_eq!(status(&report, Severity::Warning), Status::Unknown);
        let mut report = samples::with(&[Severity::Critical]);
        samples::change(&mut report, 0).status = crate::finding::Status::Resolved;
        assert_eq!(status(&report, Severity::Warning), Status::Clear);
        // One server of three, and one check that could be judged, are something to go by.
        report.summary.servers.responded = 1;
        report.summary.checks.unknown.push(samples::unknown("*", "server n3 did not answer VARZ"));
        assert_eq!(status(&report, Severity::Warning), Status::Clear);
        report.judged = false;
        assert_eq!(status(&report, Severity::Warning), Status::Unknown);
        // What fires then is about the agent alone.
        let mut blind = samples::with(&[Severity::Critical]);
        blind.judged = false;
        assert_eq!(status(&blind, Severity::Warning), Status::Unknown);
    }
}
