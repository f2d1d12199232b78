//! Names and texts that come from servers and clients: shared, and bounded before they are kept.

use std::sync::Arc;

/// A shared name: account, server, user, client …
pub type Name = Arc<str>;

/// Longest name that is kept whole as an identity, in bytes. Servers accept longer account and user names, but
/// a page of them would be kept for every epoch; longer ones are cut by [`bounded`].
pub const NAME_BYTES: usize = 1024;

/// Longest text of evidence (client name, address, version), in bytes: enough to recognise it in a table.
pub const TEXT_BYTES: usize = 128;

/// `text` itself when it has at most `limit` bytes, else its beginning and a digest, so that two long texts with
/// the same beginning stay two.
pub fn bounded(text: &str, limit: usize) -> Name {
    if text.len() <= limit {
        return Name::from(text);
    }
    let digest = digest_hex(text.as_bytes(), 8);
    let mark = format!("…{digest}");
    let mut end = limit.saturating_sub(mark.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Name::from(format!("{}{mark}", &text[..end]))
}

/// The first `bytes` bytes of the SHA-256 of `data`, in lower-case hexadecimal.
pub fn digest_hex(data: &[u8], bytes: usize) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(data);
    data_encoding::HEXLOWER.encode(&digest[..bytes.min(digest.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_at_a_character_and_stay_distinct() {
        let a = "ü".repeat(600);
        let b = format!("{a}x");
        let (cut_a, cut_b) = (bounded(&a, NAME_BYTES), bounded(&b, NAME_BYTES));
        assert!(cut_a.len() <= NAME_BYTES && cut_b.len() <= NAME_BYTES);
        assert_ne!(cut_a, cut_b);
        assert_eq!(&*bounded("short", NAME_BYTES), "short");
    }
}
