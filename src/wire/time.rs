//! Times as servers write them.

use ::time::{Date, Month, OffsetDateTime, Time, UtcOffset, format_description::well_known::Rfc3339};
use std::time::Duration;

/// An RFC 3339 time with up to nine fractional digits; none for Go's zero time and for anything else.
pub fn timestamp(text: &str) -> Option<OffsetDateTime> {
    in_utc(text.as_bytes())
        .or_else(|| OffsetDateTime::parse(text, &Rfc3339).ok())
        .filter(|time| time.year() > 1)
}

/// The form in which every server writes them, `2026-11-20T10:00:00.123456789Z`. A sweep reads one of each connection, and
/// the general parser takes as long for it as the rest of the fold.
fn in_utc(text: &[u8]) -> Option<OffsetDateTime> {
    let (seconds, fraction) = text.strip_suffix(b"Z")?.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| seconds[*at] != *byte) {
        return None;
    }
    let year = digits(&seconds[0..4])?;
    let month = Month::try_from(u8::try_from(digits(&seconds[5..7])?).ok()?).ok()?;
    let day = u8::try_from(digits(&seconds[8..10])?).ok()?;
    let of_day = [11, 14, 17].map(|at| digits(&seconds[at..at + 2]).and_then(|n| u8::try_from(n).ok()));
    let nanoseconds = match fraction {
        [] => 0,
        [b'.', fraction @ ..] if (1..=9).contains(&fraction.len()) => {
            digits(fraction)? * 10u32.pow(9 - fraction.len() as u32)
        }
        _ => return None,
    };
    let date = Date::from_calendar_date(i32::try_from(year).ok()?, month, day).ok()?;
    let time = Time::from_hms_nano(of_day[0]?, of_day[1]?, of_day[2]?, nanoseconds).ok()?;
    Some(OffsetDateTime::new_in_offset(date, time, UtcOffset::UTC))
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// A duration as Go writes it (`162.06ms`, `219µs`, `1m2.5s`); none of anything else. `0s` is what a server writes before
/// it has measured a round trip.
pub fn duration(text: &str) -> Option<Duration> {
    // Go writes the micro sign; humantime reads fractions only of the last part.
    let text = text.replace(['µ', 'μ'], "u");
    humantime::parse_duration(&text).ok()
}

/// A round trip of a millisecond or more, as Go writes it; none of shorter ones, which nearly all are: a sweep looks at one
/// of each connection.
pub fn milliseconds_or_more(text: &str) -> Option<Duration> {
    match text.as_bytes() {
        [digits @ .., b'm', b's'] => {
            let (whole, fraction) = match digits.iter().position(|byte| *byte == b'.') {
                Some(at) => (&digits[..at], &digits[at + 1..]),
                None => (digits, &digits[..0]),
            };
            if whole.is_empty() || whole.len() > 9 {
                return None;
            }
            // To the microsecond.
            let micros = (0..3).try_fold(0, |micros, at| match fraction.get(at) {
                Some(byte) if byte.is_ascii_digit() => Some(micros * 10 + u64::from(byte - b'0')),
                Some(_) => None,
                None => Some(micros * 10),
            })?;
            Some(Duration::from_micros(u64::from(self::digits(whole)?) * 1000 + micros))
        }
        [b'0', b's'] => None,
        [.., b'0'..=b'9', b's'] => duration(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_times() {
        assert!(timestamp("2026-11-20T10:00:00.123456789Z").is_some());
        assert!(timestamp("2026-11-20T10:00:00+02:00").is_some());
        assert_eq!(timestamp("0001-01-01T00:00:00Z"), None);
        assert_eq!(timestamp("yesterday"), None);
    }

    #[test]
    fn go_durations() {
        for (text, micros) in [
            ("162.06ms", 162_060),
            ("219µs", 219),
            ("1m2.5s", 62_500_000),
            ("0s", 0),
            ("1.5µs", 1),
            ("2h0m1s", 7_201_000_000),
            ("950ns", 0),
        ] {
            assert_eq!(duration(text).map(|d| d.as_micros()), Some(micros), "{text}");
        }
        for bad in ["", "fast", "-1s", "1", "ms"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn round_trips_of_a_millisecond_or_more() {
        for text in ["162.06ms", "1ms", "100.000001ms", "999.999999ms", "1.5s", "1m2.5s", "2h0m1s", "10s"] {
            let micros = |d: Duration| d.as_micros();
            assert_eq!(milliseconds_or_more(text).map(micros), duration(text).map(micros), "{text}");
            assert!(milliseconds_or_more(text).is_some());
        }
        for none in ["", "s", "ms", "0s", "219µs", "950ns", "1.5µs", "-1ms", "x.ms", "1.xms", "-1s", ".5ms"]
        {
            assert_eq!(milliseconds_or_more(none), None, "{none}");
        }
        for long in ["99999999999999999999ms", "4294967296ms"] {
            assert_eq!(milliseconds_or_more(long), None, "{long}");
        }
    }

    fn both(text: &str) -> (Option<OffsetDateTime>, Option<OffsetDateTime>) {
        (in_utc(text.as_bytes()), OffsetDateTime::parse(text, &Rfc3339).ok())
    }

    proptest! {
        #[test]
        fn both_ways_agree_on_any_time(second in -62_135_596_800i64..253_402_300_800, nanos in 0u32..1_000_000_000, digits in 0usize..10) {
            let time = OffsetDateTime::from_unix_timestamp(second).unwrap();
            let (date, of_day) = (time.date(), time.time());
            let fraction = match digits {
                0 => String::new(),
                n => format!(".{}", &format!("{nanos:09}")[..n]),
            };
            let text = format!("{date}T{:02}:{:02}:{:02}{fraction}Z", of_day.hour(), of_day.minute(), of_day.second());
            let (fast, general) = both(&text);
            prop_assert!(fast.is_some(), "{}", text);
            prop_assert_eq!(fast, general, "{}", text);
        }

        #[test]
        fn what_the_fast_way_takes_is_what_the_general_one_takes(
            text in "[0-9]{4}[-:][01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,10})?Z?", at in 0usize..30, byte in "[\\PC0-9]",
        ) {
            let mut bent = text.clone();
            if at < bent.len() {
                bent.replace_range(at..=at, &byte);
            }
            for text in [text, bent] {
                let (fast, general) = both(&text);
                prop_assert!(fast.is_none() || fast == general, "{text}: {fast:?} {general:?}");
            }
        }
    }
}
