//! From a rule's verdicts to a judgement: what is missing turns into unknown here, for all rules alike.

use super::{
    Context, Disturbed, Entity, EntityType, Entry, Firing, Judge, Meta, Outcome, Partial, Policies, Policy,
    Scope, Severity, Verdict,
};
use crate::snapshot::Gap;
use crate::text::Name;
use schemars::JsonSchema;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// Something that could not be judged, for the summary of the epoch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct UnknownRow {
    /// The check.
    pub check: Cow<'static, str>,
    /// The entity's name; `*` for every entity that is not firing, `*/<cluster>` for those of a cluster.
    #[schemars(with = "String")]
    pub entity: Name,
    /// Why.
    pub reason: String,
}

/// What holds for an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// The data to prove it is there, and the bad state is not.
    Clear,
    /// Not to be said, and why.
    Unknown(String),
}

/// What an epoch says about one check.
#[derive(Debug)]
pub struct Judgement {
    /// The check.
    pub meta: &'static Meta,
    /// What the operator expects of it.
    pub policies: Arc<Policies>,
    /// What of it a server that leaves in order can bring about.
    pub disturbed: Disturbed,
    /// Firing entities.
    pub firing: Vec<(Entity, Box<Firing>)>,
    /// Entities the rule could not judge.
    unknown: Vec<(Entity, String, bool)>,
    /// Entities the rule could not judge yet.
    not_yet: Vec<(Entity, String)>,
    /// Entities that the rule saw to be clear.
    clear: Vec<Entity>,
    /// Why nothing can be said of entities that the rule did not name.
    others: Option<String>,
    /// What fires and is not named: the first entity, and how many.
    unnamed: Option<(Entity, u64)>,
    /// Missing answers that this check needed.
    gaps: Vec<Gap>,
    /// Set when nothing could be judged at all.
    pub nothing: Option<String>,
}

impl Judgement {
    /// What the operator expects of the check at an entity.
    pub fn policy(&self, entity: &Entity) -> Policy {
        self.policies.of(entity)
    }

    /// The severity of a verdict: the operator's, else its own, else the check's.
    pub fn severity(&self, entity: &Entity, firing: &Firing) -> Severity {
        self.policy(entity).severity.or(firing.severity).unwrap_or(self.meta.severity)
    }

    /// What holds for an entity that is not firing. One that is not judged is clear, as with a disabled check.
    pub fn standing(&self, entity: &Entity) -> Standing {
        if !self.policy(entity).enabled {
            return Standing::Clear;
        }
        if let Some(reason) = &self.nothing {
            return Standing::Unknown(reason.clone());
        }
        let own = self.unknown.iter().find(|(other, _, holds)| *holds && same(other, entity));
        if let Some((_, reason, _)) = own {
            return Standing::Unknown(reason.clone());
        }
        if let Some((_, reason)) = self.not_yet.iter().find(|(other, _)| same(other, entity)) {
            return Standing::Unknown(reason.clone());
        }
        // Whatever comes before the first that is not named has been named, or does not fire.
        if let Some((first, count)) = &self.unnamed
            && identity(entity) >= identity(first)
        {
            return Standing::Unknown(unnamed(*count));
        }
        if let Some(gap) = self.gap(entity) {
            return Standing::Unknown(gap.reason.clone());
        }
        match &self.others {
            Some(reason) if !self.clear.iter().any(|other| same(other, entity)) => {
                Standing::Unknown(reason.clone())
            }
            _ => Standing::Clear,
        }
    }

    fn gap(&self, entity: &Entity) -> Option<&Gap> {
        self.gaps.iter().find(|gap| match self.meta.scope {
            Scope::System => true,
            Scope::Cluster => gap.may_be_in(entity.cluster.as_ref()),
            Scope::Server => entity.server.as_ref() == Some(&gap.server),
        })
    }

    /// The rows of the epoch's summary.
    pub fn unknown_rows(&self) -> Vec<UnknownRow> {
        let row = |entity: Name, reason: &str| UnknownRow {
            check: self.meta.id.into(),
            entity,
            reason: reason.to_owned(),
        };
        if let Some(reason) = &self.nothing {
            return vec![row(Name::from("*"), reason)];
        }
        let mut rows: Vec<_> =
            self.unknown.iter().map(|(entity, reason, _)| row(Name::from(entity.label()), reason)).collect();
        rows.extend(self.others.iter().map(|reason| row(Name::from("*"), reason)));
        rows.extend(self.unnamed.iter().map(|(_, count)| row(Name::from("*"), &unnamed(*count))));
        for gap in &self.gaps {
            // Of a server that is not judged nothing is missing.
            let is_server = self.meta.entity == EntityType::Server && self.meta.scope == Scope::Server;
            if is_server && !self.policy(&Entity::server(&gap.server, gap.cluster.as_ref())).enabled {
                continue;
            }
            let entity = match (self.meta.scope, &gap.cluster) {
                (Scope::Server, _) => gap.server.clone(),
                (Scope::Cluster, Some(cluster)) => Name::from(format!("*/{cluster}")),
                _ => Name::from("*"),
            };
            rows.push(row(entity, &gap.reason));
        }
        rows.sort();
        rows.dedup();
        rows
    }

