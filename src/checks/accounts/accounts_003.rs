//! ACCOUNTS_003: an import of an account's JWT is not in effect.

mod reason;

use super::shares::{Limits, grouped, import, imports_by_others, imports_from, label};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, Partial, Rule, Scope, Severity,
    Thresholds, Verdict, count,
};
use crate::checks::evidence::{TOP, rfc3339};
use crate::checks::roll_up::{AMONG_THE_REST, first_and_rest};
use crate::snapshot::{Account, Counted, Endpoint, Import, ImportState, ShareKind, Snapshot, Token};
use crate::text::Name;
use reason::{Reason, reason};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// See [`Rule::META`].
pub(super) struct InactiveImport;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// The exporting account, by the name that people know.
    #[schemars(with = "String")]
    exporter: Name,
    /// Its public key.
    #[schemars(with = "String")]
    exporter_id: Name,
    /// Whether any server that answered has it loaded.
    exporter_loaded: bool,
    /// Imports that the finding is about.
    imports: u64,
    /// Accounts that they are of.
    importers: u64,
    /// How many of them have which reason: `exporter_unknown`, `no_export`, `token_missing`, `token_expired`,
    /// `token_signer`, `other`, and `undetermined` where the exporting account has not been read.
    reasons: Vec<Counted>,
    /// Some of the imports, at most 5.
    examples: Vec<Row>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The importing account, by the name that people know.
    #[schemars(with = "String")]
    importer: Name,
    /// `stream` or `service`.
    kind: &'static str,
    /// The subject as the exporting account has it.
    #[schemars(with = "String")]
    subject: Name,
    /// The subject as the importing account has it.
    #[schemars(with = "String")]
    local_subject: Name,
    /// Why it is not in effect, as one of the reasons.
    reason: &'static str,
    /// The same in a sentence.
    details: String,
    /// Whether it was in effect before, so that the server still lists it.
    was_active: bool,
    /// What its activation token says; none where it has none that can be read.
    token: Option<TokenRow>,
    /// Exports of that kind that overlap the subject, at most 5.
    #[schemars(with = "Vec<String>")]
    exports: Vec<Name>,
    /// The server that described the importing account; its id where it is gone.
    #[schemars(with = "String")]
    described_by: Name,
    /// When.
    described_at: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TokenRow {
    /// The key that signed it.
    #[schemars(with = "String")]
    issuer: Name,
    /// The account that may import with it.
    #[schemars(with = "String")]
    importer: Name,
    /// The subject that may be imported with it.
    #[schemars(with = "String")]
    subject: Name,
    /// When it expires; none for never.
    expires: Option<String>,
}

/// An import that is not in effect.
struct Broken<'a> {
    account: &'a Account,
    import: &'a Import,
    reason: Reason,
}

impl Rule for InactiveImport {
    const META: Meta = Meta {
        id: "ACCOUNTS_003",
        name: "Inactive JWT Import",
        severity: Severity::Critical,
        category: Category::Health,
        kind: Kind::Operational,
        entity: EntityType::Import,
        since: "2.9",
        differs: Some(
            "Imports that the JWT declares are compared with those that the server applies, because a server marks only an \
             import as invalid that was active before, and leaves every other broken one out of its list.",
        ),
        rule: "An account's JWT declares an import that the server does not apply.",
        why: "A server takes an import over only if the exporting account allows it. Otherwise it writes one line into its \
              debug log (`Error adding stream import to account`), or an error line if it cannot get the exporting account \
              (`Can't locate account`), and goes on: the account loads, its clients connect, their subscriptions and requests \
              are accepted, and no message ever passes. Nobody is told.\n\n\
              The reason is found in this order: the exporting account is not loaded on any server that answered; it has no \
              export of that kind that covers the subject; the export needs an activation token and the import has none; \
              the token has expired; it was signed neither by the account's key nor by one of its present signing keys, as \
              after a rotation; or it is for another account or subject, or was taken back.\n\n\
              An account is loaded by a server when somebody first needs it. One that imports from it needs it, so that an \
              exporting account that is loaded nowhere is one that the resolver does not know, or could not fetch.\n\n\
              Each server decides for itself, and may have got the exporting account or not. What an account declares is read \
              from one of them and again when there is time; those with a broken import come first, and are read from the same \
              server as before while it has the account loaded, so that a finding ends by the word of the server that it is \
              by.\n\n\
              Ten imports of one account from another are told one by one, and so are ten accounts; where there are more, one \
              finding tells of the others.",
        remedy: &[
            "Look at what the exporting account exports: `nsc describe account`, and push it if it was not pushed.",
            "Get a new activation token from the exporting account if the old one is missing, has expired, or was signed by \
             a key that is no longer its own: `nsc generate activation`.",
            "Import it again with the right account, kind, subject and token: `nsc add import`, then `nsc push`.",
            "Remove the import if nobody needs it.",
        ],
        needs: &[Endpoint::AccountStatz, Endpoint::AccountDetails],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    // A server may fetch the exporting account a moment after the importing one.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let now = context.now;
        let broken = now.accounts.values().flat_map(|account| {
            let imports = account.details.iter().flat_map(|details| &details.imports);
            let broken = imports.filter(|import| import.state != ImportState::Active);
            broken.map(move |import| (import.account.clone(), (account, import)))
        });
        let mut verdicts = Vec::new();
        for (exporter, broken) in grouped(broken) {
            judge_exporter(now, thresholds, &exporter, broken, &mut verdicts);
        }
        verdicts
    }
}

