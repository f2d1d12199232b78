//! OPT_ACCT_002: the JWT of an account is large.

use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, OutOfRange, Partial, Rule, Scope,
    Severity, Thresholds, Validate, Verdict, at_least, count,
};
use crate::snapshot::{Account, Claims, Endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// See [`Rule::META`].
pub(super) struct LargeJwt;

/// When it fires.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Fire when the JWT has more bytes than this.
    max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 }
    }
}

impl Validate for Limits {
    fn validate(&self) -> Result<(), OutOfRange> {
        at_least("max_bytes", self.max_bytes, 1)
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Imports that it declares.
    imports: u64,
    /// Bytes of their activation tokens.
    token_bytes: u64,
    /// Exports that it declares.
    exports: u64,
    /// Signing keys.
    signing_keys: u64,
    /// Users whose JWTs it has taken back.
    revocations: u64,
}

impl Rule for LargeJwt {
    const META: Meta = Meta {
        id: "OPT_ACCT_002",
        name: "Large Account JWT",
        severity: Severity::Warning,
        category: Category::Waste,
        kind: Kind::Optimization,
        entity: EntityType::Account,
        group: Some("accounts"),
        since: "2.9",
        rule: "The JWT of an account is longer than 64 KiB.",
        why: "Every server fetches, verifies, decodes and keeps the JWT of each account that it loads, and applies all of it \
              again at every change. It travels in one message, so that one that grows on will one day not fit the largest \
              message of the system account, and then the account can neither be changed nor loaded.\n\n\
              It grows by imports, each with its activation token, by exports, by signing keys and by users that were \
              revoked one by one. What it is made of stands in the evidence; the JWT itself is not kept.",
        remedy: &[
            "Replace many exports or imports by few with wildcards.",
            "Use exports with the importing account's key in the subject (`--account-token-position`) instead of tokens.",
            "Remove revocations of users whose JWTs have expired: `nsc revocations list-users` and `delete-user`.",
            "Give users JWTs that expire soon, so that they need not be revoked.",
        ],
        needs: &[Endpoint::AccountStatz, Endpoint::AccountDetails],
        scope: Scope::System,
        partial: Partial::CanFire,
        ..Meta::PLAIN
    };
    const DISTURBED: Disturbed = Disturbed::Never;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let verdict = |account: &Account| {
            let claims = account.details.as_ref()?.claims.as_ref()?;
            let entity = Entity::of_account(account);
            let most = thresholds.of(&entity).max_bytes;
            (claims.bytes > most).then(|| fire(account, claims, entity, most))
        };
        context.now.accounts.values().filter_map(verdict).collect()
    }
}

fn fire(account: &Account, claims: &Claims, entity: Entity, most: u64) -> Verdict {
    let evidence = Evidence {
        imports: claims.imports,
        token_bytes: claims.token_bytes,
        exports: claims.exports,
        signing_keys: claims.signing_keys.len() as u64,
        revocations: claims.revocations,
    };
    let summary = format!(
        "the JWT of account {} has {} bytes, with {}, {} and {}",
        account.label(),
        claims.bytes,
        count(claims.imports, "import"),
        count(claims.exports, "export"),
        count(claims.revocations, "revocation"),
    );
    let observed = Observed::count(claims.bytes, most, "bytes");
    let remediation = remediation(&evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

/// What takes most room first. An import without its token, or an export, takes some 150 bytes, a revocation 75.
fn remediation(evidence: &Evidence) -> Vec<String> {
    let (imports, exports) = (evidence.imports.saturating_mul(150), evidence.exports.saturating_mul(150));
    let mut steps = [
        (
            evidence.token_bytes,
            "Use exports with the importing account's key in the subject (`--account-token-position`) instead of activation \
             tokens."
                .to_owned(),
        ),
        (imports, "Replace many imports by few with wildcards.".to_owned()),
        (exports, "Replace many exports by few with wildcards.".to_owned()),
        (
            evidence.revocations.saturating_mul(75),
            "Remove revocations of users whose JWTs have expired (`nsc revocations delete-user`), and give users JWTs that \
             expire soon."
                .to_owned(),
        ),
    ];
    steps.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    let mut steps: Vec<String> =
        steps.into_iter().filter(|(bytes, _)| *bytes > 0).map(|(_, step)| step).collect();
    steps.push("Divide the account if it serves several applications.".into());
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Settings, Standing};
    use crate::checks::laws::{judge, judge_set, only};
    use crate::snapshot::build::System;
    use crate::snapshot::{AccountDetails, Snapshot};
    use crate::wire::accountz::AccountDetail;
    use serde_json::json;

    type Check = LargeJwt;

    fn system(bytes: usize) -> Snapshot {
        let exports: Vec<_> =
            (0..600).map(|i| json!({"subject": format!("e.{i}"), "type": "stream"})).collect();
        let detail: AccountDetail = serde_json::from_value(json!({
            "jwt": "x".repeat(bytes), "decoded_jwt": {"nats": {"exports": exports, "revocations": {"U": 1}}},
        }))
        .unwrap();
        let mut system = System::of(1).config_account("FILE").account("APP", -1, -1, -1);
        system.entry("APP").details = Some(AccountDetails::of(&detail, "SYS", 10).into());
        system.done()
    }

    #[test]
    fn fires_above_and_not_at_the_limit() {
        assert!(judge::<Check>(&system(65_536)).firing.is_empty());
        let judgement = judge::<Check>(&system(65_537));
        let (entity, firing) = only(&judgement);
        assert_eq!(*entity, Entity::account("APP", None));
        assert_eq!(
            firing.summary,
            "the JWT of account APP has 65537 bytes, with 0 imports, 600 exports and 1 revocation"
        );
        assert_eq!(json!(firing.observed), json!({"value": 65537, "threshold": 65536, "unit": "bytes"}));
        assert_eq!(
            firing.evidence,
            json!({"imports": 0, "token_bytes": 0, "exports": 600, "signing_keys": 0, "revocations": 1})
        );
        assert!(firing.remediation[0].starts_with("Replace many exports"), "{:?}", firing.remediation);
    }

    #[test]
    fn the_limit_can_be_set_and_silence_is_unknown() {
        let base = [("max_bytes".to_owned(), json!(10))].into_iter().collect();
        let settings = Settings { base, ..Settings::default() };
        assert_eq!(judge_set::<Check>(&system(11), None, &[], &settings).firing.len(), 1);
        let silent = System::of(1).silent("n1", Endpoint::AccountDetails).done();
        let standing = judge::<Check>(&silent).standing(&Entity::account("APP", None));
        assert!(matches!(standing, Standing::Unknown(_)));
    }
}
