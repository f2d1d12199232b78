//! The figures as OpenMetrics text. What has no value is left out; a check without an open finding has none.

use super::metrics::{Figures, LastEpoch};
use crate::finding::{AnswerKind, SinkStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use time::OffsetDateTime;

/// The first token of every name.
const NAMESPACE: &str = "insights";

pub(super) fn text(figures: Figures) -> String {
    let mut registry = Registry::with_prefix(NAMESPACE);
    registry.register_collector(Box::new(Page(figures)));
    let mut text = String::new();
    // Only a writer can fail, and a text does not.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Page(Figures);

impl Collector for Page {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let Self(figures) = self;
        out.gauges(
            "build_info",
            "Always 1; the program's version",
            [([("version", figures.version.as_str())], 1)],
        )?;
        out.gauges(
            "findings",
            "Open findings by check and severity; not those that are silenced",
            figures.open.iter().map(|((check, severity), count)| {
                ([("check", check.as_ref()), ("severity", severity.as_str())], *count)
            }),
        )?;
        self.epochs(&mut out)?;
        self.connection(&mut out)?;
        self.config(&mut out)?;
        if let Some(sink) = &figures.sink {
            sink_figures(&mut out, sink)?;
        }
        self.alertmanagers(&mut out)
    }
}

impl Page {
    fn epochs(&self, out: &mut Out<'_>) -> fmt::Result {
        let Self(figures) = self;
        out.counter("epochs", "Epochs that ended", figures.epochs)?;
        out.counter("epoch_seconds", "Seconds that all epochs took", figures.took_all.as_secs_f64())?;
        out.counter("requests", "Requests sent to servers", figures.requests)?;
        out.counter("responses", "Answers of servers that were used", figures.responses)?;
        out.counter("response_bytes", "Bytes of those answers as they came over the network", figures.bytes)?;
        let Some(last) = &figures.last else {
            return Ok(());
        };
        let LastEpoch { ended_at, complete, known, responded, unknown, held, pending, silenced, shortfalls } =
            last;
        out.gauge("epoch_duration_seconds", "Seconds that the last epoch took", figures.took.as_secs_f64())?;
        out.gauge("last_epoch_timestamp_seconds", "Unix time of the end of the last epoch", unix(*ended_at))?;
        out.gauge(
            "epoch_complete",
            "1 if every answer came that an enabled check needed in the last epoch",
            u64::from(*complete),
        )?;
        let servers = [("known", *known), ("responded", *responded)];
        out.gauges(
            "servers",
            "Servers that are known, and those that answered the roll call of the last epoch",
            servers.map(|(state, count)| ([("state", state)], count)),
        )?;
        out.gauge("unknown", "What could not be judged in the last epoch", *unknown)?;
        out.gauge(
            "findings_held",
            "Open findings that could not be judged in the last epoch, and stay for that",
            *held,
        )?;
        out.gauge(
            "findings_pending",
            "Findings that have not been seen in as many epochs as it takes to fire",
            *pending,
        )?;
        out.gauge("findings_silenced", "Findings that hold and are silenced", *silenced)?;
        out.gauges(
            "coverage_shortfalls",
            "Answers that did not come whole in the last epoch, by how they came",
            shortfalls.iter().map(|(answer, count)| ([("answer", word(*answer))], *count)),
        )
    }

    fn connection(&self, out: &mut Out<'_>) -> fmt::Result {
        let Self(figures) = self;
        out.gauge(
            "connected",
            "1 while the connection to the system account is up",
            u64::from(figures.connected),
        )?;
        out.counter("connects", "Connections made to the system account", figures.connects)?;
        out.counter("disconnects", "Connections to the system account that were lost", figures.disconnects)?;
        out.counter(
            "publish_failures",
            "Messages that could not be published in the system account",
            figures.publish_failures,
        )?;
        out.gauge(
            "leader",
            "1 if this agent gathers and publishes, 0 if it stands by",
            u64::from(figures.leader),
        )
    }

    fn config(&self, out: &mut Out<'_>) -> fmt::Result {
        let Self(figures) = self;
        let outcomes = [("success", figures.reloads), ("failure", figures.reloads_refused)];
        out.counters(
            "config_reloads",
            "Times that the configuration was read again",
            outcomes.map(|(outcome, count)| ([("outcome", outcome)], count)),
        )?;
        match figures.reloaded_at {
            Some(at) => out.gauge(
                "config_last_reload_timestamp_seconds",
                "Unix time at which the configuration was last read again with success",
                unix(at),
            ),
            None => Ok(()),
        }
    }

    fn alertmanagers(&self, out: &mut Out<'_>) -> fmt::Result {
        let instances = &self.0.alertmanagers;
        if instances.is_empty() {
            return Ok(());
        }
        let each = |pick: fn(&super::metrics::Instance) -> u64| {
            instances
                .iter()
                .map(move |(instance, figures)| ([("instance", instance.as_str())], pick(figures)))
        };
        out.counters("alertmanager_alerts_sent", "Alerts that an Alertmanager took", each(|one| one.sent))?;
        out.counters(
            "alertmanager_failures",
            "Attempts to send that failed and are repeated",
            each(|one| one.failures),
        )?;
        out.counters(
            "alertmanager_alerts_refused",
            "Alerts that an Alertmanager refused",
            each(|one| one.refused),
        )?;
        out.counters(
            "alertmanager_alerts_dropped",
            "Alerts for which there was no room",
            each(|one| one.dropped),
        )?;
        out.gauges("alertmanager_pending", "Alerts that wait to be sent", each(|one| one.pending))
    }
}

fn sink_figures(out: &mut Out<'_>, sink: &SinkStatus) -> fmt::Result {
    let SinkStatus { connected, buffered, dropped, published, failed, last_error: _, notes: _ } = sink;
    out.gauge("sink_connected", "1 if the sink took messages in the last epoch", u64::from(*connected))?;
    out.gauge("sink_buffered", "Beginnings, changes and ends of findings that wait for the sink", *buffered)?;
    out.counter("sink_dropped", "Those that were dropped because too many waited", *dropped)?;
    out.counter("sink_published", "Messages that the sink's stream acknowledged", *published)?;
    out.counter("sink_failures", "Attempts to store something in the sink that failed", *failed)
}

const fn word(answer: AnswerKind) -> &'static str {
    match answer {
        AnswerKind::Partial => "partial",
        AnswerKind::Silent => "silent",
        AnswerKind::Denied => "denied",
        AnswerKind::Failed => "failed",
        AnswerKind::Unsupported => "unsupported",
    }
}

