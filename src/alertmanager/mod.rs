//! Findings as alerts of Alertmanager, and what to send to each instance when. Pure; the agent sends.

mod alert;
mod queue;

pub use alert::{Alert, Update, update};
pub use queue::{Batch, Decision, Due, Outcome, Queue, Waits};
