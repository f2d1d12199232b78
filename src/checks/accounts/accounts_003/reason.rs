//! Why a server does not apply an import.

use crate::snapshot::{
    Account, AccountDetails, Export, Import, Snapshot, Token, TokenClaims, covers, overlaps,
};
use crate::text::Name;

/// Why a server does not apply an import, in the order in which it is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reason {
    /// No server that answered has the exporting account loaded.
    ExporterUnknown(Name),
    /// What the exporting account exports has not been read, so that nothing can be said.
    Undetermined(Name),
    /// It has no such export.
    NoExport(Name),
    /// The export needs a token.
    TokenMissing,
    /// The token has expired.
    TokenExpired,
    /// The token was signed by a key that is not the exporting account's.
    TokenSigner,
    /// Anything else, as a clause.
    Other(&'static str),
}

impl Reason {
    /// The word used in JSON.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::ExporterUnknown(_) => "exporter_unknown",
            Self::Undetermined(_) => "undetermined",
            Self::NoExport(_) => "no_export",
            Self::TokenMissing => "token_missing",
            Self::TokenExpired => "token_expired",
            Self::TokenSigner => "token_signer",
            Self::Other(_) => "other",
        }
    }

    /// As a clause.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::ExporterUnknown(account) => {
                format!("account {account} is not loaded on any server that answered")
            }
            Self::Undetermined(account) => {
                format!("the exports of account {account} were not read, so that the reason is not known")
            }
            Self::NoExport(account) => format!("account {account} has no export of that kind that covers it"),
            Self::TokenMissing => "the export needs an activation token and the import has none".into(),
            Self::TokenExpired => "its activation token has expired".into(),
            Self::TokenSigner => {
                "its activation token was signed neither by the exporting account's key nor by one of its signing keys"
                    .into()
            }
            Self::Other(why) => (*why).into(),
        }
    }
}

/// Exports of the same kind that overlap an import.
pub(super) fn overlapping<'a>(now: &'a Snapshot, import: &'a Import) -> impl Iterator<Item = &'a Export> {
    let details = now.accounts.get(&import.account).and_then(|account| account.details.as_ref());
    let exports = details.into_iter().flat_map(|details| &details.exports);
    exports.filter(|export| export.kind == import.kind && overlaps(&export.subject, &import.subject))
}

/// Why an import is not in effect.
pub(super) fn reason(now: &Snapshot, importer: &Account, import: &Import) -> Reason {
    let name = || super::label(now, &import.account);
    let Some(exporter) = now.accounts.get(&import.account) else {
        // Where only accounts with clients are listed, it may be loaded and have none.
        return if now.only_used_accounts {
            Reason::Undetermined(name())
        } else {
            Reason::ExporterUnknown(name())
        };
    };
    let Some(details) = &exporter.details else {
        return Reason::Undetermined(name());
    };
    let mut exports: Vec<&Export> =
        overlapping(now, import).filter(|export| covers(&export.subject, &import.subject)).collect();
    // The server takes the very subject first, then any that covers it.
    if let Some(exact) = exports.iter().position(|export| export.subject == import.subject) {
        exports = vec![exports[exact]];
    }
    if exports.is_empty() {
        return if details.omitted_exports > 0 {
            Reason::Undetermined(name())
        } else {
            Reason::NoExport(name())
        };
    }
    if exports.iter().any(|export| export.token_required) {
        let Some(token) = import.token.as_deref() else { return Reason::TokenMissing };
        let Token::Read(claims) = token else {
            return Reason::Other("its activation token cannot be read");
        };
        if let Some(reason) = token_reason(now, &exporter.id, details, importer, import, claims) {
            return reason;
        }
        if exports.iter().any(|export| export.revoked > 0) {
            return Reason::Other(
                "its activation token may be among those that the exporting account took back",
            );
        }
    }
    let named = |export: &&&Export| {
        let token = export.account_position.and_then(|position| {
            import.subject.split('.').nth(usize::try_from(position).ok()?.checked_sub(1)?)
        });
        export.account_position.is_some() && token != Some(&*importer.id)
    };
    if exports.iter().find(named).is_some() {
        return Reason::Other(
            "the export is for subjects that name the importing account, which this one does not",
        );
    }
    let claims = importer.details.as_ref().and_then(|details| details.claims.as_ref());
    let beyond = claims.is_some_and(|claims| {
        claims
            .import_limit
            .and_then(|limit| u64::try_from(limit).ok())
            .is_some_and(|limit| claims.imports > limit)
    });
    if beyond {
        return Reason::Other("the account's JWT has more imports than its own limit allows");
    }
    if importer.id == import.account {
        return Reason::Other("the account imports it from itself");
    }
    Reason::Other("the server does not show why")
}

fn token_reason(
    now: &Snapshot,
    exporter: &Name,
    details: &AccountDetails,
    importer: &Account,
    import: &Import,
    token: &TokenClaims,
) -> Option<Reason> {
    if token.expires.is_some_and(|expires| expires <= now.taken_at.unix_timestamp()) {
        return Some(Reason::TokenExpired);
    }
    let keys = details.claims.iter().flat_map(|claims| &claims.signing_keys);
    let own = token.issuer == *exporter || keys.into_iter().any(|key| *key == token.issuer);
    // What a signing key signs names the account that it signs for.
    let named = token.issuer == *exporter || token.issuer_account.as_ref() == Some(exporter);
    if !own || !named {
        return Some(Reason::TokenSigner);
    }
    if token.importer != importer.id {
        return Some(Reason::Other("its activation token is for another account"));
    }
    if token.kind.is_some_and(|kind| kind != import.kind) {
        return Some(Reason::Other("its activation token is for the other kind of export"));
    }
    (!covers(&token.subject, &import.subject))
        .then_some(Reason::Other("its activation token is for another subject"))
}
