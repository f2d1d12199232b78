//! Names come from the network: what could steer a terminal is written out instead.

use std::fmt::Write;

/// The text with everything that is not visible, or would change how the rest is seen, as `\u{…}`.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            let _ = write!(safe, "{}", c.escape_unicode());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Control characters, line and paragraph separators, directions of writing, and what takes no room.
const fn steers(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_written_out_and_letters_stay() {
        assert_eq!(printable("\u{1b}[2Jx\n\u{202e}y\u{9b}"), r"\u{1b}[2Jx\u{a}\u{202e}y\u{9b}");
        assert_eq!(printable("Zürich 東京 👍 a\\b"), "Zürich 東京 👍 a\\b");
    }
}
