//! What the agent tells about itself over HTTP: `/metrics`, `/livez` and `/readyz`. Pure; `http` listens.

mod classic;
mod expose;
mod health;
mod metrics;

pub use health::{Health, NotLive, NotReady};
pub use metrics::{Metrics, Reload};

use std::time::Duration;

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of the text format that was there before it.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const PLAIN: &str = "text/plain; charset=utf-8";

/// A request, as far as it matters.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// `GET`, …
    pub method: &'a str,
    /// Without the query.
    pub path: &'a str,
    /// The header `Accept`, empty where there is none.
    pub accept: &'a str,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The media type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// The methods that every path knows, for the header `Allow` of a 405.
pub const METHODS: &str = "GET, HEAD";

/// Answers a request. `now` is the time since the program began.
pub fn answer(metrics: &Metrics, health: &Health, question: Question<'_>, now: Duration) -> Answer {
    let plain = |status, sentence: String| Answer { status, content_type: PLAIN, body: sentence + "\n" };
    let known = ["/metrics", "/livez", "/readyz"];
    if !known.contains(&question.path) {
        return plain(404, format!("there is no such page; there are {}", known.join(", ")));
    }
    if !matches!(question.method, "GET" | "HEAD") {
        return plain(405, format!("this page knows {METHODS} only"));
    }
    let probe = |outcome: Result<(), String>| match outcome {
        Ok(()) => plain(200, "ok".into()),
        Err(why) => plain(503, why),
    };
    match question.path {
        "/livez" => probe(health.live(now).map_err(|why| why.to_string())),
        "/readyz" => probe(health.ready(now).map_err(|why| why.to_string())),
        _ => {
            let text = metrics.text();
            // Prometheus asks for it; other scrapers may know the older format only.
            if question.accept.contains("application/openmetrics-text") {
                Answer { status: 200, content_type: OPEN_METRICS, body: text }
            } else {
                Answer { status: 200, content_type: CLASSIC, body: classic::from_open_metrics(&text) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(health: &Health, method: &str, path: &str, accept: &str) -> Answer {
        answer(&Metrics::new("1.2.3"), health, Question { method, path, accept }, Duration::from_secs(1))
    }

    #[test]
    fn probes_say_why_and_unknown_paths_and_methods_are_told_so() {
        let health = Health::new(Duration::from_secs(30), Duration::ZERO);
        let status = |method: &str, path: &str| ask(&health, method, path, "").status;
        assert_eq!(status("GET", "/livez"), 200);
        assert_eq!(status("HEAD", "/livez"), 200);
        assert_eq!(status("GET", "/readyz"), 503);
        assert_eq!(
            ask(&health, "GET", "/readyz", "").body,
            "no epoch has ended yet: the agent is connecting\n"
        );
        health.epoch_ended(Duration::from_secs(1), true);
        assert_eq!(status("GET", "/readyz"), 200);
        assert_eq!([status("POST", "/metrics"), status("DELETE", "/livez")], [405, 405]);
        assert_eq!([status("GET", "/"), status("GET", "/metrics/"), status("POST", "/nothing")], [404; 3]);
    }

    #[test]
    fn who_asks_for_open_metrics_gets_it_and_everybody_else_the_older_format() {
        let health = Health::new(Duration::from_secs(30), Duration::ZERO);
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let open = ask(&health, "GET", "/metrics", prometheus);
        assert_eq!((open.status, open.content_type), (200, OPEN_METRICS));
        assert!(open.body.ends_with("# EOF\n"));
        let classic = ask(&health, "GET", "/metrics", "*/*");
        assert_eq!((classic.status, classic.content_type), (200, CLASSIC));
        assert!(classic.body.contains("# TYPE insights_epochs_total counter\ninsights_epochs_total 0\n"));
    }
}
