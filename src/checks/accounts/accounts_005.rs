//! ACCOUNTS_005: nobody listens to a stream that an account imports.

use super::shares::{Limits, all_imports, import, label};
use crate::check::{
    Category, Context, Disturbed, Entity, EntityType, Kind, Meta, Observed, Partial, Rule, Scope, Severity,
    Thresholds, Verdict, count,
};
use crate::checks::evidence::TOP;
use crate::checks::roll_up::{AMONG_THE_REST, first_and_rest};
use crate::snapshot::{Account, Endpoint, Import, ImportState, ShareKind, Snapshot};
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;

/// See [`Rule::META`].
pub(super) struct NoInterest;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Evidence {
    /// Imports that the finding is about.
    unheard: u64,
    /// Some of them, at most 5.
    imports: Vec<Row>,
    /// Open client connections of the account.
    connections: u64,
    /// Open leafnode connections of the account.
    leafnodes: u64,
    /// Servers that were asked for subscribers of the first of them.
    servers_asked: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Row {
    /// The exporting account, by the name that people know.
    #[schemars(with = "String")]
    exporter: Name,
    /// The subject as the exporting account has it.
    #[schemars(with = "String")]
    subject: Name,
    /// The subject as the importing account has it, which nobody subscribes to.
    #[schemars(with = "String")]
    local_subject: Name,
}

impl Rule for NoInterest {
    const META: Meta = Meta {
        id: "ACCOUNTS_005",
        name: "Import Without Subscribers",
        severity: Severity::Info,
        category: Category::Waste,
        kind: Kind::Operational,
        entity: EntityType::Import,
        since: "2.9",
        differs: Some(
            "Only imports of streams are judged, because who imports a service sends requests and never subscribes, and a \
             stream that JetStream stores counts as heard although no connection subscribes to it.",
        ),
        rule: "An account imports a stream from another account, and no open connection of it subscribes to anything that \
               overlaps the local subject.",
        why: "What nobody subscribes to does not pass between the accounts and costs nothing. But an import is made because \
              somebody wants the messages: where nobody hears them, the application is down, subscribes to another subject \
              than the import has, or has no use for it any longer.\n\n\
              Every server on which the account has clients is asked for one connection with a subscription that overlaps the \
              local subject; one to everything counts. Where the account may use JetStream, its own subscriptions count as \
              well. Leafnodes count from 2.11.5 on; before that the verdict is unknown for an account with leafnodes.\n\n\
              Imports from the system account are left out. Up to 256 requests are made in an epoch: those that nobody heard \
              the last time come first. Ten of one account are told one by one; where there are more, one finding tells of the others.",
        remedy: &[
            "Look whether the application that wants the messages runs, and what it subscribes to.",
            "Compare its subject with the local subject of the import; they differ where the import maps the subject.",
            "Remove the import if nobody needs it.",
        ],
        needs: &[Endpoint::AccountStatz, Endpoint::AccountDetails, Endpoint::Subsz, Endpoint::Interest],
        scope: Scope::System,
        partial: Partial::CannotFire,
        ..Meta::PLAIN
    };
    // A subscriber may be on its way from one server to another.
    const FOR: u64 = 2;
    const DISTURBED: Disturbed = Disturbed::Cluster;
    type Thresholds = Limits;
    type Evidence = Evidence;

