//! Clients that do not behave: bare sockets that speak as much of the protocol as they have to.

use super::Cluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A bare connection to a server.
pub struct Raw(TcpStream);

impl Raw {
    /// Opens a connection and says nothing. Its receive buffer is as small as the system allows.
    pub async fn open(cluster: &Cluster, server: usize) -> Self {
        let address =
            cluster.url(server).strip_prefix("nats://").expect("a URL").parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        Self(socket.connect(address).await.expect("the server listens"))
    }

    /// Logs in with the password of a login of the configuration file, and waits until the server has taken it.
    pub async fn login(cluster: &Cluster, server: usize, login: &str, name: &str) -> Self {
        let (user, password) = cluster.password(login);
        let mut raw = Self::open(cluster, server).await;
        raw.connect(&user, &password, name).await;
        raw.read_until("PONG").await;
        raw
    }

    /// Sends CONNECT and a PING.
    pub async fn connect(&mut self, user: &str, password: &str, name: &str) {
        let options = format!(
            r#"{{"verbose":false,"pedantic":false,"user":"{user}","pass":"{password}","name":"{name}","lang":"raw","version":"0"}}"#
        );
        self.send(&format!("CONNECT {options}\r\nPING\r\n")).await;
    }

    /// Subscribes, and waits until the server has taken it.
    pub async fn subscribe(&mut self, subject: &str) {
        self.send(&format!("SUB {subject} 1\r\nPING\r\n")).await;
        self.read_until("PONG").await;
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("the server reads");
    }

    /// Reads until this text has come. From then on nothing is read, and no PING is answered.
    pub async fn read_until(&mut self, text: &str) {
        let mut seen = String::new();
        let mut buffer = [0; 1024];
        while !seen.contains(text) {
            let read = self.0.read(&mut buffer).await.expect("the connection stays");
            assert!(read > 0, "the server closed the connection after {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
    }

    /// Closes the connection with a reset, as the kernel of a client does that was killed with unread data.
    pub fn reset(self) {
        self.0.set_zero_linger().expect("a socket");
    }
}

/// Publishes so much to a subject that nobody who does not read it can keep up: 24 MB.
pub async fn flood(client: &async_nats::Client, subject: &str) {
    let payload: bytes::Bytes = vec![b'x'; 64 * 1024].into();
    for _ in 0..384 {
        client.publish(subject.to_owned(), payload.clone()).await.expect("the client is connected");
    }
    client.flush().await.expect("the server reads");
}
