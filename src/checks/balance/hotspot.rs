//! A server that carries a multiple of what the servers of its cluster carry on average.

use crate::check::{Entity, Observed, rounded};
use crate::snapshot::{Server, Snapshot};
use crate::text::Name;

/// What the servers of a cluster carry.
pub(super) struct Load<'a> {
    pub(super) cluster: &'a Name,
    /// Of each server that tells it.
    pub(super) counts: Vec<(&'a Server, u64)>,
    /// Of all together.
    pub(super) whole: u64,
    average: f64,
}

/// A server that carries far more than the average.
pub(super) struct Hot<'a> {
    pub(super) server: &'a Server,
    pub(super) entity: Entity,
    pub(super) count: u64,
    /// As a multiple of the average, to a tenth.
    pub(super) times_average: f64,
    /// To a tenth.
    pub(super) average: f64,
    pub(super) observed: Observed,
}

impl<'a> Load<'a> {
    /// Of each cluster, what its servers carry by `count`.
    pub(super) fn of_clusters(now: &'a Snapshot, count: impl Fn(&Server) -> Option<u64>) -> Vec<Self> {
        let clusters = now.clusters().into_iter();
        let of_cluster = |(cluster, servers): (&'a Name, Vec<&'a Server>)| {
            let told = servers.into_iter().filter_map(|server| Some((server, count(server)?)));
            let counts: Vec<(&Server, u64)> = told.collect();
            let whole = counts.iter().fold(0u64, |sum, (_, count)| sum.saturating_add(*count));
            // Not from the sum, which may be more than a number holds.
            let sum = counts.iter().map(|(_, count)| *count as f64).sum::<f64>();
            Self { cluster, whole, average: sum / counts.len().max(1) as f64, counts }
        };
        clusters.map(of_cluster).collect()
    }

    /// The servers above a ratio to the average and with no fewer than a least count; `limits` gives both for a server.
    pub(super) fn hot(
        &self,
        unit: &'static str,
        limits: impl Fn(&Entity) -> (f64, u64),
    ) -> impl Iterator<Item = Hot<'a>> {
        let average = self.average;
        self.counts.iter().filter_map(move |(server, count)| {
            let entity = Entity::of_server(server);
            let (ratio, least) = limits(&entity);
            let fires = *count >= least && *count as f64 > ratio * average;
            fires.then(|| Hot {
                server,
                entity,
                count: *count,
                times_average: to_tenth(*count as f64 / average),
                average: to_tenth(average),
                observed: Observed::count(*count, rounded(ratio * average), unit).part_of(self.whole),
            })
        })
    }
}

fn to_tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
