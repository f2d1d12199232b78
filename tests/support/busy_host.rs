//! What a host that many servers share makes of a healthy system.

/// Round trips on the loopback take 0.2 ms, but a server that shares two processors with ten others has been seen to measure
/// 126 ms at a login, and shows it for an hour. That is true, and is not the health of the system under test.
const LINES: [(&str, &str); 4] = [
    ("CONN_001", "checks.CONN_001.rtt = '2s'\n"),
    ("LEAF_002", "checks.LEAF_002.rtt = '2s'\n"),
    ("SERVER_010", "checks.SERVER_010.rtt = '2s'\n"),
    ("SERVER_018", "checks.SERVER_018.rtt = '2s'\n"),
];

/// This configuration, in which nothing is made of long round trips unless it names the check.
pub fn busy_host(config: &str) -> String {
    let wanted = LINES.iter().filter(|(check, _)| !config.contains(check));
    wanted.map(|(_, line)| *line).chain([config]).collect()
}
