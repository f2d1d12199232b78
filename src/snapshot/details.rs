//! What an account imports and exports, and what its claims say of that.

use crate::text::{NAME_BYTES, Name, bounded};
use crate::wire::accountz::{self, AccountDetail, DecodedJwt};
use crate::wire::jwt;
use std::collections::{HashMap, HashSet};
use time::OffsetDateTime;

/// Imports, and exports, that are kept of one account.
pub const SHARES: usize = 1000;

/// Signing keys that are kept of one account.
const KEYS: usize = 100;

/// What is imported or exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShareKind {
    /// Messages flow from the exporting account to the importing one.
    Stream,
    /// Requests flow from the importing account to the exporting one.
    Service,
}

impl ShareKind {
    /// The word used in JSON and identities.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Service => "service",
        }
    }

    fn of(word: &str) -> Option<Self> {
        match word {
            "stream" => Some(Self::Stream),
            "service" => Some(Self::Service),
            _ => None,
        }
    }
}

/// How the server treats an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportState {
    /// It is in effect.
    Active,
    /// It was in effect, and is not any longer: its activation has expired or was taken back.
    Expired,
    /// The claims declare it, and the server does not list it: it was not authorized.
    Refused,
}

/// What an account imports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Stream or service.
    pub kind: ShareKind,
    /// The exporting account.
    pub account: Name,
    /// The subject as the exporting account has it.
    pub subject: Name,
    /// The subject as the importing account has it.
    pub local: Name,
    /// Whether it is in effect.
    pub state: ImportState,
    /// Whether it is in the account's claims; never where accounts stand in configuration files.
    pub declared: bool,
    /// Its activation token, where the claims have one.
    pub token: Option<Box<Token>>,
}

/// An activation token. The token itself is never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// It is no token that can be read.
    Unreadable,
    /// What it says.
    Read(TokenClaims),
}

/// What an activation token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClaims {
    /// Public key that signed it.
    pub issuer: Name,
    /// The exporting account, where a signing key has signed.
    pub issuer_account: Option<Name>,
    /// The account that may import.
    pub importer: Name,
    /// When it expires, as Unix time in seconds; none for never.
    pub expires: Option<i64>,
    /// The subject that may be imported.
    pub subject: Name,
    /// Stream or service, where it says one of them.
    pub kind: Option<ShareKind>,
}

/// What an account exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Stream or service.
    pub kind: ShareKind,
    /// The subject.
    pub subject: Name,
    /// Whether an import needs an activation token.
    pub token_required: bool,
    /// The token of the subject, counted from 1, that must be the importing account; claims only.
    pub account_position: Option<u64>,
    /// How many accounts may import it; none where all may.
    pub approved: Option<u64>,
    /// Activations that were taken back.
    pub revoked: u64,
}

/// What is kept of an account's claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Length of the JWT in bytes.
    pub bytes: u64,
    /// Those of them that are activation tokens.
    pub token_bytes: u64,
    /// Imports that are declared.
    pub imports: u64,
    /// Exports that are declared.
    pub exports: u64,
    /// How many imports the operator allows; negative for any number, none where the server does not tell.
    pub import_limit: Option<i64>,
    /// Keys that may sign in the account's name.
    pub signing_keys: Vec<Name>,
    /// Users whose JWTs it has taken back.
    pub revocations: u64,
}

/// What an account imports and exports, as one server describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountDetails {
    /// The epoch in which it was read.
    pub epoch: u64,
    /// When the gather of that epoch began.
    pub at: OffsetDateTime,
    /// The server that described it, by its id.
    pub server: Name,
    /// Whether every account that it imports from could be loaded.
    pub complete: bool,
    /// Whether its JWT has expired.
    pub expired: bool,
    /// Whether it may use JetStream on that server.
    pub jetstream: bool,
    /// Its imports, those that every account has from the system account left out.
    pub imports: Vec<Import>,
    /// Its exports.
    pub exports: Vec<Export>,
    /// Imports beyond those that are kept.
    pub omitted_imports: u64,
    /// Exports beyond those that are kept.
    pub omitted_exports: u64,
    /// From its claims; none for an account of a configuration file.
    pub claims: Option<Claims>,
}

