//! What accounts import and export, and their services.

use super::{Loss, SERVERS};
use crate::snapshot::{
    AccountDetails, Claims, Endpoint, Export, Import, ImportState, Interest, Library, Service,
    ServiceConnection, ShareKind, Snapshot, Token, TokenClaims, Unloaded, UnloadedImport, UnloadedImports,
};
use crate::text::Name;
use proptest::prelude::*;
use time::OffsetDateTime;

/// Instances on one server, each library with a connection.
pub(crate) fn service(server: &str, libraries: &[(&str, &str, u64)]) -> Service {
    let mut service = Service::default();
    for (language, version, instances) in libraries {
        let library = Library { language: (*language).into(), version: (*version).into() };
        service.connections.push(ServiceConnection {
            name: Some(format!("{language}-{version}").into()),
            address: "10.0.0.1".into(),
            server: server.into(),
            library: library.clone(),
        });
        service.libraries.insert(library, *instances);
        let on = service.servers.entry(format!("ID-{server}").into()).or_default();
        *on = on.saturating_add(*instances);
    }
    service
}

/// What an account imports and exports, without claims.
pub(crate) fn details(imports: Vec<Import>, exports: Vec<Export>) -> AccountDetails {
    AccountDetails {
        epoch: 1,
        at: OffsetDateTime::UNIX_EPOCH,
        server: "ID-n1".into(),
        complete: true,
        expired: false,
        jetstream: false,
        imports,
        exports,
        omitted_imports: 0,
        omitted_exports: 0,
        claims: None,
    }
}

/// A stream that is imported under its own name.
pub(crate) fn stream(account: &str, subject: &str, state: ImportState) -> Import {
    let (account, subject) = (Name::from(account), Name::from(subject));
    let (kind, declared) = (ShareKind::Stream, state != ImportState::Active);
    Import { kind, account, local: subject.clone(), subject, state, declared, token: None }
}

/// A stream that is exported to everybody.
pub(crate) fn export(subject: &str) -> Export {
    Export {
        kind: ShareKind::Stream,
        subject: subject.into(),
        token_required: false,
        account_position: None,
        approved: None,
        revoked: 0,
    }
}

/// Claims of no particular account.
pub(crate) fn claims() -> Claims {
    Claims {
        bytes: 1000,
        token_bytes: 0,
        imports: 0,
        exports: 0,
        import_limit: Some(-1),
        signing_keys: Vec::new(),
        revocations: 0,
    }
}

#[derive(Debug, Clone)]
struct AnyImport {
    account: usize,
    exporter: usize,
    kind: ShareKind,
    subject: &'static str,
    local: &'static str,
    state: ImportState,
    token: Option<Token>,
    heard: Option<Option<bool>>,
}

#[derive(Debug, Clone)]
struct AnyService {
    server: usize,
    account: usize,
    name: &'static str,
    library: (&'static str, &'static str),
    instances: u64,
}

/// What accounts import, export and serve. Accounts are the world's, by number; one more does not exist.
#[derive(Debug, Clone)]
pub(super) struct Tenants {
    imports: Vec<AnyImport>,
    exports: Vec<(usize, Export)>,
    services: Vec<AnyService>,
    claims: Option<Claims>,
    described: Vec<bool>,
    /// Accounts that the resolver lists beyond those read, whether that is kept up to date, and what each imports.
    unloaded: Option<(u64, bool, u64, Vec<AnyImport>)>,
}

const SUBJECTS: [&str; 7] = ["a.b", "a.*", "a.>", ">", "", "..", "ü b.*"];

fn any_subject() -> impl Strategy<Value = &'static str> {
    prop::sample::select(SUBJECTS.to_vec())
}

fn any_kind() -> impl Strategy<Value = ShareKind> {
    prop::sample::select(vec![ShareKind::Stream, ShareKind::Stream, ShareKind::Service])
}

fn any_token() -> impl Strategy<Value = Option<Token>> {
    let expires = prop::sample::select(vec![None, Some(0), Some(1), Some(i64::MAX), Some(i64::MIN)]);
    prop_oneof![
        Just(None),
        Just(Some(Token::Unreadable)),
        (expires, any_subject(), prop::sample::select(vec!["APP", "n1", "u"])).prop_map(
            |(expires, subject, key)| {
                Some(Token::Read(TokenClaims {
                    issuer: key.into(),
                    issuer_account: None,
                    importer: key.into(),
                    expires,
                    subject: subject.into(),
                    kind: None,
                }))
            }
        ),
    ]
}

prop_compose! {
    fn any_import()(
        (account, exporter) in (0usize..3, 0usize..4),
        (kind, subject, local) in (any_kind(), any_subject(), any_subject()),
        state in prop::sample::select(vec![ImportState::Active, ImportState::Refused, ImportState::Expired]),
        token in any_token(),
        heard in prop::sample::select(vec![None, Some(None), Some(Some(true)), Some(Some(false))]),
    ) -> AnyImport {
        AnyImport { account, exporter, kind, subject, local, state, token, heard }
    }
}

