//! Describes a system and starts it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use insights_agent::demo::identity::{AccountLimits, UserClaims};
use insights_agent::demo::topology::{
    Access, ClusterConf, FileAccount, FileUser, GatewayConf, LeafLogin, LeafRemote, ServerConf,
};
use insights_agent::demo::{ports::free_port, server::find_binary};

use super::Cluster;
use super::cluster::{Login, Node};
use super::identities::Identities;

const STARTS: usize = 4;

/// Starts a description of limits: `limits().conn(20).subs(100)`. What is not named is unlimited.
pub fn limits() -> Limits {
    Limits(AccountLimits::default())
}

/// Limits of an account.
#[derive(Clone, Copy)]
pub struct Limits(pub AccountLimits);

impl Limits {
    pub fn conn(mut self, most: i64) -> Self {
        self.0.conn = most;
        self
    }
    pub fn subs(mut self, most: i64) -> Self {
        self.0.subs = most;
        self
    }
    pub fn leaf(mut self, most: i64) -> Self {
        self.0.leaf = most;
        self
    }
}

/// What an account imports from the system account.
#[derive(Clone, PartialEq)]
pub(super) enum Imports {
    /// Findings about this account.
    About(String),
    Everything,
}

/// A user of a tenant account.
#[derive(Clone, Default)]
pub(super) struct TenantUser {
    pub name: String,
    pub claims: UserClaims,
}

/// A tenant account with its users.
#[derive(Clone)]
pub struct Account {
    pub(super) name: String,
    pub(super) limits: AccountLimits,
    pub(super) users: Vec<TenantUser>,
    pub(super) imports: Vec<Imports>,
}

impl Account {
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), limits: AccountLimits::default(), users: Vec::new(), imports: Vec::new() }
    }
    pub fn limits(mut self, limits: Limits) -> Self {
        let jetstream = self.limits.jetstream;
        self.limits = AccountLimits { jetstream, ..limits.0 };
        self
    }
    /// Adds a user. In configuration-file mode user names must differ between accounts.
    pub fn user(self, name: &str) -> Self {
        self.user_with_subs(name, -1)
    }
    /// Adds a user whose JWT limits the subscriptions of a connection (operator mode only).
    pub fn user_with_subs(self, name: &str, subs: i64) -> Self {
        self.user_with(name, UserClaims { subs, ..UserClaims::default() })
    }
    /// Adds a user that may publish and subscribe to these subjects and no others.
    pub fn restricted_user(self, name: &str, publish: &[String], subscribe: &[String]) -> Self {
        let (publish, subscribe) = (publish.to_vec(), subscribe.to_vec());
        self.user_with(name, UserClaims { publish, subscribe, ..UserClaims::default() })
    }
    /// Like [`Account::restricted_user`], for one that may answer requests.
    pub fn answering_user(self, name: &str, publish: &[String], subscribe: &[String]) -> Self {
        let (publish, subscribe) = (publish.to_vec(), subscribe.to_vec());
        self.user_with(name, UserClaims { publish, subscribe, responses: true, ..UserClaims::default() })
    }
    /// Adds a user whose JWT is a bearer token (operator mode only).
    pub fn bearer_user(self, name: &str) -> Self {
        self.user_with(name, UserClaims { bearer: true, ..UserClaims::default() })
    }
    fn user_with(mut self, name: &str, claims: UserClaims) -> Self {
        self.users.push(TenantUser { name: name.into(), claims });
        self
    }
    /// Lets the account use JetStream, on servers that have it: [`Builder::jetstream`].
    pub fn jetstream(mut self) -> Self {
        self.limits.jetstream = true;
        self
    }
    /// Imports the findings about this account from the system account: `insights.checks.<own id>.>`.
    pub fn imports_findings(mut self) -> Self {
        self.imports.push(Imports::About(self.name.clone()));
        self
    }
    /// Imports, or tries to, the findings about another account.
    pub fn imports_findings_about(mut self, other: &str) -> Self {
        self.imports.push(Imports::About(other.into()));
        self
    }
    /// Imports all of `insights.checks.>`, which the system account then exports to such accounts only. No other account can
    /// import findings beside it: of two exports that cover a subject nats-server looks at one, whichever comes first.
    pub fn imports_everything(mut self) -> Self {
        self.imports.push(Imports::Everything);
        self
    }
}

