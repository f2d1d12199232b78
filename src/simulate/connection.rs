//! One simulated connection, as CONNZ prints it.

use super::random::{For, Key, bytes, draw, public_key};
use super::world::World;
use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Services that users are named after.
const SERVICES: [&str; 12] = [
    "orders",
    "billing",
    "shipping",
    "inventory",
    "search",
    "telemetry",
    "gateway",
    "sessions",
    "reports",
    "mailer",
    "pricing",
    "audit",
];
/// Client libraries with a version of each.
const LIBRARIES: [(&str, &str); 6] = [
    ("go", "1.47.0"),
    ("go", "1.44.0"),
    ("rust", "0.45.0"),
    ("java", "2.24.1"),
    ("nats.js", "3.2.0"),
    ("python3", "2.11.0"),
];
/// The header of every JWT of NATS, encoded.
const JWT_HEADER: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ";

const MINUTE: u64 = 60;

/// What of a connection is printed besides the rest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct With {
    /// User, account and JWT.
    pub(super) auth: bool,
    /// The subjects of its subscriptions.
    pub(super) subscriptions: bool,
}

/// A user of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    /// Public key, or the name where the account stands in a configuration file.
    pub(super) id: String,
    pub(super) name: String,
    /// Empty where there is none.
    jwt: String,
}

/// A time as Go prints it.
pub(super) fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

/// A duration as servers print it: `3d4h5m6s`.
pub(super) fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        86_400.. => format!("{days}d{hours}h{minutes}m{}s", seconds % 60),
        3600.. => format!("{hours}h{minutes}m{}s", seconds % 60),
        60.. => format!("{minutes}m{}s", seconds % 60),
        _ => format!("{seconds}s"),
    }
}

/// Writes connections of one server; keeps the last user, since connections of one user often follow each other.
pub(super) struct Writer<'w> {
    world: &'w World,
    server: usize,
    last: Option<(usize, u64, User)>,
}

impl<'w> Writer<'w> {
    pub(super) const fn new(world: &'w World, server: usize) -> Self {
        Self { world, server, last: None }
    }

    /// Appends the connection at a position.
    pub(super) fn write(&mut self, out: &mut String, position: u64, with: With) {
        let (world, server) = (self.world, self.server);
        let seed = world.shape.seed;
        let (account, number) = world.layout.at(server, position);
        let tenant = &world.layout.accounts[account];
        let user_number = tenant.user_of(number);
        let silent = number < tenant.silent && user_number == 0;

        // Ids grow as connections are opened, from the start of the server until an hour ago.
        let connections = world.layout.servers[server].connections();
        let started = world.started(server);
        let window = (world.built - started).whole_seconds().unsigned_abs().saturating_sub(60 * MINUTE);
        let nanos = draw(seed, For::Start, server as u64, position);
        let place =
            u128::from(window) * 1_000_000_000 * u128::from(position) / u128::from(connections.max(1));
        let step = u128::from(window) * 1_000_000_000 / u128::from(connections.max(1));
        let start = started
            + time::Duration::nanoseconds(
                i64::try_from(place + u128::from(nanos) % step.max(1)).unwrap_or(0),
            );
        let traffic = draw(seed, For::Traffic, server as u64, position);
        let activity = draw(seed, For::Activity, server as u64, position);
        let idle = if silent { 10 * MINUTE + activity % (40 * MINUTE) } else { activity % MINUTE };
        let last = world.built
            - time::Duration::seconds(idle as i64)
            - time::Duration::nanoseconds(nanos as i32 as i64 / 4);
        let (received, sent) =
            if silent { (0, 0) } else { (1 + traffic % 90_000, 1 + (traffic >> 20) % 90_000) };
        let address = draw(seed, For::Address, account as u64, number / 4);
        let kind = match traffic >> 58 {
            0 => "websocket",
            1 => "mqtt",
            _ => "nats",
        };
        let (lang, version) = LIBRARIES[(draw(seed, For::Address, account as u64, user_number) % 6) as usize];
        let _ = write!(
            out,
            "{{\"cid\":{},\"kind\":\"Client\",\"type\":\"{kind}\",\"ip\":\"10.{}.{}.{}\",\"port\":{},\"start\":\"{}\",\
             \"last_activity\":\"{}\",\"rtt\":\"{}µs\",\"uptime\":\"{}\",\"idle\":\"{}\",\"pending_bytes\":0,\
             \"in_msgs\":{received},\"out_msgs\":{sent},\"in_bytes\":{},\"out_bytes\":{},\"subscriptions\":{}",
            cid(seed, server, position),
            address % 250,
            (address >> 8) % 250,
            1 + (address >> 16) % 250,
            32_768 + (nanos >> 40) % 28_000,
            rfc3339(start),
            rfc3339(last),
            180 + (traffic >> 40) % 800,
            uptime((world.built - start).whole_seconds().unsigned_abs()),
            uptime(idle),
            received * (60 + traffic % 200),
            sent * (60 + traffic % 300),
            tenant.subscriptions_of(number),
        );
        let service = SERVICES[(user_number % SERVICES.len() as u64) as usize];
        // Some clients never get a name.
        if !(traffic >> 52).is_multiple_of(16) {
            let _ = write!(out, ",\"name\":\"{service}-{}\"", number % 8);
        }
        let _ = write!(out, ",\"lang\":\"{lang}\",\"version\":\"{version}\"");
        if with.auth {
            let user = self.user(account, user_number);
            let _ = write!(out, ",\"authorized_user\":\"{}\",\"account\":\"{}\"", user.id, tenant.id);
        }
        if with.subscriptions {
            let many = tenant.subscriptions_of(number);
            out.push_str(",\"subscriptions_list\":[");
            for subject in 0..many {
                let comma = if subject == 0 { "" } else { "," };
                let _ = match subject {
                    0 => write!(out, "\"_INBOX.{:016x}.*\"", nanos),
                    _ => write!(
                        out,
                        "{comma}\"{service}.{}.{subject}\"",
                        ["events", "requests", "jobs"][subject as usize % 3]
                    ),
                };
            }
            out.push(']');
        }
        if with.auth {
            let user = self.user(account, user_number);
            if !user.jwt.is_empty() {
                let _ = write!(out, ",\"jwt\":\"{}\",\"issuer_key\":\"{}\"", user.jwt, tenant.id);
            }
            let _ = write!(out, ",\"name_tag\":\"{}\"", tenant.name);
        }
        out.push('}');
    }

