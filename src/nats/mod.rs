//! Everything that talks to NATS: the only module that names the client library.
//!
//! [`connect`] reaches the system with credentials from [`auth`] and [`context`]; [`selftest`] finds out whether they
//! are the right ones; [`events`] is what the client noticed on the side. [`gather`] asks the servers over one [`inbox`]
//! and makes a snapshot of the answers; [`publish`] writes findings, [`watch`] reads them, [`recall`] asks for them; [`sink`]
//! keeps them with JetStream, over a connection of its own; a [`service`] answers requests. Agents hear each other in [`presence`], and where there is a
//! sink they have a [`lease`] in it. [`load`] is for the demo, [`stage`] for
//! the simulation.

pub mod ask;
pub mod auth;
mod backoff;
mod carrier;
pub mod connect;
pub mod context;
pub mod credentials_file;
pub mod encoding;
pub mod events;
pub mod gather;
pub mod inbox;
pub mod lease;
pub mod load;
pub mod permissions;
pub mod presence;
pub mod publish;
pub mod recall;
pub mod selftest;
pub mod service;
pub mod sink;
pub mod stage;
mod tls;
mod urls;
pub mod watch;
