//! What a credentials file, an nkey file and a user JWT hold. Errors name the file and the fault, never the content.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use data_encoding::BASE64URL_NOPAD;
use nkeys::{KeyPair, KeyPairType};
use serde::Deserialize;

/// Far above any credentials file; a device or a log named by mistake is not read to its end.
const MAX_BYTES: u64 = 256 * 1024;

/// Credentials that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The file cannot be read.
    #[error("cannot read the {kind} {}: {reason}; check the path and that this user may read it", path.display())]
    Unreadable {
        /// What the file should hold.
        kind: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// The file was read and is not what it should be.
    #[error("the {kind} {} is malformed: {reason}", path.display())]
    Malformed {
        /// What the file should hold.
        kind: &'static str,
        /// The file.
        path: PathBuf,
        /// What is missing or wrong.
        reason: &'static str,
    },
    /// A JWT and seed written into a context do not fit.
    #[error("user_jwt and user_seed of the context are malformed: {reason}")]
    MalformedJwt {
        /// What is missing or wrong.
        reason: &'static str,
    },
    /// The seed could not sign the server's nonce.
    #[error("cannot sign the server's nonce with the seed of {what}: create the user's keys anew")]
    Unsigned {
        /// Whose seed.
        what: String,
    },
    /// More than one way to log in.
    #[error("several ways to log in are given ({}): keep one of them", given.join(", "))]
    Ambiguous {
        /// The options that were given.
        given: Vec<&'static str>,
    },
    /// A password that belongs to nobody.
    #[error("a password is given without a user: name the user too")]
    PasswordWithoutUser,
}

/// A user JWT with the key that signs for it.
pub(super) struct JwtAndKey {
    pub(super) jwt: String,
    pub(super) key: KeyPair,
}

/// Reads a credentials file.
pub(super) fn read_creds(path: &Path) -> Result<JwtAndKey, CredentialsError> {
    const KIND: &str = "credentials file";
    let text = read(KIND, path)?;
    parse_creds(&text).map_err(|reason| CredentialsError::Malformed {
        kind: KIND,
        path: path.to_owned(),
        reason,
    })
}

/// Reads an nkey seed file: the bare seed, or one between its decorations.
pub(super) fn read_nkey(path: &Path) -> Result<KeyPair, CredentialsError> {
    const KIND: &str = "nkey seed file";
    let text = read(KIND, path)?;
    parse_nkey(&text).map_err(|reason| CredentialsError::Malformed {
        kind: KIND,
        path: path.to_owned(),
        reason,
    })
}

fn read(kind: &'static str, path: &Path) -> Result<String, CredentialsError> {
    let unreadable = |reason: String| CredentialsError::Unreadable { kind, path: path.to_owned(), reason };
    let malformed = |reason| CredentialsError::Malformed { kind, path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(malformed("it is larger than 256 KiB"));
    }
    String::from_utf8(bytes).map_err(|_| malformed("it is not text"))
}

/// Both parts of a credentials file as `nsc` writes it.
pub(super) fn parse_creds(text: &str) -> Result<JwtAndKey, &'static str> {
    let jwt =
        decorated(text, "JWT").ok_or("it has no `BEGIN NATS USER JWT` part; give the file nsc generated")?;
    let seed = decorated(text, "NKEY SEED")
        .ok_or("it has no `BEGIN USER NKEY SEED` part; give the file nsc generated")?;
    let key = user_key(seed)?;
    if let Some(claims) = Claims::of(jwt) {
        if claims.sub.is_some_and(|sub| sub != key.public_key()) {
            return Err("its seed does not belong to its JWT");
        }
    } else {
        return Err("its JWT cannot be decoded");
    }
    Ok(JwtAndKey { jwt: jwt.to_owned(), key })
}

/// The user's key of an nkey seed file.
pub(super) fn parse_nkey(text: &str) -> Result<KeyPair, &'static str> {
    let seed = decorated(text, "NKEY SEED")
        .or_else(|| text.lines().map(str::trim).find(|line| line.starts_with('S')))
        .ok_or("it has no line that starts with SU, which a user's seed does")?;
    user_key(seed)
}

/// The user's key of a seed.
pub(super) fn user_key(seed: &str) -> Result<KeyPair, &'static str> {
    let key = KeyPair::from_seed(seed).map_err(|_| "its nkey seed is damaged")?;
    match key.key_pair_type() {
        KeyPairType::User => Ok(key),
        _ => Err("its nkey seed is not a user's, which starts with SU"),
    }
}

