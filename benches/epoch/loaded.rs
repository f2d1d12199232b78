//! What the agent costs servers that carry as many real connections as this machine holds.

use crate::figures::Figures;
use crate::holder::{Holder, MOST};
use crate::process;
use crate::real::system;
use crate::support::{Agent, Findings};
use std::time::Duration;

/// A server has as many descriptors as a holder; some it needs itself.
const ON_EACH: [usize; 2] = [MOST, 9_000];
const EPOCHS: usize = 12;
const EPOCH: Duration = Duration::from_secs(5);
/// What the figure is given for: the default.
const DEFAULT_EPOCH: f64 = 60.0;

/// Section `loaded`: CPU time of the servers over as many seconds with the agent as without it.
pub(crate) async fn measure(figures: &mut Figures, quick: bool) {
    let epochs = if quick { 4 } else { EPOCHS };
    let (cluster, logins) = system(ON_EACH.len()).await;
    let _holders: Vec<Holder> =
        (0..ON_EACH.len()).map(|server| Holder::open(&cluster, server, &logins, ON_EACH[server])).collect();
    let servers: Vec<u32> = (0..ON_EACH.len()).map(|server| cluster.server_pid(server)).collect();
    let cpu = || servers.iter().map(|pid| process::cpu(*pid).as_secs_f64()).collect::<Vec<f64>>();
    let since = |before: &[f64]| cpu().iter().zip(before).map(|(now, then)| now - then).collect::<Vec<f64>>();

    let mut findings = Findings::subscribe(&cluster).await;
    // Whatever the connects have left to do, e.g. garbage collection, is not the agent's.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let before = cpu();
    tokio::time::sleep(EPOCH * u32::try_from(epochs).unwrap()).await;
    let without = since(&before);

    let epoch = format!("{}s", EPOCH.as_secs());
    let agent = Agent::start(cluster.agent_args().chain(["run", "--epoch", &epoch]));
    findings.epochs(1, EPOCH * 6).await;
    let (before, own_before) = (cpu(), process::cpu(agent.id()));
    findings.forget();
    let last = findings.epochs(epochs, EPOCH * u32::try_from(epochs * 2).unwrap()).await;
    let with = since(&before);
    let own = (process::cpu(agent.id()) - own_before).as_secs_f64();
    assert_eq!(last.json["complete"], true, "{}", last.json);

    for (server, connections) in ON_EACH.iter().enumerate() {
        let per_epoch = (with[server] - without[server]) / epochs as f64;
        let what = format!("CPU of a server with {connections} real connections for an epoch");
        figures.note(what, format!("{:.0} ms", per_epoch * 1000.0));
        let what = format!("of one core, at an epoch of 60 s ({connections} connections)");
        figures.at_most(what, per_epoch / DEFAULT_EPOCH * 100.0, 1.0, " %");
    }
    let connections: usize = ON_EACH.iter().sum();
    let (peak, _) = process::memory(agent.id()).unwrap();
    figures.note(
        format!("agent beside {connections} real connections: CPU of an epoch, peak memory"),
        format!("{:.0} ms, {peak:.1} MiB", own * 1000.0 / epochs as f64),
    );
}
