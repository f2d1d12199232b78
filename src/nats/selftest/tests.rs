use std::collections::HashMap;

use async_nats::{Event, ServerError};

use super::*;
use crate::nats::ask::AskError;

const OWN_VARZ: &str = "$SYS.REQ.SERVER.NOWN.VARZ";

/// Answers as it was told to; silence for every other subject.
#[derive(Default)]
struct Script(HashMap<&'static str, Vec<Answer>>);

impl Script {
    fn answers(mut self, subject: &'static str, payloads: &[&str]) -> Self {
        let answer = |text: &&str| Answer {
            payload: Bytes::from((*text).to_owned()),
            no_responders: false,
            refusal: None,
        };
        self.0.insert(subject, payloads.iter().map(answer).collect());
        self
    }

    fn nobody(mut self, subject: &'static str) -> Self {
        self.0.insert(subject, vec![Answer { payload: Bytes::new(), no_responders: true, refusal: None }]);
        self
    }

    fn system() -> Self {
        Self::default()
            .answers(USER_INFO, &[r#"{"server":{},"data":{"user":"sys","account":"SYS"}}"#])
            .answers(OWN_VARZ, &[r#"{"server":{},"data":{"system_account":"SYS","port":1}}"#])
            .answers(PING_STATSZ, &[r#"{"server":{"name":"n2"},"statsz":{}}"#, r#"{"server":{"name":"n1"}}"#])
    }
}

impl Ask for Script {
    async fn ask(&self, subject: &str, _: Bytes, _: Wait) -> Result<Vec<Answer>, AskError> {
        Ok(self.0.get(subject).cloned().unwrap_or_default())
    }
}

async fn run(script: Script, events: &ClientEvents, needs: &Needs) -> Result<Identity, SelfTestError> {
    let own = OwnSide {
        server_id: "NOWN".to_owned(),
        events,
        inbox_prefix: "_INBOX_INSIGHTS",
        timeout: Duration::from_secs(2),
    };
    examine(&script, &own, needs).await
}

async fn fault(script: Script) -> String {
    run(script, &ClientEvents::new(), &Needs::default()).await.unwrap_err().to_string()
}

fn needs() -> Needs {
    Needs {
        publish: vec!["$SYS.REQ.SERVER.*.CONNZ".into(), USER_INFO.into()],
        subscribe: vec!["_INBOX_INSIGHTS.>".into()],
    }
}

fn violation(text: &str) -> Event {
    Event::ServerError(ServerError::Other(text.to_owned()))
}

#[tokio::test]
async fn a_system_user_is_recognised() {
    let identity = run(Script::system(), &ClientEvents::new(), &needs()).await.unwrap();
    assert_eq!((identity.user.as_deref(), identity.account.as_str()), (Some("sys"), "SYS"));
    let servers: Vec<(&str, Option<&str>)> =
        identity.servers.iter().map(|(name, server)| (name.as_str(), server.cluster.as_deref())).collect();
    assert_eq!(servers, [("n1", None), ("n2", None)]);
    assert_eq!((identity.permissions, identity.expires_in), (Some(Permissions::default()), None));
}

#[tokio::test]
async fn the_empty_user_of_a_leaf_server_is_not_ours() {
    let script = Script::system().answers(
        USER_INFO,
        &[
            r#"{"server":{"id":"NLEAF"},"data":{"user":"","account":"SYS"}}"#,
            "half a {",
            r#"{"server":{"id":"NOWN"},"data":{"user":"UABC","account":"SYS","expires":1500000000}}"#,
        ],
    );
    let identity = run(script, &ClientEvents::new(), &Needs::default()).await.unwrap();
    assert_eq!(identity.user.as_deref(), Some("UABC"));
    assert_eq!(identity.expires_in, Some(Duration::from_millis(1500)));
}

#[tokio::test]
async fn a_server_without_user_info_is_enough() {
    let identity = run(Script::system().nobody(USER_INFO), &ClientEvents::new(), &needs()).await.unwrap();
    assert_eq!((identity.user, identity.account.as_str(), identity.permissions), (None, "SYS", None));
}

#[tokio::test]
async fn another_account_is_named() {
    let elsewhere = |account: &'static str| {
        Script::default().answers(USER_INFO, &[account]).nobody(OWN_VARZ).nobody(PING_STATSZ)
    };
    let error = fault(elsewhere(r#"{"data":{"user":"a","account":"APP"}}"#)).await;
    assert!(error.starts_with("the user's account APP is not the system account:"), "{error}");
    let error = fault(elsewhere(r#"{"data":{"user":"a","account":"$G"}}"#)).await;
    assert!(error.contains("default account $G") && error.contains("system_account"), "{error}");
    let error = fault(Script::default().nobody(USER_INFO).nobody(OWN_VARZ).nobody(PING_STATSZ)).await;
    assert!(error.starts_with("the user's account is not the system account"), "{error}");
    let imported = Script::system().answers(USER_INFO, &[r#"{"data":{"user":"a","account":"APP"}}"#]);
    assert!(fault(imported).await.contains("APP is not the system account (SYS)"));
}

#[tokio::test]
async fn denied_subjects_are_named_from_the_permissions() {
    let script = Script::system().answers(
        USER_INFO,
        &[r#"{"data":{"user":"sys","account":"SYS","permissions":{
            "publish":{"allow":["$SYS.REQ.USER.INFO","$SYS.REQ.SERVER.PING.CONNZ"]},
            "subscribe":{"allow":["_INBOX.>"]}}}}"#],
    );
    let error = run(script, &ClientEvents::new(), &needs()).await.unwrap_err().to_string();
    assert!(error.contains("(publish $SYS.REQ.SERVER.*.CONNZ, subscribe _INBOX_INSIGHTS.>)"), "{error}");
}

#[tokio::test]
async fn denied_subjects_are_named_from_what_happened() {
    let events = ClientEvents::new();
    events.record(&violation("Permissions Violation for Publish to \"$SYS.REQ.SERVER.NX.CONNZ\""));
    let script = Script::system().nobody(USER_INFO);
    let error = run(script, &events, &needs()).await.unwrap_err();
    let SelfTestError::Denied { publish, subscribe } = error else { panic!("{error}") };
    assert_eq!((publish, subscribe), (vec!["$SYS.REQ.SERVER.*.CONNZ".to_owned()], Vec::new()));
}

#[tokio::test]
async fn a_denied_inbox_is_not_taken_for_silence() {
    let events = ClientEvents::new();
    events.record(&violation("Permissions Violation for Subscription to \"_INBOX_INSIGHTS.abc\""));
    let error = run(Script::default(), &events, &needs()).await.unwrap_err().to_string();
    assert!(error.contains("may not subscribe to _INBOX_INSIGHTS.>"), "{error}");
}

#[tokio::test]
async fn silence_and_garbage_are_told_apart() {
    let error = fault(Script::default()).await;
    assert!(error.contains("no server answered within 2s"), "{error}");
    let garbage = Script::default().answers(OWN_VARZ, &["<html>", ""]).answers(PING_STATSZ, &["7"]);
    let error = fault(garbage).await;
    assert!(error.contains("answer to $SYS.REQ.SERVER.NOWN.VARZ is not"), "{error}");
}