    fn leave_unnamed(&mut self, first: Entity, count: u64) {
        self.unnamed = Some(match self.unnamed.take() {
            Some((other, before)) => {
                let first = if identity(&other) < identity(&first) { other } else { first };
                (first, before.saturating_add(count))
            }
            None => (first, count),
        });
    }

    /// Names no more than so many.
    fn name_at_most(&mut self, most: usize) {
        if self.firing.len() <= most {
            return;
        }
        self.firing.sort_by(|(a, _), (b, _)| identity(a).cmp(&identity(b)));
        let rest = self.firing.split_off(most);
        let count = rest.len() as u64;
        if let Some((first, _)) = rest.into_iter().next() {
            self.leave_unnamed(first, count);
        }
    }

    /// Whether anything at all could be judged.
    pub const fn evaluated(&self) -> bool {
        self.nothing.is_none()
    }
}

type Identity<'a> = (
    EntityType,
    &'a str,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
);

/// Everything but the readable names.
fn identity(entity: &Entity) -> Identity<'_> {
    let Entity { kind, id, account, cluster, server, user, stream, .. } = entity;
    let [account, cluster, server, user, stream] =
        [account, cluster, server, user, stream].map(Option::as_deref);
    (*kind, id, account, cluster, server, user, stream)
}

fn unnamed(count: u64) -> String {
    match count {
        1 => "1 more fires and is not named".into(),
        _ => format!("{count} more fire and are not named"),
    }
}

/// Identity, without the readable names.
pub(crate) fn same(a: &Entity, b: &Entity) -> bool {
    (a.kind, &a.id, &a.account, &a.cluster, &a.server, &a.user, &a.stream)
        == (b.kind, &b.id, &b.account, &b.cluster, &b.server, &b.user, &b.stream)
}

/// Judges one check.
pub fn evaluate(
    entry: &Entry,
    judge: &dyn Judge,
    policies: &Arc<Policies>,
    context: &Context<'_>,
) -> Judgement {
    let meta = entry.meta;
    let coverage = &context.now.coverage;
    let mut gaps: Vec<Gap> = Vec::new();
    // What only grows with more answers can fire from any answer that came; anything else needs all kinds of one server.
    let mut blind = meta.partial == Partial::CanFire;
    for need in meta.needs {
        let missing = coverage.gaps(*need);
        blind &= missing.len() >= coverage.known();
        for gap in missing {
            // Names are unique only where JetStream is used.
            if !gaps.iter().any(|other| other.server == gap.server && other.cluster == gap.cluster) {
                gaps.push(gap);
            }
        }
    }
    let mut judgement = Judgement {
        meta,
        policies: policies.clone(),
        disturbed: entry.disturbed,
        firing: Vec::new(),
        unknown: Vec::new(),
        not_yet: Vec::new(),
        clear: Vec::new(),
        others: None,
        unnamed: None,
        gaps,
        nothing: None,
    };
    if !meta.needs.is_empty() && coverage.known() == 0 {
        judgement.nothing = Some("no server answered".into());
        return judgement;
    }
    if context.epochs() < entry.epochs {
        let seen = context.epochs();
        judgement.nothing =
            Some(format!("it compares {} epochs, of which this agent has seen {seen}", entry.epochs));
        return judgement;
    }
    // A check that needs no answer is about their absence.
    blind |= meta.partial == Partial::CannotFire && judgement.gaps.len() >= coverage.known();
    if blind && !meta.needs.is_empty() {
        let reason = judgement.gaps.first().map(|gap| gap.reason.clone()).unwrap_or_default();
        let others = judgement.gaps.len() - 1;
        let reason = match others {
            0 => reason,
            1 => format!("{reason}, nor did 1 other server"),
            _ => format!("{reason}, nor did {others} other servers"),
        };
        judgement.nothing = Some(reason);
        return judgement;
    }
    for Verdict { entity, outcome } in judge.judge(context) {
        if !policies.of(&entity).enabled {
            continue;
        }
        match outcome {
            Outcome::Unknown { reason, holds } => judgement.unknown.push((entity, reason, holds)),
            Outcome::NotYet(reason) => judgement.not_yet.push((entity, reason)),
            Outcome::Clear => judgement.clear.push(entity),
            Outcome::OthersUnknown(reason) => judgement.others = Some(reason),
            Outcome::Unnamed(count) => judgement.leave_unnamed(entity, count),
            Outcome::Firing(firing) => match judgement.gap(&entity) {
                // Its row in the summary is that of the gap.
                Some(_) if meta.partial == Partial::CannotFire => {}
                _ => judgement.firing.push((entity, firing)),
            },
        }
    }
    // Two servers may have one name where JetStream is not used: to a subscriber they are one entity.
    let mut seen = HashSet::new();
    let is_first: Vec<bool> =
        judgement.firing.iter().map(|(entity, _)| seen.insert(identity(entity))).collect();
    let mut is_first = is_first.into_iter();
    judgement.firing.retain(|_| is_first.next().unwrap_or(true));
    judgement.name_at_most(entry.most);
    judgement
}

#[cfg(test)]
mod tests;
