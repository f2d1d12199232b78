//! What servers tell by themselves.

/// An event of the system account that the agent listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection ended.
    Disconnect,
    /// A server ends in order.
    Shutdown,
    /// A server entered lame-duck mode.
    LameDuck,
    /// A server is there: each publishes its statistics every 10 s.
    Heartbeat,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Disconnect, Self::Shutdown, Self::LameDuck, Self::Heartbeat];

    /// Those by which a server says that it leaves.
    pub const FAREWELLS: [Self; 2] = [Self::Shutdown, Self::LameDuck];

    /// The subject to subscribe to.
    pub const fn subject(self) -> &'static str {
        match self {
            Self::Disconnect => "$SYS.ACCOUNT.*.DISCONNECT",
            Self::Shutdown => "$SYS.SERVER.*.SHUTDOWN",
            Self::LameDuck => "$SYS.SERVER.*.LAMEDUCK",
            Self::Heartbeat => "$SYS.SERVER.*.STATSZ",
        }
    }
}
