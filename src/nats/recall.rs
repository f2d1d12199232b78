//! Asking an agent for what is open now.

use super::ask::{Ask, Wait};
use super::connect::Connection;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;

/// Where it is asked.
const SUBJECT: &str = "insights.api.findings";
/// Pages that are asked for at the most. The rest is heard within an epoch.
const PAGES: usize = 100;

/// Why it is not known what is open now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecallError {
    /// Nobody answers in this account, or this user may not ask.
    #[error("no agent answers on {SUBJECT} here")]
    NoAnswer,
    /// An agent refuses.
    #[error("the agent does not say what is open: {0}")]
    Refused(String),
    /// What came is no answer.
    #[error("what came on {SUBJECT} is no answer of an agent")]
    Garbage,
}

#[derive(Deserialize)]
struct Page {
    findings: Vec<Value>,
    omitted: u64,
}

/// The open findings, as they were published. Those that change meanwhile are heard by who has subscribed before.
pub async fn open_findings(asked: &impl Ask, timeout: Duration) -> Result<Vec<Value>, RecallError> {
    let wait = Wait { first: timeout, quiet: Duration::ZERO };
    let mut findings = Vec::new();
    for _ in 0..PAGES {
        let request = format!(r#"{{"offset":{}}}"#, findings.len());
        let answers = asked.ask(SUBJECT, request.into(), wait).await.unwrap_or_default();
        let answer = answers.into_iter().find(|answer| !answer.no_responders).ok_or(RecallError::NoAnswer)?;
        if let Some(refusal) = answer.refusal {
            return Err(RecallError::Refused(refusal));
        }
        let page: Page = serde_json::from_slice(&answer.payload).map_err(|_| RecallError::Garbage)?;
        let last = page.omitted == 0 || page.findings.is_empty();
        findings.extend(page.findings);
        if last {
            break;
        }
    }
    Ok(findings)
}

/// The open findings that an agent tells over this connection.
pub async fn recall(connection: &Connection) -> Result<Vec<Value>, RecallError> {
    open_findings(connection, connection.timeout()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nats::ask::{Answer, AskError};
    use bytes::Bytes;
    use serde_json::json;

    /// An agent with so many findings that tells three at a time, or says something else.
    struct Agent(usize, Option<Answer>);

    impl Ask for Agent {
        async fn ask(&self, subject: &str, body: Bytes, _: Wait) -> Result<Vec<Answer>, AskError> {
            assert_eq!(subject, SUBJECT);
            if let Some(answer) = &self.1 {
                return Ok(vec![answer.clone()]);
            }
            let request: Value = serde_json::from_slice(&body).unwrap();
            let offset = request["offset"].as_u64().unwrap() as usize;
            let page: Vec<usize> = (offset..self.0).take(3).collect();
            let omitted = self.0 - offset - page.len();
            let payload = json!({"findings": page, "omitted": omitted}).to_string().into();
            Ok(vec![Answer { payload, no_responders: false, refusal: None }])
        }
    }

    #[tokio::test]
    async fn every_page_is_asked_for() {
        for total in [0, 1, 3, 7] {
            let findings = open_findings(&Agent(total, None), Duration::from_secs(1)).await.unwrap();
            assert_eq!(findings, (0..total).map(Value::from).collect::<Vec<_>>());
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_is_told_apart() {
        let answer = |payload: &'static str, no_responders, refusal: Option<&str>| {
            Agent(
                0,
                Some(Answer { payload: payload.into(), no_responders, refusal: refusal.map(Into::into) }),
            )
        };
        for (agent, error) in [
            (answer("", true, None), RecallError::NoAnswer),
            (answer("", false, Some("not yet")), RecallError::Refused("not yet".into())),
            (answer("{}", false, None), RecallError::Garbage),
        ] {
            assert_eq!(open_findings(&agent, Duration::from_secs(1)).await, Err(error));
        }
    }
}
