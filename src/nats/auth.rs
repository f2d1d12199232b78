//! Logging in. Credentials that live in a file are read from it at every connect, so a rotated file is used without a
//! restart; async-nats 0.51 itself reads them once.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use async_nats::Auth;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::credentials_file::{Claims, CredentialsError, JwtAndKey, read_creds, read_nkey, user_key};
use crate::connection::{ConnectionOptions, Secret, UserJwt};

/// The one way to log in that was chosen among the options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// None: the server's default user, or a client certificate.
    Anonymous,
    /// A user name and its password.
    UserPassword {
        /// The user.
        user: String,
        /// Its password.
        password: Secret,
    },
    /// A token.
    Token(Secret),
    /// A file with a user JWT and a seed.
    CredsFile(PathBuf),
    /// A file with a seed.
    NkeyFile(PathBuf),
    /// A user JWT and its seed from a context.
    UserJwt(UserJwt),
}

/// User information found in a server URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UrlUser {
    UserPassword { user: String, password: Secret },
    Token(Secret),
}

impl Credentials {
    /// Chooses: explicit options, else what the server URLs carry, else none.
    ///
    /// A user without a password is a token, as in the `nats` CLI.
    pub(super) fn select(
        options: &ConnectionOptions,
        url: Option<UrlUser>,
    ) -> Result<Self, CredentialsError> {
        let given: Vec<(&'static str, Self)> = [
            options.user.as_ref().map(|user| match &options.password {
                Some(password) => {
                    ("user", Self::UserPassword { user: user.clone(), password: password.clone() })
                }
                None => ("user without password, which is a token", Self::Token(Secret::from(user.as_str()))),
            }),
            options.creds.clone().map(|path| ("creds", Self::CredsFile(path))),
            options.user_jwt.clone().map(|jwt| ("user_jwt", Self::UserJwt(jwt))),
            options.nkey.clone().map(|path| ("nkey", Self::NkeyFile(path))),
            options.token.clone().map(|token| ("token", Self::Token(token))),
        ]
        .into_iter()
        .flatten()
        .collect();

        if given.len() > 1 {
            return Err(CredentialsError::Ambiguous {
                given: given.into_iter().map(|(name, _)| name).collect(),
            });
        }
        if options.user.is_none() && options.password.is_some() {
            return Err(CredentialsError::PasswordWithoutUser);
        }
        Ok(match (given.into_iter().next(), url) {
            (Some((_, credentials)), _) => credentials,
            (None, Some(UrlUser::UserPassword { user, password })) => Self::UserPassword { user, password },
            (None, Some(UrlUser::Token(token))) => Self::Token(token),
            (None, None) => Self::Anonymous,
        })
    }

    /// What the operator calls these credentials; never a secret.
    pub fn describe(&self) -> String {
        match self {
            Self::Anonymous => "no credentials".to_owned(),
            Self::UserPassword { user, .. } => format!("user `{user}` and its password"),
            Self::Token(_) => "the token".to_owned(),
            Self::CredsFile(path) => format!("the credentials in {}", path.display()),
            Self::NkeyFile(path) => format!("the nkey in {}", path.display()),
            Self::UserJwt(_) => "the context's user JWT".to_owned(),
        }
    }

    /// Answers the server's nonce, reading files anew.
    pub(super) async fn answer(self, nonce: Vec<u8>) -> Result<(Auth, Option<Expiry>), CredentialsError> {
        // Files may lie on a network file system that hangs; the client's task must not hang with it.
        match tokio::task::spawn_blocking(move || self.answer_blocking(&nonce)).await {
            Ok(answer) => answer,
            Err(error) => {
                Err(CredentialsError::Unsigned { what: format!("credentials that were not read ({error})") })
            }
        }
    }

    fn answer_blocking(&self, nonce: &[u8]) -> Result<(Auth, Option<Expiry>), CredentialsError> {
        let mut auth = Auth::new();
        let mut expiry = None;
        match self {
            Self::Anonymous => {}
            Self::UserPassword { user, password } => {
                auth.username = Some(user.clone());
                auth.password = Some(password.expose().to_owned());
            }
            Self::Token(token) => auth.token = Some(token.expose().to_owned()),
            Self::NkeyFile(path) => {
                let key = read_nkey(path)?;
                auth.nkey = Some(key.public_key());
                auth.signature = Some(self.sign(&key, nonce)?);
            }
            Self::CredsFile(_) | Self::UserJwt(_) => {
                let JwtAndKey { jwt, key } = self.jwt_and_key()?;
                expiry = Expiry::of(&jwt);
                auth.signature = Some(self.sign(&key, nonce)?);
                auth.jwt = Some(jwt);
            }
        }
        Ok((auth, expiry))
    }

