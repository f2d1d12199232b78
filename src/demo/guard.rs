//! A lifeline: a small process that ends our servers when we cannot do it ourselves.
//!
//! Its standard input is a pipe that only we hold. However we die, the system closes the pipe; the guard then
//! kills what it was told about and removes the directory. It needs no signal handler of ours to run.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

/// The hidden command that runs [`guard_main`].
pub const COMMAND: &str = "demo-guard";

/// A directory is removed only if its name starts like this.
pub const DIR_PREFIX: &str = "insights-demo-";

/// Our end of the lifeline. Dropping it makes the guard clean up, and waits until it did.
#[derive(Debug)]
pub struct Guard {
    child: Child,
    lifeline: Option<ChildStdin>,
}

impl Guard {
    /// Starts `program demo-guard`. `program` is normally `std::env::current_exe()`.
    pub fn spawn(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C at the terminal goes to our group; the guard must outlive us.
            .process_group(0)
            .spawn()?;
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline })
    }

    /// Remove `dir` in the end, and kill the servers whose configuration lies in it.
    pub fn own_dir(&mut self, dir: &Path) -> io::Result<()> {
        self.say("dir", dir.as_os_str())
    }

    /// Kill the process group `pid` in the end.
    pub fn watch(&mut self, pid: u32) -> io::Result<()> {
        self.say("pid", OsStr::new(&pid.to_string()))
    }

    /// `pid` has ended and its number may soon belong to another: leave it alone.
    pub fn forget(&mut self, pid: u32) -> io::Result<()> {
        self.say("forget", OsStr::new(&pid.to_string()))
    }

    /// How the guard ended, if it did. Without it nothing protects from orphans: stop.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The guard's process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn say(&mut self, verb: &str, what: &OsStr) -> io::Result<()> {
        let Some(lifeline) = &mut self.lifeline else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let mut line = verb.as_bytes().to_vec();
        line.push(b' ');
        line.extend_from_slice(what.as_bytes());
        line.push(b'\n');
        lifeline.write_all(&line)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.child.wait();
    }
}

/// What the guard does: listen until the other end is gone, then clean up.
///
/// Understands one instruction a line: `pid N`, `forget N`, `dir PATH`; ignores anything else.
pub fn guard_main(input: impl BufRead) {
    let mut pids: Vec<i32> = Vec::new();
    let mut dirs: Vec<PathBuf> = Vec::new();
    for line in input.split(b'\n') {
        let Ok(line) = line else { break };
        if let Some(pid) = line.strip_prefix(b"pid ").and_then(parse_pid) {
            pids.push(pid);
        } else if let Some(pid) = line.strip_prefix(b"forget ").and_then(parse_pid) {
            pids.retain(|known| *known != pid);
        } else if let Some(path) = line.strip_prefix(b"dir ") {
            dirs.push(PathBuf::from(OsString::from_vec(path.to_vec())));
        }
    }
    for pid in pids {
        kill_group(pid);
    }
    for dir in dirs.iter().filter(|dir| is_ours(dir)) {
        // The parent may have died between starting a server and telling us.
        for pid in servers_configured_in(dir) {
            kill_group(pid);
        }
        let _ = std::fs::remove_dir_all(dir);
    }
}

fn parse_pid(text: &[u8]) -> Option<i32> {
    // 0 would be our own group and 1 is init: neither is ever a server of ours.
    std::str::from_utf8(text).ok()?.trim().parse().ok().filter(|pid| *pid > 1)
}

fn is_ours(dir: &Path) -> bool {
    dir.is_absolute()
        && dir.file_name().is_some_and(|name| name.as_bytes().starts_with(DIR_PREFIX.as_bytes()))
}

fn kill_group(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// Processes that were started with `--config <dir>/…`. Empty where the system has no `/proc`.
fn servers_configured_in(dir: &Path) -> Vec<i32> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| {
            let pid = parse_pid(entry.file_name().as_bytes())?;
            let command_line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let mut arguments = command_line.split(|byte| *byte == 0).skip(1);
            arguments.find(|argument| *argument == b"--config")?;
            let config = Path::new(OsStr::from_bytes(arguments.next()?));
            config.starts_with(dir).then_some(pid)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_with_our_prefix_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let ours = base.path().join(format!("{DIR_PREFIX}x"));
        let foreign = base.path().join("precious");
        std::fs::create_dir(&ours).unwrap();
        std::fs::create_dir(&foreign).unwrap();
        let script = format!("dir {}\ndir {}\nnonsense\n", ours.display(), foreign.display());
        guard_main(script.as_bytes());
        assert!(!ours.exists());
        assert!(foreign.exists());
    }

    #[test]
    fn watched_processes_are_killed_and_forgotten_ones_are_not() {
        let sleeper = || Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let (mut watched, mut forgotten) = (sleeper(), sleeper());
        let (a, b) = (watched.id(), forgotten.id());
        guard_main(format!("pid {a}\npid {b}\nforget {b}\npid 0\npid 1\npid -1\n").as_bytes());
        assert!(!watched.wait().unwrap().success());
        assert!(forgotten.try_wait().unwrap().is_none());
        forgotten.kill().unwrap();
        forgotten.wait().unwrap();
    }
}
