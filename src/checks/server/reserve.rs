//! JetStream of a server against what it set aside: shared by the checks of memory and of storage.

use crate::check::{
    Context, Entity, Observed, OutOfRange, Thresholds, Validate, Verdict, percent, percent_of,
};
use crate::snapshot::{JetStreamVars, Server, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the streams of a server use this share of what is reserved for them, in percent.
    warn_percent: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { warn_percent: 90.0 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        percent("warn_percent", self.warn_percent)
    }
}

/// Where streams are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Memory,
    File,
}

impl Medium {
    const fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File => "file storage",
        }
    }

    /// What a server uses, what is reserved, and the most that it may use, where it tells.
    pub(super) fn of(self, jetstream: &JetStreamVars) -> Use {
        let (used, reserved, most) = match self {
            Self::Memory => (jetstream.memory, jetstream.reserved_memory, jetstream.max_memory),
            Self::File => (jetstream.storage, jetstream.reserved_storage, jetstream.max_storage),
        };
        Use { used, reserved, most: u64::try_from(most).ok().filter(|most| *most > 0) }
    }
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) used: u64,
    pub(super) reserved: u64,
    pub(super) most: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Bytes that the streams of this server use.
    pub(super) used: u64,
    /// Bytes that streams with `max_bytes` may use here.
    pub(super) reserved: u64,
    /// The most that JetStream may use here; none where it is not told.
    pub(super) most: Option<u64>,
    /// Used, in percent of the most.
    pub(super) percent_of_most: Option<f64>,
    /// The servers of the cluster side by side, the fullest first; none for a server without a cluster.
    pub(super) cluster: Option<Vec<Row>>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Row {
    /// The server's name.
    #[schemars(with = "String")]
    server: Name,
    /// Bytes used.
    used: u64,
    /// Bytes reserved.
    reserved: u64,
    /// The most that it may use; none where it is not told.
    most: Option<u64>,
}

impl Evidence {
    pub(super) fn of(snapshot: &Snapshot, server: &Server, medium: Medium, here: Use) -> Self {
        Self {
            used: here.used,
            reserved: here.reserved,
            most: here.most,
            percent_of_most: here.most.and_then(|most| percent_of(here.used, most)),
            cluster: server.cluster.as_ref().map(|cluster| side_by_side(snapshot, cluster, medium)),
        }
    }

    /// Whether another server of the cluster uses less than half of the share that this one uses of the most.
    pub(super) fn others_have_room(&self) -> bool {
        let share = |used: u64, most: Option<u64>| most.map(|most| used as f64 / most as f64);
        let own = share(self.used, self.most);
        let rows = self.cluster.iter().flatten();
        rows.filter_map(|row| share(row.used, row.most)).any(|other| own.is_some_and(|own| other < own / 2.0))
    }
}

fn side_by_side(snapshot: &Snapshot, cluster: &Name, medium: Medium) -> Vec<Row> {
    let row = |server: &Server| {
        let Use { used, reserved, most } = medium.of(server.vars.as_ref()?.jetstream.as_ref()?);
        Some(Row { server: server.name.clone(), used, reserved, most })
    };
    let mut rows: Vec<Row> = snapshot.members(cluster).filter_map(row).collect();
    rows.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.server.cmp(&b.server)));
    rows
}

/// Whether a share of a limit is reached. A limit of 0 is never reached.
pub(super) fn reaches(used: u64, limit: u64, share: f64) -> bool {
    limit > 0 && used as f64 * 100.0 >= share * limit as f64
}

/// A number of bytes in words: `1.5 GiB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} bytes");
    }
    let (mut value, mut unit) = (number as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024.0, unit + 1);
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Above this share of what is reserved, in percent, streams that reserve nothing are counted in: one with `max_bytes` keeps
/// within it, but for what is being written.
const ALONE: f64 = 110.0;

/// Servers whose streams use the share of what is reserved for them, as far as all of them reserve something.
pub(super) fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>, medium: Medium) -> Vec<Verdict> {
    let each = context.now.servers.values().filter_map(|server| {
        let here = medium.of(server.vars.as_ref()?.jetstream.as_ref()?);
        let entity = Entity::of_server(server);
        let warn_percent = thresholds.of(&entity).warn_percent;
        let mixed = here.used as f64 * 100.0 > ALONE * here.reserved as f64;
        if mixed || !reaches(here.used, here.reserved, warn_percent) {
            return None;
        }
        let evidence = Evidence::of(context.now, server, medium, here);
        let observed = Observed::of_limit(here.used, here.reserved, warn_percent, "bytes", "server");
        let summary = format!(
            "the streams of server {} use {} of {} of {} reserved for them ({:.1} %)",
            server.name,
            bytes(here.used),
            bytes(here.reserved),
            medium.word(),
            observed.percent.unwrap_or(0.0),
        );
        let remediation = remediation(server, &evidence, medium);
        Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
    });
    each.collect()
}

fn remediation(server: &Server, evidence: &Evidence, medium: Medium) -> Vec<String> {
    let mut steps = Vec::new();
    if evidence.used > evidence.reserved {
        steps.push(
            "More is used than is reserved: streams without `max_bytes` seem to be among them; give each of them one.".into(),
        );
    }
    steps.push(
        "Find the streams that are near their `max_bytes`: from there on they drop their oldest messages or refuse new ones."
            .into(),
    );
    steps.push(
        "Raise the `max_bytes` of those that need it, or let them keep less (`max_age`, `max_msgs`).".into(),
    );
    if evidence.others_have_room() {
        steps.push(format!(
            "Other servers of the cluster have room: move streams away from server {} by placement tags.",
            server.name
        ));
    }
    let knob = if medium == Medium::Memory { "max_memory_store" } else { "max_file_store" };
    if evidence.percent_of_most.is_some_and(|share| share >= 80.0) {
        steps.push(format!(
            "JetStream itself comes near its `{knob}` here: raise it before the `max_bytes` of streams."
        ));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_words() {
        for (number, words) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(number), words);
        }
    }

    #[test]
    fn a_limit_of_nothing_is_never_reached() {
        assert!(!reaches(u64::MAX, 0, 90.0));
        assert!(reaches(9, 10, 90.0) && !reaches(8, 10, 90.0) && reaches(u64::MAX, 1, 90.0));
    }
}
