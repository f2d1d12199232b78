//! The JWT of a bearer user is all that is needed to log in as that user.

use insights_agent::connection::ConnectionOptions;

use crate::support::{Account, Cluster, server_of_version};
use crate::watch::{Viewpoint, assert_silent_about, shown};

/// JWT and seed of a creds file.
fn secrets(cluster: &Cluster, login: &str) -> [String; 2] {
    let text = std::fs::read_to_string(cluster.creds(login)).unwrap();
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    [line("eyJ"), line("SU")]
}

async fn jwts_stay_inside(version: &str, shows_bearer: bool) {
    let cluster = Cluster::operator(2)
        .account(Account::new("A").user("plain").bearer_user("carrier"))
        .binary(&server_of_version(version))
        .start()
        .await;
    let _clients = [
        cluster.connect_many(0, "A/plain", "plain", 2).await,
        cluster.connect_many(1, "A/carrier", "carrier", 2).await,
    ];
    let admin = cluster.connect(0, "SYS/admin", "admin").await;
    let [bearer, bearer_seed] = secrets(&cluster, "A/carrier");
    let [plain, plain_seed] = secrets(&cluster, "A/plain");
    shown(&admin, &plain).await;
    if shows_bearer {
        shown(&admin, &bearer).await;
    }
    let options = ConnectionOptions {
        servers: vec![cluster.url(0)],
        creds: Some(cluster.creds("SYS/insights")),
        ..ConnectionOptions::default()
    };
    let all = Viewpoint::new(options, cluster.agent_args()).everything(&admin).await;
    assert!(all.contains(&cluster.user_id("A/carrier")));
    let [own, own_seed] = secrets(&cluster, "SYS/insights");
    // Neither whole nor in part: each part of a JWT is searched for by itself.
    let jwts = [&bearer, &plain, &own].map(|jwt| jwt.split('.').skip(1).collect::<Vec<_>>());
    let mut searched: Vec<&str> = jwts.iter().flatten().copied().collect();
    searched.extend([&*bearer_seed, &*plain_seed, &*own_seed]);
    assert_silent_about(&all, &searched);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bearer_jwt_shown_by_an_old_server_does_not_come_out() {
    jwts_stay_inside("2.10.26", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jwts_of_a_new_server_do_not_come_out() {
    jwts_stay_inside("2.15.1", false).await;
}