    fn judge(context: &Context<'_>, thresholds: &Thresholds<Limits>) -> Vec<Verdict> {
        let now = context.now;
        let mut verdicts = Vec::new();
        for account in now.accounts.values().filter(|account| account.id != now.system_account) {
            judge_account(now, thresholds, account, &mut verdicts);
        }
        verdicts
    }
}

fn judge_account(
    now: &Snapshot,
    thresholds: &Thresholds<Limits>,
    account: &Account,
    verdicts: &mut Vec<Verdict>,
) {
    let Some(details) = &account.details else { return };
    let streams = details.imports.iter().filter(|import| {
        import.kind == ShareKind::Stream
            && import.state == ImportState::Active
            && import.account != now.system_account
    });
    let (mut unheard, mut untold, mut servers_asked) = (Vec::new(), Vec::new(), None);
    for stream in streams {
        // One that was not asked for yet is missing in the coverage.
        let Some(interest) = now.interest.get(&(account.id.clone(), stream.local.clone())) else { continue };
        match interest.heard {
            Some(true) => {}
            Some(false) => {
                servers_asked.get_or_insert(interest.servers);
                unheard.push(stream);
            }
            None => untold.push(stream),
        }
    }
    let together = all_imports(account);
    let most = thresholds.of(&together).most;
    let servers_asked = servers_asked.unwrap_or(0);
    let of = |one: &&Import| import(now, account, one);
    // The server lists them in any order.
    for imports in [&mut unheard, &mut untold] {
        imports.retain(|one| thresholds.is_uniform() || thresholds.is_enabled(&of(one)));
        imports.sort_by(|a, b| (&a.local, &a.account, &a.subject).cmp(&(&b.local, &b.account, &b.subject)));
    }
    let report = |entity, unheard: &[&Import]| verdict(now, account, entity, unheard, servers_asked);
    verdicts.extend(first_and_rest(most, &unheard, together.clone(), of, report));
    let why = "servers before 2.11.5 do not tell what leafnodes subscribe to, or there are too many subscriptions to look at";
    let named = usize::try_from(most).unwrap_or(usize::MAX).min(untold.len());
    let (first, rest) = untold.split_at(named);
    verdicts.extend(first.iter().map(|one| Verdict::unknown(of(one), why)));
    // Each of them may have been told before, and what the others are told by as well.
    verdicts.extend(rest.iter().map(|one| Verdict::not_yet(of(one), AMONG_THE_REST)));
    if !rest.is_empty() {
        verdicts.push(Verdict::unknown(together, why));
    }
}

fn verdict(
    now: &Snapshot,
    account: &Account,
    entity: Entity,
    unheard: &[&Import],
    servers_asked: u64,
) -> Verdict {
    let row = |import: &&Import| Row {
        exporter: label(now, &import.account),
        subject: import.subject.clone(),
        local_subject: import.local.clone(),
    };
    let evidence = Evidence {
        unheard: unheard.len() as u64,
        imports: unheard.iter().take(TOP).map(row).collect(),
        connections: account.connections(),
        leafnodes: account.leafnodes(),
        servers_asked,
    };
    let connections = count(evidence.connections, "connection");
    let rest = entity.id == all_imports(account).id;
    let summary = match unheard {
        [one] if !rest => format!(
            "none of the {connections} of account {} subscribes to {}, which it imports from account {}",
            account.label(),
            one.local,
            label(now, &one.account),
        ),
        _ => format!(
            "none of the {connections} of account {} subscribes to {} more of the streams that it imports",
            account.label(),
            unheard.len(),
        ),
    };
    let observed = Observed::count(evidence.unheard, 0, "imports");
    let remediation = remediation(account, unheard, &evidence);
    Verdict::firing(entity, summary, observed, &evidence, remediation)
}

fn remediation(account: &Account, unheard: &[&Import], evidence: &Evidence) -> Vec<String> {
    let mut steps = Vec::new();
    if evidence.connections == 0 && evidence.leafnodes == 0 {
        steps.push(format!(
            "Account {} has no connection at all: start the application that wants the messages.",
            account.label()
        ));
    } else {
        steps.push(
            "Look whether the application that wants the messages runs, and what it subscribes to.".into(),
        );
    }
    if let Some(mapped) = unheard.iter().find(|import| import.local != import.subject) {
        steps.push(format!(
            "Subscribe to {}, the local subject, and not to {}: the import maps it.",
            mapped.local, mapped.subject
        ));
    }
    steps.push(format!("Remove the import from account {} if nobody needs it.", account.label()));
    steps
}

#[cfg(test)]
mod tests;
