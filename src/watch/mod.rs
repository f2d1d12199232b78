//! What agents publish, as somebody watches it: a pure model of the messages heard, and how it is shown.
//!
//! [`State`] takes in messages in whatever order they come and tells what changed; [`Filter`] says which of them matter;
//! [`line`] and [`ndjson`] print a change, and [`screen`] prints the whole.

mod filter;
mod lines;
mod message;
mod pulse;
#[cfg(test)]
mod samples;
mod screen;
mod state;

pub use filter::Filter;
pub use lines::{line, ndjson};
pub use message::{Epoch, Message, Row};
pub use pulse::Pulse;
pub use screen::{Frame, screen};
pub use state::{Change, State, What};