    fn user(&mut self, account: usize, number: u64) -> &User {
        let known = self.last.as_ref().is_some_and(|(a, n, _)| (*a, *n) == (account, number));
        let user = match self.last.take().filter(|_| known) {
            Some((.., user)) => user,
            None => user(self.world, account, number),
        };
        &self.last.insert((account, number, user)).2
    }
}

/// The id of a connection on its server; higher for later ones.
pub(super) fn cid(seed: u64, server: usize, position: u64) -> u64 {
    10 + position * 3 + draw(seed, For::Order, server as u64, position) % 3
}

/// A user of an account, by its number.
pub(super) fn user(world: &World, account: usize, number: u64) -> User {
    let (seed, tenant) = (world.shape.seed, &world.layout.accounts[account]);
    let service = SERVICES[(number % SERVICES.len() as u64) as usize];
    let name = match number / SERVICES.len() as u64 {
        0 => service.to_owned(),
        round => format!("{service}-{}", round + 1),
    };
    if !tenant.jwt {
        // Names of users must differ over all accounts of a configuration file.
        let id = format!("{}-{}", tenant.name.to_ascii_lowercase(), name);
        return User { id: id.clone(), name: id, jwt: String::new() };
    }
    let id = public_key(Key::User, bytes(seed, For::User, account as u64, number));
    let token_id = BASE32_NOPAD.encode(&bytes::<32>(seed, For::TokenId, account as u64, number));
    let issued = world.built.unix_timestamp() - 86_400 * (1 + (number as i64 & 63));
    let claims = format!(
        "{{\"jti\":\"{token_id}\",\"iat\":{issued},\"iss\":\"{}\",\"name\":\"{name}\",\"sub\":\"{id}\",\"nats\":{{\"pub\":\
         {{\"allow\":[\"{service}.>\",\"_INBOX.>\"]}},\"sub\":{{\"allow\":[\"{service}.>\",\"_INBOX.>\"]}},\"subs\":-1,\
         \"data\":-1,\"payload\":-1,\"type\":\"user\",\"version\":2}}}}",
        tenant.id,
    );
    let signature = bytes::<64>(seed, For::Signature, account as u64, number);
    let mut jwt = String::with_capacity(800);
    jwt.push_str(JWT_HEADER);
    jwt.push('.');
    BASE64URL_NOPAD.encode_append(claims.as_bytes(), &mut jwt);
    jwt.push('.');
    BASE64URL_NOPAD.encode_append(&signature, &mut jwt);
    User { id, name, jwt }
}
