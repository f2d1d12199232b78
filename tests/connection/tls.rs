//! TLS, with certificates made in the test.

use insights_agent::connection::ConnectionOptions;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

/// A directory with ca.pem, server.pem, server.key, client.pem and client.key.
fn certificates() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| std::fs::write(directory.path().join(name), text).unwrap();
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    put("ca.pem", issuer.pem());
    for name in ["server", "client"] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        put(&format!("{name}.pem"), certificate.signed_by(&key, &issuer).unwrap().pem());
        put(&format!("{name}.key"), key.serialize_pem());
    }
    directory
}

fn start(extra: &str) -> Server {
    let directory = certificates();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let configuration = format!(
        "{ACCOUNTS}\ntls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\"\n{extra}\n}}\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    Server::start_in(directory, &configuration)
}

fn trusting(server: &Server) -> ConnectionOptions {
    ConnectionOptions {
        tls_ca: Some(server.directory.path().join("ca.pem")),
        ..user(&server.url(), "sys", "s3cret/pw")
    }
}

fn with_certificate(server: &Server) -> ConnectionOptions {
    ConnectionOptions {
        tls_cert: Some(server.directory.path().join("client.pem")),
        tls_key: Some(server.directory.path().join("client.key")),
        ..trusting(server)
    }
}

#[tokio::test]
async fn certificate_authority_and_client_certificate() {
    let server = start("verify: true");
    assert_eq!(tested(&with_certificate(&server)).await.unwrap().account, "SYS");

    let error = refused(&trusting(&server)).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("tlscert"), "{error}");

    let untrusted = ConnectionOptions { tls_ca: Some(write_other_ca(&server)), ..with_certificate(&server) };
    let error = refused(&untrusted).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn tls_before_the_greeting() {
    let server = start("verify: true\nhandshake_first: true");
    let first = ConnectionOptions { tls_first: true, ..with_certificate(&server) };
    assert_eq!(tested(&first).await.unwrap().account, "SYS");

    let late = ConnectionOptions { timeout: Some(Duration::from_millis(500)), ..with_certificate(&server) };
    let error = refused(&late).await.to_string();
    assert!(error.contains("did not answer within 500ms") && error.contains("tlsfirst"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let server = Server::start_in(certificates(), ACCOUNTS);
    for options in [trusting(&server), ConnectionOptions { tls_first: true, ..trusting(&server) }] {
        let error = refused(&options).await;
        assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    }
}

fn write_other_ca(server: &Server) -> PathBuf {
    let other = certificates();
    write(server, "other.pem", &std::fs::read_to_string(other.path().join("ca.pem")).unwrap())
}
