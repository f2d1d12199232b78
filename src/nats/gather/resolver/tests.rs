use super::*;
use crate::nats::gather::members::{Keeps, Member};
use crate::nats::gather::world::{Asked, PATIENCE, World, key, plan, rules};
use crate::wire::accountz::Import;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

const ENDPOINTS: [Endpoint; 2] = [Endpoint::ClaimsList, Endpoint::ClaimsLookup];
const MINUTE: Duration = Duration::from_secs(60);

/// The JWT of an account that imports these streams of account 1.
fn claims(account: &str, imports: &[&str]) -> String {
    let import = |subject: &&str| json!({"subject": subject, "account": key(1), "type": "stream"});
    let imports: Vec<_> = imports.iter().map(import).collect();
    let claims = json!({"sub": account, "nats": {"imports": imports}}).to_string();
    format!("e30.{}.c2ln", BASE64URL_NOPAD.encode(claims.as_bytes()))
}

/// Accounts 1 to `all` and the system account 200, of which 1 and 2 are loaded. Each imports a stream of its number.
fn system(keeps: &[Keeps], all: u8) -> (World, Gatherer) {
    let member = |(number, keeps): (usize, &Keeps)| Member {
        system: key(200),
        keeps: *keeps,
        ..Member::new(number + 1).with(3, &key(1), "a")
    };
    let members = keeps.iter().enumerate().map(member).collect();
    let loaded = [1, 2, 200].map(|number| (key(number), -1, -1));
    let (world, gatherer) = World::of(members, &loaded);
    let listed = (1..=all).chain([200]);
    let listed: Vec<_> =
        listed.map(|number| (key(number), claims(&key(number), &[&format!("s.{number}")]))).collect();
    world.claims(&listed);
    (world, gatherer)
}

async fn sweep(gatherer: &mut Gatherer, epoch: u64) -> Snapshot {
    let wanted = [Endpoint::Statsz, Endpoint::Varz, Endpoint::AccountStatz].into_iter().chain(ENDPOINTS);
    gatherer.sweep(&Plan { requests: wanted.collect(), ..plan(epoch) }, rules()).await
}

/// How many lists and how many accounts were asked for.
fn asked(world: &World) -> (usize, usize) {
    let asked = world.take_asked();
    let count = |end: &str| asked.iter().filter(|Asked { subject, .. }| subject.ends_with(end)).count();
    (count(".CLAIMS.LIST"), count(".CLAIMS.LOOKUP"))
}

/// Accounts that are listed, loaded and read, and whether the others will be.
fn counts(snapshot: &Snapshot) -> Option<(u64, u64, usize, bool)> {
    let unloaded = snapshot.unloaded.as_ref()?;
    Some((unloaded.listed, unloaded.loaded, unloaded.read.len(), unloaded.told))
}

fn reasons(snapshot: &Snapshot) -> Vec<String> {
    let rows = snapshot.coverage.shortfalls().into_iter();
    rows.filter(|row| ENDPOINTS.contains(&row.endpoint)).map(|row| row.reason).collect()
}