/// The line below `-----BEGIN … label-----`. The closing line has six dashes in front, so this is no PEM.
fn decorated<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.starts_with("---") && line.contains("BEGIN") && line.contains(label))?;
    lines.find(|line| !line.is_empty()).filter(|line| !line.starts_with("---"))
}

/// The claims of a user JWT that matter here; its signature is the server's business.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Claims {
    /// The user's public key.
    pub(super) sub: Option<String>,
    /// When it expires, in Unix seconds; zero or absent for never.
    exp: i64,
}

impl Claims {
    /// The claims of a JWT, if it is one.
    pub(super) fn of(jwt: &str) -> Option<Self> {
        let mut parts = jwt.split('.');
        let (_header, payload, _signature) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// When the JWT expires, in Unix seconds.
    pub(super) fn expires_at(&self) -> Option<i64> {
        (self.exp > 0).then_some(self.exp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &str) -> String {
        format!("eyJhbGciOiJlZDI1NTE5LW5rZXkifQ.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()))
    }

    fn creds(jwt: &str, seed: &str) -> String {
        format!(
            "-----BEGIN NATS USER JWT-----\r\n{jwt}\r\n------END NATS USER JWT------\r\n\r\n*** IMPORTANT ***\r\n\
             -----BEGIN USER NKEY SEED-----\r\n{seed}\r\n------END USER NKEY SEED------\r\n"
        )
    }

    #[test]
    fn a_credentials_file_gives_its_jwt_and_key() {
        let user = KeyPair::new_user();
        let token = jwt(&format!(r#"{{"sub":"{}","exp":1700000000}}"#, user.public_key()));
        let parsed = parse_creds(&creds(&token, &user.seed().unwrap())).ok().unwrap();
        assert_eq!((parsed.jwt.as_str(), parsed.key.public_key()), (token.as_str(), user.public_key()));
        assert_eq!(Claims::of(&token).unwrap().expires_at(), Some(1_700_000_000));
        assert_eq!(Claims::of(&jwt("{}")).unwrap().expires_at(), None);
    }

    #[test]
    fn every_fault_of_a_credentials_file_is_named() {
        let user = KeyPair::new_user();
        let seed = user.seed().unwrap();
        let good = jwt(&format!(r#"{{"sub":"{}"}}"#, user.public_key()));
        let account = KeyPair::new_account().seed().unwrap();
        for (text, fault) in [
            (String::new(), "no `BEGIN NATS USER JWT`"),
            (seed.clone(), "no `BEGIN NATS USER JWT`"),
            (format!("-----BEGIN NATS USER JWT-----\n{good}\n"), "no `BEGIN USER NKEY SEED`"),
            (creds("", &seed), "no `BEGIN NATS USER JWT`"),
            (creds("not-a-jwt", &seed), "cannot be decoded"),
            (creds(&good, "SUAdamaged"), "damaged"),
            (creds(&good, &account), "not a user's"),
            (creds(&jwt(r#"{"sub":"UOTHER"}"#), &seed), "does not belong"),
        ] {
            let reason = parse_creds(&text).err().unwrap();
            assert!(reason.contains(fault), "{reason}");
        }
    }

    #[test]
    fn an_nkey_file_may_be_bare_commented_or_decorated() {
        let user = KeyPair::new_user();
        let seed = user.seed().unwrap();
        for text in [
            seed.clone(),
            format!("# system user\n  {seed}  \n"),
            format!("-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"),
        ] {
            assert_eq!(parse_nkey(&text).unwrap().public_key(), user.public_key());
        }
        assert!(parse_nkey("nothing here").unwrap_err().contains("no line"));
        assert!(parse_nkey(&KeyPair::new_account().seed().unwrap()).unwrap_err().contains("not a user's"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_and_its_content_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.creds");
        let error = read_creds(&missing).err().unwrap().to_string();
        assert!(
            error.contains("missing.creds") && error.contains("cannot read the credentials file"),
            "{error}"
        );

        let binary = directory.path().join("binary.creds");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        assert!(read_creds(&binary).err().unwrap().to_string().ends_with("it is not text"));

        let secret = directory.path().join("secret.nk");
        std::fs::write(&secret, "SUAHUSHHUSH").unwrap();
        let error = read_nkey(&secret).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("HUSH"), "{error}");

        let endless = read_creds(Path::new("/dev/zero")).err().unwrap().to_string();
        assert!(endless.contains("larger than"), "{endless}");
    }
}
