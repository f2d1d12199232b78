//! USER_002: one user identity has very many connections.

use crate::check::{
    AccountLimit, Category, Context, Disturbed, Entity, EntityType, Kind, LimitView, Meta, Observed,
    OutOfRange, Partial, Rule, Scope, Severity, Thresholds, Validate, Verdict, at_least, count, percent_of,
};
use crate::checks::evidence::{
    DOMINANT, LIKELY, ServerShare, Silent, TopList, by_server, in_words, rfc3339, sweep_gaps,
};
use crate::snapshot::{Account, Endpoint, HIDDEN, TOKEN, UNAUTHENTICATED, UserDetails, UserFold, shared};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct ExcessiveUserConnections;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when one user has more connections than this, over all servers.
    max_connections: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 100 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("max_connections", self.max_connections, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// What the numbers look like, in words: who opened the connections, and when.
    pattern: Vec<String>,
    /// The user's connections by server.
    by_server: Vec<ServerShare>,
    /// Addresses with most connections.
    addresses: TopList,
    /// Client names with most connections.
    client_names: TopList,
    /// Connections without a client name.
    unnamed: u64,
    /// Connections that were idle for long and never carried a message: likely leaked.
    idle_without_messages: Silent,
    /// When the oldest open connection was opened.
    oldest: Option<String>,
    /// When the newest was.
    newest: Option<String>,
    /// How many of the connections servers, addresses, names and times above were drawn from; left out where it is all of
    /// them. In a very large system they are kept only for users that have turned out to have many.
    #[serde(skip_serializing_if = "Option::is_none")]
    details_of: Option<u64>,
    /// The account, all of whose users share its limit.
    account: AccountUse,
    /// What the sweep over connections did not bring; figures above are lower bounds then.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sweep_incomplete: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AccountUse {
    /// Its client connections over all servers.
    connections: u64,
    /// This user's share of them, in percent.
    user_percent: Option<f64>,
    /// The most it may have; none where there is no limit, or none to be seen.
    limit: Option<u64>,
    /// Its connections in percent of the limit.
    percent: Option<f64>,
    /// Why the limit is not known, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_unknown: Option<String>,
}

impl Rule for ExcessiveUserConnections {
    const META: Meta = Meta {
        id: "USER_002",
        name: "Excessive User Connections",
        severity: Severity::Warning,
        category: Category::Saturation,
        kind: Kind::Operational,
        entity: EntityType::User,
        since: "2.9",
        rule: "One user identity has more than 100 active connections, summed over all servers.",
        why: "NATS has no limit of connections per user, only one per account: a user that opens connection after \
              connection shuts out all other users of its account. It also holds a socket, buffers and 10 to 30 KB \
              of memory for each on the servers.\n\n\
              The identity is the account with the user name, the public key of the nkey or the subject of the user \
              JWT. A service with 200 replicas behind one credential is fine: give it a higher threshold by an \
              override for its account and user.\n\n\
              Clients that log in with a token are one identity, `[token]`, and clients that no authentication was \
              asked of are `[unauthenticated]`; those let in as a configured `no_auth_user` stand under that user's \
              name. Servers before 2.10.28 and the versions 2.11.0 and 2.11.1 show a token where others show the \
              user name: what might be one is not kept and stands as `[hidden]`. Several users may be behind it, so \
              that no verdict can be given.",
        remedy: &[
            "Use one connection per process and share it between threads.",
            "Rely on the client library's own reconnect; do not open a new connection on every error.",
            "Give each instance or service its own credentials, so that it can be told apart and bounded.",
            "Bound the damage by the account's connection limit (`--conns`): there is none per user.",
            "Leaked connections can be closed by an operator with a KICK request to their server; this agent never \
             does that.",
        ],
        needs: &[Endpoint::Connz],
        evidence_from: &[Endpoint::AccountStatz, Endpoint::Accountz],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // The sum over all servers is the same wherever the connections are.
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let accounts = context.now.accounts.values();
        let users = accounts.flat_map(|account| account.fold.users.iter().map(move |user| (account, user)));
        // Nearly all users are below any threshold that there is.
        let least = thresholds.all().map(|limits| limits.max_connections).min().unwrap_or(0);
        let mut verdicts: Vec<_> = users
            .filter(|(_, user)| user.connections() > least)
            .filter_map(|(account, user)| judge_user(context, thresholds, account, user))
            .collect();
        // Users are kept unordered.
        verdicts.sort_by(|a, b| a.entity.cmp(&b.entity));
        verdicts
    }
}

