//! An agent's part beside others: it stands by, and looks one epoch after the other while it leads.

use super::election::Office;
use super::ending::{self, unless_stopped};
use super::look::{Beside, Looker};
use super::outlets::Outlets;
use super::schedule::Schedule;
use super::serve::{Api, Place};
use super::vitals::Vitals;
use super::{GATHER_SHARE, Reloads, now, standby};
use crate::config::Config;
use crate::nats::presence;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// The part of an epoch that is waited for the sink's findings, by who takes over.
const TAKE_OVER_SHARE: f64 = 0.1;

/// The running agent.
pub(super) struct Post {
    pub(super) config: Arc<Config>,
    pub(super) vitals: Vitals,
    pub(super) office: Office,
    pub(super) looker: Looker,
    pub(super) outlets: Outlets,
    pub(super) api: Api,
    pub(super) reloads: Reloads,
    pub(super) stop: CancellationToken,
}

impl Post {
    /// Stands by, and looks one epoch after the other while it leads, until it is stopped.
    pub(super) async fn keep(&mut self) {
        let mut last = None;
        while !self.stop.is_cancelled() {
            let mut heard = None;
            self.stand_by(&mut heard).await;
            if self.stop.is_cancelled() {
                return;
            }
            if heard.is_some() {
                let within = self.config.epoch.mul_f64(TAKE_OVER_SHARE);
                self.looker.adopt(self.outlets.take_over(within).await);
            }
            self.vitals.metrics().set_leader(true);
            last = self.lead(last.max(heard)).await;
            self.vitals.metrics().set_leader(false);
            self.hand_over().await;
            if !self.stop.is_cancelled() {
                self.api.stop().await;
                self.outlets.stand_down();
            }
        }
    }

    /// Sends what this agent has found to the one that it met when both led, which goes on with it.
    async fn hand_over(&mut self) {
        let Some(leader) = self.office.take_met() else {
            return;
        };
        let connection = self.looker.connection().clone();
        let open = self.looker.ledger().open().map(|finding| &**finding);
        let findings = presence::hand_over(&connection, &leader.id, open).await;
        tracing::info!(
            leader = leader.name,
            findings,
            "two agents led: this one has handed over to the other"
        );
    }

    /// Waits until this agent leads, or is stopped. `heard` becomes the last epoch that another agent was heard to publish.
    async fn stand_by(&mut self, heard: &mut Option<u64>) {
        loop {
            let prefix = self.config.subject_prefix.clone();
            let Self { looker, office, vitals, stop, reloads, .. } = self;
            tokio::select! {
                biased;
                () = standby::stand_by(&prefix, looker, office, vitals, stop, heard) => return,
                () = reloads.asked() => {}
            }
            self.reload();
        }
    }

    /// One epoch after the other, from the one after `last` on, while this agent leads. When it is stopped, the one in flight
    /// is ended and published, as far as there is time. Gives the last epoch that was begun.
    async fn lead(&mut self, mut last: Option<u64>) -> Option<u64> {
        let (mut schedule, mut wait) = Schedule::after(last, self.config.epoch, now());
        let mut ended = schedule;
        while self.wait(&mut schedule, ended, wait).await {
            last = Some(schedule.id);
            if !self.epoch(&schedule).await {
                return last;
            }
            ended = schedule;
            wait = schedule.next(now());
        }
        last
    }

    /// One epoch; false if there is no time for it to end.
    async fn epoch(&mut self, schedule: &Schedule) -> bool {
        self.vitals.progress(Duration::ZERO);
        let length = self.config.epoch;
        self.looker.adopt(self.outlets.late());
        self.looker.adopt(self.office.take_handed());
        let office = self.office.clone();
        let sink = self.outlets.sink_connection();
        let agents = office.connections();
        let beside = Beside {
            heard: !office.denied(),
            leads: &|| office.holds(),
            other: sink.as_ref(),
            agents: &agents,
        };
        let epoch = self.looker.epoch(schedule, length.mul_f64(GATHER_SHARE), length, beside);
        let Some(report) = unless_stopped(&self.stop, ending::EPOCH, epoch).await else {
            return false;
        };
        match report {
            Ok(Some(mut report)) => {
                let left = length.mul_f64(1.0 - GATHER_SHARE);
                let delivery = self.outlets.deliver(&mut report, self.looker.system_account(), left);
                if unless_stopped(&self.stop, ending::PUBLISH, delivery).await.is_none() {
                    return false;
                }
                self.looker.published();
                self.serve().await;
            }
            Ok(None) => tracing::info!("this agent no longer leads, so the epoch is not judged"),
            Err(error) => tracing::error!("{error}"),
        }
        !self.stop.is_cancelled()
    }

    /// Lets the agent be asked wherever it can be, now that there is something to tell.
    async fn serve(&mut self) {
        if !self.office.holds() {
            return;
        }
        self.api.serve(Place::System, self.looker.connection()).await;
        if let Some(connection) = self.outlets.sink_connection() {
            self.api.serve(Place::Sink, &connection).await;
        }
    }

    /// Waits for the epoch that `schedule` has come to after `ended`, and for as long; meanwhile the configuration can be
    /// read again. False if this agent leads no longer, or is stopped.
    async fn wait(&mut self, schedule: &mut Schedule, ended: Schedule, wait: Duration) -> bool {
        let (mut left, mut next) = (wait, Instant::now() + wait);
        loop {
            self.vitals.progress(left);
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = self.office.lost() => return false,
                () = sleep_until(next) => return self.office.holds(),
                () = self.reloads.asked() => {}
            }
            let before = self.config.epoch;
            self.reload();
            if before != self.config.epoch {
                *schedule = ended;
                left = schedule.next_of(self.config.epoch, now());
                next = Instant::now() + left;
            }
        }
    }

    /// Reads the configuration again, and goes on with it if it can be used.
    fn reload(&mut self) {
        if let Some(new) = self.reloads.read(&self.config) {
            self.config = Arc::new(new);
            self.looker.configure(Arc::clone(&self.config));
            self.api.configure(&self.config);
            self.office.set_interval(self.config.epoch);
        }
        self.looker.stale = self.reloads.stale();
        self.vitals.reloaded(&self.reloads, &self.config);
    }
}
