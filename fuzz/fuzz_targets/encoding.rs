//! Any bytes as a compressed answer: plain bytes within the cap, or an error.

#![no_main]

use bytes::Bytes;
use insights_agent::nats::encoding::{Encoding, LARGEST, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(plain) = decode(Bytes::copy_from_slice(body), &Encoding::Snappy) {
        assert!(plain.len() as u64 <= LARGEST);
    }
});
