//! Server URLs: checked, and parted from the user information in them.

use async_nats::ServerAddr;
use percent_encoding::percent_decode_str;

use super::auth::UrlUser;
use crate::connection::{Secret, redact_url};

/// A server URL that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It does not parse.
    #[error("`{url}` is not a server URL ({reason}): write nats://host:4222 or tls://host:4222")]
    Invalid {
        /// The URL, user information hidden.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two URLs name different users.
    #[error(
        "the server URLs carry different users or tokens: name the user once, with --user or in every URL alike"
    )]
    DifferentUsers,
}

/// The servers' addresses without user information, and that information.
///
/// async-nats 0.51 ignores what a URL says about the user, and logs URLs as they are; so it is given clean ones and the
/// user goes the way of all credentials.
pub(super) fn parse(urls: &[String]) -> Result<(Vec<ServerAddr>, Option<UrlUser>), UrlError> {
    let mut addresses = Vec::with_capacity(urls.len());
    let mut found: Option<UrlUser> = None;
    for url in urls {
        let (address, user) = parse_one(url)?;
        addresses.push(address);
        match (&found, user) {
            (Some(known), Some(user)) if *known != user => return Err(UrlError::DifferentUsers),
            (None, user @ Some(_)) => found = user,
            _ => {}
        }
    }
    Ok((addresses, found))
}

fn parse_one(text: &str) -> Result<(ServerAddr, Option<UrlUser>), UrlError> {
    let invalid = |reason: String| UrlError::Invalid { url: redact_url(text), reason };
    let mut url = text.parse::<ServerAddr>().map_err(|error| invalid(error.to_string()))?.into_inner();
    if !matches!(url.scheme(), "nats" | "tls") {
        return Err(invalid(format!("the scheme {} is not supported", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(invalid("it names no host".to_owned()));
    }
    let user = match (url.username(), url.password()) {
        ("", None) => None,
        (token, None) => Some(UrlUser::Token(Secret::from(decoded(token)))),
        (user, Some(password)) => {
            Some(UrlUser::UserPassword { user: decoded(user), password: Secret::from(decoded(password)) })
        }
    };
    let clean = url.set_username("").is_ok() && url.set_password(None).is_ok();
    if !clean {
        return Err(invalid("user information cannot stand here".to_owned()));
    }
    let address = ServerAddr::from_url(url).map_err(|error| invalid(error.to_string()))?;
    Ok((address, user))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// A server's address as it is shown.
pub(super) fn shown(address: &ServerAddr) -> String {
    format!("{}:{}", bracketed(address.host()), address.port())
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(url: &str) -> Result<(String, bool, Option<UrlUser>), UrlError> {
        let (addresses, user) = parse(&[url.to_owned()])?;
        Ok((shown(&addresses[0]), addresses[0].tls_required(), user))
    }

    #[test]
    fn hosts_ports_and_schemes() {
        assert_eq!(one("h").unwrap(), ("h:4222".into(), false, None));
        assert_eq!(one("h:1").unwrap(), ("h:1".into(), false, None));
        assert_eq!(one("tls://h").unwrap(), ("h:4222".into(), true, None));
        assert_eq!(one("nats://[::1]:9").unwrap(), ("[::1]:9".into(), false, None));
    }

    #[test]
    fn user_information_is_taken_out_and_decoded() {
        let (_, _, user) = one("nats://u%40x:p%2Fw@h").unwrap();
        assert_eq!(user, Some(UrlUser::UserPassword { user: "u@x".into(), password: "p/w".into() }));
        let (addresses, user) = parse(&["nats://tok@h".to_owned()]).unwrap();
        assert_eq!(user, Some(UrlUser::Token("tok".into())));
        assert!(!format!("{addresses:?}").contains("tok"));
    }

    #[test]
    fn urls_of_one_list_agree_on_the_user() {
        let list = |a: &str, b: &str| parse(&[a.to_owned(), b.to_owned()]);
        assert!(list("nats://u:p@a", "b").unwrap().1.is_some());
        assert!(list("nats://u:p@a", "nats://u:p@b").is_ok());
        assert!(matches!(list("nats://u:p@a", "nats://v:p@b"), Err(UrlError::DifferentUsers)));
    }

    #[test]
    fn bad_urls_are_named_without_their_secrets() {
        for url in
            ["nats://u:hush@h:99999", "http://u:hush@h", "nats://u:hush", "nats://", "h:port", "ws://h"]
        {
            let error = one(url).unwrap_err().to_string();
            assert!(error.contains("is not a server URL"), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
