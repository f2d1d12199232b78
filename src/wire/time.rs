//! Times as servers write them.

use ::time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// An RFC 3339 time with up to nine fractional digits; none for Go's zero time and for anything else.
pub fn timestamp(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().filter(|time| time.year() > 1)
}

#[cfg(test)]
mod tests {
    use super::timestamp;

    #[test]
    fn go_times() {
        assert!(timestamp("2026-11-20T10:00:00.123456789Z").is_some());
        assert!(timestamp("2026-11-20T10:00:00+02:00").is_some());
        assert_eq!(timestamp("0001-01-01T00:00:00Z"), None);
        assert_eq!(timestamp("yesterday"), None);
    }
}
