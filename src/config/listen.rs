//! The address of `/metrics`, `/livez` and `/readyz`.

use super::value::shown;
use std::net::SocketAddr;

/// Reads an address with its port. Names of hosts are none: they may stand for several, or for none yet.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!(
            "{} is not an address with a port; write it like \"127.0.0.1:7778\", \"0.0.0.0:7778\" or \"[::]:7778\"",
            shown(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(listen("127.0.0.1:7778"), Ok(SocketAddr::from(([127, 0, 0, 1], 7778))));
        assert!(listen("[::1]:0").is_ok());
        for bad in ["", "7778", ":7778", "127.0.0.1", "localhost:7778", "127.0.0.1:70000", "::1:80:"] {
            assert!(listen(bad).is_err_and(|error| error.contains("is not an address with a port")), "{bad}");
        }
    }
}
