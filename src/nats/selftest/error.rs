//! What the self-test found wrong, and what to do about it.

use std::time::Duration;

use crate::nats::ask::AskError;

/// Longest list of subjects in one message.
const MAX_LISTED: usize = 20;

/// Why the agent cannot work with this connection.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The question could not be sent.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The user belongs to another account.
    #[error(
        "{}: connect with credentials of a user of the system account",
        not_system(account.as_deref(), system_account.as_deref())
    )]
    WrongAccount {
        /// The user's account, where the server says it.
        account: Option<String>,
        /// The system account, where the server says it.
        system_account: Option<String>,
    },
    /// The user belongs to the account of servers that name none.
    #[error(
        "the user belongs to the default account $G, so the server has no system account for it: give the server's \
         configuration a system_account with a user, and connect as that user"
    )]
    NoSystemAccount,
    /// Permissions are missing.
    #[error(
        "the user is denied subjects the agent needs ({}): grant them, `insights-agent permissions` prints them all",
        denied_listed(publish, subscribe)
    )]
    Denied {
        /// Subjects it may not publish to.
        publish: Vec<String>,
        /// Subjects it may not subscribe to.
        subscribe: Vec<String>,
    },
    /// Answers cannot be received.
    #[error(
        "the user may not subscribe to {prefix}.>, so no answer arrives: allow that subscription, or set an inbox prefix \
         that is allowed"
    )]
    InboxDenied {
        /// The inbox prefix.
        prefix: String,
    },
    /// Silence.
    #[error(
        "connected, but no server answered within {}: raise the timeout, or check the user's permissions and that the \
         server is not shutting down",
        humantime::format_duration(*waited)
    )]
    NothingAnswered {
        /// How long each question waited.
        waited: Duration,
    },
    /// Something answered, but not as a server does.
    #[error("the answer to {subject} is not what a NATS server sends: check what answers on that subject")]
    Garbage {
        /// The question's subject.
        subject: String,
    },
}

fn not_system(account: Option<&str>, system: Option<&str>) -> String {
    match (account, system) {
        (Some(account), Some(system)) => {
            format!("the user's account {account} is not the system account ({system})")
        }
        (Some(account), None) => format!("the user's account {account} is not the system account"),
        _ => "the user's account is not the system account, or the server has none (operator mode needs a \
              system_account in its configuration)"
            .to_owned(),
    }
}

fn denied_listed(publish: &[String], subscribe: &[String]) -> String {
    let all: Vec<String> = publish
        .iter()
        .map(|subject| format!("publish {subject}"))
        .chain(subscribe.iter().map(|subject| format!("subscribe {subject}")))
        .collect();
    let shown = all.iter().take(MAX_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_of_denied_subjects_are_cut() {
        let many: Vec<String> = (0..30).map(|n| format!("s.{n}")).collect();
        assert!(denied_listed(&many, &[]).ends_with("publish s.19 and 10 more"));
    }
}
