//! The built `insights-agent` binary as a process.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use super::busy_host;

/// Arguments for the agent, put together with [`AgentArgs::chain`].
#[derive(Clone, Default)]
pub struct AgentArgs {
    arguments: Vec<String>,
    /// Where a configuration can be written for an agent that looks and is given none.
    usual: Option<PathBuf>,
}

impl AgentArgs {
    /// Adds arguments.
    pub fn chain<S: AsRef<str>>(mut self, more: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(more.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Without a `--config`, an agent that looks has [`busy_host`], in this file.
    pub fn usual(self, file: PathBuf) -> Self {
        Self { usual: Some(file), ..self }
    }

    /// The arguments as a command takes them.
    pub fn into_arguments(self) -> Vec<String> {
        let has = |wanted: &[&str]| self.arguments.iter().any(|argument| wanted.contains(&argument.as_str()));
        let usual = self.usual.filter(|_| has(&["run", "check"]) && !has(&["--config"]));
        let mut arguments = self.arguments;
        if let Some(file) = usual {
            std::fs::write(&file, busy_host("")).expect("a file for the usual configuration");
            arguments.extend(["--config".to_owned(), file.to_string_lossy().into_owned()]);
        }
        arguments
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for AgentArgs {
    fn from(args: [S; N]) -> Self {
        Self::default().chain(args)
    }
}

/// How a finished agent ended.
#[derive(Debug)]
pub struct Output {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running agent. Dropping it kills it.
pub struct Agent {
    child: Child,
    dir: tempfile::TempDir,
}

impl Agent {
    /// Starts the agent with these arguments and none of the environment's NATS settings.
    pub fn start(args: impl Into<AgentArgs>) -> Self {
        Self::start_with_env(args, &[])
    }

    /// Like [`Agent::start`], with environment variables.
    pub fn start_with_env(args: impl Into<AgentArgs>, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the output");
        let file = |name: &str| File::create(dir.path().join(name)).expect("an output file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_insights-agent"));
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            // The server binary's place is for the program's own `demo`; the rest would steer the connection.
            if (text.starts_with("NATS_") && text != "NATS_SERVER") || text.starts_with("INSIGHTS_") {
                command.env_remove(name);
            }
        }
        let child = command
            .args(args.into().into_arguments())
            .envs(env.iter().copied())
            // Contexts of the `nats` CLI and configuration files of whoever runs the tests are none of ours.
            .env("XDG_CONFIG_HOME", dir.path())
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the agent starts");
        Self { child, dir }
    }

    /// Runs the agent to its end and gives what it said; panics if it takes longer than `at_most`.
    pub async fn run(args: impl Into<AgentArgs>, at_most: Duration) -> Output {
        Self::start(args).finish(at_most).await
    }

    /// Waits for the end and gives what the agent said; panics if it takes longer than `at_most`.
    pub async fn finish(mut self, at_most: Duration) -> Output {
        let status = self.wait(at_most).await;
        Output { code: status.code(), stdout: self.stdout(), stderr: self.stderr() }
    }

    /// Waits for the end; panics if it takes longer than `at_most`.
    pub async fn wait(&mut self, at_most: Duration) -> ExitStatus {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.child.try_wait().expect("the agent is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the agent still runs after {at_most:?}\n{}", self.stderr());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the agent is our child").is_none()
    }

    /// Sends SIGINT (Ctrl-C).
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP: it reads its configuration again.
    pub fn hangup(&self) {
        self.signal(Signal::HUP);
    }

    /// Freezes it (SIGSTOP).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`Agent::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.child.kill().expect("the agent can be killed");
        self.child.wait().expect("the agent is our child");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.id().try_into().expect("a process id")).expect("a process id");
        kill_process(pid, signal).expect("the agent takes signals");
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All of its standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// All of its standard error so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.output_file(name)).expect("the output file");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The file that takes `stdout` or `stderr`.
    pub fn output_file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the agent's standard error ---\n{}", self.stderr());
        }
    }
}
