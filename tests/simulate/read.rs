//! Reads answers of a world as the agent does.

use insights_agent::simulate::{Moment, Reply, Shape, World};
use insights_agent::wire::account_statz::AccountStatz;
use insights_agent::wire::accountz::Accountz;
use insights_agent::wire::connz::{self, Page};
use insights_agent::wire::envelope::{self, ServerInfo};
use insights_agent::wire::statsz;
use insights_agent::wire::varz::Varz;
use serde_json::{Value, json};
use std::io::Read;
use time::OffsetDateTime;

/// A time of which every server's start is known.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

pub(crate) fn world(shape: Shape) -> World {
    World::new(shape, now()).unwrap()
}

pub(crate) fn moment() -> Moment {
    Moment::start(now())
}

/// The plain bytes of an answer.
pub(crate) fn plain(reply: &Reply) -> Vec<u8> {
    if !reply.snappy {
        return reply.payload.to_vec();
    }
    let mut plain = Vec::new();
    snap::read::FrameDecoder::new(&reply.payload[..]).read_to_end(&mut plain).unwrap();
    plain
}

/// All answers, compressed on the way, as plain bytes.
pub(crate) fn ask(world: &World, subject: &str, body: &Value) -> Vec<Vec<u8>> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.answer(&moment(), subject, body.as_bytes(), true).iter().map(plain).collect()
}

/// One connection of a page, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) cid: u64,
    pub(crate) account: String,
    pub(crate) user: String,
    pub(crate) subscriptions: u64,
    pub(crate) listed_subscriptions: usize,
    pub(crate) messages: i64,
}

/// A page and its connections.
pub(crate) fn connz(body: &[u8]) -> (Page, Vec<Seen>) {
    let mut seen = Vec::new();
    let page = connz::parse(body, &mut |_, connection| {
        seen.push(Seen {
            cid: connection.cid,
            account: connection.account.to_string(),
            user: connection.authorized_user.to_string(),
            subscriptions: connection.subscriptions,
            listed_subscriptions: connection.subscriptions_list.as_ref().map_or(0, Vec::len),
            messages: connection.in_msgs + connection.out_msgs,
        });
    });
    (page.unwrap(), seen)
}

/// The servers that answer the roll call.
pub(crate) fn roll_call(world: &World) -> Vec<ServerInfo> {
    let answers = ask(world, "$SYS.REQ.SERVER.PING.STATSZ", &Value::Null);
    answers
        .iter()
        .map(|body| statsz::parse(body).map(|(info, statsz)| (info, statsz.unwrap()).0).unwrap())
        .collect()
}

pub(crate) fn varz(world: &World) -> Vec<(ServerInfo, Varz)> {
    let answers = ask(world, "$SYS.REQ.SERVER.PING.VARZ", &Value::Null);
    answers
        .iter()
        .map(|body| envelope::parse::<Varz>(body).unwrap())
        .map(|(info, varz)| (info, varz.unwrap()))
        .collect()
}

pub(crate) fn statz(world: &World) -> Vec<(ServerInfo, AccountStatz)> {
    let answers = ask(world, "$SYS.REQ.ACCOUNT.PING.STATZ", &json!({"include_unused": true}));
    let parsed = answers.iter().map(|body| envelope::parse::<AccountStatz>(body).unwrap());
    parsed.map(|(info, statz)| (info, statz.unwrap())).collect()
}

pub(crate) fn accountz(world: &World, subject: &str, body: &Value) -> Vec<(ServerInfo, Accountz)> {
    let answers = ask(world, subject, body);
    let parsed = answers.iter().map(|body| envelope::parse::<Accountz>(body).unwrap());
    parsed.map(|(info, list)| (info, list.unwrap())).collect()
}
