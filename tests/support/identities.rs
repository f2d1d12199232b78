//! The accounts and users of a system, in operator mode and in configuration-file mode.

use std::collections::BTreeMap;
use std::path::Path;

use insights_agent::demo::identity::{
    self, AccountLimits, Export, ExportKind, Import, Operator, User, UserClaims,
};
use insights_agent::demo::topology::{Access, FileAccount, FileExport, FileUser};
use insights_agent::permissions::Permissions;

use super::builder::{Account, Imports, TenantUser};
use super::cluster::Login;

/// What the system account exports: each account gets the findings about itself.
const FINDINGS_EXPORT: &str = "insights.checks.*.>";
/// What it exports where an account imports all findings.
const EVERYTHING: &str = "insights.checks.>";

/// Who exists, and how they log in.
#[derive(Default)]
pub(super) struct Identities {
    pub source: Source,
    pub logins: BTreeMap<String, Login>,
    pub users: BTreeMap<String, String>,
}

pub(super) enum Source {
    Operator { operator: Box<Operator>, accounts: Vec<identity::Account> },
    File(Vec<FileAccount>),
}

impl Default for Source {
    fn default() -> Self {
        Self::File(Vec::new())
    }
}

impl Identities {
    /// Mints operator, accounts and users, and writes the creds files into `dir`.
    pub fn mint(tenants: &[Account], withheld: &[String], dir: &Path) -> Identities {
        let operator = Operator::new("TEST");
        let mut system = operator.account("SYS", AccountLimits::default());
        let all = tenants.iter().any(|tenant| tenant.imports.contains(&Imports::Everything));
        system.exports.push(Export {
            name: "findings".into(),
            subject: if all { EVERYTHING } else { FINDINGS_EXPORT }.into(),
            kind: ExportKind::Stream,
            account_token_position: (!all).then_some(3),
            private: all,
        });
        let mut identities = Identities::default();
        let mut save = |account: &identity::Account, user: User| {
            let login = format!("{}/{}", account.name(), user.name());
            let path = dir.join(format!("{}-{}.creds", account.name(), user.name()));
            std::fs::write(&path, user.creds()).expect("a creds file");
            identities.users.insert(login.clone(), user.public_key().into());
            identities.logins.insert(login, Login::Creds(path));
        };
        save(&system, system.user("admin", &UserClaims::default()).unwrap());
        let mut allowed = Permissions::defaults();
        allowed.publish.retain(|subject| !withheld.contains(subject));
        let (subscribe, responses) = (allowed.subscriptions(), allowed.answers());
        let least = UserClaims { publish: allowed.publish, subscribe, responses, ..UserClaims::default() };
        save(&system, system.user("insights", &least).unwrap());
        let mut accounts = Vec::new();
        for wanted in tenants {
            let account = operator.account(&wanted.name, wanted.limits);
            for user in &wanted.users {
                save(&account, account.user(&user.name, &user.claims).unwrap());
            }
            accounts.push(account);
        }
        let keys: BTreeMap<String, String> =
            accounts.iter().map(|account| (account.name().to_owned(), account.public_key())).collect();
        for (wanted, account) in tenants.iter().zip(&mut accounts) {
            for imports in &wanted.imports {
                let (subject, activation) = match imports {
                    Imports::About(name) => (format!("insights.checks.{}.>", keys[name]), None),
                    Imports::Everything => {
                        let importer = account.public_key();
                        let activation = system.activation(&importer, EVERYTHING, ExportKind::Stream);
                        (EVERYTHING.into(), Some(activation.unwrap()))
                    }
                };
                account.imports.push(Import {
                    name: "findings".into(),
                    subject,
                    account: system.public_key(),
                    kind: ExportKind::Stream,
                    activation,
                    local_subject: None,
                });
            }
        }
        accounts.push(system);
        identities.source = Source::Operator { operator: Box::new(operator), accounts };
        identities
    }

