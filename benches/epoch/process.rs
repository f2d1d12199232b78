//! The kernel's counts of a process.

use std::time::Duration;

/// Ticks of a second in /proc: fixed at 100 for user space on every Linux port (`USER_HZ`, proc_pid_stat(5)).
const TICKS: u64 = 100;

/// CPU time of a process with all its threads, in steps of 10 ms; also that of one that has ended and was not
/// waited for.
pub(crate) fn cpu(pid: u32) -> Duration {
    let (_, fields) = stat(pid).expect("the process is there");
    // utime and stime are fields 14 and 15; the first one here is field 3.
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS)
}

/// Whether it has ended, waited for or not.
pub(crate) fn has_ended(pid: u32) -> bool {
    stat(pid).is_none_or(|(state, _)| state == "Z")
}

/// State, and the fields from it on. The name before them may hold anything.
fn stat(pid: u32) -> Option<(String, Vec<String>)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind_name) = text.rsplit_once(") ")?;
    let fields: Vec<String> = behind_name.split_whitespace().map(str::to_owned).collect();
    Some((fields[0].clone(), fields))
}

/// Resident memory at its peak and now, in MiB; none once it has ended.
pub(crate) fn memory(pid: u32) -> Option<(f64, f64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let of = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024.0)
    };
    Some((of("VmHWM:")?, of("VmRSS:")?))
}
