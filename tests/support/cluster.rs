//! A running system.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_nats::{Client, ConnectError, ConnectOptions};
use futures_util::StreamExt;
use insights_agent::demo::guard::Guard;
use insights_agent::demo::identity;
use insights_agent::demo::server::{Server, ServerError};
use insights_agent::demo::topology::{Access, FileAccount, ServerConf};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::agent::AgentArgs;
use super::builder::{Builder, Limits, Plan};
use super::formation;
use super::identities::{Identities, Source};

const READY: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

/// How somebody logs in.
#[derive(Clone)]
pub enum Login {
    Creds(PathBuf),
    Password(String, String),
}

/// One server: its configuration and, while it runs, its process.
pub(super) struct Node {
    pub conf: ServerConf,
    /// The cluster it belongs to; leafnode servers have `usize::MAX`.
    pub cluster: usize,
    pub paused: bool,
    /// Servers of the cluster it has routes to; none for all others.
    pub peers: Option<usize>,
    pub server: Option<Server>,
    /// Another nats-server than that of the system.
    binary: Option<PathBuf>,
    file: PathBuf,
}

impl Node {
    pub fn new(conf: ServerConf, cluster: usize, dir: &Path) -> Self {
        let file = dir.join(format!("{}.conf", conf.name));
        Self { conf, cluster, paused: false, peers: None, server: None, binary: None, file }
    }

    pub fn answers(&self) -> bool {
        self.server.is_some() && !self.paused
    }

    fn write(&self) {
        fs::write(&self.file, self.conf.to_string()).expect("a configuration file");
    }
}

/// A running system. Dropping it kills the servers.
pub struct Cluster {
    // Servers go first, the guard next, the directory last.
    pub(super) nodes: Vec<Node>,
    guard: Guard,
    pub(super) identities: Identities,
    binary: PathBuf,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// `servers` servers with operator, account and user JWTs.
    pub fn operator(servers: usize) -> Builder {
        Builder::new(true, servers)
    }

    /// `servers` servers whose accounts and users stand in the configuration file.
    pub fn config(servers: usize) -> Builder {
        Builder::new(false, servers)
    }

    pub(super) async fn launch(plan: Plan, binary: &Path) -> Result<Self, String> {
        let mut guard =
            Guard::spawn(Path::new(env!("CARGO_BIN_EXE_insights-agent"))).expect("the guard process");
        guard.own_dir(plan.dir.path()).expect("the guard listens");
        let Plan { dir, identities, nodes, .. } = plan;
        let mut cluster = Self { nodes, guard, identities, binary: binary.to_owned(), dir };
        for index in 0..cluster.nodes.len() {
            cluster.nodes[index].write();
            cluster.spawn(index).map_err(|error| error.to_string())?;
        }
        for node in &mut cluster.nodes {
            let server = node.server.as_mut().expect("just started");
            server.wait_ready(READY).await.map_err(|error| error.to_string())?;
        }
        let mut formed = super::try_eventually(30, async || formation::formed(&cluster).await).await;
        if formed.is_ok() {
            formed = super::try_eventually(20, async || formation::meta_group_met(&cluster).await).await;
        }
        formed.map_err(|seen| {
            let logs: Vec<_> = (0..cluster.len()).map(|server| cluster.log_end(server)).collect();
            format!("the servers did not form one system: {seen}\n{}", logs.join("\n"))
        })?;
        Ok(cluster)
    }

    fn spawn(&mut self, index: usize) -> Result<(), ServerError> {
        let node = &mut self.nodes[index];
        let binary = node.binary.as_ref().unwrap_or(&self.binary);
        let server = Server::spawn(binary, &node.conf.name, &node.file, self.dir.path())?;
        self.guard.watch(server.id()).expect("the guard listens");
        node.server = Some(server);
        Ok(())
    }

    /// Waits until all servers that run and are not paused know each other.
    pub async fn wait_formed(&self) {
        super::eventually("the servers form one system", 30, async || formation::formed(self).await).await;
    }

    /// Number of servers, leafnode servers included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The client URL of a server.
    pub fn url(&self, server: usize) -> String {
        format!("nats://127.0.0.1:{}", self.nodes[server].conf.port)
    }

    /// The name of a server: `n1` for server 0.
    pub fn server_name(&self, server: usize) -> &str {
        &self.nodes[server].conf.name
    }

    /// The process id of a running server.
    pub fn server_pid(&self, server: usize) -> u32 {
        self.nodes[server].server.as_ref().expect("a running server").id()
    }

    /// The id that NATS knows an account by: its public key in operator mode, else its name.
    pub fn account_id(&self, name: &str) -> String {
        self.identities.account_id(name)
    }

    /// The id that NATS knows `ACCOUNT/user` by: its public key in operator mode, else its name.
    pub fn user_id(&self, login: &str) -> String {
        self.identities.users[login].clone()
    }

    /// Whether its accounts are JWTs.
    pub fn is_operator(&self) -> bool {
        matches!(self.identities.source, Source::Operator { .. })
    }

