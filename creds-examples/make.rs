//! Writes the generated files of `creds-examples/`: `cargo run --example make-creds [DIRECTORY]`.
//!
//! Every key is the hash of a phrase that stands here for all to read, so the files come out the same each time
//! and protect nothing. A test compares them with this program.

use std::error::Error;
use std::path::{Path, PathBuf};

use insights_agent::demo::identity::{
    Account, AccountLimits, Export, ExportKind, Import, Operator, UserClaims,
};
use insights_agent::demo::topology::{Access, FileAccount, FileExport, FileUser};
use insights_agent::permissions::Permissions;
use nkeys::{KeyPair, KeyPairType};
use sha2::{Digest, Sha256};

const WARNING: &str =
    "# PUBLIC. Made by `cargo run --example make-creds` from phrases in its source. Never use in earnest.\n";

/// What the small account of the demonstration may do: the load of docker-compose.yml comes close to it.
const PRODUCTION: AccountLimits =
    AccountLimits { conn: 20, subs: 20, leaf: 2, payload: -1, jetstream: false };

/// Paths below the directory, and contents.
type Files = Vec<(PathBuf, String)>;

fn main() -> Result<(), Box<dyn Error>> {
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("creds-examples");
    let directory = std::env::args_os().nth(1).map_or(default, PathBuf::from);
    for (path, text) in files()? {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, text)?;
    }
    Ok(())
}

/// All generated files.
pub(crate) fn files() -> Result<Files, Box<dyn Error>> {
    let mut files = operator_mode()?;
    files.push((
        PathBuf::from("configuration-file/servers/accounts.conf"),
        format!("{WARNING}{}", file_mode()),
    ));
    Ok(files)
}

fn operator_mode() -> Result<Files, Box<dyn Error>> {
    let operator = Operator::from_seed("EXAMPLE", &seed(KeyPairType::Operator, "operator")?)?;
    let account = |name: &str, limits| -> Result<Account, Box<dyn Error>> {
        Ok(operator.account_from_seed(name, &seed(KeyPairType::Account, name)?, limits)?)
    };
    let mut system = account("SYS", AccountLimits::default())?;
    let mut production = account("PRODUCTION", PRODUCTION)?;
    let batch = account("BATCH", AccountLimits::default())?;
    system.exports.push(Export {
        name: "findings".into(),
        subject: "insights.checks.*.>".into(),
        kind: ExportKind::Stream,
        account_token_position: Some(3),
        private: false,
    });
    production.imports.push(Import {
        name: "findings".into(),
        subject: format!("insights.checks.{}.>", production.public_key()),
        account: system.public_key(),
        kind: ExportKind::Stream,
        activation: None,
        local_subject: None,
    });

    let everything = UserClaims::default();
    let allowed = Permissions::defaults();
    let (subscribe, responses) = (allowed.subscriptions(), allowed.answers());
    let least = UserClaims { publish: allowed.publish, subscribe, responses, ..UserClaims::default() };
    let users = [
        (&system, "admin", &everything),
        (&system, "insights", &least),
        (&production, "svc", &everything),
        (&batch, "job", &everything),
    ];
    let mut files = Files::new();
    for (account, name, claims) in users {
        let label = format!("{}-{name}", account.name());
        let user = account.user_from_seed(name, &seed(KeyPairType::User, &label)?, claims)?;
        files.push((PathBuf::from(format!("operator/creds/{label}.creds")), user.creds()));
    }
    let accounts = [&system, &production, &batch];
    let preload: Result<Vec<_>, _> = accounts
        .iter()
        .map(|account| Ok((account.public_key(), operator.account_jwt(account)?)))
        .collect::<Result<_, Box<dyn Error>>>();
    let access = Access::Operator {
        operator_jwt: operator.jwt(&system)?,
        system_account: system.public_key(),
        preload: preload?,
    };
    files.push((PathBuf::from("operator/servers/accounts.conf"), format!("{WARNING}{access}")));
    Ok(files)
}

fn file_mode() -> Access {
    let user = |name: &str, publish: Vec<String>, subscribe: Vec<String>| FileUser {
        user: name.into(),
        password: format!("public-{name}"),
        publish,
        subscribe,
        responses: false,
    };
    let allowed = Permissions::defaults();
    let (subscribe, responses) = (allowed.subscriptions(), allowed.answers());
    let agent = FileUser { responses, ..user("insights", allowed.publish, subscribe) };
    let system = FileAccount {
        name: "SYS".into(),
        users: vec![user("admin", vec![], vec![]), agent],
        exports: vec![FileExport {
            subject: "insights.checks.*.>".into(),
            account_token_position: Some(3),
            ..FileExport::default()
        }],
        ..FileAccount::default()
    };
    let production = FileAccount {
        name: "PRODUCTION".into(),
        users: vec![user("svc", vec![], vec![])],
        max_connections: Some(PRODUCTION.conn),
        max_subscriptions: Some(PRODUCTION.subs),
        max_leafnodes: Some(PRODUCTION.leaf),
        imports: vec![("SYS".into(), "insights.checks.PRODUCTION.>".into())],
        ..FileAccount::default()
    };
    let batch = FileAccount {
        name: "BATCH".into(),
        users: vec![user("job", vec![], vec![])],
        ..FileAccount::default()
    };
    Access::File { system_account: "SYS".into(), accounts: vec![system, production, batch] }
}

fn seed(kind: KeyPairType, label: &str) -> Result<String, nkeys::error::Error> {
    let phrase = format!("insights-agent example, public, never use: {label}");
    KeyPair::new_from_raw(kind, Sha256::digest(phrase).into())?.seed()
}