impl AccountDetails {
    /// From an answer, with at most `rows` imports and as many exports.
    pub fn of(detail: &AccountDetail, system_account: &str, rows: usize) -> Self {
        let claims = detail.decoded_jwt.as_ref();
        let (imports, omitted_imports) = imports(detail, system_account, rows);
        let (exports, omitted_exports) = exports(detail, rows);
        Self {
            epoch: 0,
            at: OffsetDateTime::UNIX_EPOCH,
            server: Name::from(""),
            // A configuration file that names an unknown account is refused.
            complete: detail.complete || claims.is_none(),
            expired: detail.expired,
            jetstream: detail.jetstream_enabled,
            imports,
            exports,
            omitted_imports,
            omitted_exports,
            claims: claims.map(|claims| claims_of(detail, claims)),
        }
    }

    /// Keeps at most so many imports and exports together.
    pub fn keep(&mut self, rows: usize) {
        let (imports, exports) = (self.imports.len(), self.exports.len());
        self.imports.truncate(rows);
        self.exports.truncate(rows.saturating_sub(self.imports.len()));
        self.omitted_imports += (imports - self.imports.len()) as u64;
        self.omitted_exports += (exports - self.exports.len()) as u64;
    }

    /// Imports and exports that are kept.
    pub fn rows(&self) -> usize {
        self.imports.len() + self.exports.len()
    }

    /// Whether an import is not in effect.
    pub fn is_broken(&self) -> bool {
        self.imports.iter().any(|import| import.state != ImportState::Active)
    }
}

/// A kind, an exporting account, its subject and the local one.
pub(super) type Parts = (ShareKind, Name, Name, Name);

/// Subjects of claims and of answers of every version in one form.
pub(super) fn parts(import: &accountz::Import) -> Option<Parts> {
    let kind = ShareKind::of(&import.kind)?;
    let name = |text: &str| bounded(text, NAME_BYTES);
    let (subject, local) = match kind {
        _ if !import.local_subject.is_empty() => (name(&import.subject), name(&import.local_subject)),
        _ if import.to.is_empty() => (name(&import.subject), name(&import.subject)),
        // Of streams it is a prefix.
        ShareKind::Stream => {
            (name(&import.subject), name(&format!("{}.{}", import.to.trim_end_matches('.'), import.subject)))
        }
        ShareKind::Service => (name(&import.to), name(&import.subject)),
    };
    let local = if local == subject { subject.clone() } else { local };
    Some((kind, name(&import.account), subject, local))
}

/// A subject in which references to wildcards of another one (`$1`, `{{wildcard(1)}}`) are wildcards: servers write them
/// one way or the other.
fn plain(subject: &str) -> String {
    let token = |token: &str| {
        let reference = token
            .strip_prefix('$')
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
        if reference || token.starts_with("{{") { "*".to_owned() } else { token.to_owned() }
    };
    subject.split('.').map(token).collect::<Vec<_>>().join(".")
}

/// Whether every account has this import.
fn is_implicit((kind, account, subject, _): &Parts, system_account: &str) -> bool {
    **account == *system_account
        && *kind == ShareKind::Service
        && ["$SYS.REQ.", "$JS.API."].iter().any(|prefix| subject.starts_with(prefix))
}