    fn jwt_and_key(&self) -> Result<JwtAndKey, CredentialsError> {
        match self {
            Self::CredsFile(path) => read_creds(path),
            Self::UserJwt(UserJwt { jwt, seed }) => {
                let key =
                    user_key(seed.expose()).map_err(|reason| CredentialsError::MalformedJwt { reason })?;
                Ok(JwtAndKey { jwt: jwt.expose().to_owned(), key })
            }
            _ => Err(CredentialsError::Unsigned { what: self.describe() }),
        }
    }

    fn sign(&self, key: &nkeys::KeyPair, nonce: &[u8]) -> Result<Vec<u8>, CredentialsError> {
        key.sign(nonce).map_err(|_| CredentialsError::Unsigned { what: self.describe() })
    }
}

/// When a user JWT expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Expiry(i64);

impl Expiry {
    fn of(jwt: &str) -> Option<Self> {
        Claims::of(jwt)?.expires_at().map(Self)
    }

    /// Whether that moment has passed.
    pub(super) fn passed(self, now: SystemTime) -> bool {
        now.duration_since(UNIX_EPOCH).is_ok_and(|since| since.as_secs() >= self.0.unsigned_abs())
    }

    /// That moment in RFC 3339.
    pub(super) fn at(self) -> String {
        OffsetDateTime::from_unix_timestamp(self.0)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_else(|| format!("Unix second {}", self.0))
    }
}

/// The clock that expiry is compared with.
#[expect(
    clippy::disallowed_methods,
    reason = "whether credentials have expired is asked about this very moment"
)]
pub(super) fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn options(toml: &str) -> ConnectionOptions {
        toml::from_str(toml).unwrap()
    }

    #[test]
    fn a_user_without_a_password_is_a_token() {
        let chosen = |toml| Credentials::select(&options(toml), None);
        assert_eq!(chosen("user = 't'"), Ok(Credentials::Token("t".into())));
        assert_eq!(
            chosen("user = 'u'\npassword = 'p'"),
            Ok(Credentials::UserPassword { user: "u".into(), password: "p".into() })
        );
        assert_eq!(chosen(""), Ok(Credentials::Anonymous));
        assert_eq!(chosen("password = 'p'"), Err(CredentialsError::PasswordWithoutUser));
    }

    #[test]
    fn options_beat_the_url_and_two_options_are_refused() {
        let url = || Some(UrlUser::Token("from-url".into()));
        let creds = options("creds = 'a.creds'");
        assert_eq!(Credentials::select(&creds, url()), Ok(Credentials::CredsFile("a.creds".into())));
        assert_eq!(Credentials::select(&options(""), url()), Ok(Credentials::Token("from-url".into())));
        let error = Credentials::select(&options("creds = 'a'\nnkey = 'b'"), None).unwrap_err();
        assert_eq!(error.to_string(), "several ways to log in are given (creds, nkey): keep one of them");
    }

    #[test]
    fn expiry_is_compared_with_the_clock_it_is_given() {
        let expiry = Expiry(1_700_000_000);
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(!expiry.passed(at(1_699_999_999)) && expiry.passed(at(1_700_000_000)));
        assert_eq!(expiry.at(), "2023-11-14T22:13:20Z");
        assert_eq!(Expiry(i64::MAX).at(), "Unix second 9223372036854775807");
    }

    #[tokio::test]
    async fn a_seed_signs_the_nonce() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("user.nk");
        let user = nkeys::KeyPair::new_user();
        std::fs::write(&path, user.seed().unwrap()).unwrap();
        let (auth, _) = Credentials::NkeyFile(path).answer(b"nonce".to_vec()).await.unwrap();
        assert_eq!(auth.nkey, Some(user.public_key()));
        assert!(user.verify(b"nonce", &auth.signature.unwrap()).is_ok());
    }
}
