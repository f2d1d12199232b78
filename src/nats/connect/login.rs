//! One login after the other, with credentials read anew for each.

use std::sync::{Arc, Mutex, PoisonError};

use async_nats::AuthError;

use super::error::ConnectError;
use crate::nats::auth::{Credentials, Expiry, now};
use crate::nats::credentials_file::CredentialsError;
use crate::nats::events::ClientEvents;

/// Answers the server's question who this is, at every connect.
#[derive(Clone)]
pub(super) struct Login {
    credentials: Credentials,
    events: ClientEvents,
    last: Arc<Mutex<Last>>,
}

/// What the last login met, for the error message.
#[derive(Default)]
struct Last {
    failure: Option<CredentialsError>,
    expiry: Option<Expiry>,
}

impl Login {
    pub(super) fn new(credentials: Credentials, events: ClientEvents) -> Self {
        Self { credentials, events, last: Arc::default() }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// What kept the last login from being sent.
    pub(super) fn failure(&self) -> Option<CredentialsError> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    /// When the credentials of the last login expired, if they have.
    pub(super) fn passed_expiry(&self) -> Option<Expiry> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.expiry.filter(|expiry| expiry.passed(now()))
    }

    pub(super) async fn answer(self, nonce: Vec<u8>) -> Result<async_nats::Auth, AuthError> {
        let answer = self.credentials.clone().answer(nonce).await;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match answer {
            Ok((auth, expiry)) => {
                // Expired credentials are sent all the same: the server's clock decides, not this one.
                if let Some(expiry) = expiry.filter(|expiry| expiry.passed(now())) {
                    self.events.problem(&ConnectError::expired(&self.credentials, expiry).to_string());
                }
                *last = Last { failure: None, expiry };
                Ok(auth)
            }
            Err(error) => {
                let text = error.to_string();
                self.events.problem(&text);
                *last = Last { failure: Some(error), expiry: None };
                Err(AuthError::new(text))
            }
        }
    }
}
