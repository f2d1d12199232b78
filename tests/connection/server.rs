//! One nats-server process with a configuration of the test's own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) struct Server {
    process: Child,
    pub(crate) directory: TempDir,
    pub(crate) port: u16,
}

impl Server {
    /// Starts a server on a free port of the loopback interface.
    pub(crate) fn start(configuration: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), configuration)
    }

    /// The same, in a directory that already holds the files the configuration names.
    pub(crate) fn start_in(directory: TempDir, configuration: &str) -> Self {
        let path = directory.path().join("server.conf");
        // The ports file is written once the server listens, so reading it is the wait for that too.
        let head = format!("listen: \"127.0.0.1:-1\"\nports_file_dir: \"{}\"\n", directory.path().display());
        std::fs::write(&path, head + configuration).unwrap();
        let binary = binary();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let process = Command::new(&binary)
            .arg("-c")
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", binary.display()));
        let mut server = Self { process, directory, port: 0 };
        server.port = server.wait_for_port();
        server
    }

    fn wait_for_port(&mut self) -> u16 {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(port) = read_port(self.directory.path()) {
                return port;
            }
            let ended = self.process.try_wait().unwrap();
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap();
                panic!("nats-server does not listen; its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn read_port(directory: &Path) -> Option<u16> {
    let ports = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(ports).ok()?).ok()?;
    json["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
}

/// The binary under `NATS_SERVER`, else the one on the PATH. A test without a server fails; it is not skipped.
fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        return PathBuf::from(path);
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|directory| directory.join("nats-server"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("no nats-server found: run scripts/nats-server, or set NATS_SERVER to a binary")
        })
}
