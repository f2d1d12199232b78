//! Numbers and keys that follow from a seed: the same seed gives the same world.

use data_encoding::BASE32_NOPAD;
use nkeys::{KeyPair, KeyPairType};

/// What a number is drawn for, so that no two draws are alike.
#[derive(Debug, Clone, Copy)]
pub(super) enum For {
    Server,
    RestartedServer,
    Account,
    User,
    TokenId,
    Signature,
    Order,
    Size,
    Traffic,
    Start,
    Activity,
    Address,
}

/// SplitMix64 (Steele, Lea and Flood, 2014): good enough for looks, and cheap enough for a million connections.
const fn scramble(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number that depends on the seed, its purpose, and two indices.
pub(super) const fn draw(seed: u64, purpose: For, a: u64, b: u64) -> u64 {
    scramble(scramble(scramble(seed ^ ((purpose as u64) << 56)).wrapping_add(a)).wrapping_add(b))
}

/// Bytes that depend on the same.
pub(super) fn bytes<const N: usize>(seed: u64, purpose: For, a: u64, b: u64) -> [u8; N] {
    let mut state = draw(seed, purpose, a, b);
    let mut out = [0; N];
    for chunk in out.chunks_mut(8) {
        state = scramble(state);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    out
}

/// Kinds of public keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key {
    Server,
    Account,
    User,
}

/// A public key as NATS writes it: kind, 32 bytes and checksum in base 32.
pub(super) fn public_key(kind: Key, bytes: [u8; 32]) -> String {
    // Readers check that an account's key is a point of the curve; of servers and users only the form is looked at,
    // and there are too many users for elliptic curves.
    if let Key::Account = kind
        && let Ok(pair) = KeyPair::new_from_raw(KeyPairType::Account, bytes)
    {
        return pair.public_key();
    }
    let prefix = match kind {
        Key::Server => 13 << 3,
        Key::Account => 0,
        Key::User => 20 << 3,
    };
    let mut raw = [0; 35];
    raw[0] = prefix;
    raw[1..33].copy_from_slice(&bytes);
    let checksum = crc16(&raw[..33]);
    raw[33..].copy_from_slice(&checksum.to_le_bytes());
    BASE32_NOPAD.encode(&raw)
}

/// CRC-16/XMODEM, by which nkeys are checked.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let index = (crc >> 8) ^ u16::from(*byte);
        (crc << 8) ^ TABLE[usize::from(index & 0xff)]
    })
}

const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_form_of_nkeys() {
        for (kind, first) in [(Key::Server, 'N'), (Key::Account, 'A'), (Key::User, 'U')] {
            for number in 0..20 {
                let key = public_key(kind, bytes(7, For::User, number, 1));
                assert!(key.starts_with(first) && key.len() == 56, "{key}");
                assert!(nkeys::from_public_key(&key).is_ok(), "{key}");
            }
        }
        let account = public_key(Key::Account, bytes(7, For::Account, 1, 0));
        assert!(KeyPair::from_public_key(&account).is_ok());
    }

    #[test]
    fn draws_differ_by_everything() {
        let all = [
            draw(1, For::User, 1, 1),
            draw(2, For::User, 1, 1),
            draw(1, For::Start, 1, 1),
            draw(1, For::User, 2, 1),
            draw(1, For::User, 1, 2),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len());
        assert_eq!(draw(1, For::User, 1, 1), all[0]);
    }
}
