//! Any text as what stands inside answers: JWTs, times, versions, names.

#![no_main]

use insights_agent::snapshot::Version;
use insights_agent::text::{NAME_BYTES, bounded};
use insights_agent::wire::{jwt, time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (token, user) = text.split_once('\n').unwrap_or((text, ""));
    let _ = jwt::user_claims(token, user);
    let _ = time::timestamp(text);
    let _ = Version::parse(text);
    assert!(bounded(text, NAME_BYTES).len() <= NAME_BYTES);
});
