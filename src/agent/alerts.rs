//! Alerts to Alertmanager: a task for each instance, so that one that hangs delays neither an epoch nor the others.

use super::election::Office;
use super::vitals::Vitals;
use super::{Report, now};
use crate::alertmanager::{Batch, Decision, Outcome, Queue, Update, update};
use crate::config::{Alertmanager, Login};
use crate::connection::Secret;
use crate::http::post::{PostError, Poster, Trust};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// Where the API is below an instance's base.
const PATH: &str = "/api/v2/alerts";

/// Sends alerts. Dropping it leaves what was sent to end by itself.
pub(super) struct Alerts {
    config: Alertmanager,
    vitals: Vitals,
    updates: watch::Sender<Option<Arc<Update>>>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Alerts {
    /// Starts the tasks.
    pub(super) fn start(config: &Alertmanager, office: &Office, vitals: &Vitals) -> Self {
        vitals.metrics().set_alertmanagers(&config.urls);
        let updates = watch::Sender::new(None);
        let stop = CancellationToken::new();
        let start = |url: &String| {
            let instance = Instance {
                url: url.clone(),
                config: config.clone(),
                office: office.clone(),
                vitals: vitals.clone(),
                poster: None,
                last: None,
            };
            tokio::spawn(instance.run(updates.subscribe(), stop.clone()))
        };
        let tasks = config.urls.iter().map(start).collect();
        Self { config: config.clone(), vitals: vitals.clone(), updates, stop, tasks }
    }

    /// Hands over an epoch of the leader; returns at once.
    pub(super) fn epoch_ended(&self, report: &Report) {
        let said = report.said.iter().map(|said| &*said.finding);
        // It may have changed since the start.
        let epoch = self.vitals.health().epoch();
        let update = update(said, &self.config.labels, now(), epoch);
        self.updates.send_replace(Some(Arc::new(update)));
    }

    /// Lets what has just begun or ended be sent within this time.
    pub(super) async fn close(self, within: Duration) {
        self.stop.cancel();
        let deadline = Instant::now() + within;
        for mut task in self.tasks {
            if timeout_at(deadline, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

/// One Alertmanager.
struct Instance {
    url: String,
    config: Alertmanager,
    office: Office,
    vitals: Vitals,
    /// None before the first request and after a failed one: files with certificates are read anew then.
    poster: Option<Poster>,
    /// How the last request went; logged when it changes.
    last: Option<Outcome>,
}

impl Instance {
    async fn run(mut self, mut updates: watch::Receiver<Option<Arc<Update>>>, stop: CancellationToken) {
        let mut queue = Queue::default();
        while !stop.is_cancelled() {
            self.take(&mut updates, &mut queue);
            let until = match queue.next(self.vitals.now()) {
                Decision::Send(batch) if self.office.holds() => {
                    self.send(&mut queue, &batch).await;
                    continue;
                }
                // Another agent leads, and tells of beginnings and ends from now on.
                Decision::Send(_) => {
                    queue = Queue::default();
                    None
                }
                Decision::Wait { until, .. } => until,
            };
            let wake = async {
                match until {
                    Some(until) => sleep(until.saturating_sub(self.vitals.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                changed = updates.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // It is taken at the beginning of the loop.
                    updates.mark_changed();
                }
                () = wake => {}
            }
        }
        self.take(&mut updates, &mut queue);
        while let Some(batch) = queue.last(self.vitals.now()) {
            if !self.office.holds() || self.send(&mut queue, &batch).await == Outcome::Failed {
                break;
            }
        }
    }

    fn take(&self, updates: &mut watch::Receiver<Option<Arc<Update>>>, queue: &mut Queue) {
        let now = self.vitals.now();
        if updates.has_changed().unwrap_or_default()
            && let Some(update) = &*updates.borrow_and_update()
        {
            queue.update(update, now);
        }
        self.vitals.metrics().set_alerts_waiting(&self.url, queue.pending(now), queue.dropped());
    }

    async fn send(&mut self, queue: &mut Queue, batch: &Batch) -> Outcome {
        let (outcome, problem) = match self.post(batch.body.clone()).await {
            Ok(response) => {
                let words = match response.text.as_str() {
                    "" => format!("it answers with status {}", response.status),
                    text => format!("it answers with status {}: {text}", response.status),
                };
                (Outcome::of_status(response.status), words)
            }
            Err(error) => {
                self.poster = None;
                (Outcome::Failed, error.to_string())
            }
        };
        let (alerts, url) = (batch.alerts.len(), self.url.as_str());
        let metrics = self.vitals.metrics();
        match outcome {
            Outcome::Accepted => metrics.alerts_sent(url, alerts as u64),
            Outcome::Refused => metrics.alerts_refused(url, alerts as u64),
            Outcome::Failed => metrics.alerts_failed(url),
        }
        if self.last.replace(outcome) != Some(outcome) {
            match outcome {
                Outcome::Accepted => tracing::info!(url, "Alertmanager takes alerts"),
                Outcome::Refused => tracing::error!(url, alerts, "Alertmanager refuses alerts: {problem}"),
                Outcome::Failed => {
                    tracing::warn!(url, "Alertmanager gets no alerts, they will be sent later: {problem}");
                }
            }
        }
        queue.settle(batch, outcome, self.vitals.now());
        outcome
    }

    async fn post(&mut self, json: Vec<u8>) -> Result<crate::http::post::Response, SendError> {
        let authorization = authorization(&self.config.login).await?;
        let poster = match &self.poster {
            Some(poster) => poster.clone(),
            None => self.poster.insert(Poster::new(trust(&self.url, &self.config))?).clone(),
        };
        let url = format!("{}{PATH}", self.url);
        Ok(poster.json(&url, authorization.as_ref(), json, self.config.timeout).await?)
    }
}

fn trust<'a>(url: &str, config: &'a Alertmanager) -> Trust<'a> {
    match &config.tls_ca {
        _ if !url.starts_with("https://") => Trust::Nobody,
        Some(path) => Trust::Authority(path),
        None => Trust::Platform,
    }
}

/// Why nothing was sent.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("the file {} with the credentials cannot be read: {reason}", path.display())]
    Credentials { path: PathBuf, reason: String },
}

/// The header that says who sends.
async fn authorization(login: &Login) -> Result<Option<Secret>, SendError> {
    let basic = |user: &str, password: &str| {
        let both = data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes());
        Secret::new(format!("Basic {both}"))
    };
    Ok(match login {
        Login::Nobody {} => None,
        Login::Password { user, password } => Some(basic(user, password.expose())),
        Login::PasswordFile { user, password_file } => Some(basic(user, read(password_file).await?.expose())),
        Login::TokenFile { token_file } => {
            Some(Secret::new(format!("Bearer {}", read(token_file).await?.expose())))
        }
    })
}

/// The text of a file, without the line break at its end.
async fn read(path: &Path) -> Result<Secret, SendError> {
    let file = path.to_owned();
    // A file may lie on a volume that hangs.
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(file)).await;
    let unreadable = |reason: String| SendError::Credentials { path: path.to_owned(), reason };
    let text = read.map_err(|error| unreadable(error.to_string()))?;
    let text = text.map_err(|error| unreadable(error.to_string()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credentials_are_written_as_headers_and_files_read_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let header = async |login: Login| {
            authorization(&login).await.map(|secret| secret.map(|s| s.expose().to_owned()))
        };
        assert!(matches!(header(Login::Nobody {}).await, Ok(None)));
        let password = Login::Password { user: "Aladdin".into(), password: "open sesame".into() };
        // The example of RFC 7617.
        assert_eq!(header(password).await.unwrap().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let token = || Login::TokenFile { token_file: path.clone() };
        let missing = header(token()).await.unwrap_err().to_string();
        assert!(
            missing.starts_with("the file ") && missing.contains("secret with the credentials"),
            "{missing}"
        );
        for (text, expected) in [("one\n", "Bearer one"), ("two\r\n", "Bearer two")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(header(token()).await.unwrap().unwrap(), expected);
        }
        std::fs::write(&path, "open sesame\n").unwrap();
        let file = Login::PasswordFile { user: "Aladdin".into(), password_file: path.clone() };
        assert_eq!(header(file).await.unwrap().unwrap(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
