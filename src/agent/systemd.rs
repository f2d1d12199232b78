//! Tells systemd how the agent is, where that has started it with `Type=notify`; elsewhere nothing happens.

use super::vitals::Vitals;
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// The configuration is sound, and what was asked to be listened on is. That NATS can be reached is no part of it: a start
/// that waited for that would be taken for failed.
pub(super) fn ready() {
    tell(NotifyState::Ready);
}

/// An orderly end has begun.
pub(super) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Feeds the watchdog of `WatchdogSec=`, if there is one, as long as `/livez` would be fine. Until the handle is dropped.
pub(super) fn feed_watchdog(vitals: &Vitals) -> Option<AbortOnDropHandle<()>> {
    // Half of it is what sd_watchdog_enabled(3) recommends.
    let every = watchdog_enabled()? / 2;
    let vitals = vitals.clone();
    let feed = async move {
        loop {
            if vitals.health().live(vitals.now()).is_ok() {
                tell(NotifyState::Watchdog);
            }
            sleep(every).await;
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(feed)))
}

fn tell(state: NotifyState<'_>) {
    // Whoever cannot be told has no use for it.
    let _ = notify(&[state]);
}
