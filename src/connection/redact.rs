//! Server URLs as they may be shown.

use super::REDACTED;

/// A server URL without the user, password or token in it; texts that are no URL keep as little as is safe.
pub fn redact_url(url: &str) -> String {
    let url = url.trim();
    let (scheme, rest) = url.find("://").map_or(("", url), |at| url.split_at(at + 3));
    // A password may hold any byte when it is not percent-encoded, so the last `@` ends it.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{REDACTED}@{}", host_and_port(host)),
        None => format!("{scheme}{}", host_and_port(rest)),
    }
}

/// What stands for the port must look like one: a password cut off at its comma would stand there too.
fn host_and_port(text: &str) -> String {
    let (authority, path) = text.find(['/', '?', '#']).map_or((text, ""), |at| text.split_at(at));
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{host}:{REDACTED}")
        }
        _ => format!("{authority}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_information_disappears_and_the_host_stays() {
        for (url, shown) in [
            ("nats://h:4222", "nats://h:4222"),
            ("h:4222", "h:4222"),
            ("h", "h"),
            ("tls://user:pass@h:4222", "tls://[redacted]@h:4222"),
            ("nats://token@h", "nats://[redacted]@h"),
            ("user:p@ss@h:1", "[redacted]@h:1"),
            ("user:p/ss@h:1", "[redacted]@h:1"),
            ("nats://[::1]:4222", "nats://[::1]:4222"),
            ("nats://[::1]", "nats://[::1]"),
            ("nats://user:pa", "nats://user:[redacted]"),
            ("wss://h:443/path", "wss://h:443/path"),
            ("", ""),
        ] {
            assert_eq!(redact_url(url), shown, "{url}");
        }
    }
}
