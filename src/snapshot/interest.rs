//! Whether anybody listens to what an account imports.

/// What was found out about the subscribers of an imported stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Whether a connection of the importing account, or the server itself in its name, subscribes to something that
    /// overlaps the local subject.
    pub heard: bool,
    /// Servers that were asked.
    pub servers: u64,
    /// The epoch in which they were.
    pub epoch: u64,
}
