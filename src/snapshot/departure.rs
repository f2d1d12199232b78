//! Servers that announced that they leave.

use crate::text::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// How a server announced that it leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// It ended in an orderly way.
    Shutdown,
    /// It entered lame-duck mode: it closes its clients' connections one after the other, and then ends.
    LameDuck,
}

impl Leaving {
    /// The word used in JSON and tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::LameDuck => "lame_duck",
        }
    }
}

/// A server that announced that it leaves; kept over its return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Departure {
    /// Its name.
    pub server: Name,
    /// Its cluster.
    pub cluster: Option<Name>,
    /// What it announced last.
    pub how: Leaving,
    /// When the agent heard that.
    pub at: OffsetDateTime,
    /// When a server of this name first answered after that, under another id.
    pub back_at: Option<OffsetDateTime>,
}
