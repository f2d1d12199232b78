//! How the agent ends: what is under way is given a part of the time that there is, and no more.

use super::systemd;
use std::future::Future;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long the program takes to end at the most, less what its runtime needs. Kubernetes waits for 30 s, systemd for
/// 90 s, and an operator not as long.
pub const ENDS_WITHIN: Duration = Duration::from_millis(4500);
/// What the epoch in flight may take of it.
pub(super) const EPOCH: Duration = Duration::from_millis(2500);
/// What publishing it may take.
pub(super) const PUBLISH: Duration = Duration::from_millis(1000);
/// What the outlets may take at the least, when epoch and publishing took all of theirs.
const OUTLETS: Duration = Duration::from_millis(500);

/// Does `work`; once `stop` is asked for, for `grace` more at the most.
pub(super) async fn unless_stopped<T>(
    stop: &CancellationToken,
    grace: Duration,
    work: impl Future<Output = T>,
) -> Option<T> {
    let overdue = async {
        stop.cancelled().await;
        sleep(grace).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = overdue => None,
    }
}

/// The time that there is from the signal on.
pub(super) struct Ending {
    since: Instant,
}

impl Ending {
    /// Waits for the signal. To be made before anything is given a part of the time.
    pub(super) fn watch(stop: &CancellationToken) -> tokio::task::JoinHandle<Self> {
        let stop = stop.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            systemd::stopping();
            Self { since: Instant::now() }
        })
    }

    /// What is left for the outlets.
    pub(super) fn left(&self) -> Duration {
        (ENDS_WITHIN - OUTLETS / 2).saturating_sub(self.since.elapsed()).max(OUTLETS / 2)
    }
}
