//! CONNZ, handed out connection by connection while it is parsed.

use super::envelope::{ApiError, ServerInfo};
use super::time::timestamp;
use super::{WireError, utf8};
use ::time::OffsetDateTime;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// Options of a request.
#[derive(Debug, Clone, Serialize)]
pub struct ConnzOptions {
    /// With user, account and JWT.
    pub auth: bool,
    /// 0: open connections, 1: closed ones.
    pub state: u8,
    /// `cid` (the default), `subs`, `bytes_to`, `bytes_from`, `pending`, `stop`.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub sort: &'static str,
    /// With the subjects of the subscriptions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub subscriptions: bool,
    /// Only the one with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<u64>,
    /// Only those of one account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acc: Option<String>,
    /// Only those with a subscription that overlaps this subject; needs the account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub filter_subject: Option<String>,
    /// Connections to pass over.
    pub offset: u64,
    /// Connections to list; the server takes 0 for 1024.
    pub limit: u64,
}

impl ConnzOptions {
    /// The first open connections with their users, by ascending cid.
    pub const fn open() -> Self {
        Self {
            auth: true,
            state: 0,
            sort: "",
            subscriptions: false,
            cid: None,
            acc: None,
            filter_subject: None,
            offset: 0,
            limit: 1024,
        }
    }
}

/// One connection, borrowed from the answer. `authorized_user` and `jwt` may hold secrets: they are looked at and
/// never kept.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Connection<'a> {
    /// Id on its server.
    pub cid: u64,
    /// `Client` or `Leafnode`; left out before 2.10.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
    /// `nats`, `websocket`, `mqtt`.
    #[serde(borrow, rename = "type")]
    pub client_type: Cow<'a, str>,
    /// Address without port.
    #[serde(borrow)]
    pub ip: Cow<'a, str>,
    /// When it connected.
    #[serde(borrow)]
    pub start: Cow<'a, str>,
    /// Last message or change of subscriptions.
    #[serde(borrow)]
    pub last_activity: Cow<'a, str>,
    /// Why it ended, for closed ones.
    #[serde(borrow)]
    pub reason: Cow<'a, str>,
    /// When it ended.
    #[serde(borrow)]
    pub stop: Cow<'a, str>,
    /// Round trip as Go writes it; `0s` before it was measured.
    #[serde(borrow)]
    pub rtt: Cow<'a, str>,
    /// Bytes that wait to be sent to the client.
    pub pending_bytes: i64,
    /// Messages from the client.
    pub in_msgs: i64,
    /// Messages to the client.
    pub out_msgs: i64,
    /// Bytes from the client.
    pub in_bytes: i64,
    /// Bytes to the client.
    pub out_bytes: i64,
    /// How often a publisher had to wait for this reader (2.12).
    pub stalls: i64,
    /// How many subscriptions it has.
    pub subscriptions: u64,
    /// Client's name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Client's library.
    #[serde(borrow)]
    pub lang: Cow<'a, str>,
    /// Its version.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
    /// User name, public key, or a login token.
    #[serde(borrow)]
    pub authorized_user: Cow<'a, str>,
    /// Left out for the global account.
    #[serde(borrow)]
    pub account: Cow<'a, str>,
    /// User's JWT; on older servers an MQTT password.
    #[serde(borrow)]
    pub jwt: Cow<'a, str>,
    /// Name of the account; of the user before 2.11.0.
    #[serde(borrow)]
    pub name_tag: Cow<'a, str>,
    /// The key that signed the user, or the account; only of those who logged in with a key.
    #[serde(borrow)]
    pub issuer_key: Cow<'a, str>,
    /// Subjects, when asked for.
    #[serde(borrow)]
    pub subscriptions_list: Option<Vec<Cow<'a, str>>>,
}

// Written by hand so that no log can print what may be secret.
impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("cid", &self.cid).finish_non_exhaustive()
    }
}

/// What stands before the connections in an answer.
#[derive(Debug, Clone, Default)]
pub struct PageHead {
    /// The id of the server that answers; empty where the answer has not told it yet.
    pub server: String,
    /// The server's clock.
    pub now: Option<OffsetDateTime>,
}

/// What an answer says beside its connections.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// Who answered.
    pub server: ServerInfo,
    /// Its head.
    pub head: PageHead,
    /// Connections on the server, all pages together.
    pub total: u64,
    /// Connections that were handed out.
    pub listed: u64,
}

/// Hands every connection of an answer to `each`, in its order. On an error the connections before it have been
/// handed out.
pub fn parse(body: &[u8], each: &mut dyn FnMut(&PageHead, &Connection<'_>)) -> Result<Page, WireError> {
    let text = utf8(body)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut page = Page::default();
    let mut outcome = Outcome { data: false, error: None };
    Envelope { page: &mut page, outcome: &mut outcome, each }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| WireError::json(&error))?;
    match (outcome.error, outcome.data) {
        (Some(error), _) => Err(error.into()),
        (None, false) => Err(WireError::NoData),
        (None, true) => Ok(page),
    }
}

struct Outcome {
    data: bool,
    error: Option<ApiError>,
}

struct Envelope<'s> {
    page: &'s mut Page,
    outcome: &'s mut Outcome,
    each: &'s mut dyn FnMut(&PageHead, &Connection<'_>),
}

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an answer to CONNZ")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "server" => {
                    self.page.server = map.next_value()?;
                    self.page.head.server.clone_from(&self.page.server.id);
                }
                "error" => self.outcome.error = map.next_value()?,
                "data" => {
                    self.outcome.data = map.next_value_seed(Data { page: self.page, each: self.each })?
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Reads the page; whether there was one (`null` on errors).
struct Data<'s> {
    page: &'s mut Page,
    each: &'s mut dyn FnMut(&PageHead, &Connection<'_>),
}

impl<'de> DeserializeSeed<'de> for Data<'_> {
    type Value = bool;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Data<'_> {
    type Value = bool;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page of connections")
    }
    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "now" => self.page.head.now = timestamp(&map.next_value::<Cow<'de, str>>()?),
                "total" => self.page.total = map.next_value()?,
                "connections" => {
                    map.next_value_seed(Connections { page: self.page, each: self.each })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(true)
    }
}

struct Connections<'s> {
    page: &'s mut Page,
    each: &'s mut dyn FnMut(&PageHead, &Connection<'_>),
}

impl<'de> DeserializeSeed<'de> for Connections<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Connections<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of connections")
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        while let Some(connection) = sequence.next_element::<Connection<'de>>()? {
            self.page.listed += 1;
            (self.each)(&self.page.head, &connection);
        }
        Ok(())
    }
}