    /// The creds file of a login, in operator mode.
    pub fn creds(&self, login: &str) -> PathBuf {
        match self.identities.login(login) {
            Login::Creds(path) => path,
            Login::Password(..) => panic!("{login} has a password, not a creds file"),
        }
    }

    /// User name and password of a login, in configuration-file mode.
    pub fn password(&self, login: &str) -> (String, String) {
        match self.identities.login(login) {
            Login::Password(user, password) => (user, password),
            Login::Creds(path) => panic!("{login} has a creds file, {}", path.display()),
        }
    }

    /// Connection arguments for the agent: server 0, as the least-privilege user `SYS/insights`.
    pub fn agent_args(&self) -> AgentArgs {
        self.agent_args_as(0, "SYS/insights")
    }

    /// Connection arguments for the agent: this server, as this user.
    pub fn agent_args_as(&self, server: usize, login: &str) -> AgentArgs {
        let args = AgentArgs::default().chain(["--server", &self.url(server)]);
        let args = args.usual(self.dir().join("usual.toml"));
        match self.identities.login(login) {
            Login::Creds(path) => args.chain(["--creds", &path.to_string_lossy()]),
            Login::Password(user, password) => args.chain(["--user", &user, "--password", &password]),
        }
    }

    /// Connects a client to a server as `ACCOUNT/user`.
    pub async fn connect(&self, server: usize, login: &str, name: &str) -> Client {
        let connected = self.try_connect(server, login, name).await;
        connected.unwrap_or_else(|error| panic!("{login} cannot connect to server {server}: {error}"))
    }

    /// Like [`Cluster::connect`], for tests that expect to be refused.
    pub async fn try_connect(&self, server: usize, login: &str, name: &str) -> Result<Client, ConnectError> {
        let options = match self.identities.login(login) {
            Login::Creds(path) => ConnectOptions::with_credentials_file(path).await.expect("a creds file"),
            Login::Password(user, password) => ConnectOptions::with_user_and_password(user, password),
        };
        options.name(name).ignore_discovered_servers().connect(self.url(server)).await
    }

    /// Connects `count` clients named `<prefix>-0`, `<prefix>-1`, … Keep them: a dropped client disconnects.
    pub async fn connect_many(&self, server: usize, login: &str, prefix: &str, count: usize) -> Vec<Client> {
        let mut clients = Vec::with_capacity(count);
        for number in 0..count {
            // One after the other: simultaneous connects can slip past or short of an account's limit.
            clients.push(self.connect(server, login, &format!("{prefix}-{number}")).await);
        }
        clients
    }

    /// Stops a server in an orderly way.
    pub async fn stop(&mut self, server: usize) {
        let mut process = self.take(server);
        process.stop(STOP).await.expect("the server stops");
        self.guard.forget(process.id()).expect("the guard listens");
    }

    /// Stops a server in an orderly way, unless it has ended by itself meanwhile, as a lame duck does.
    pub async fn stop_or_ended(&mut self, server: usize) {
        let mut process = self.take(server);
        let stopped = process.stop(STOP).await;
        assert!(
            stopped.is_ok() || matches!(process.try_wait(), Ok(Some(_))),
            "the server stops: {stopped:?}"
        );
        self.guard.forget(process.id()).expect("the guard listens");
    }

    /// Kills a server: a crash.
    pub fn kill(&mut self, server: usize) {
        let mut process = self.take(server);
        process.kill().expect("the server can be killed");
        self.guard.forget(process.id()).expect("the guard listens");
    }

    fn take(&mut self, server: usize) -> Server {
        self.nodes[server].paused = false;
        self.nodes[server].server.take().expect("a running server")
    }

