//! The real system, and what is true of it whoever else answers.

use std::time::Duration;

use async_nats::Client;
use insights_agent::snapshot::{Answer, Snapshot};
use tokio::time::Instant;

use crate::impostor::{Impostor, Reply, Request};
use crate::lens::{ENDPOINTS, Lens, account, answer, assert_whole, named};
use crate::support::{Account, Cluster};

/// More than one page on one server.
const CLIENTS: [usize; 3] = [3, 150, 2];

pub(crate) struct System {
    pub(crate) cluster: Cluster,
    pub(crate) lens: Lens,
    /// Of the real servers.
    pub(crate) ids: [String; 3],
    _clients: Vec<Client>,
}

impl System {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::config(3).account(Account::new("A").user("a")).start().await;
        let mut clients = Vec::new();
        for (server, count) in CLIENTS.into_iter().enumerate() {
            clients.extend(cluster.connect_many(server, "A/a", "worker", count).await);
        }
        let mut lens = Lens::of(&cluster).await;
        let snapshot = lens.sweep().await;
        assert_whole(&snapshot);
        lens.patience = Duration::from_secs(4);
        let ids = ["n1", "n2", "n3"].map(|name| named(&snapshot, name).id.to_string());
        let system = Self { cluster, lens, ids, _clients: clients };
        system.assert_real(&snapshot);
        system
    }

    /// On the agent's own server, where answers are quickest.
    pub(crate) async fn impostor(
        &self,
        answers: impl Fn(&Request) -> Vec<Reply> + Send + Sync + 'static,
    ) -> Impostor {
        let client = self.cluster.connect(0, "SYS/admin", "impostor").await;
        Impostor::start(client, answers).await
    }

    /// A sweep that must not take longer than its deadline.
    pub(crate) async fn sweep(&mut self) -> Snapshot {
        let started = Instant::now();
        let snapshot = self.lens.sweep().await;
        assert!(started.elapsed() < Duration::from_secs(50), "{:?}", started.elapsed());
        self.assert_real(&snapshot);
        snapshot
    }

    /// What the real servers say is whole and exact.
    pub(crate) fn assert_real(&self, snapshot: &Snapshot) {
        for (id, (name, clients)) in self.ids.iter().zip(["n1", "n2", "n3"].into_iter().zip(CLIENTS)) {
            let server = &snapshot.servers[&**id];
            assert_eq!(&*server.name, name);
            for endpoint in ENDPOINTS {
                let whole = answer(snapshot, endpoint, name);
                assert_eq!(whole, &Answer::Complete, "{name} {endpoint:?}: {:?}", snapshot.coverage);
            }
            let details = account(snapshot, "A").fold.users.get("a").unwrap().details().unwrap();
            let here = details.on(server.fold.as_ref().unwrap());
            assert_eq!((here, details.before), (clients as u64, 0), "{name}");
            assert_eq!(account(snapshot, "A").servers[&**id].connections, clients as u64);
            assert!(server.vars.as_ref().unwrap().connections >= clients as u64);
        }
        assert_eq!(&*snapshot.system_account, "SYS");
        assert!(!snapshot.accounts.contains_key("STRANGE"));
    }
}
