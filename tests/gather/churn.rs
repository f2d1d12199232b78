//! Connections come and go while they are listed page by page.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::Client;
use insights_agent::snapshot::{Answer, Endpoint};

use crate::lens::{Lens, account, answer, assert_whole, missing};
use crate::support::{Account, Cluster, eventually};

const STEADY: usize = 300;
const FLEETING: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_is_counted_once_while_others_come_and_go() {
    let builder = Cluster::config(1).account(Account::new("A").user("steady").user("fleeting"));
    let cluster = Arc::new(builder.start().await);
    let mut lens = Lens::of(&cluster).await;
    // Those that go have the lowest ids, so that the places of all behind them change.
    let mut fleeting = cluster.connect_many(0, "A/fleeting", "f", FLEETING).await;
    let _steady = cluster.connect_many(0, "A/steady", "s", STEADY).await;

    let done = Arc::new(AtomicBool::new(false));
    let (churning, busy) = (Arc::clone(&cluster), Arc::clone(&done));
    let churn = tokio::spawn(async move {
        let mut ever = FLEETING;
        let mut new: Vec<Client> = Vec::new();
        while !busy.load(Ordering::Relaxed) {
            // Mostly fewer, sometimes a few more; all gone at once in the end.
            let gone = fleeting.len().saturating_sub(20);
            fleeting.truncate(gone);
            if fleeting.is_empty() {
                std::mem::swap(&mut fleeting, &mut new);
            }
            new.extend(churning.connect_many(0, "A/fleeting", "n", 5).await);
            ever += 5;
        }
        ever
    });

    let (mut whole, mut partial) = (0, 0);
    let mut most = 0;
    for _ in 0..25 {
        let snapshot = lens.sweep().await;
        assert_eq!(missing(&snapshot), [""; 0]);
        let users = &account(&snapshot, "A").fold.users;
        let steady = users.get("steady").unwrap().connections();
        most = most.max(users.get("fleeting").map_or(0, |user| user.connections()));
        assert!(steady <= STEADY as u64, "{steady}");
        match answer(&snapshot, Endpoint::Connz, "n1") {
            Answer::Complete => {
                assert_eq!(steady, STEADY as u64);
                whole += 1;
            }
            Answer::Partial(why) => {
                assert!(why.contains("closed faster"), "{why}");
                partial += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    done.store(true, Ordering::Relaxed);
    let ever = churn.await.unwrap();
    assert!(most <= ever as u64, "{most} of {ever}");
    assert!(whole > 0, "{whole} whole, {partial} partial");

    eventually("only those that stayed are left, exactly", 30, async || {
        let snapshot = lens.sweep().await;
        assert_whole(&snapshot);
        let account = account(&snapshot, "A");
        assert_eq!(account.fold.users.get("steady").unwrap().connections(), STEADY as u64);
        match (account.fold.kinds().nats, account.connections()) {
            (300, 300) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}
