//! One `nats-server` process: found, started, watched, signalled, stopped.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// The environment variable that names the server binary to use.
pub const BINARY_ENV: &str = "NATS_SERVER";

const LOG_LINES_IN_ERRORS: usize = 12;
const POLL: Duration = Duration::from_millis(20);

/// Why there is no running server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No binary was found.
    #[error(
        "no nats-server found: {0}. Let scripts/nats-server of this repository bring one \
         (`export NATS_SERVER=$(scripts/nats-server)`), or install it as https://docs.nats.io says \
         and have it in PATH"
    )]
    NotFound(String),
    /// The process could not be started, or its files not be written.
    #[error("cannot start {what}: {source}")]
    Start {
        /// The binary or file in question.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The process ended before it accepted connections.
    #[error("nats-server {name} ended at once ({status}); the end of its log:\n{log}")]
    Ended {
        /// The server's name.
        name: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The process runs but does not accept connections.
    #[error("nats-server {name} did not accept connections within {waited:?}; the end of its log:\n{log}")]
    NotReady {
        /// The server's name.
        name: String,
        /// How long was waited.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
}

/// Finds a server binary: `explicit`, else the one that `NATS_SERVER` names, else the first in `PATH`.
pub fn find_binary(explicit: Option<&Path>) -> Result<PathBuf, ServerError> {
    let named = explicit.map(|path| (path.to_owned(), "the given path"));
    let named = named.or_else(|| std::env::var_os(BINARY_ENV).map(|path| (path.into(), BINARY_ENV)));
    if let Some((path, origin)) = named {
        return match path.is_file() {
            // Servers are started from other directories, where a relative path would mean something else.
            true => std::path::absolute(&path)
                .map_err(|source| ServerError::Start { what: path.display().to_string(), source }),
            false => Err(ServerError::NotFound(format!("{origin} {} is not a file", path.display()))),
        };
    }
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join("nats-server"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| ServerError::NotFound(format!("{BINARY_ENV} is not set and PATH has none")))
}

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Server {
    name: String,
    child: Child,
    run_dir: PathBuf,
    log: PathBuf,
}

impl Server {
    /// Starts `binary` with the configuration file `config` (see [`crate::demo::topology`]) in the directory
    /// `run_dir`; logs to `<run_dir>/<name>.log`.
    ///
    /// Returns at once; [`Server::wait_ready`] waits until the server accepts connections.
    pub fn spawn(binary: &Path, name: &str, config: &Path, run_dir: &Path) -> Result<Self, ServerError> {
        Self::spawn_with(binary, name, config, run_dir, &[])
    }

    /// Like [`Server::spawn`], with more arguments; they win over the configuration file.
    pub fn spawn_with(
        binary: &Path,
        name: &str,
        config: &Path,
        run_dir: &Path,
        args: &[String],
    ) -> Result<Self, ServerError> {
        let failed = |what: &Path| {
            let what = what.display().to_string();
            move |source| ServerError::Start { what, source }
        };
        let log = run_dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log).map_err(failed(&log))?;
        let errors = output.try_clone().map_err(failed(&log))?;
        let child = Command::new(binary)
            .arg("--config")
            .arg(config)
            .arg("--ports_file_dir")
            .arg(run_dir)
            .args(args)
            .current_dir(run_dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Its own group: Ctrl-C is for us, and we stop the servers in order.
            .process_group(0)
            .spawn()
            .map_err(failed(binary))?;
        Ok(Self { name: name.to_owned(), child, run_dir: run_dir.to_owned(), log })
    }

    /// Waits until the server accepts client connections and gives the port it listens on.
    pub async fn wait_ready(&mut self, at_most: Duration) -> Result<u16, ServerError> {
        let start = Instant::now();
        loop {
            if let Some(port) = self.client_port() {
                return Ok(port);
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(ServerError::Ended { name: self.name.clone(), status, log: self.log_end() });
            }
            if start.elapsed() >= at_most {
                return Err(ServerError::NotReady {
                    name: self.name.clone(),
                    waited: at_most,
                    log: self.log_end(),
                });
            }
            sleep(POLL).await;
        }
    }

    /// The port for clients, from the file that the server writes when it is ready.
    fn client_port(&self) -> Option<u16> {
        let ending = format!("_{}.ports", self.child.id());
        let entry = fs::read_dir(&self.run_dir)
            .ok()?
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().ends_with(&ending))?;
        // A file that is just being written does not parse; the next poll finds it whole.
        let ports: serde_json::Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
        ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
    }

    /// The server's name in its configuration.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, which is also the id of its process group.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, if it did.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Orderly stop: SIGTERM, and SIGKILL if that takes longer than `at_most`.
    pub async fn stop(&mut self, at_most: Duration) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + at_most;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            sleep(POLL).await;
        }
        self.kill()
    }

    /// SIGKILL: a crash, as the other servers see it.
    pub fn kill(&mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// SIGSTOP: the server keeps its connections but answers nothing.
    pub fn pause(&mut self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: ends [`Server::pause`].
    pub fn resume(&mut self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    /// SIGHUP: read the configuration file again.
    pub fn reload(&mut self) -> io::Result<()> {
        self.signal(Signal::HUP)
    }

    /// SIGUSR2: enter lame-duck mode.
    pub fn lame_duck(&mut self) -> io::Result<()> {
        self.signal(Signal::USR2)
    }

    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        // A process that was waited for has no number any more; another may have it.
        if let Some(status) = self.child.try_wait()? {
            return Err(io::Error::other(format!("nats-server {} has already ended ({status})", self.name)));
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process id is out of range"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// Where the server logs to.
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// The last lines of the log.
    pub fn log_end(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_IN_ERRORS)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