fn judge_user(
    context: &Context<'_>,
    thresholds: &Thresholds<Limits>,
    account: &Account,
    user: &UserFold,
) -> Option<Verdict> {
    let (id, name, connections) = (user.id(), shared(user.name()), user.connections());
    let entity = Entity::user(&account.id, account.name.as_ref(), id, name.as_ref());
    let most = thresholds.of(&entity).max_connections;
    if connections <= most {
        return None;
    }
    if id == HIDDEN {
        let reason = format!(
            "{} of account {} cannot be told apart by user: a server older than 2.10.28 (or 2.11.0, 2.11.1) may show \
             login tokens in place of user names, so they are not kept",
            count(connections, "connection"),
            account.label(),
        );
        return Some(Verdict::unknown(entity, reason));
    }
    let who = match id {
        TOKEN => "clients with a login token".into(),
        UNAUTHENTICATED => "clients without authentication".into(),
        _ => format!("user {}", entity.label()),
    };
    let has = if id.starts_with('[') { "have" } else { "has" };
    let summary = format!(
        "{who} of account {} {has} {}, more than {most}",
        account.label(),
        count(connections, "connection"),
    );
    let observed = Observed::count(connections, most, "connections");
    let evidence = evidence(context, account, user);
    let remediation = remediation(account, user, &evidence);
    Some(Verdict::firing(entity, summary, observed, &evidence, remediation))
}

fn evidence(context: &Context<'_>, account: &Account, user: &UserFold) -> Evidence {
    let kept = user.details();
    let covered = covered(user);
    let nothing = UserDetails::default();
    let details = kept.unwrap_or(&nothing);
    let (addresses, client_names) = (TopList::of(&details.addresses), TopList::of(&details.names));
    let pattern = match covered {
        0 => vec![NOT_KEPT.to_owned()],
        _ => vec![origin(details, covered, &addresses, &client_names), timing(user, details)],
    };
    let on_servers = context.now.servers.values().filter_map(|server| {
        let fold = server.fold.as_ref()?;
        Some((server.id.clone(), details.on(fold)))
    });
    Evidence {
        pattern,
        by_server: by_server(context.now, on_servers.filter(|(_, count)| *count > 0)),
        addresses,
        client_names,
        unnamed: details.unnamed,
        idle_without_messages: Silent::of(user.silent(), user.connections()),
        oldest: details.oldest.and_then(rfc3339),
        newest: details.newest.and_then(rfc3339),
        details_of: (covered < user.connections()).then_some(covered),
        account: account_use(context, account, user),
        sweep_incomplete: sweep_gaps(context.now),
    }
}

/// Why there is no pattern to tell.
const NOT_KEPT: &str = "where they come from was not kept: too many users were met at once";

/// Of how many of the user's connections there are details.
fn covered(user: &UserFold) -> u64 {
    user.details().map_or(0, |details| user.connections().saturating_sub(details.before))
}

fn account_use(context: &Context<'_>, account: &Account, user: &UserFold) -> AccountUse {
    // Two requests, moments apart, and either may lack a server: the larger is nearer the truth.
    let connections = account.connections().max(account.fold.kinds().clients());
    let (limit, limit_unknown) = match context.limit(account, AccountLimit::Connections) {
        LimitView::Limited { limit, .. } => (Some(limit), None),
        LimitView::Unlimited => (None, None),
        LimitView::NotVisible(reason) | LimitView::Unknown(reason) => (None, Some(reason)),
    };
    AccountUse {
        connections,
        user_percent: percent_of(user.connections(), connections),
        limit,
        percent: limit.and_then(|limit| percent_of(connections, limit)),
        limit_unknown,
    }
}

