//! The questions of the start: who am I, is this the system account, what am I denied.

mod error;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ask::{Answer, Ask, Wait};
use super::connect::Connection;
use super::events::ClientEvents;
use super::permissions::{Permissions, covers};

pub use error::SelfTestError;

const USER_INFO: &str = "$SYS.REQ.USER.INFO";
const PING_STATSZ: &str = "$SYS.REQ.SERVER.PING.STATSZ";
/// The account of users for whom the configuration names none.
const GLOBAL_ACCOUNT: &str = "$G";
/// How long after an answer another one may come: servers behind routes and gateways answer later.
const QUIET: Duration = Duration::from_millis(300);

/// The subjects the agent cannot do without. Wildcards stand for all their subjects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Subjects it publishes to.
    pub publish: Vec<String>,
    /// Subjects it subscribes to, its inbox included.
    pub subscribe: Vec<String>,
}

/// Who the agent is, to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user as the server calls it: a name, or a public key; unknown where the server does not say (before 2.10, or
    /// where the user may not ask).
    pub user: Option<String>,
    /// The account, which is the system account.
    pub account: String,
    /// What the user may do; `None` where the server does not say.
    pub permissions: Option<Permissions>,
    /// How long the credentials are still valid, where they end.
    pub expires_in: Option<Duration>,
    /// The servers that answered, by name.
    pub servers: BTreeMap<String, Answered>,
}

/// A server that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Its id.
    pub id: String,
    /// Its cluster.
    pub cluster: Option<String>,
}

/// Tests a connection.
pub async fn self_test(connection: &Connection, needs: &Needs) -> Result<Identity, SelfTestError> {
    let own = OwnSide {
        server_id: connection.server_id(),
        events: connection.events(),
        inbox_prefix: connection.inbox_prefix(),
        timeout: connection.timeout(),
    };
    examine(connection, &own, needs).await
}

/// What is known on this side of the connection.
struct OwnSide<'a> {
    server_id: String,
    events: &'a ClientEvents,
    inbox_prefix: &'a str,
    timeout: Duration,
}

async fn examine(asked: &impl Ask, own: &OwnSide<'_>, needs: &Needs) -> Result<Identity, SelfTestError> {
    let wait = Wait { first: own.timeout, quiet: QUIET };
    let inbox_denied = || SelfTestError::InboxDenied { prefix: own.inbox_prefix.to_owned() };

    let user_answers = asked.ask(USER_INFO, Bytes::new(), wait).await?;
    if own.events.denied_below(own.inbox_prefix) {
        return Err(inbox_denied());
    }
    let user = own_user(&user_answers, &own.server_id);

    // Only the server on the other end is asked: the VARZ of a thousand servers is megabytes.
    let varz_subject = format!("$SYS.REQ.SERVER.{}.VARZ", own.server_id);
    let one = Wait { quiet: Duration::ZERO, ..wait };
    let varz_answers = asked.ask(&varz_subject, Bytes::new(), one).await?;
    let varz: Option<Varz> = payloads(&varz_answers).find_map(data);
    let servers_answers = asked.ask(PING_STATSZ, Bytes::new(), wait).await?;
    let pongs = payloads(&servers_answers).filter_map(parse::<Pong>).map(|pong| pong.server);
    let servers: BTreeMap<String, Answered> = pongs
        .map(|ServerName { name, id, cluster }| {
            (name, Answered { id, cluster: cluster.filter(|cluster| !cluster.is_empty()) })
        })
        .collect();

    let system_account = varz.and_then(|varz| varz.system_account).filter(|name| !name.is_empty());
    let account = user.as_ref().map(|user| user.account.clone()).filter(|name| !name.is_empty());
    match (&account, &system_account) {
        (Some(account), Some(system)) if account != system => {
            return Err(SelfTestError::WrongAccount { account: Some(account.clone()), system_account });
        }
        // Both questions reach servers from the system account only; elsewhere nobody listens, which is said at once.
        _ if unanswerable(&varz_answers) && unanswerable(&servers_answers) => {
            return Err(match account.as_deref() {
                Some(GLOBAL_ACCOUNT) => SelfTestError::NoSystemAccount,
                _ => SelfTestError::WrongAccount { account, system_account: None },
            });
        }
        _ => {}
    }

    denied(needs, user.as_ref().and_then(|user| user.permissions.as_ref()), own.events)?;
    let Some(account) = system_account.or(account) else {
        let strange = [(varz_subject.as_str(), &varz_answers), (PING_STATSZ, &servers_answers)]
            .into_iter()
            .find(|(_, answers)| payloads(answers).next().is_some());
        return Err(match strange {
            Some((subject, _)) => SelfTestError::Garbage { subject: subject.to_owned() },
            None => SelfTestError::NothingAnswered { waited: own.timeout },
        });
    };
    if servers.is_empty() {
        return Err(SelfTestError::NothingAnswered { waited: own.timeout });
    }
    Ok(Identity {
        account,
        expires_in: user.as_ref().and_then(UserInfo::expires_in),
        user: user.as_ref().map(|user| user.user.clone()).filter(|name| !name.is_empty()),
        permissions: user.map(|user| user.permissions.unwrap_or_default()),
        servers,
    })
}

