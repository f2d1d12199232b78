//! The files TLS needs, checked before the first connection: the client library would name neither file nor fault.

use std::path::{Path, PathBuf};

use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::connection::ConnectionOptions;

/// A TLS option that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// The file cannot be read, or holds no such thing.
    #[error("cannot use {} as the {kind} (option {option}): {reason}", path.display())]
    Unusable {
        /// What the file should hold.
        kind: &'static str,
        /// The option that named it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A certificate without its key, or a key without its certificate.
    #[error("a client certificate and its key go together: {missing} is missing")]
    HalfPair {
        /// The option to add.
        missing: &'static str,
    },
}

/// Checks that the files exist and hold what they should.
pub(super) fn check_files(options: &ConnectionOptions) -> Result<(), TlsFileError> {
    match (&options.tls_cert, &options.tls_key) {
        (Some(_), None) => return Err(TlsFileError::HalfPair { missing: "tlskey" }),
        (None, Some(_)) => return Err(TlsFileError::HalfPair { missing: "tlscert" }),
        _ => {}
    }
    if let Some(path) = &options.tls_ca {
        certificates("certificate authority", "tlsca", path)?;
    }
    if let Some(path) = &options.tls_cert {
        certificates("client certificate", "tlscert", path)?;
    }
    if let Some(path) = &options.tls_key {
        let (kind, option) = ("private key", "tlskey");
        PrivateKeyDer::from_pem_slice(&read(kind, option, path)?)
            .map_err(|_| unusable(kind, option, path, "it holds no unencrypted PEM private key"))?;
    }
    Ok(())
}

fn certificates(kind: &'static str, option: &'static str, path: &Path) -> Result<(), TlsFileError> {
    let bytes = read(kind, option, path)?;
    let mut count = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        certificate.map_err(|_| unusable(kind, option, path, "its PEM is damaged"))?;
        count += 1;
    }
    if count == 0 {
        return Err(unusable(kind, option, path, "it holds no PEM certificate"));
    }
    Ok(())
}

fn read(kind: &'static str, option: &'static str, path: &Path) -> Result<Vec<u8>, TlsFileError> {
    std::fs::read(path).map_err(|error| unusable(kind, option, path, &error.to_string()))
}

fn unusable(kind: &'static str, option: &'static str, path: &Path, reason: &str) -> TlsFileError {
    TlsFileError::Unusable { kind, option, path: path.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_missing_or_something_else_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let options = ConnectionOptions { tls_ca: Some(path.clone()), ..Default::default() };
        let missing = check_files(&options).unwrap_err().to_string();
        assert!(missing.contains("ca.pem") && missing.contains("tlsca"), "{missing}");
        std::fs::write(&path, "hush").unwrap();
        let empty = check_files(&options).unwrap_err().to_string();
        assert!(empty.ends_with("it holds no PEM certificate"), "{empty}");
    }

    #[test]
    fn half_a_pair_is_refused() {
        let options = ConnectionOptions { tls_cert: Some("c.pem".into()), ..Default::default() };
        let error = check_files(&options).unwrap_err().to_string();
        assert_eq!(error, "a client certificate and its key go together: tlskey is missing");
    }
}
