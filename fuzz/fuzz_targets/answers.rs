//! Any bytes as any answer or event but CONNZ: an error or a value, never a panic, and no error that repeats the answer.

#![no_main]

use insights_agent::wire::{
    WireError, account_statz, accountz, claims_list, envelope, event, jwt, statsz, varz,
};
use libfuzzer_sys::fuzz_target;

/// An error holds positions and at most a cut text of the server.
const LONGEST: usize = 1000;

fn harmless<T>(outcome: Result<T, WireError>) {
    if let Err(error) = outcome {
        assert!(error.to_string().len() < LONGEST);
    }
}

fuzz_target!(|body: &[u8]| {
    harmless(statsz::parse(body));
    harmless(envelope::parse::<varz::Varz>(body));
    harmless(envelope::parse::<account_statz::AccountStatz>(body));
    harmless(envelope::parse::<accountz::Accountz>(body));
    harmless(event::disconnect(body));
    harmless(claims_list::parse(body));
    if let Ok(token) = std::str::from_utf8(body) {
        let _ = jwt::account_imports(token, "A");
    }
});
