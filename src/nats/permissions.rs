//! Subjects against permissions, as nats-server judges them.

pub use crate::snapshot::{covers, overlaps};
use serde::Deserialize;

/// What a user may do, as `$SYS.REQ.USER.INFO` says it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Permissions {
    /// Subjects it may publish to; absent for all.
    pub publish: Option<Rules>,
    /// Subjects it may subscribe to; absent for all.
    pub subscribe: Option<Rules>,
}

/// An allow list and a deny list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rules {
    /// What is allowed; absent or empty for everything that is not denied.
    pub allow: Option<Vec<String>>,
    /// What is denied, allowed or not.
    pub deny: Option<Vec<String>>,
}

impl Rules {
    /// Whether all of `needed` is allowed.
    ///
    /// A deny entry that takes only a part away counts too. For a subscription the server (2.10 to 2.15) then accepts it
    /// and silently leaves the denied messages out.
    fn allow(&self, needed: &str) -> bool {
        let entries = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        // An entry of a subscription's list may name a queue group behind a space: that allows no plain subscription.
        let (allow, deny) = (entries(&self.allow), entries(&self.deny));
        let plain = |entry: &&String| !entry.contains(' ');
        (allow.is_empty() || allow.iter().filter(plain).any(|entry| covers(entry, needed)))
            && !deny.iter().filter(plain).any(|entry| overlaps(entry, needed))
    }
}

impl Permissions {
    /// Whether the user may publish to all of `subject`.
    pub fn may_publish(&self, subject: &str) -> bool {
        self.publish.as_ref().is_none_or(|rules| rules.allow(subject))
    }

    /// Whether the user may subscribe to `subject` and receive all of it.
    pub fn may_subscribe(&self, subject: &str) -> bool {
        self.subscribe.as_ref().is_none_or(|rules| rules.allow(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_covers_what_lies_wholly_in_it() {
        for (pattern, needed) in [
            ("a.b", "a.b"),
            ("a.>", "a.*.b"),
            ("a.>", "a.>"),
            (">", "a"),
            (">", ">"),
            ("a.*.b", "a.*.b"),
            ("a.*.b", "a.x.b"),
            ("a.*.>", "a.*.b.c"),
            ("*.*", "a.*"),
        ] {
            assert!(covers(pattern, needed), "{pattern} covers {needed}");
        }
        for (pattern, needed) in [
            ("a.x.b", "a.*.b"),
            ("a.*", "a.>"),
            ("a.>", "a"),
            ("a.>", ">"),
            ("a.*", "a.b.c"),
            ("a.*.b", "a.*"),
            ("*", ">"),
            ("$SYS.REQ.SERVER.*.STATSZ", "$SYS.REQ.SERVER.PING"),
        ] {
            assert!(!covers(pattern, needed), "{pattern} does not cover {needed}");
        }
    }

    #[test]
    fn overlap_is_symmetric() {
        for (one, other, expected) in [
            ("a.*", "*.b", true),
            ("a.>", "a.*.c", true),
            ("a.>", "a", false),
            ("a.b", "a.c", false),
            ("a.*", "a.b.c", false),
            (">", "a.b", true),
        ] {
            assert_eq!(overlaps(one, other), expected, "{one} {other}");
            assert_eq!(overlaps(other, one), expected, "{other} {one}");
        }
    }

    #[test]
    fn lists_are_judged_as_the_server_does() {
        let parse = |json| serde_json::from_str::<Permissions>(json).unwrap();
        let none = parse("{}");
        assert!(none.may_publish("a") && none.may_subscribe(">"));

        let lists = parse(
            r#"{"publish":{"allow":["$SYS.REQ.SERVER.*.VARZ","$SYS.REQ.ACCOUNT.>"],"deny":["$SYS.REQ.ACCOUNT.*.INFO"]},
                "subscribe":{"deny":["x.y"]},"responses":{"max":1}}"#,
        );
        assert!(
            lists.may_publish("$SYS.REQ.SERVER.*.VARZ") && lists.may_publish("$SYS.REQ.SERVER.PING.VARZ")
        );
        assert!(!lists.may_publish("$SYS.REQ.SERVER.*.CONNZ"));
        assert!(lists.may_publish("$SYS.REQ.ACCOUNT.*.CONNZ"));
        assert!(!lists.may_publish("$SYS.REQ.ACCOUNT.A.INFO"));
        assert!(lists.may_subscribe("a.>") && !lists.may_subscribe("x.>"));

        let queue = parse(r#"{"subscribe":{"allow":["a q"]}}"#);
        assert!(!queue.may_subscribe("a"));
        let empty = parse(r#"{"publish":{"allow":[],"deny":null}}"#);
        assert!(empty.may_publish("a"));
    }
}
