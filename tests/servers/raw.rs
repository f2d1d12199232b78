//! Clients that are nothing but a socket: they can be many, and they need not read.

use crate::support::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A logged-in client of a server whose users have passwords. It reads nothing more after its login.
pub(crate) async fn client(cluster: &Cluster, server: usize, login: &str, name: &str) -> TcpStream {
    let (user, password) = cluster.password(login);
    let address = cluster.url(server).trim_start_matches("nats://").to_owned();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let connect = format!(
        "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"name\":\"{name}\",\"verbose\":false,\"pedantic\":false,\
         \"lang\":\"raw\",\"version\":\"1\",\"protocol\":1}}\r\nPING\r\n"
    );
    stream.write_all(connect.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("PONG\r\n") {
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await.unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&some[..read]);
        assert!(!String::from_utf8_lossy(&seen).contains("-ERR"), "{}", String::from_utf8_lossy(&seen));
    }
    stream
}