fn imports(detail: &AccountDetail, system_account: &str, rows: usize) -> (Vec<Import>, u64) {
    let all = detail.imports.iter().flatten();
    let effective: Vec<(Parts, bool)> =
        all.filter_map(|import| Some((parts(import)?, import.invalid))).collect();
    type Key = (ShareKind, Name, String);
    let key = |(kind, account, subject, _): &Parts| -> Key { (*kind, account.clone(), plain(subject)) };
    let mut left: HashMap<Key, Vec<usize>> = HashMap::new();
    for (at, (parts, _)) in effective.iter().enumerate() {
        left.entry(key(parts)).or_default().push(at);
    }
    let declared = detail.decoded_jwt.iter().flat_map(|jwt| jwt.nats.imports.iter().flatten());
    let declared: Vec<(Parts, Option<&jwt::Activation>)> =
        declared.filter_map(|import| Some((parts(import)?, import.activation.as_ref()))).collect();
    // One subject may be imported under several local ones: first those that agree in both.
    let mut found: Vec<Option<usize>> = vec![None; declared.len()];
    for same_local in [true, false] {
        for ((parts, _), found) in declared.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
            let Some(left) = left.get_mut(&key(parts)) else { continue };
            let agrees = |at: &usize| !same_local || plain(&effective[*at].0.3) == plain(&parts.3);
            if let Some(place) = left.iter().position(agrees) {
                *found = Some(left.swap_remove(place));
            }
        }
    }
    let state = |invalid: bool| if invalid { ImportState::Expired } else { ImportState::Active };
    let taken: HashSet<usize> = found.iter().flatten().copied().collect();
    let mut imports: Vec<Import> = Vec::new();
    for (((kind, account, subject, local), token), found) in declared.into_iter().zip(found) {
        let state = found.map_or(ImportState::Refused, |at| state(effective[at].1));
        let token = token.map(|token| Box::new(token_of(token)));
        imports.push(Import { kind, account, subject, local, state, declared: true, token });
    }
    for (at, (parts, invalid)) in effective.into_iter().enumerate() {
        if taken.contains(&at) || is_implicit(&parts, system_account) {
            continue;
        }
        let (kind, account, subject, local) = parts;
        let state = state(invalid);
        imports.push(Import { kind, account, subject, local, state, declared: false, token: None });
    }
    // What is broken is kept first.
    imports.sort_by_key(|import| import.state == ImportState::Active);
    let omitted = imports.len().saturating_sub(rows);
    imports.truncate(rows);
    imports.shrink_to_fit();
    (imports, omitted as u64)
}

fn token_of(token: &jwt::Activation) -> Token {
    let Some(claims) = &token.claims else { return Token::Unreadable };
    let name = |text: &str| bounded(text, NAME_BYTES);
    Token::Read(TokenClaims {
        issuer: name(&claims.issuer),
        issuer_account: Some(&claims.issuer_account).filter(|key| !key.is_empty()).map(|key| name(key)),
        importer: name(&claims.importer),
        expires: Some(claims.expires).filter(|expires| *expires != 0),
        subject: name(&claims.subject),
        kind: ShareKind::of(&claims.kind),
    })
}

fn exports(detail: &AccountDetail, rows: usize) -> (Vec<Export>, u64) {
    let declared = detail.decoded_jwt.iter().flat_map(|jwt| jwt.nats.exports.iter().flatten());
    let positions: HashMap<(&str, &str), u64> = declared
        .filter(|export| export.account_token_position > 0)
        .map(|export| ((&*export.kind, &*export.subject), export.account_token_position))
        .collect();
    let all = detail.exports.iter().flatten();
    let mut exports: Vec<Export> = all
        .filter_map(|export| {
            let approved = export.approved_accounts.as_ref().map_or(0, Vec::len) as u64;
            Some(Export {
                kind: ShareKind::of(&export.kind)?,
                subject: bounded(&export.subject, NAME_BYTES),
                token_required: export.token_req,
                account_position: positions.get(&(&*export.kind, &*export.subject)).copied(),
                approved: (approved > 0).then_some(approved),
                revoked: export.revoked_activations.unwrap_or_default().0,
            })
        })
        .collect();
    // The server lists them in no order: what is kept must not change from epoch to epoch.
    exports.sort_by(|a, b| (a.kind, &a.subject).cmp(&(b.kind, &b.subject)));
    let omitted = exports.len().saturating_sub(rows);
    exports.truncate(rows);
    exports.shrink_to_fit();
    (exports, omitted as u64)
}

fn claims_of(detail: &AccountDetail, claims: &DecodedJwt) -> Claims {
    let nats = &claims.nats;
    let declared = nats.imports.iter().flatten();
    let tokens = declared.filter_map(|import| import.activation.as_ref()).map(|token| token.bytes);
    let keys = nats.signing_keys.iter().flatten().map(|key| bounded(&key.0, NAME_BYTES));
    Claims {
        bytes: detail.jwt_bytes.0,
        token_bytes: tokens.fold(0, u64::saturating_add),
        imports: nats.imports.as_ref().map_or(0, Vec::len) as u64,
        exports: nats.exports.as_ref().map_or(0, Vec::len) as u64,
        import_limit: nats.limits.as_ref().map(|limits| limits.imports),
        signing_keys: keys.take(KEYS).collect(),
        revocations: nats.revocations.unwrap_or_default().0,
    }
}

#[cfg(test)]
mod tests;
