//! Bytes as they came into bytes as they were meant.

use bytes::Bytes;
use std::io::Read;

/// Largest answer after decompression, in bytes. A page of 8,192 connections with their JWTs is about 14 MB.
pub const LARGEST: u64 = 64 * 1024 * 1024;

/// How an answer says it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Plain,
    /// The framing format of snappy.
    Snappy,
    /// Nothing that was asked for; its name.
    Other(String),
}

impl Encoding {
    /// From the header `Content-Encoding`: STATSZ and errors stay plain whatever was asked.
    pub fn of(header: Option<&str>) -> Self {
        match header {
            None | Some("" | "identity") => Self::Plain,
            Some("snappy") => Self::Snappy,
            Some(other) => Self::Other(other.chars().take(32).collect()),
        }
    }
}

/// An answer that cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than [`LARGEST`].
    #[error("the answer is larger than {} MiB after decompression", LARGEST / (1024 * 1024))]
    TooLarge,
    /// Not what the header says; the decoder's reason.
    #[error("the answer is not valid snappy: {0}")]
    Snappy(String),
    /// Another encoding; its name.
    #[error("the answer is encoded as {0:?}, which was not asked for")]
    Unknown(String),
}

/// The plain bytes of an answer.
pub fn decode(payload: Bytes, encoding: &Encoding) -> Result<Bytes, DecodeError> {
    match encoding {
        Encoding::Plain if payload.len() as u64 > LARGEST => Err(DecodeError::TooLarge),
        Encoding::Plain => Ok(payload),
        Encoding::Other(name) => Err(DecodeError::Unknown(name.clone())),
        Encoding::Snappy => {
            // Answers shrink to about a seventh (measured on CONNZ).
            let mut plain = Vec::with_capacity(payload.len().saturating_mul(7).min(LARGEST as usize));
            snap::read::FrameDecoder::new(payload.as_ref())
                .take(LARGEST + 1)
                .read_to_end(&mut plain)
                .map_err(|error| DecodeError::Snappy(error.to_string()))?;
            if plain.len() as u64 > LARGEST {
                return Err(DecodeError::TooLarge);
            }
            Ok(plain.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn snappy(plain: &[u8]) -> Bytes {
        let mut encoder = snap::write::FrameEncoder::new(Vec::new());
        encoder.write_all(plain).unwrap();
        encoder.into_inner().unwrap().into()
    }

    #[test]
    fn decodes_by_the_header_of_the_answer() {
        let body = Bytes::from_static(b"{\"a\":1}");
        assert_eq!(decode(body.clone(), &Encoding::of(None)), Ok(body.clone()));
        assert_eq!(decode(body.clone(), &Encoding::of(Some("identity"))), Ok(body.clone()));
        assert_eq!(decode(snappy(&body), &Encoding::of(Some("snappy"))), Ok(body.clone()));
        assert_eq!(decode(Bytes::new(), &Encoding::Snappy), Ok(Bytes::new()));
        assert!(matches!(decode(body.clone(), &Encoding::Snappy), Err(DecodeError::Snappy(_))));
        assert_eq!(decode(body, &Encoding::of(Some("gzip"))), Err(DecodeError::Unknown("gzip".into())));
    }

    #[test]
    fn a_bomb_is_refused_without_being_kept() {
        let bomb = snappy(&vec![b' '; 100 * 1024 * 1024]);
        assert!(bomb.len() < 8 * 1024 * 1024);
        assert_eq!(decode(bomb, &Encoding::Snappy), Err(DecodeError::TooLarge));
    }

    #[test]
    fn half_a_frame_is_an_error() {
        let whole = snappy(&vec![b'x'; 200_000]);
        let half = whole.slice(..whole.len() / 2);
        assert!(matches!(decode(half, &Encoding::Snappy), Err(DecodeError::Snappy(_))));
    }
}