fn subjects(snapshot: &Snapshot, account: u8) -> Vec<String> {
    let read = &snapshot.unloaded.as_ref().unwrap().read[&*key(account)];
    read.imports.iter().map(|import| format!("{} {}", import.account, import.subject)).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_not_loaded_is_read_once_and_kept() {
    let (world, mut gatherer) = system(&[Keeps::All, Keeps::All, Keeps::Nothing], 5);
    let snapshot = sweep(&mut gatherer, 1).await;
    assert_eq!(counts(&snapshot), Some((6, 3, 3, true)));
    assert_eq!(subjects(&snapshot, 4), [format!("{} s.4", key(1))]);
    assert_eq!((asked(&world), reasons(&snapshot)), ((1, 3), Vec::new()));
    // Every server has answered, and all answers have been taken.
    assert_eq!(snapshot.cost.strangers, 0);
    let started = Instant::now();
    for epoch in 2..=3 {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!(counts(&snapshot), Some((6, 3, 3, true)));
        assert_eq!((asked(&world), reasons(&snapshot)), ((0, 0), Vec::new()));
    }
    assert!(started.elapsed() < Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn lists_and_accounts_are_brought_up_to_date_rarely() {
    let (world, mut gatherer) = system(&[Keeps::All, Keeps::All], 4);
    sweep(&mut gatherer, 1).await;
    asked(&world);
    // One goes, one comes, and one imports something else.
    world.claims(&[
        (key(1), claims(&key(1), &[])),
        (key(4), claims(&key(4), &["other"])),
        (key(5), claims(&key(5), &["new"])),
    ]);
    tokio::time::advance(9 * MINUTE).await;
    let before = sweep(&mut gatherer, 10).await;
    assert_eq!((counts(&before), asked(&world)), (Some((5, 3, 2, true)), (0, 0)));
    tokio::time::advance(MINUTE).await;
    let snapshot = sweep(&mut gatherer, 11).await;
    assert_eq!((counts(&snapshot), asked(&world)), (Some((3, 1, 2, true)), (1, 2)));
    assert_eq!(subjects(&snapshot, 4), [format!("{} other", key(1))]);
    assert_eq!(subjects(&snapshot, 5), [format!("{} new", key(1))]);
    // What is loaded tells of itself.
    world.accounts(&[1, 2, 4, 200].map(|number| (key(number), -1, -1)));
    let snapshot = sweep(&mut gatherer, 12).await;
    assert_eq!((counts(&snapshot), asked(&world)), (Some((3, 2, 1, true)), (0, 0)));
    assert_eq!(gatherer.resolver.read.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_are_read_in_several_epochs_and_again_in_turn() {
    let (world, mut gatherer) = system(&[Keeps::All], 150);
    for (epoch, read) in [(1, 64), (2, 128), (3, 148), (4, 148)] {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!(counts(&snapshot), Some((151, 3, read, true)));
        let missing = 148 - read;
        let why = format!("{missing} accounts that no server has loaded were not read");
        assert_eq!(reasons(&snapshot).iter().any(|reason| reason.contains(&why)), missing > 0, "{epoch}");
    }
    assert_eq!(asked(&world), (1, 148));
    tokio::time::advance(10 * MINUTE).await;
    for epoch in 5..=14 {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!(counts(&snapshot), Some((151, 3, 148, true)));
    }
    assert_eq!(asked(&world), (1, 148));
    // Many servers tell each account, so that fewer are asked for.
    let (world, mut gatherer) = system(&[Keeps::All; 120], 150);
    sweep(&mut gatherer, 1).await;
    assert_eq!(asked(&world), (1, 4096 / 120));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_where_nobody_keeps_accounts() {
    let (world, mut gatherer) = system(&[Keeps::Nothing, Keeps::Nothing], 5);
    for (epoch, lists) in [(1, 1), (2, 0)] {
        let started = Instant::now();
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!((counts(&snapshot), asked(&world)), (None, (lists, 0)));
        assert_eq!(reasons(&snapshot), [""; 0]);
        assert!(started.elapsed() < Duration::from_secs(1));
    }
    // Accounts of a configuration file are all loaded.
    let (world, mut gatherer) = system(&[Keeps::All], 5);
    world.change(0, |member| member.system = "SYS".into());
    let denied = [LIST.to_owned(), LOOKUP.to_owned()];
    gatherer.note_denied(&denied, &[]);
    let snapshot = sweep(&mut gatherer, 1).await;
    assert_eq!((counts(&snapshot), asked(&world)), (None, (0, 0)));
    assert!(snapshot.coverage.denied.is_empty(), "what is not needed is not missed");
}

#[tokio::test(start_paused = true)]
async fn a_cache_lists_what_nobody_tells() {
    let (world, mut gatherer) = system(&[Keeps::Some, Keeps::Some], 5);
    for (epoch, expected) in [(1, (1, 3)), (2, (0, 0))] {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!((counts(&snapshot), asked(&world)), (Some((6, 3, 0, false)), expected));
        assert_eq!(reasons(&snapshot), [""; 0]);
    }
    // One that keeps all tells.
    world.change(1, |member| member.keeps = Keeps::All);
    tokio::time::advance(10 * MINUTE).await;
    assert_eq!(counts(&sweep(&mut gatherer, 11).await), Some((6, 3, 3, true)));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_silent_is_not_asked_for_ever() {
    // About the list: three times, and again ten minutes later.
    let (world, mut gatherer) = system(&[Keeps::Mute], 5);
    for epoch in 1..=5 {
        let started = Instant::now();
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!((counts(&snapshot), asked(&world)), (None, (usize::from(epoch <= 3), 0)));
        assert!(started.elapsed() < PATIENCE * 2);
    }
    tokio::time::advance(10 * MINUTE).await;
    sweep(&mut gatherer, 6).await;
    assert_eq!(asked(&world), (1, 0));
    // About accounts: until then they are not read yet, and after that they are not told.
    let (world, mut gatherer) = system(&[Keeps::Listed], 40);
    for epoch in 1..=5 {
        let started = Instant::now();
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!(counts(&snapshot), Some((41, 3, 0, epoch < 3)));
        assert!(started.elapsed() < PATIENCE * 2, "{:?}", started.elapsed());
        assert_eq!(asked(&world).1 > 0, epoch <= 3);
        assert!(reasons(&snapshot)[0].contains("did not answer CLAIMS LOOKUP"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_lists_no_more_is_said_and_what_it_listed_stays() {
    let (world, mut gatherer) = system(&[Keeps::All, Keeps::All], 4);
    sweep(&mut gatherer, 1).await;
    world.change(1, |member| member.keeps = Keeps::Mute);
    world.claims(&[(key(3), claims(&key(3), &[]))]);
    tokio::time::advance(10 * MINUTE).await;
    let snapshot = sweep(&mut gatherer, 11).await;
    // The fourth may be there; nobody tells it any more.
    assert_eq!(counts(&snapshot), Some((5, 3, 2, true)));
    assert!(reasons(&snapshot).contains(&"server n2 did not answer CLAIMS LIST".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ask_goes_on_without_and_says_so() {
    let (world, mut gatherer) = system(&[Keeps::All, Keeps::All], 4);
    world.deny(&[LIST]);
    let denied = |snapshot: &Snapshot| -> Vec<String> {
        snapshot.coverage.denied.iter().map(|denied| denied.subject.to_string()).collect()
    };
    for (epoch, lists) in [(1, 1), (2, 0)] {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!((counts(&snapshot), asked(&world)), (None, (lists, 0)));
        assert_eq!((denied(&snapshot), reasons(&snapshot).len()), (vec![LIST.to_owned()], 2));
        assert!(reasons(&snapshot)[0].contains("may not publish to $SYS.REQ.CLAIMS.LIST"));
    }
    // With another connection it is asked again at once.
    world.deny(&[LOOKUP]);
    world.reconnect();
    for (epoch, expected) in [(3, (1, 2)), (4, (0, 0))] {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!((counts(&snapshot), asked(&world)), (Some((5, 3, 0, false)), expected));
        assert_eq!((denied(&snapshot), reasons(&snapshot).len()), (vec![LOOKUP.to_owned()], 2));
    }
    world.deny(&[]);
    world.reconnect();
    let snapshot = sweep(&mut gatherer, 5).await;
    assert_eq!((counts(&snapshot), denied(&snapshot)), (Some((5, 3, 2, true)), Vec::new()));
    // What is known stays known, but nothing more is told.
    world.deny(&[LIST]);
    tokio::time::advance(10 * MINUTE).await;
    let snapshot = sweep(&mut gatherer, 15).await;
    assert_eq!((counts(&snapshot), denied(&snapshot)), (Some((5, 3, 2, false)), vec![LIST.to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn odd_names_are_no_accounts_and_what_cannot_be_read_imports_nothing() {
    let (world, mut gatherer) = system(&[Keeps::All, Keeps::All], 2);
    let user = nkeys::KeyPair::new_from_raw(nkeys::KeyPairType::User, [7; 32]).unwrap().public_key();
    let odd = [
        "",
        "A",
        "a.b",
        "*",
        ">",
        "A B",
        &user,
        &format!("A{}", "B".repeat(55)),
        &key(5).to_lowercase(),
        &"ü".repeat(28),
    ];
    let odd = odd.map(|name| (name.to_owned(), claims(name, &["a"])));
    let mut all = odd.to_vec();
    let of_another = claims(&key(9), &["a"]);
    for (number, text) in
        [(3, "\u{0}garbage"), (4, &*of_another), (5, ""), (6, &*claims(&key(6), &["a", "", "a"]))]
    {
        all.push((key(number), text.to_owned()));
    }
    world.claims(&all);
    let snapshot = sweep(&mut gatherer, 1).await;
    // The fifth is gone, as every server says.
    assert_eq!(counts(&snapshot), Some((3, 0, 3, true)));
    assert_eq!((subjects(&snapshot, 3).len(), subjects(&snapshot, 4).len()), (0, 0));
    assert_eq!(subjects(&snapshot, 6), ["", "a"].map(|subject| format!("{} {subject}", key(1))));
    assert_eq!((asked(&world), reasons(&snapshot)), ((1, 4), Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_would_be_too_much_is_not_asked_for() {
    let (world, mut gatherer) = system(&[Keeps::All, Keeps::All], 4);
    sweep(&mut gatherer, 1).await;
    asked(&world);
    gatherer.resolver.list_bytes = Some(BUDGET as f64 / 1.5);
    tokio::time::advance(10 * MINUTE).await;
    for epoch in 11..=12 {
        let snapshot = sweep(&mut gatherer, epoch).await;
        assert_eq!((counts(&snapshot), asked(&world)), (None, (0, 0)));
        assert_eq!(
            reasons(&snapshot),
            ["server n1 answered CLAIMS LIST in part: the lists of all servers together would be too much"]
        );
    }
}

#[test]
fn what_is_kept_of_all_accounts_is_bounded() {
    let import = |number: usize| Import {
        subject: format!("s.{number}"),
        account: "E".into(),
        kind: "stream".into(),
        ..Import::default()
    };
    let many: Vec<Import> = (0..ROWS - 10).map(import).collect();
    let mut resolver = Resolver::default();
    let told = |account: &str, imports: &[Import]| (Name::from(account), Outcome::Told(imports.to_vec()));
    resolver.take(vec![told("A", &many), told("B", &many[..20]), told("C", &many[..1]), told("D", &[])]);
    let read = |resolver: &Resolver, id: &str| {
        let imports = &resolver.read[id].imports;
        (imports.imports.len(), imports.omitted)
    };
    let all = |resolver: &Resolver| ["A", "B", "C", "D"].map(|id| read(resolver, id));
    assert_eq!(all(&resolver), [(ROWS - 10, 0), (10, 10), (0, 1), (0, 0)]);
    // Its own earlier rows make room.
    resolver.take(vec![told("A", &many[..5]), told("B", &many[..20]), told("C", &many[..1])]);
    assert_eq!(all(&resolver), [(5, 0), (20, 0), (1, 0), (0, 0)]);
}
