//! Everything that speaks HTTP: [`serve`] answers questions about the agent, [`post`] sends to others.

pub mod post;
pub mod serve;
