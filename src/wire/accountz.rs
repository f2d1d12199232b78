//! ACCOUNTZ: the list of loaded accounts, or one account's detail.

use serde::Deserialize;

/// Either form of the answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Accountz {
    /// Name or public key of the system account.
    pub system_account: Option<String>,
    /// Loaded accounts.
    pub accounts: Option<Vec<String>>,
    /// The one that was asked for.
    pub account_detail: Option<AccountDetail>,
}

/// One account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AccountDetail {
    /// Name or public key.
    pub account_name: String,
    /// When its claims last changed.
    pub update_time: String,
    /// Readable name.
    pub name_tag: Option<String>,
    /// The claims, in operator mode.
    pub decoded_jwt: Option<DecodedJwt>,
}

/// Claims of an account.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct DecodedJwt {
    /// Readable name.
    pub name: Option<String>,
    /// The part of NATS.
    pub nats: NatsClaims,
}

/// The part of NATS of an account's claims.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct NatsClaims {
    /// None where the server printed none.
    pub limits: Option<ClaimLimits>,
}

/// Limits; the server leaves out zeros, and -1 is unlimited.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClaimLimits {
    /// Client connections.
    pub conn: i64,
    /// Subscriptions per connection.
    pub subs: i64,
    /// Leafnode connections.
    pub leaf: i64,
}
