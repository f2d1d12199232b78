//! Whether anybody listens to what an account imports.

/// What was found out about the subscribers of an imported stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Whether a connection of the importing account, or JetStream in its name, subscribes to something that overlaps the
    /// local subject; none where the servers cannot tell.
    pub heard: Option<bool>,
    /// Servers that were asked.
    pub servers: u64,
    /// The epoch in which they were.
    pub epoch: u64,
}
