//! A process that keeps connections open: a process may have only so many descriptors, and the clients should cost this
//! machine as little as they can. Each connects like any client, and then is silent.

use crate::support::Cluster;
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

pub(crate) const COMMAND: &str = "hold";

/// Connections of one holder: below the common limit of 20,000 descriptors.
pub(crate) const MOST: usize = 19_000;

/// The first ping comes within seconds (measured, 2.15.1).
const FIRST_PINGS: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_secs(20);

/// Open connections; dropping it closes them.
pub(crate) struct Holder {
    child: Child,
}

impl Holder {
    /// Opens `count` connections to a server, by turns as these logins, and waits until all are open.
    pub(crate) fn open(cluster: &Cluster, server: usize, logins: &[String], count: usize) -> Self {
        assert!(count <= MOST, "a holder has at most {MOST} connections");
        let creds = logins.iter().map(|login| cluster.creds(login));
        let mut child = Command::new(std::env::current_exe().unwrap())
            .arg(COMMAND)
            .arg(cluster.url(server).trim_start_matches("nats://"))
            .arg(count.to_string())
            .args(creds)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "open", "the connections could not be opened");
        Self { child }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `hold ADDRESS COUNT CREDS…`: opens them, says so, and keeps them until its standard input is closed.
pub(crate) fn main(arguments: &[String]) {
    let [address, count, creds @ ..] = arguments else { panic!("hold ADDRESS COUNT CREDS…") };
    let logins: Vec<(String, KeyPair)> = creds.iter().map(|path| login(Path::new(path))).collect();
    let count: usize = count.parse().unwrap();
    let mut connections: Vec<TcpStream> =
        (0..count).map(|number| connect(address, &logins[number % logins.len()], number)).collect();
    connections.iter().for_each(|stream| stream.set_nonblocking(true).unwrap());
    // A server pings every client once, soon after its connect; until that is answered, each CONNZ pings it again.
    let deadline = Instant::now() + FIRST_PINGS;
    let mut answered = 0;
    while answered < count && Instant::now() < deadline {
        sleep(Duration::from_millis(500));
        answered += answer_pings(&mut connections);
    }
    println!("open");
    spawn(move || {
        loop {
            sleep(BETWEEN_LOOKS);
            answer_pings(&mut connections);
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Answers what came since the last look; how many pings that were.
fn answer_pings(connections: &mut [TcpStream]) -> usize {
    let mut buffer = [0; 4096];
    let mut answered = 0;
    for stream in connections {
        if let Ok(read) = stream.read(&mut buffer)
            && buffer[..read].windows(4).any(|window| window == b"PING")
        {
            stream.write_all(b"PONG\r\n").unwrap();
            answered += 1;
        }
    }
    answered
}

/// JWT and key of a credentials file.
fn login(path: &Path) -> (String, KeyPair) {
    let text = std::fs::read_to_string(path).unwrap();
    let mut blocks = text.lines().filter(|line| line.len() > 50 && !line.starts_with(['-', '*']));
    let (jwt, seed) = (blocks.next().unwrap().to_owned(), blocks.next().unwrap());
    (jwt, KeyPair::from_seed(seed).unwrap())
}

fn connect(address: &str, (jwt, key): &(String, KeyPair), number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let info = line(&mut stream);
    let info: serde_json::Value = serde_json::from_str(info.trim_start_matches("INFO ")).unwrap();
    let signature = key.sign(info["nonce"].as_str().unwrap().as_bytes()).unwrap();
    let options = json!({
        "verbose": false, "pedantic": false, "jwt": jwt, "sig": BASE64URL_NOPAD.encode(&signature),
        "name": format!("worker-{}", number % 50), "lang": "go", "version": "1.47.0", "protocol": 1,
    });
    // One message each: a client that never says anything is a finding.
    write!(stream, "CONNECT {options}\r\nSUB work.{number} 1\r\nPUB seen 2\r\nok\r\nPING\r\n").unwrap();
    loop {
        let answer = line(&mut stream);
        match answer.trim() {
            "PONG" => return stream,
            "PING" => stream.write_all(b"PONG\r\n").unwrap(),
            other => assert!(other.starts_with("INFO"), "connection {number}: {other}"),
        }
    }
}

/// One line, read byte by byte: nothing behind it may be swallowed.
fn line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}
