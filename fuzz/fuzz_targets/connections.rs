//! Any bytes as a page of connections, folded while they are parsed: what is counted is what was handed out.

#![no_main]

use insights_agent::snapshot::{ConnectionFold, FoldRules, PageSource};
use insights_agent::wire::connz;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let source = PageSource { server: "N".into(), ..PageSource::default() };
    let mut fold = ConnectionFold::new(FoldRules::none());
    let mut handed_out = 0;
    let page = connz::parse(body, &mut |head, connection| {
        handed_out += 1;
        fold.add(&source, head, connection);
    });
    let counted: u64 = fold.servers.values().map(|server| server.clients + server.leafnodes).sum();
    assert_eq!(counted, handed_out);
    if let Ok(page) = page {
        assert_eq!(page.listed, handed_out);
    }
});