fn unix(at: OffsetDateTime) -> f64 {
    at.unix_timestamp_nanos() as f64 / 1e9
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn gauge<V: EncodeGaugeValue + Copy>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter<V: EncodeCounterValue + Copy>(&mut self, name: &str, help: &str, value: V) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, V, u64>(&value, None)
    }

    fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(&value, None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Metrics, Reload};
    use super::*;
    use crate::check::Severity;
    use crate::finding::{CoverageRow, Said};
    use crate::report::samples::with;
    use time::macros::datetime;

    const AT: OffsetDateTime = datetime!(2025-11-20 10:00:01.5 UTC);

    /// Samples and nothing else.
    fn samples(metrics: &Metrics) -> Vec<String> {
        metrics.text().lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    }

    fn epoch(metrics: &Metrics, severities: &[Severity]) {
        let mut report = with(severities);
        let summary = &mut report.summary;
        summary.cost.requests = 7;
        summary.findings.silenced = 2;
        summary.checks.unknown_omitted = Some(40);
        let row =
            |answer| CoverageRow { server: "n1".into(), endpoint: "VARZ", answer, reason: "why".into() };
        summary.coverage = vec![row(AnswerKind::Silent), row(AnswerKind::Silent), row(AnswerKind::Denied)];
        summary.sink = Some(SinkStatus { connected: true, published: 9, ..SinkStatus::default() });
        let open = report.said.iter().map(|Said { finding, .. }| (finding.check.clone(), finding.severity));
        metrics.epoch_ended(summary, open, AT);
    }

    #[test]
    fn before_the_first_epoch_there_is_nothing_of_one() {
        let samples = samples(&Metrics::new("1.2.3"));
        let expected = [
            "insights_build_info{version=\"1.2.3\"} 1",
            "insights_epochs_total 0",
            "insights_epoch_seconds_total 0.0",
            "insights_requests_total 0",
            "insights_responses_total 0",
            "insights_response_bytes_total 0",
            "insights_connected 0",
            "insights_connects_total 0",
            "insights_disconnects_total 0",
            "insights_publish_failures_total 0",
            "insights_leader 0",
            "insights_config_reloads_total{outcome=\"success\"} 0",
            "insights_config_reloads_total{outcome=\"failure\"} 0",
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn an_epoch_is_told_and_what_ended_has_no_figure() {
        use Severity::{Critical, Warning};
        let metrics = Metrics::new("1.2.3");
        metrics.set_leader(true);
        epoch(&metrics, &[Critical, Warning, Warning]);
        let first = samples(&metrics);
        for expected in [
            "insights_findings{check=\"ACCOUNTS_001\",severity=\"critical\"} 1",
            "insights_findings{check=\"ACCOUNTS_001\",severity=\"warning\"} 2",
            "insights_epochs_total 1",
            "insights_epoch_duration_seconds 0.412",
            "insights_last_epoch_timestamp_seconds 1763632801.5",
            "insights_epoch_complete 1",
            "insights_servers{state=\"known\"} 3",
            "insights_unknown 40",
            "insights_findings_silenced 2",
            "insights_coverage_shortfalls{answer=\"silent\"} 2",
            "insights_coverage_shortfalls{answer=\"denied\"} 1",
            "insights_requests_total 7",
            "insights_sink_connected 1",
            "insights_sink_published_total 9",
            "insights_leader 1",
        ] {
            assert!(first.iter().any(|sample| sample == expected), "{expected} in {first:#?}");
        }
        epoch(&metrics, &[Warning]);
        let second = samples(&metrics);
        let findings: Vec<_> =
            second.iter().filter(|sample| sample.starts_with("insights_findings{")).collect();
        assert_eq!(findings, ["insights_findings{check=\"ACCOUNTS_001\",severity=\"warning\"} 1"]);
        assert!(second.contains(&"insights_requests_total 14".to_owned()), "{second:#?}");

        // A standby leaves findings to the leader.
        metrics.set_leader(false);
        let standby = samples(&metrics);
        for gone in
            ["insights_findings", "insights_servers", "insights_last_epoch", "insights_epoch_complete"]
        {
            assert!(!standby.iter().any(|sample| sample.starts_with(gone)), "{gone} in {standby:#?}");
        }
        assert!(standby.contains(&"insights_epochs_total 2".to_owned()));
    }

    #[test]
    fn reloads_and_alertmanagers_have_figures() {
        let metrics = Metrics::new("1.2.3");
        metrics.reloaded(Reload::Done(AT));
        metrics.reloaded(Reload::Refused);
        let (a, b) = ("http://a:9093", "http://b/\"x\"");
        metrics.set_alertmanagers(&[a.into(), b.into()]);
        metrics.alerts_sent(a, 500);
        metrics.alerts_failed(b);
        metrics.alerts_refused(b, 3);
        metrics.set_alerts_waiting(b, 4, 5);
        metrics.alerts_sent("http://not-configured", 1);
        let samples = samples(&metrics);
        for expected in [
            "insights_config_reloads_total{outcome=\"success\"} 1",
            "insights_config_reloads_total{outcome=\"failure\"} 1",
            "insights_config_last_reload_timestamp_seconds 1763632801.5",
            "insights_alertmanager_alerts_sent_total{instance=\"http://a:9093\"} 500",
            "insights_alertmanager_failures_total{instance=\"http://b/\\\"x\\\"\"} 1",
            "insights_alertmanager_alerts_refused_total{instance=\"http://b/\\\"x\\\"\"} 3",
            "insights_alertmanager_pending{instance=\"http://b/\\\"x\\\"\"} 4",
            "insights_alertmanager_alerts_dropped_total{instance=\"http://b/\\\"x\\\"\"} 5",
        ] {
            assert!(samples.iter().any(|sample| sample == expected), "{expected} in {samples:#?}");
        }
        assert!(!samples.iter().any(|sample| sample.contains("not-configured")));
    }
}
