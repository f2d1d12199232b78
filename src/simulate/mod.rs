//! Many servers that do not exist: what they would answer, without any network.
//!
//! A [`World`] follows from a [`Shape`] and its seed. It answers requests as its servers would, in the formats of
//! nats-server 2.15; [`crate::nats::stage`] puts it behind the subjects of a real server. Conditions are planted for the
//! checks, and [`World::expected`] lists the findings that they must give; everything else is healthy.

mod accounts;
mod answer;
mod connection;
mod connz;
mod expected;
mod fault;
mod layout;
mod links;
mod pages;
mod plant;
mod planting;
mod print;
mod random;
mod request;
mod shape;
mod world;

pub use answer::Reply;
pub use expected::{Expected, Faulty, NotPlanted};
pub use fault::{Fault, Kind, NoFault, When};
pub use plant::{Condition, NoCondition, Planting, Plants};
pub use request::{Endpoint, Question, is_roll_call};
pub use shape::{Shape, ShapeError};
pub use world::{Moment, Prepared, World};
