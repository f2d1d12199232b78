//! The `[maintenance]` table.

use super::tree::{Key, Node, Source, in_order, name};
use super::{ConfigError, value};
use std::time::Duration;

/// How long a server that left in order, or came back, is an explanation, unless told otherwise: as long as lame-duck mode
/// lasts by default.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(120);
/// The longest grace: as long as departures are remembered.
const LONGEST_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

const KEYS: &[&str] = &["grace"];

/// Reads the table: the grace period, from 0s (none) to 1day.
pub(super) fn read<'i>(source: Source<'i>, key: &Key<'i>, node: &Node<'i>) -> Result<Duration, ConfigError> {
    let mut grace = DEFAULT_GRACE;
    for (key, node) in in_order(source.table(key, node)?) {
        if key.get_ref() != "grace" {
            return Err(source.unknown(key, "in [maintenance]", KEYS));
        }
        let text = source.text(key, node)?;
        let read = value::duration(text).and_then(|grace| match grace {
            grace if grace <= LONGEST_GRACE => Ok(grace),
            _ => Err(format!(
                "{} is out of range: a grace period is from 0s (none) to 1day",
                value::shown(text)
            )),
        });
        grace = read.map_err(|problem| source.error(key.span(), format!("{}: {problem}", name(key))))?;
    }
    Ok(grace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{error, load};

    #[test]
    fn grace_is_a_duration_up_to_a_day() {
        let grace = |text: &str| load(text).unwrap().grace;
        assert_eq!((grace(""), grace("[maintenance]")), (DEFAULT_GRACE, DEFAULT_GRACE));
        assert_eq!(grace("[maintenance]\ngrace = '0s'"), Duration::ZERO);
        assert_eq!(grace("maintenance.grace = '1day'"), LONGEST_GRACE);
        assert_eq!(
            error("[maintenance]\ngrace = '25h'"),
            "a.toml:2: `grace`: \"25h\" is out of range: a grace period is from 0s (none) to 1day"
        );
        assert!(
            error("[maintenance]\ngrace = 120").starts_with("a.toml:2: `grace` must be a text in quotes")
        );
        assert!(
            error("[maintenance]\n\ngrce = '1s'")
                .starts_with("a.toml:3: unknown key `grce` in [maintenance]")
        );
    }
}
