//! Names that people really give: they reach subjects and findings whole, or cut so that they stay apart.

use crate::Watched;
use crate::support::{Account, Cluster};

#[tokio::test(flavor = "multi_thread")]
async fn odd_and_very_long_names_are_published_on_valid_subjects() {
    let odd = "wörker *.> %1";
    let (long_a, long_b) = (format!("{}a", "n".repeat(999)), format!("{}b", "n".repeat(999)));
    let cluster =
        Cluster::config(1).account(Account::new("APP").user(odd).user(&long_a).user(&long_b)).start().await;
    let mut clients = Vec::new();
    for user in [odd, &long_a, &long_b] {
        // The client's name is as odd as the user's.
        clients.extend(cluster.connect_many(0, &format!("APP/{user}"), user, 2).await);
    }
    let config = "[checks.USER_002]\nmax_connections = 1\n[accounts.APP]\nmax_connections = 100\n";
    let mut watched = Watched::start(&cluster, config).await;

    let found = watched.firing_as("USER_002", |f| f["entity"]["user"] == odd).await;
    assert_eq!(found.subject, "insights.checks.APP.warning.USER_002.user.w%C3%B6rker%20%2A%2E%3E%20%251");
    let a = watched.firing_as("USER_002", |f| f["entity"]["user"] == long_a.as_str()).await;
    let b = watched.firing_as("USER_002", |f| f["entity"]["user"] == long_b.as_str()).await;
    assert_ne!(a.subject, b.subject);
    assert_ne!(a.json["fingerprint"], b.json["fingerprint"]);
    assert!(a.subject.len() < 400, "{}", a.subject);
    drop(clients);
    watched.check_everything_published();
}
