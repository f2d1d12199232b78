//! The request for the JWT of one account, which every server answers.

use super::super::Plan;
use super::super::ask_one::{Missed, ask_one};
use super::super::tally::Tally;
use super::LOOKUP;
use crate::nats::inbox::Inbox;
use crate::text::Name;
use crate::wire::accountz::Import;
use crate::wire::jwt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;

/// How long the other servers' answers are waited for, when one has told what was asked. They say the same.
const OTHERS: Duration = Duration::from_millis(50);

/// What came of the request for one account.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Told(Vec<Import>),
    /// No server that listed accounts has it any more.
    Absent,
    Silent,
    Nobody,
    Denied,
    /// The epoch's time was over, or another one was silent before.
    Unasked,
}

/// Asks for one account, and takes the first JWT of it. The others would say the same, and are taken off the inbox.
pub(super) async fn ask(
    inbox: &Inbox,
    plan: &Plan,
    account: Name,
    servers: usize,
    stop: &AtomicBool,
) -> (Name, Outcome, Tally) {
    let mut tally = Tally::default();
    if stop.load(Ordering::Relaxed) {
        return (account, Outcome::Unasked, tally);
    }
    let outcome = outcome_of(inbox, plan, &account, servers, &mut tally).await;
    // Whoever is silent is waited for once, and who may not ask for one may ask for none.
    if matches!(outcome, Outcome::Silent | Outcome::Nobody | Outcome::Denied) {
        stop.store(true, Ordering::Relaxed);
    }
    (account, outcome, tally)
}

async fn outcome_of(
    inbox: &Inbox,
    plan: &Plan,
    account: &Name,
    servers: usize,
    tally: &mut Tally,
) -> Outcome {
    let subject = LOOKUP.replace('*', account);
    let why = |missed: Missed| match missed {
        Missed::Silent => Outcome::Silent,
        Missed::NoResponders => Outcome::Nobody,
        Missed::Denied => Outcome::Denied,
        Missed::Deadline | Missed::NotSent(_) => Outcome::Unasked,
    };
    tally.request();
    let mut asked = match ask_one(inbox, plan, &subject, &()).await {
        Ok(asked) => asked,
        Err(missed) => return why(missed),
    };
    let (mut answers, mut garbage) = (0, false);
    let declared = loop {
        if answers == servers && !garbage {
            return Outcome::Absent;
        }
        let (answer, bytes, took) = match asked.next().await {
            Ok(answer) => answer,
            // A server that cannot read a JWT cannot load the account.
            Err(Missed::Silent) if garbage => break Vec::new(),
            Err(missed) => return why(missed),
        };
        answers += 1;
        // An empty answer is that of a server without it. An older one is silent.
        if bytes > 0 {
            tally.answer(bytes, took);
            let body = answer.decode().ok();
            let token = body.as_ref().and_then(|body| std::str::from_utf8(body).ok());
            match token.and_then(|token| jwt::account_imports(token, account)) {
                Some(declared) => break declared,
                None => garbage = true,
            }
        }
    };
    while answers < servers && matches!(timeout(OTHERS, asked.next()).await, Ok(Ok(_))) {
        answers += 1;
    }
    Outcome::Told(declared)
}