/// A system to be started; see [`Cluster::operator`] and [`Cluster::config`].
pub struct Builder {
    operator: bool,
    sizes: Vec<usize>,
    accounts: Vec<Account>,
    max_connections: BTreeMap<usize, i64>,
    leafs: Vec<String>,
    binary: Option<PathBuf>,
    extra: String,
    edit: Option<Box<Edit>>,
    peers: BTreeMap<usize, usize>,
    jetstream: bool,
    full_resolver: bool,
    withheld: Vec<String>,
}

/// Changes a server's configuration before it starts.
type Edit = dyn Fn(usize, &mut ServerConf) + Send + Sync;

impl Builder {
    pub(super) fn new(operator: bool, servers: usize) -> Self {
        Self {
            operator,
            sizes: vec![servers],
            accounts: Vec::new(),
            max_connections: BTreeMap::new(),
            leafs: Vec::new(),
            binary: None,
            extra: String::new(),
            edit: None,
            peers: BTreeMap::new(),
            jetstream: false,
            full_resolver: false,
            withheld: Vec::new(),
        }
    }
    /// Gives the servers JetStream, for the accounts that may use it.
    pub fn jetstream(mut self) -> Self {
        self.jetstream = true;
        self
    }
    /// Lets the servers keep the JWTs of all accounts in directories (operator mode only): [`Cluster::push_account`].
    pub fn full_resolver(mut self) -> Self {
        self.full_resolver = true;
        self
    }
    /// A subject that the agent's user may not publish to although the agent needs it (operator mode only).
    pub fn withhold(mut self, subject: &str) -> Self {
        self.withheld.push(subject.into());
        self
    }
    pub fn account(mut self, account: Account) -> Self {
        self.accounts.push(account);
        self
    }
    /// The `max_connections` of one server.
    pub fn max_connections(mut self, server: usize, most: i64) -> Self {
        self.max_connections.insert(server, most);
        self
    }
    /// A second cluster (`west`), joined with the first by gateways.
    pub fn second_cluster(mut self, servers: usize) -> Self {
        self.sizes.push(servers);
        self
    }
    /// A leafnode server that logs in to server 0 as `ACCOUNT/user`.
    pub fn leaf(mut self, login: &str) -> Self {
        self.leafs.push(login.into());
        self
    }
    /// More lines for the configuration file of every server.
    pub fn extra(mut self, lines: &str) -> Self {
        self.extra.push_str(lines);
        self
    }
    /// Changes the configuration of each server, given its number, before it starts.
    pub fn edit(mut self, edit: impl Fn(usize, &mut ServerConf) + Send + Sync + 'static) -> Self {
        self.edit = Some(Box::new(edit));
        self
    }
    /// How many servers of its cluster this server has routes to; all others, if nothing is said. Server 0 must reach all.
    pub fn peers(mut self, server: usize, peers: usize) -> Self {
        self.peers.insert(server, peers);
        self
    }
    /// Uses this nats-server instead of the default one.
    pub fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.into());
        self
    }

    /// Starts the servers and waits until they are one system.
    pub async fn start(self) -> Cluster {
        let binary = find_binary(self.binary.as_deref()).unwrap_or_else(|error| panic!("{error}"));
        let mut failures = String::new();
        for _ in 0..STARTS {
            // Another process may have taken one of the ports: then all are picked again.
            match Cluster::launch(self.plan(), &binary).await {
                Ok(cluster) => return cluster,
                Err(error) => failures = format!("{failures}\n{error}"),
            }
        }
        panic!("the cluster did not start in {STARTS} attempts:{failures}");
    }

    fn plan(&self) -> Plan {
        let dir = tempfile::Builder::new()
            .prefix(insights_agent::demo::guard::DIR_PREFIX)
            .tempdir()
            .expect("a directory for the servers");
        let identities = if self.operator {
            Identities::mint(&self.accounts, &self.withheld, dir.path())
        } else {
            Identities::file_users(&self.accounts)
        };
        let mut plan =
            Plan { dir, identities, nodes: Vec::new(), leafs: self.leafs.len(), sizes: self.sizes.clone() };
        let port = || free_port().expect("a free port");
        let routes: Vec<Vec<u16>> = self.sizes.iter().map(|n| (0..*n).map(|_| port()).collect()).collect();
        let gateways: Vec<Vec<u16>> = self.sizes.iter().map(|n| (0..*n).map(|_| port()).collect()).collect();
        let leaf_port = port();
        for (which, size) in self.sizes.iter().enumerate() {
            for member in 0..*size {
                let index = plan.nodes.len();
                let mut conf =
                    ServerConf::new(&format!("n{}", index + 1), port().into(), plan.identities.access());
                conf.extra.clone_from(&self.extra);
                conf.jetstream =
                    self.jetstream.then(|| plan.dir.path().join(format!("{}-jetstream", conf.name)));
                conf.resolver_dir =
                    self.full_resolver.then(|| plan.dir.path().join(format!("{}-accounts", conf.name)));
                conf.max_connections = self.max_connections.get(&index).copied();
                conf.cluster = (*size > 1).then(|| ClusterConf {
                    name: cluster_name(which).into(),
                    port: routes[which][member],
                    routes: routes[which].clone(),
                });
                conf.gateway = (self.sizes.len() > 1).then(|| GatewayConf {
                    name: cluster_name(which).into(),
                    port: gateways[which][member],
                    remotes: gateways
                        .iter()
                        .enumerate()
                        .map(|(i, p)| (cluster_name(i).into(), p.clone()))
                        .collect(),
                });
                conf.leafnode_port = (index == 0 && !self.leafs.is_empty()).then_some(leaf_port);
                if let Some(edit) = &self.edit {
                    edit(index, &mut conf);
                }
                let mut node = Node::new(conf, which, plan.dir.path());
                node.peers = self.peers.get(&index).copied();
                plan.nodes.push(node);
            }
        }
        for login in &self.leafs {
            let index = plan.nodes.len();
            let mut conf = ServerConf::new(&format!("n{}", index + 1), port().into(), leaf_access());
            conf.max_connections = self.max_connections.get(&index).copied();
            let login = match plan.identities.login(login) {
                Login::Creds(path) => LeafLogin::Credentials(path),
                Login::Password(user, password) => LeafLogin::Password(user, password),
            };
            conf.leafnode_remotes.push(LeafRemote { port: leaf_port, account: Some("LOCAL".into()), login });
            plan.nodes.push(Node::new(conf, usize::MAX, plan.dir.path()));
        }
        plan.identities.logins.insert("LOCAL/edge".into(), Login::Password("edge".into(), "edge-pw".into()));
        plan
    }
}

/// A system ready to be started: directory, identities and configurations.
pub(super) struct Plan {
    pub dir: tempfile::TempDir,
    pub identities: Identities,
    pub nodes: Vec<Node>,
    pub leafs: usize,
    pub sizes: Vec<usize>,
}

fn leaf_access() -> Access {
    let user =
        |name: &str| FileUser { user: name.into(), password: format!("{name}-pw"), ..FileUser::default() };
    let account =
        |name: &str, user| FileAccount { name: name.into(), users: vec![user], ..FileAccount::default() };
    Access::File {
        system_account: "LEAFSYS".into(),
        accounts: vec![account("LOCAL", user("edge")), account("LEAFSYS", user("leafadmin"))],
    }
}

fn cluster_name(which: usize) -> &'static str {
    ["east", "west"][which]
}
