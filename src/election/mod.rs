//! Which of several agents beside one system gathers and publishes: a pure state machine.
//!
//! It is told what was heard ([`Event`]) and the time, and says what to send ([`Action`]), which [`Role`] the agent has, and
//! how long that may be relied on ([`Election::holds_until`]).
//!
//! * Every agent says on `insights.agents.<id>` that it is there ([`Presence`]). Who leads goes on leading; if nobody does,
//!   the agent that has been there longest begins. Who is unheard for [`silence`] is gone.
//! * An agent hears itself as well, through its server. Where that ends, it was cut off, or stopped (SIGSTOP, a suspended
//!   machine): it then no longer leads, says hello as after a start, and counts as the youngest.
//! * Where there is a key-value store, a lease in it ([`LeaseAction`]) decides before that, because it can tell a silent
//!   agent from one that only this agent does not hear. While it cannot be reached, presence decides.
//!
//! A leader stops relying on its proofs ([`patience`]) before the others stop waiting ([`silence`]).

mod lease;
mod peers;
mod presence;
mod state;
mod timing;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use lease::{Holder, LeaseAction, LeaseOutcome};
pub use presence::{AGENT_TYPE, AGENTS_SUBJECT, Listed, Presence, PresenceError, agent_subject};
pub use state::{Action, Candidate, Election, Event, Now};
pub use timing::{Clock, DENIED_RETRY, HELLO_WAIT, heartbeat, lease_silence, patience, silence};

/// What an agent does beside the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It gathers and publishes.
    Leader {
        /// What makes it the leader.
        by: Basis,
    },
    /// It listens to what the leader publishes.
    Standby {
        /// The leader, as far as one is known.
        leader: Option<Other>,
    },
    /// It has started, or come back, and does not know yet who else is there.
    Undecided,
}

impl Role {
    /// Whether it gathers and publishes.
    pub const fn leads(&self) -> bool {
        matches!(self, Self::Leader { .. })
    }
}

/// What makes an agent the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The lease in the key-value store.
    Lease,
    /// That no other one that it hears comes first.
    Presence,
    /// That it cannot or shall not know of others.
    Alone,
}

impl Basis {
    /// The word used in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Presence => "presence",
            Self::Alone => "alone",
        }
    }
}

/// Another agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}
