//! Paragraphs in a column.

/// The paragraphs of a text in lines of at most `width` characters, each indented; a word that is longer has a line
/// of its own. Paragraphs are separated by an empty line, in what is read and in what is written.
pub(crate) fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    for paragraph in text.split("\n\n") {
        if !out.is_empty() {
            out.push('\n');
        }
        let mut line = indent.to_owned();
        for word in paragraph.split_whitespace() {
            let empty = line.len() == indent.len();
            if !empty && line.chars().count() + 1 + word.chars().count() > width {
                out.push_str(&line);
                out.push('\n');
                line.truncate(indent.len());
            } else if !empty {
                line.push(' ');
            }
            line.push_str(word);
        }
        out.push_str(&line);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn lines_are_full_and_paragraphs_stay_apart() {
        assert_eq!(wrap("one two three\nfour\n\nfive", 11, "  "), "  one two\n  three\n  four\n\n  five\n");
        assert_eq!(wrap("a longerthanwidth b", 5, ""), "a\nlongerthanwidth\nb\n");
    }
}