/// The needed subjects that are refused: by the permissions the server told, and by refusals that already happened.
fn denied(needs: &Needs, told: Option<&Permissions>, events: &ClientEvents) -> Result<(), SelfTestError> {
    let refused =
        |needed: &String, happened: &[String]| happened.iter().any(|subject| covers(needed, subject));
    let (publishes, subscriptions) = (events.denied_publishes(), events.denied_subscriptions());
    let publish: Vec<String> = needs
        .publish
        .iter()
        .filter(|needed| told.is_some_and(|told| !told.may_publish(needed)) || refused(needed, &publishes))
        .cloned()
        .collect();
    let subscribe: Vec<String> = needs
        .subscribe
        .iter()
        .filter(|needed| {
            told.is_some_and(|told| !told.may_subscribe(needed)) || refused(needed, &subscriptions)
        })
        .cloned()
        .collect();
    if publish.is_empty() && subscribe.is_empty() {
        Ok(())
    } else {
        Err(SelfTestError::Denied { publish, subscribe })
    }
}

/// What the server on the other end says about this connection's user. A leaf server that bridges the system account
/// answers too, about its own connection and with an empty user (2.10 to 2.15).
fn own_user(answers: &[Answer], server_id: &str) -> Option<UserInfo> {
    let mut others = Vec::new();
    for envelope in payloads(answers).filter_map(parse::<Envelope<UserInfo>>) {
        let own = envelope.server.id == server_id;
        match envelope.data {
            Some(info) if own => return Some(info),
            Some(info) => others.push(info),
            None => {}
        }
    }
    // After a reconnect to another server within this question the id is the old one.
    others.into_iter().find(|info| !info.user.is_empty())
}

fn unanswerable(answers: &[Answer]) -> bool {
    answers.iter().any(|answer| answer.no_responders) && payloads(answers).next().is_none()
}

fn payloads(answers: &[Answer]) -> impl Iterator<Item = &Bytes> {
    answers.iter().filter(|answer| !answer.no_responders).map(|answer| &answer.payload)
}

fn parse<T: DeserializeOwned>(payload: &Bytes) -> Option<T> {
    serde_json::from_slice(payload).ok()
}

fn data<T: DeserializeOwned>(payload: &Bytes) -> Option<T> {
    parse::<Envelope<T>>(payload)?.data
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(default)]
    server: ServerName,
    data: Option<T>,
}

#[derive(Deserialize)]
struct Pong {
    server: ServerName,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServerName {
    name: String,
    id: String,
    cluster: Option<String>,
}

#[derive(Deserialize)]
struct Varz {
    system_account: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct UserInfo {
    user: String,
    account: String,
    permissions: Option<Permissions>,
    /// Nanoseconds, as Go writes a duration.
    expires: i64,
}

impl UserInfo {
    fn expires_in(&self) -> Option<Duration> {
        u64::try_from(self.expires).ok().filter(|nanos| *nanos > 0).map(Duration::from_nanos)
    }
}

#[cfg(test)]
mod tests;