/// Distinct addresses from which on a credential is likely shared by many processes.
const MANY: u64 = 5;

/// Who opened them: one process, one host, or many.
fn origin(details: &UserDetails, covered: u64, addresses: &TopList, names: &TopList) -> String {
    let leading = |list: &TopList| list.leading(covered).map(|(name, share)| (name.clone(), share));
    let by_name = match (names.distinct, details.unnamed) {
        (0, _) => "without a client name".to_owned(),
        (1, 0) => names
            .top
            .first()
            .map_or_else(String::new, |first| format!("with the client name `{}`", first.name)),
        (distinct, _) => format!("with {}", count(distinct, "client name")),
    };
    match leading(addresses) {
        Some((address, share)) if share >= DOMINANT => {
            let how = if addresses.distinct == 1 { "all".into() } else { format!("{share:.1} %") };
            let guess = match names.distinct {
                0 | 1 => "one process that opens many connections, or many behind one proxy",
                _ => "several processes of one host, or many behind one proxy",
            };
            format!("{how} from the address {address}, {by_name}: likely {guess}")
        }
        _ if addresses.distinct >= MANY => {
            format!(
                "from {} addresses, {by_name}: likely many replicas that share one credential",
                addresses.distinct
            )
        }
        _ => format!(
            "from {} addresses, {by_name}: likely a few processes that open many each",
            addresses.distinct
        ),
    }
}

/// Opened within this time, connections look like one burst.
const BURST: time::Duration = time::Duration::minutes(5);
/// Opened over at least this time, they look like a leak or like growth.
const SLOW: time::Duration = time::Duration::hours(1);

/// When they were opened: in one burst, or one by one.
fn timing(user: &UserFold, details: &UserDetails) -> String {
    let Some(span) = details.newest.zip(details.oldest).map(|(newest, oldest)| newest - oldest) else {
        return "no server told when they were opened".into();
    };
    let leaking = percent_of(user.silent(), user.connections()).is_some_and(|share| share >= LIKELY);
    let over = in_words(span.unsigned_abs().as_secs());
    match span {
        span if span <= BURST => {
            format!("opened within {over}: one burst, such as a deployment or a reconnect of all")
        }
        span if span >= SLOW && leaking => {
            format!("opened over {over}, many of them idle since: likely a slow leak")
        }
        span if span >= SLOW => format!("opened over {over}: one by one, not in a burst"),
        _ => format!("opened over {over}"),
    }
}

fn remediation(account: &Account, user: &UserFold, evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    let silent = &evidence.idle_without_messages;
    if silent.percent >= LIKELY {
        steps.push(format!(
            "{} ({:.1} %) never carried a message and are idle: look for code that opens a connection and forgets it. \
             An operator can close them with a KICK request to their server; this agent never does.",
            count(silent.connections, "connection"),
            silent.percent,
        ));
    }
    let one_address = evidence.addresses.leading(covered(user)).filter(|(_, share)| *share >= DOMINANT);
    if let Some((address, share)) = one_address {
        steps.push(format!(
            "{share:.1} % come from the address {address}: open one connection per process and share it between its \
             threads, and leave reconnecting to the client library."
        ));
    } else if evidence.addresses.distinct >= MANY {
        steps.push(
            "Many addresses share this identity: give each service or instance its own credentials, and if the number \
             is meant, raise `max_connections` of this check by an override for this account and user."
                .into(),
        );
    }
    steps.push("Reuse one connection per process, with the client library's own reconnect.".into());
    if evidence.account.limit.is_none() {
        steps.push(format!(
            "There is no limit per user in NATS: bound account {} by a connection limit (`nsc edit account --conns`, or \
             `max_connections` in its `limits` block).",
            account.label(),
        ));
    }
    steps
}

#[cfg(test)]
mod tests;
