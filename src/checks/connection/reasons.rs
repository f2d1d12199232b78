//! Why connections end, by the words of servers (server source, 2.9 to 2.14; what provokes the words about the protocol
//! was measured with 2.10.26, 2.12.8 and 2.15.1).

use crate::snapshot::ORDINARY_ENDS;

/// What is known of a reason.
pub(super) struct Reason {
    /// What it means, as a sentence.
    pub(super) meaning: &'static str,
    /// What to do about it.
    pub(super) step: &'static str,
}

/// Whether an end is nothing to look at. Who opens a connection to see whether the port is open closes it without reading
/// what the server said, which the kernel turns into a reset: without a login a read or write error is no more than that.
pub(super) fn is_normal(reason: &str, logged_in: bool) -> bool {
    ORDINARY_ENDS.contains(&reason) || (!logged_in && matches!(reason, "Read Error" | "Write Error"))
}

/// What is known of a reason; words that are not known here have their own line.
pub(super) fn reason(words: &str) -> Reason {
    let (meaning, step) = match words {
        "Authentication Failure" => (
            "The client gave a user, password, token, key or certificate that the server does not accept, sent something \
             else than a login first, as an HTTP probe does, or its user was taken away by a reload.",
            "See who the named clients are by name and address, and give them valid credentials; of an address that nobody \
             knows, find out who tries to get in, or whose probe it is.",
        ),
        "Authentication Timeout" => (
            "The client did not log in within the time given (`authorization.timeout`, 2 s by default).",
            "See whether the clients or the server are overloaded, or a health probe keeps connections open without \
             logging in; raise `timeout` where many clients reconnect at once.",
        ),
        "Authentication Expired" => (
            "The user's JWT, or the credentials of its login, expired while it was connected.",
            "Issue new credentials before the old ones end, and let the client read them again on reconnect.",
        ),
        "Credentials Revoked" => (
            "The user, or the account's key that signed it, was revoked.",
            "Give the client new credentials if it is to stay.",
        ),
        "TLS Handshake Failure" => (
            "The TLS handshake failed: a certificate that one side does not trust, no common version, a client without TLS, \
             or a probe that only opens the port.",
            "See in the server's log what the handshake said: `EOF` or a reset is mostly a probe, which should ask \
             `/healthz` of the monitoring port instead, or be allowed for by `min_before_login`; else compare the \
             certificates and authorities of both sides.",
        ),
        "Read Error" => (
            "The connection broke while the server read from it: the client's process was killed, its host went away, or \
             something between them cut it.",
            "See whether the named clients crash (out of memory, restarts of their containers) or lose the connection by a \
             proxy or firewall between them and the server.",
        ),
        "Write Error" => (
            "The connection broke while the server wrote to it: the client was gone already, without a word.",
            "See whether the named clients crash, or lose the connection by a proxy or firewall between them and the server.",
        ),
        "Slow Consumer (Pending Bytes)" => (
            "More bytes waited for the client than the server keeps for one (`max_pending`): it reads too slowly.",
            "Make the client read faster: no slow work in the message callback, a queue group, or a pull consumer of \
             JetStream.",
        ),
        "Slow Consumer (Write Deadline)" => (
            "A write to the client took longer than `write_deadline`: it does not read at all, or the network is stuck.",
            "See whether the client's process hangs, and how the network to its address is.",
        ),
        "Stale Connection" => (
            "The client left pings unanswered: its host went away, its process hangs, or the network dropped the \
             connection silently.",
            "See what the named connections have in common: one address, one program, or a load balancer that drops idle \
             connections.",
        ),
        "Parse Error" => (
            "The client sent the protocol's word for an error, `-ERR`, as servers do when they complain.",
            "See in the server's log for `Client Error` what it complained of, and what kind of client does so: it may be \
             a relay that sends back what the server said.",
        ),
        "Protocol Violation" => (
            "What came was not the NATS protocol, or broke its rules.",
            "See in the server's log what came, and who the address belongs to: a client that writes from several threads \
             without a lock, an old library, or, where nobody has to log in, an HTTP probe or a scanner.",
        ),
        "Bad Client Protocol Version" => (
            "The client asked for a version of the protocol that the server does not know.",
            "Update the client's library or the server.",
        ),
        "Incorrect Port" => (
            "A server or client connected to a port of another kind, such as a client to the port for routes.",
            "Correct the port in the configuration of whoever connects.",
        ),
        "Maximum Connections Exceeded" => (
            "The server has as many connections as it accepts (`max_connections`).",
            "See SERVER_011: raise the maximum, close leaks, or spread clients over servers.",
        ),
        "Maximum Account Connections Exceeded" => (
            "The account has as many connections as it may have, over all servers.",
            "See ACCOUNTS_001: raise the limit, or close connections that leak.",
        ),
        "Maximum Message Payload Exceeded" => (
            "The client published a message that is larger than the account or the server allows (`max_payload`).",
            "Make the messages smaller, keep large ones in an object store, or raise `max_payload`.",
        ),
        "Maximum Control Line Exceeded" => (
            "A protocol line was longer than `max_control_line` (4 KB by default), mostly a very long subject or a CONNECT \
             with large credentials.",
            "Shorten the subjects, or raise `max_control_line`.",
        ),
        "Maximum Subscriptions Exceeded" => (
            "The connection has more subscriptions than it may have.",
            "See ACCOUNTS_006: use wildcards and one inbox, or raise the limit.",
        ),
        "Duplicate Client ID" => (
            "Another MQTT client connected with the same client id, and the server closed the older one.",
            "Give every MQTT device an id of its own: two with one id close each other for ever.",
        ),
        "Message Header Violation" | "No Responders Requires Headers" => (
            "The client used message headers without having said that it understands them.",
            "Update the client's library.",
        ),
        "Proxy Not Trusted" | "Proxy Required" => (
            "The connection did not come through a proxy that the server trusts, although the user requires one.",
            "Let the client connect through the proxy, and see whether the server trusts its key.",
        ),
        "Cluster Name Conflict"
        | "Cluster Names Identical"
        | "Duplicate Server Name"
        | "Duplicate Remote LeafNode Connection"
        | "Minimum Version Required"
        | "Missing Account"
        | "Wrong Gateway" => (
            "A leafnode was refused for its configuration: a name that is taken, an account that is not there, the same \
             link twice, or a version that is too old.",
            "Correct the configuration of the leafnode server; its log and that of the hub tell what is refused.",
        ),
        _ => (
            "The server closed it for a reason that this agent knows no more of.",
            "Look for the connection's id in the log of the server.",
        ),
    };
    Reason { meaning, step }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_whether_the_port_is_open_is_no_fault() {
        for (words, logged_in, normal) in [
            ("Client Closed", true, true),
            ("Client Closed", false, true),
            ("Server Shutdown", true, true),
            ("Kicked", true, true),
            ("Read Error", true, false),
            ("Read Error", false, true),
            ("Write Error", false, true),
            ("Authentication Failure", false, false),
            ("", true, false),
            ("Unknown State", false, false),
        ] {
            assert_eq!(is_normal(words, logged_in), normal, "{words} {logged_in}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_told_from_who_complains() {
        assert!(reason("Parse Error").meaning.contains("`-ERR`"));
        assert!(reason("Protocol Violation").meaning.starts_with("What came was not the NATS protocol"));
        for words in ["Protocol Violation", "Authentication Failure"] {
            let Reason { meaning, step } = reason(words);
            assert!(format!("{meaning} {step}").contains("HTTP probe"), "{words}");
        }
    }

    #[test]
    fn sentences_are_whole() {
        for words in ["Authentication Failure", "Stale Connection", "Wrong Gateway", "something new"] {
            let Reason { meaning, step } = reason(words);
            assert!(meaning.ends_with('.') && step.ends_with('.') && !meaning.contains("  "), "{words}");
        }
    }
}