prop_compose! {
    fn any_export()(
        account in 0usize..3,
        (kind, subject) in (any_kind(), any_subject()),
        token_required in any::<bool>(),
        position in prop::sample::select(vec![None, Some(0), Some(1), Some(u64::MAX)]),
        count in prop::sample::select(vec![0, 1, u64::MAX]),
    ) -> (usize, Export) {
        let approved = (count > 0).then_some(count);
        (account, Export { kind, subject: subject.into(), token_required, account_position: position, approved, revoked: count })
    }
}

prop_compose! {
    fn any_service()(
        (server, account) in (0..SERVERS.len(), 0usize..3),
        name in prop::sample::select(vec!["echo", "", "*", "ü"]),
        library in prop::sample::select(vec![("go", "1.0"), ("go", "1.1"), ("", ""), ("rust", "1.0")]),
        instances in prop::sample::select(vec![0, 1, 7, u64::MAX]),
    ) -> AnyService {
        AnyService { server, account, name, library, instances }
    }
}

prop_compose! {
    pub(super) fn any_tenants()(
        imports in prop::collection::vec(any_import(), 0..30),
        exports in prop::collection::vec(any_export(), 0..30),
        services in prop::collection::vec(any_service(), 0..6),
        has_claims in any::<bool>(),
        (bytes, count) in (prop::sample::select(vec![0, 70_000, u64::MAX]), prop::sample::select(vec![0, 3, u64::MAX])),
        limit in prop::sample::select(vec![None, Some(-1), Some(0), Some(i64::MAX)]),
        described in prop::collection::vec(prop::bool::weighted(0.8), 3),
        unloaded in prop::option::of((
            prop::sample::select(vec![0, 1, u64::MAX]), any::<bool>(), prop::sample::select(vec![0, 0, u64::MAX]),
            prop::collection::vec(any_import(), 0..5),
        )),
    ) -> Tenants {
        let claims = Claims {
            bytes, token_bytes: count, imports: count, exports: count, import_limit: limit,
            signing_keys: vec!["APP".into()], revocations: count,
        };
        Tenants { imports, exports, services, claims: has_claims.then_some(claims), described, unloaded }
    }
}

impl Tenants {
    /// Changes a snapshot accordingly, without what was lost.
    pub(super) fn settle(&self, snapshot: &mut Snapshot, accounts: &[Name], lost: &[Loss]) {
        let exporter = |number: usize| accounts.get(number).cloned().unwrap_or_else(|| "GHOST".into());
        for (number, id) in accounts.iter().enumerate().filter(|(number, _)| self.described[*number]) {
            let imports = self.imports.iter().filter(|import| import.account == number).map(|any| Import {
                kind: any.kind,
                account: exporter(any.exporter),
                subject: any.subject.into(),
                local: any.local.into(),
                state: any.state,
                declared: self.claims.is_some(),
                token: any.token.clone().map(Box::new),
            });
            let exports = self.exports.iter().filter(|(account, _)| *account == number);
            let exports = exports.map(|(_, export)| export.clone()).collect();
            let details = details(imports.collect(), exports);
            let details = AccountDetails { claims: self.claims.clone(), ..details };
            if let Some(account) = snapshot.accounts.get_mut(id) {
                account.details = Some(details.into());
            }
        }
        for import in &self.imports {
            if let Some(heard) = import.heard {
                let key = (exporter(import.account), Name::from(import.local));
                snapshot.interest.insert(key, Interest { heard, servers: 1, epoch: 1 });
            }
        }
        if let Some((listed, told, omitted, imports)) = &self.unloaded {
            let read = imports.iter().zip(0..).map(|(any, number)| {
                let import = UnloadedImport {
                    kind: any.kind,
                    account: exporter(any.exporter),
                    subject: any.subject.into(),
                };
                let read = UnloadedImports { imports: vec![import], omitted: *omitted };
                (Name::from(format!("UNLOADED{number}")), read.into())
            });
            snapshot.unloaded =
                Some(Unloaded { listed: *listed, loaded: 0, read: read.collect(), told: *told });
        }
        for any in &self.services {
            let slot = SERVERS[any.server];
            let id = Name::from(format!("ID-{slot}"));
            if lost.contains(&(any.server, Endpoint::Services)) || !snapshot.servers.contains_key(&id) {
                continue;
            }
            let (language, version) = any.library;
            let one = service(slot, &[(language, version, any.instances)]);
            let all = snapshot.services.entry((exporter(any.account), any.name.into())).or_default();
            all.connections.extend(one.connections);
            all.libraries.extend(one.libraries);
            all.servers.extend(one.servers);
        }
    }
}