    /// Freezes a server: connections stay, answers do not come.
    pub fn pause(&mut self, server: usize) {
        self.running(server).pause().expect("SIGSTOP");
        // Until all its threads have stopped, one on another processor may still answer. Nothing is reaped here.
        let pid = self.server_pid(server).try_into().ok().and_then(Pid::from_raw).expect("a process id");
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), stopped).expect("a server that is our child");
        self.nodes[server].paused = true;
    }

    /// Ends [`Cluster::pause`].
    pub fn resume(&mut self, server: usize) {
        self.running(server).resume().expect("SIGCONT");
        self.nodes[server].paused = false;
    }

    /// Puts a server into lame-duck mode.
    pub fn lame_duck(&mut self, server: usize) {
        self.running(server).lame_duck().expect("SIGUSR2");
    }

    /// Starts a server again on the same ports (stops it first if it runs) and waits until it is back.
    pub async fn restart(&mut self, server: usize) {
        if self.nodes[server].server.is_some() {
            self.stop_or_ended(server).await;
        }
        self.spawn(server).unwrap_or_else(|error| panic!("{error}"));
        self.running(server).wait_ready(READY).await.unwrap_or_else(|error| panic!("{error}"));
        self.wait_formed().await;
    }

    /// Like [`Cluster::restart`], with another nats-server from now on.
    pub async fn restart_as(&mut self, server: usize, binary: &Path) {
        self.nodes[server].binary = Some(binary.to_owned());
        self.restart(server).await;
    }

    /// Changes the configuration file of a server; it reads it when it is started again.
    pub fn rewrite(&mut self, server: usize, edit: impl FnOnce(&mut ServerConf)) {
        let node = &mut self.nodes[server];
        edit(&mut node.conf);
        node.write();
    }

    /// Starts a server again that was stopped or killed, and does not wait for anything.
    pub fn start(&mut self, server: usize) {
        self.spawn(server).unwrap_or_else(|error| panic!("{error}"));
    }

    fn running(&mut self, server: usize) -> &mut Server {
        self.nodes[server].server.as_mut().expect("a running server")
    }

    /// Changes the limits of an account on all servers and waits until they have them.
    pub async fn set_limits(&mut self, account: &str, limits: Limits) {
        self.identities.set_limits(account, limits.0);
        let access = self.identities.access();
        for node in self.nodes.iter_mut().filter(|node| node.cluster != usize::MAX) {
            node.conf.access = access.clone();
            node.write();
        }
        self.reload().await;
    }

    /// Changes the JWT of an account on all servers and waits until they have it (operator mode only).
    pub async fn change_account(&mut self, name: &str, change: impl FnOnce(&mut identity::Account)) {
        change(self.identities.account(name));
        self.spread_access().await;
    }

    /// Changes the JWT of an account in the directories of all servers, which does not load it
    /// ([`Builder::full_resolver`] only).
    pub async fn push_account(&mut self, name: &str, change: impl FnOnce(&mut identity::Account)) {
        change(self.identities.account(name));
        let (id, access) = (self.account_id(name), self.identities.access());
        let Access::Operator { preload, .. } = access else {
            panic!("accounts are JWTs in operator mode only")
        };
        let (_, jwt) = preload.into_iter().find(|(key, _)| *key == id).expect("the account");
        let client = self.connect(0, "SYS/admin", "push").await;
        let inbox = client.new_inbox();
        let mut answers = client.subscribe(inbox.clone()).await.expect("a subscription");
        let subject = format!("$SYS.REQ.ACCOUNT.{id}.CLAIMS.UPDATE");
        client.publish_with_reply(subject, inbox, jwt.into()).await.expect("a connection");
        for _ in self.nodes.iter().filter(|node| node.answers()) {
            let answer = tokio::time::timeout(READY, answers.next()).await.expect("every server answers");
            let answer = String::from_utf8_lossy(&answer.expect("an answer").payload).into_owned();
            assert!(answer.contains("\"code\":200"), "{answer}");
        }
    }

    /// An account as its next JWT has it (operator mode only).
    pub fn account(&mut self, name: &str) -> &mut identity::Account {
        self.identities.account(name)
    }

    /// Changes the accounts of all servers' files and waits until they have them (configuration-file mode only).
    pub async fn change_file_accounts(&mut self, change: impl FnOnce(&mut Vec<FileAccount>)) {
        change(self.identities.file_accounts());
        self.spread_access().await;
    }

    async fn spread_access(&mut self) {
        let access = self.identities.access();
        for node in self.nodes.iter_mut().filter(|node| node.cluster != usize::MAX) {
            node.conf.access = access.clone();
            node.write();
        }
        self.reload().await;
    }

    /// Changes what the agent's user may publish to, in configuration-file mode, and waits until all servers have it.
    pub async fn allow_agent(&mut self, publish: Vec<String>) {
        self.identities.allow("SYS", "insights", publish);
        let access = self.identities.access();
        for node in self.nodes.iter_mut().filter(|node| node.cluster != usize::MAX) {
            node.conf.access = access.clone();
            node.write();
        }
        self.reload().await;
    }

    /// Changes the `max_connections` of a server and waits until it has it.
    pub async fn set_max_connections(&mut self, server: usize, most: i64) {
        self.nodes[server].conf.max_connections = Some(most);
        self.nodes[server].write();
        self.reload().await;
    }

    /// The configuration of a server.
    pub fn conf(&self, server: usize) -> &ServerConf {
        &self.nodes[server].conf
    }

    /// Changes the configuration file of a server, for its next start or reload.
    pub fn edit(&mut self, server: usize, change: impl FnOnce(&mut ServerConf)) {
        change(&mut self.nodes[server].conf);
        self.nodes[server].write();
    }

    /// Makes all servers read their configuration again and waits until they have.
    pub async fn reload(&mut self) {
        let before = formation::load_times(self).await;
        for node in self.nodes.iter_mut().filter(|node| node.answers()) {
            node.server.as_mut().expect("it answers").reload().expect("SIGHUP");
        }
        super::eventually("all servers reload", 20, async || {
            let now = formation::load_times(self).await;
            let done = before.iter().all(|(server, time)| now.get(server).is_some_and(|new| new != time));
            if done { Ok(()) } else { Err(format!("{before:?} became {now:?}")) }
        })
        .await;
    }

    /// The last lines of a server's log.
    pub fn log_end(&self, server: usize) -> String {
        self.nodes[server].server.as_ref().map(Server::log_end).unwrap_or_default()
    }

    /// The directory of the configurations, creds and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}