fn judge_exporter<'a>(
    now: &'a Snapshot,
    thresholds: &Thresholds<Limits>,
    exporter: &Name,
    broken: Vec<(&'a Account, &'a Import)>,
    verdicts: &mut Vec<Verdict>,
) {
    let with_reason = |(account, import): (&'a Account, &'a Import)| {
        (account.id.clone(), Broken { account, import, reason: reason(now, account, import) })
    };
    let of = |one: &Broken<'_>| import(now, one.account, one.import);
    let all = imports_by_others(now, exporter);
    let most_accounts = thresholds.of(&all).most;
    let (mut accounts, mut rest) = (0, Vec::new());
    for (_, mut of_account) in grouped(broken.into_iter().map(with_reason)) {
        of_account.retain(|one| thresholds.is_uniform() || thresholds.is_enabled(&of(one)));
        // The server lists them in any order.
        of_account.sort_by(|a, b| {
            let key = |one: &Broken<'a>| (one.import.kind, &one.import.subject, &one.import.local);
            key(a).cmp(&key(b))
        });
        let Some(account) = of_account.first().map(|one| one.account) else { continue };
        let together = imports_from(now, account, exporter);
        accounts += 1;
        if accounts <= most_accounts {
            let report =
                |entity, broken: &[Broken<'_>]| verdict(now, exporter, Told::OfAccount, entity, broken);
            let most = thresholds.of(&together).most;
            verdicts.extend(first_and_rest(most, &of_account, together, of, report));
        } else {
            // It may have been told by itself before.
            verdicts.push(Verdict::not_yet(together, AMONG_THE_REST));
            verdicts.extend(of_account.iter().map(|one| Verdict::not_yet(of(one), AMONG_THE_REST)));
            rest.append(&mut of_account);
        }
    }
    if !rest.is_empty() {
        verdicts.push(verdict(now, exporter, Told::OfMany, all, &rest));
    }
}

/// What a finding is about.
#[derive(Clone, Copy)]
enum Told {
    /// Imports of one account.
    OfAccount,
    /// What other accounts import.
    OfMany,
}

fn verdict(now: &Snapshot, exporter: &Name, told: Told, entity: Entity, broken: &[Broken<'_>]) -> Verdict {
    let mut reasons: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut importers: Vec<&Name> = broken.iter().map(|one| &one.account.id).collect();
    importers.sort();
    importers.dedup();
    for one in broken {
        *reasons.entry(one.reason.as_str()).or_default() += 1;
    }
    let mut reasons: Vec<Counted> =
        reasons.into_iter().map(|(name, count)| Counted { name: name.into(), count }).collect();
    reasons.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    let evidence = Evidence {
        exporter: label(now, exporter),
        exporter_id: exporter.clone(),
        exporter_loaded: now.accounts.contains_key(exporter),
        imports: broken.len() as u64,
        importers: importers.len() as u64,
        reasons,
        examples: broken.iter().take(TOP).map(|one| row(now, one)).collect(),
    };
    let from = &evidence.exporter;
    let summary = match (told, broken) {
        (Told::OfAccount, [one]) if entity.id == import(now, one.account, one.import).id => format!(
            "account {} cannot use its import of the {} {} from account {from}{}: {}",
            one.account.label(),
            one.import.kind.as_str(),
            one.import.subject,
            by(now, one.account),
            one.reason.sentence(),
        ),
        (Told::OfAccount, [one, ..]) => format!(
            "account {} cannot use {} more of its imports from account {from}{}",
            one.account.label(),
            broken.len(),
            by(now, one.account),
        ),
        _ => format!(
            "{} of {} from account {from} {} not in effect",
            count(evidence.imports, "import"),
            count(evidence.importers, "more account"),
            if evidence.imports == 1 { "is" } else { "are" },
        ),
    };
    let observed = Observed::count(evidence.imports, 0, "imports");
    let remediation = remediation(now, broken, &evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

/// The server that says so: another one may apply the import.
fn by(now: &Snapshot, account: &Account) -> String {
    let server = account.details.as_ref().and_then(|details| now.servers.get(&details.server));
    server.map_or_else(String::new, |server| format!(" on server {}", server.name))
}

fn row(now: &Snapshot, one: &Broken<'_>) -> Row {
    let Broken { account, import, reason } = one;
    let details = account.details.as_ref();
    let claims = match import.token.as_deref() {
        Some(Token::Read(claims)) => Some(claims),
        _ => None,
    };
    let time = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(rfc3339);
    Row {
        importer: Name::from(account.label()),
        kind: import.kind.as_str(),
        subject: import.subject.clone(),
        local_subject: import.local.clone(),
        reason: reason.as_str(),
        details: reason.sentence(),
        was_active: import.state == ImportState::Expired,
        token: claims.map(|claims| TokenRow {
            issuer: claims.issuer.clone(),
            importer: claims.importer.clone(),
            subject: claims.subject.clone(),
            expires: claims.expires.and_then(time),
        }),
        exports: reason::overlapping(now, import).take(TOP).map(|export| export.subject.clone()).collect(),
        described_by: details.map_or_else(|| "".into(), |details| now.server_name(&details.server)),
        described_at: details.and_then(|details| rfc3339(details.at)),
    }
}

fn remediation(now: &Snapshot, broken: &[Broken<'_>], evidence: &Evidence) -> Vec<String> {
    let exporter = &evidence.exporter;
    let has = |reason: &str| evidence.reasons.iter().any(|counted| *counted.name == *reason);
    let first = broken.first();
    let example = first.map_or_else(String::new, |one| one.import.subject.to_string());
    let importer = first.map_or("", |one| one.account.label());
    let mut steps = Vec::new();
    if has("exporter_unknown") {
        steps.push(format!(
            "Push account {exporter} to the resolver, or correct its key in the import: no server that answered has it."
        ));
    }
    if has("no_export") {
        let kind = first.map_or("stream", |one| one.import.kind.as_str());
        let wide = first.is_some_and(|one| reason::overlapping(now, one.import).next().is_some());
        steps.push(match wide {
            true => format!(
                "Let account {exporter} export all of {example}, or import no more than it exports: an import may not be \
                 wider than the export."
            ),
            false => format!("Let account {exporter} export the {kind} {example}, and push it."),
        });
    }
    if has("token_missing") || has("token_expired") || has("token_signer") {
        let service = first.is_some_and(|one| one.import.kind == ShareKind::Service);
        let service = if service { " --service" } else { "" };
        steps.push(format!(
            "Make a new activation token with a present key of account {exporter}: `nsc generate activation --account \
             '{exporter}' --subject '{example}'{service} --target-account {}`.",
            first.map_or("", |one| &one.account.id),
        ));
        steps.push(format!(
            "Put it into the import of account {importer} with `nsc add import --token`, in place of the old one, and push \
             the account."
        ));
    }
    if has("token_signer") {
        steps.push(format!(
            "Remember every account that imports from {exporter} when a signing key is taken away: tokens that it signed end \
             with it."
        ));
    }
    if has("undetermined") || has("other") {
        steps.push(format!(
            "Compare the import with what account {exporter} exports, and its token: `nsc describe account`; a server tells \
             in its debug log why it does not add an import, and as an error that it cannot locate the exporting account."
        ));
    }
    steps
        .push(format!("Remove the import from account {importer} if nobody needs it, and push the account."));
    steps
}

#[cfg(test)]
mod tests;
