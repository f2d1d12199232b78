//! A page of rows that fits a message.

use super::ApiError;
use serde::Serialize;

/// Bytes for the numbers of an answer, whose digits are not known before its rows are.
const NUMBERS: usize = 64;

/// A row of an answer.
pub(super) trait Row: Serialize {
    /// Takes away a part, the least needed first; false when nothing more can go.
    fn trim(&mut self) -> bool;
}

/// The first of these rows that fit into an answer of `limit` bytes beside its `envelope`, the answer without rows. The
/// first row is cut as far as needed: whoever asks for the next page must get on. An error if not even that fits.
pub(super) fn page<T: Row>(
    rows: impl Iterator<Item = T>,
    envelope: &impl Serialize,
    limit: usize,
) -> Result<Vec<T>, ApiError> {
    let too_large = || ApiError::TooLarge { limit };
    let left = limit.checked_sub(size(envelope) + NUMBERS).ok_or_else(too_large)?;
    let mut page = Vec::new();
    let mut used = 0;
    for mut row in rows {
        let mut bytes = size(&row);
        while page.is_empty() && bytes > left {
            if !row.trim() {
                return Err(too_large());
            }
            bytes = size(&row);
        }
        // And the comma.
        if used + bytes + 1 > left + 1 {
            break;
        }
        used += bytes + 1;
        page.push(row);
    }
    Ok(page)
}

fn size(value: &impl Serialize) -> usize {
    serde_json::to_vec(value).map_or(usize::MAX / 2, |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Serialize, Debug, PartialEq)]
    struct Text(String);
    impl Row for Text {
        fn trim(&mut self) -> bool {
            self.0.pop().is_some()
        }
    }

    proptest! {
        #[test]
        fn a_page_fits_and_gets_on(lengths in prop::collection::vec(0usize..200, 0..30), limit in 0usize..3000) {
            let rows = || lengths.iter().map(|length| Text("x".repeat(*length)));
            let envelope: Vec<u8> = Vec::new();
            match page(rows(), &envelope, limit) {
                Err(error) => prop_assert!(limit < NUMBERS + 4, "{}", error),
                Ok(page) => {
                    prop_assert!(serde_json::to_vec(&page).unwrap().len() <= limit.max(2));
                    prop_assert!(!page.is_empty() || lengths.is_empty());
                    // Nothing but the first row is cut.
                    prop_assert!(page.iter().zip(rows()).skip(1).all(|(told, row)| *told == row));
                }
            }
        }
    }
}