    /// Users with passwords.
    pub fn file_users(tenants: &[Account]) -> Identities {
        let mut identities = Identities::default();
        let mut user = |account: &str, name: &str, permissions: Permissions| {
            let password = format!("{name}-pw");
            let login = Login::Password(name.into(), password.clone());
            identities.logins.insert(format!("{account}/{name}"), login);
            let taken = identities.users.values().any(|known: &String| known == name);
            assert!(!taken, "user {name} exists twice; names must be unique in configuration-file mode");
            identities.users.insert(format!("{account}/{name}"), name.into());
            FileUser {
                user: name.into(),
                password,
                subscribe: permissions.subscriptions(),
                responses: permissions.answers(),
                publish: permissions.publish,
            }
        };
        let mut accounts = vec![FileAccount {
            name: "SYS".into(),
            users: vec![user("SYS", "admin", everything()), user("SYS", "insights", Permissions::defaults())],
            exports: vec![file_export(tenants)],
            ..FileAccount::default()
        }];
        for wanted in tenants {
            let mut account = FileAccount { name: wanted.name.clone(), ..FileAccount::default() };
            for TenantUser { name, claims } in &wanted.users {
                let plain = claims.subs == -1 && !claims.bearer;
                assert!(plain, "user limits and bearer users exist in operator mode only");
                let (publish, subscribe) = (claims.publish.clone(), claims.subscribe.clone());
                account.users.push(user(
                    &wanted.name,
                    name,
                    Permissions { publish, subscribe, asked_on: vec![] },
                ));
            }
            for imports in &wanted.imports {
                let subject = match imports {
                    Imports::About(name) => format!("insights.checks.{name}.>"),
                    Imports::Everything => EVERYTHING.into(),
                };
                account.imports.push(("SYS".into(), subject));
            }
            limit_file_account(&mut account, wanted.limits);
            accounts.push(account);
        }
        identities.source = Source::File(accounts);
        identities
    }

    pub fn login(&self, login: &str) -> Login {
        let known = || self.logins.keys().cloned().collect::<Vec<_>>().join(", ");
        self.logins.get(login).unwrap_or_else(|| panic!("no login {login}; there are {}", known())).clone()
    }

    /// What the servers are told, as it is now.
    pub fn access(&self) -> Access {
        match &self.source {
            Source::Operator { operator, accounts } => {
                let system = accounts.last().expect("the system account");
                Access::Operator {
                    operator_jwt: operator.jwt(system).unwrap(),
                    system_account: system.public_key(),
                    preload: accounts
                        .iter()
                        .map(|account| (account.public_key(), operator.account_jwt(account).unwrap()))
                        .collect(),
                }
            }
            Source::File(accounts) => {
                Access::File { system_account: "SYS".into(), accounts: accounts.clone() }
            }
        }
    }

    pub fn set_limits(&mut self, name: &str, limits: AccountLimits) {
        match &mut self.source {
            Source::Operator { accounts, .. } => {
                let account =
                    accounts.iter_mut().find(|account| account.name() == name).expect("the account");
                account.limits = AccountLimits { jetstream: account.limits.jetstream, ..limits };
            }
            Source::File(accounts) => {
                let account = accounts.iter_mut().find(|account| account.name == name).expect("the account");
                limit_file_account(account, AccountLimits { jetstream: account.jetstream, ..limits });
            }
        }
    }

    pub fn allow(&mut self, account: &str, user: &str, publish: Vec<String>) {
        let Source::File(accounts) = &mut self.source else {
            panic!("permissions change in configuration-file mode only");
        };
        let users =
            accounts.iter_mut().filter(|known| known.name == account).flat_map(|known| &mut known.users);
        users.into_iter().find(|known| known.user == user).expect("the user").publish = publish;
    }

    /// An account of operator mode.
    pub fn account(&mut self, name: &str) -> &mut identity::Account {
        let Source::Operator { accounts, .. } = &mut self.source else {
            panic!("accounts are JWTs in operator mode only")
        };
        accounts.iter_mut().find(|account| account.name() == name).expect("the account")
    }

    /// The accounts of configuration-file mode.
    pub fn file_accounts(&mut self) -> &mut Vec<FileAccount> {
        let Source::File(accounts) = &mut self.source else { panic!("these accounts are JWTs") };
        accounts
    }

    pub fn account_id(&self, name: &str) -> String {
        match &self.source {
            Source::Operator { accounts, .. } => {
                accounts.iter().find(|account| account.name() == name).expect("the account").public_key()
            }
            Source::File(_) => name.to_owned(),
        }
    }
}

fn file_export(tenants: &[Account]) -> FileExport {
    let all = tenants.iter().filter(|tenant| tenant.imports.contains(&Imports::Everything));
    let accounts: Vec<String> = all.map(|tenant| tenant.name.clone()).collect();
    if accounts.is_empty() {
        return FileExport {
            subject: FINDINGS_EXPORT.into(),
            account_token_position: Some(3),
            ..FileExport::default()
        };
    }
    FileExport { subject: EVERYTHING.into(), account_token_position: None, accounts }
}

/// Permissions of a user who may do everything.
fn everything() -> Permissions {
    Permissions { publish: vec![], subscribe: vec![], asked_on: vec![] }
}

fn limit_file_account(account: &mut FileAccount, limits: AccountLimits) {
    let limit = |value| (value != -1).then_some(value);
    account.max_connections = limit(limits.conn);
    account.max_subscriptions = limit(limits.subs);
    account.max_leafnodes = limit(limits.leaf);
    account.max_payload = limit(limits.payload);
    account.jetstream = limits.jetstream;
}
