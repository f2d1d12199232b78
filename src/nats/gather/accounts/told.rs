//! What one answer says of an account.

use crate::nats::gather::Plan;
use crate::nats::gather::ask_one::Unusable;
use crate::snapshot::{AccountDetails, AccountLimits, SHARES};
use crate::text::{Name, TEXT_BYTES, bounded};
use crate::wire::accountz::{AccountDetail, Accountz};
use crate::wire::{WireError, envelope};

/// What is taken from an answer. The answer itself, with the account's JWT, is dropped at once.
pub(super) struct Told {
    pub(super) name: Option<Name>,
    pub(super) limits: Option<AccountLimits>,
    pub(super) update_time: String,
    /// None where they are not wanted.
    pub(super) details: Option<AccountDetails>,
    /// Bytes of the answer on the network.
    pub(super) bytes: u64,
}

impl Told {
    /// Reads an answer of this server about this account.
    pub(super) fn read(body: &[u8], plan: &Plan, server: &Name, account: &Name) -> Result<Self, Unusable> {
        let broken = |error: WireError| Unusable::Broken(error.to_string());
        let (info, data) = envelope::parse::<Accountz>(body).map_err(broken)?;
        if *info.id != **server {
            return Err(Unusable::Stranger);
        }
        let data = data.map_err(broken)?;
        match data.account_detail {
            Some(detail) if *detail.account_name == **account => {
                Ok(Self::of(&detail, plan, server, data.system_account.as_deref().unwrap_or_default()))
            }
            _ => Err(Unusable::Broken("the answer describes another account".into())),
        }
    }

    fn of(detail: &AccountDetail, plan: &Plan, server: &Name, system_account: &str) -> Self {
        let claims = detail.decoded_jwt.as_ref();
        // An account of a configuration file may repeat its name.
        let name = claims.and_then(|jwt| jwt.name.as_deref()).or(detail.name_tag.as_deref());
        let name = name.filter(|name| !name.is_empty() && **name != *detail.account_name);
        let limits = claims.and_then(|jwt| jwt.nats.limits.as_ref()).map(|limits| AccountLimits {
            connections: limits.conn,
            subscriptions: limits.subs,
            leafnodes: limits.leaf,
        });
        let details = super::wants_details(plan).then(|| AccountDetails {
            epoch: plan.epoch,
            at: plan.taken_at,
            server: server.clone(),
            ..AccountDetails::of(detail, system_account, SHARES)
        });
        Self {
            name: name.map(|name| bounded(name, TEXT_BYTES)),
            limits,
            update_time: detail.update_time.clone(),
            details,
            bytes: 0,
        }
    }
}
