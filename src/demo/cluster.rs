//! The demo's three servers, with everything that must be gone when it ends.

use super::error::DemoError;
use super::guard::{DIR_PREFIX, Guard};
use super::identity::{Account, AccountLimits, Export, ExportKind, Operator, UserClaims};
use super::ports::free_port;
use super::scenario::{MAX_CONNECTIONS, SERVERS, TENANTS};
use super::server::{Server, ServerError};
use super::topology::{Access, ClusterConf, ServerConf};
use crate::permissions::Permissions;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::sleep;

/// Another process may take a port between our look and the server's start; then all ports are picked anew.
const STARTS: usize = 3;
const READY: Duration = Duration::from_secs(20);
/// A server that is not stopped by then is killed.
const STOP: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(100);

/// How users log in, by `ACCOUNT/user`: the text of their credentials files.
pub(super) type Logins = BTreeMap<String, String>;

/// The running servers. Dropping it kills them.
#[derive(Debug)]
pub(super) struct Cluster {
    // Dropped in this order: the servers, the guard, the directory.
    servers: Vec<Server>,
    guard: Guard,
    dir: TempDir,
    urls: Vec<String>,
    logins: Logins,
}

impl Cluster {
    /// Starts the servers. `program` is this program, of which a second process becomes the guard.
    pub(super) async fn start(binary: &Path, program: &Path) -> Result<Self, DemoError> {
        let mut attempt = 1;
        loop {
            match Self::try_start(binary, program).await {
                Err(DemoError::Server(ServerError::Ended { .. })) if attempt < STARTS => attempt += 1,
                other => return other,
            }
        }
    }

    async fn try_start(binary: &Path, program: &Path) -> Result<Self, DemoError> {
        let mut guard = Guard::spawn(program).map_err(DemoError::system("start the guard process"))?;
        // The guard removes absolute paths only, so that it cannot be led astray.
        let base = std::path::absolute(std::env::temp_dir());
        let base = base.map_err(DemoError::system("find the directory for temporary files"))?;
        let dir = tempfile::Builder::new().prefix(DIR_PREFIX).tempdir_in(&base);
        let dir = dir.map_err(DemoError::system(format!("create a directory in {}", base.display())))?;
        guard.own_dir(dir.path()).map_err(DemoError::system("reach the guard process"))?;
        let (access, logins) = mint()?;
        let mut cluster = Self { servers: Vec::new(), guard, dir, urls: Vec::new(), logins };
        for conf in configurations(&access).map_err(DemoError::system("find free ports"))? {
            let name = conf.name.clone();
            let file = cluster.write(&format!("{name}.conf"), &conf.to_string())?;
            let server = Server::spawn(binary, &name, &file, cluster.dir.path())?;
            let pid = server.id();
            cluster.servers.push(server);
            cluster.guard.watch(pid).map_err(DemoError::system("reach the guard process"))?;
            cluster.urls.push(format!("nats://127.0.0.1:{}", conf.port));
        }
        for server in &mut cluster.servers {
            server.wait_ready(READY).await?;
        }
        Ok(cluster)
    }

    /// Writes a file that is removed in the end.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, DemoError> {
        let path = self.dir.path().join(name);
        fs::write(&path, text).map_err(DemoError::system(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// The directory that is removed in the end.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The servers' URLs, in the order of [`SERVERS`].
    pub(super) fn urls(&self) -> &[String] {
        &self.urls
    }

    /// How users log in.
    pub(super) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// Waits until a process ends that should not, and says which.
    pub(super) async fn part_ended(&mut self) -> DemoError {
        loop {
            if let Some(error) = self.look() {
                return error;
            }
            sleep(POLL).await;
        }
    }

    fn look(&mut self) -> Option<DemoError> {
        let ended = |part: String, status: ExitStatus| DemoError::PartEnded { part, how: status.to_string() };
        if let Ok(Some(status)) = self.guard.try_wait() {
            let part = "the guard process, which cleans up if the demo is killed,";
            return Some(ended(part.to_owned(), status));
        }
        self.servers.iter_mut().find_map(|server| {
            let status = server.try_wait().ok().flatten()?;
            Some(ended(format!("the server {}", server.name()), status))
        })
    }

    /// Stops everything in order and removes the directory.
    pub(super) async fn stop(mut self) {
        for server in &mut self.servers {
            // One that has ended already cannot be stopped; the others are, whatever happened to it.
            let _ = server.stop(STOP).await;
            let _ = self.guard.forget(server.id());
        }
    }
}

/// Everyone's identity: what the servers are told, and how users log in.
fn mint() -> Result<(Access, Logins), DemoError> {
    let operator = Operator::new("DEMO");
    let mut logins = Logins::new();
    let mut preload = Vec::new();
    let mut system = operator.account("SYS", AccountLimits::default());
    system.exports.push(Export {
        name: "findings".into(),
        subject: "insights.checks.*.>".into(),
        kind: ExportKind::Stream,
        account_token_position: Some(3),
        private: false,
    });
    for (name, claims) in [("insights", agent_claims()), ("watcher", watcher_claims())] {
        logins.insert(format!("SYS/{name}"), system.user(name, &claims)?.creds());
    }
    let mut save = |account: &Account| -> Result<(), DemoError> {
        preload.push((account.public_key(), operator.account_jwt(account)?));
        Ok(())
    };
    save(&system)?;
    for tenant in TENANTS {
        let account = operator.account(tenant.name, tenant.limits);
        save(&account)?;
        for crowd in tenant.crowds {
            let login = format!("{}/{}", tenant.name, crowd.user);
            // Two crowds may share a user.
            if let Entry::Vacant(new) = logins.entry(login) {
                new.insert(account.user(crowd.user, &UserClaims::default())?.creds());
            }
        }
    }
    let access = Access::Operator {
        operator_jwt: operator.jwt(&system)?,
        system_account: system.public_key(),
        preload,
    };
    Ok((access, logins))
}

/// The least that the agent needs.
fn agent_claims() -> UserClaims {
    let allowed = Permissions::defaults();
    let (subscribe, responses) = (allowed.subscriptions(), allowed.answers());
    UserClaims { publish: allowed.publish, subscribe, responses, ..UserClaims::default() }
}

/// Somebody who only listens to findings.
fn watcher_claims() -> UserClaims {
    UserClaims {
        // An empty list would allow everything.
        publish: vec!["$SYS.REQ.USER.INFO".into()],
        subscribe: vec!["insights.checks.>".into(), "_INBOX.>".into(), "_INBOX_INSIGHTS.>".into()],
        ..UserClaims::default()
    }
}

fn configurations(access: &Access) -> std::io::Result<Vec<ServerConf>> {
    let ports = || SERVERS.iter().map(|_| free_port()).collect::<std::io::Result<Vec<u16>>>();
    let (clients, routes) = (ports()?, ports()?);
    let configuration = |(index, name): (usize, &&str)| {
        let mut conf = ServerConf::new(name, clients[index].into(), access.clone());
        conf.max_connections = (index == 0).then_some(MAX_CONNECTIONS);
        conf.cluster = Some(ClusterConf { name: "demo".into(), port: routes[index], routes: routes.clone() });
        conf
    };
    Ok(SERVERS.iter().enumerate().map(configuration).collect())
}
