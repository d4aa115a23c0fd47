//! The embedded state store: races, killed writers, expiry, and files that are none of ours.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::AtomicI64;

use super::*;

/// A clock that stands where it is put, in seconds.
#[derive(Default)]
struct Set(AtomicI64);

impl Set {
    fn to(&self, second: i64) {
        self.0.store(second, Ordering::SeqCst);
    }
}

impl Clock for Set {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

const NEVER: i64 = 4_000_000_000;

fn clock() -> Arc<Set> {
    Arc::new(Set::default())
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn new_item(partition: &str, sort: &str, body: &[u8]) -> NewItem {
    NewItem { partition: partition.into(), sort: sort.into(), body: body.to_vec(), expires: at(NEVER) }
}

#[test]
fn of_racing_writers_exactly_one_wins_each_version() {
    const THREADS: u64 = 4;
    const ROUNDS: u64 = 50;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let wins = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (path, wins) = (&path, &wins);
            // Each opens the file by itself, at the same time as the others: as processes do.
            scope.spawn(move || {
                let state = EmbeddedState::open(path, clock()).unwrap();
                let mut won = 0;
                while won < ROUNDS {
                    let seen = block_on(state.get("p", "s")).unwrap();
                    let expected = seen.as_ref().map(|item| item.version);
                    let count = seen.map_or(0, |item| u64::from_be_bytes(item.body.try_into().unwrap()));
                    let body = (count + 1).to_be_bytes().to_vec();
                    if block_on(state.put_if("p", "s", body, at(NEVER), expected)).unwrap() {
                        won += 1;
                        wins.lock().unwrap().push((expected, thread));
                    }
                }
            });
        }
    });
    let mut versions: Vec<_> = wins.into_inner().unwrap().into_iter().map(|(expected, _)| expected).collect();
    let all = versions.len();
    versions.sort_unstable();
    versions.dedup();
    assert_eq!((all, versions.len()), (200, 200), "no version was won twice");
    let item = block_on(EmbeddedState::open(&path, clock()).unwrap().get("p", "s")).unwrap().unwrap();
    assert_eq!(item.body, (THREADS * ROUNDS).to_be_bytes(), "no write was lost");
}

#[test]
fn threads_that_share_one_store_race_as_fairly() {
    let state = EmbeddedState::in_memory(clock()).unwrap();
    let won = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..100 {
                    let sort = round.to_string();
                    if block_on(state.put_if("p", &sort, vec![], at(NEVER), None)).unwrap() {
                        won.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 100);
}

#[tokio::test]
async fn a_writer_who_is_killed_leaves_nothing_half() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let state = EmbeddedState::open(&path, clock()).unwrap();
    state.put("p", "old", b"old".to_vec(), at(NEVER)).await.unwrap();

    let mut killed = layout::open_file(&path).unwrap();
    let transaction = killed.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    upsert(&transaction, "p", "old", b"half", at(NEVER)).unwrap();
    upsert(&transaction, "p", "new", b"half", at(NEVER)).unwrap();
    // What a process that dies at this point leaves on the disk.
    let left = folder.path().join("left");
    for end in ["", "-wal"] {
        fs::copy(folder.path().join(format!("state{end}")), folder.path().join(format!("left{end}"))).unwrap();
    }
    drop(transaction);
    drop(killed);

    for path in [path, left] {
        let state = EmbeddedState::open(&path, clock()).unwrap();
        let items = state.query("p").await.unwrap();
        assert_eq!(items.len(), 1);
        assert_eq!((items[0].0.as_str(), items[0].1.body.as_slice()), ("old", b"old".as_slice()));
        assert!(state.put_if("p", "old", vec![], at(NEVER), Some(items[0].1.version)).await.unwrap());
    }
}

/// What the port promises, in the plainest form.
#[derive(Default)]
struct Model {
    items: BTreeMap<(String, String), (Vec<u8>, i64)>,
}

impl Model {
    fn live(&self, now: i64, partition: &str) -> Vec<(String, Vec<u8>)> {
        let of = |(pk, _): &&(String, String)| pk == partition;
        let items = self.items.iter().filter(|(key, (_, expires))| of(key) && *expires > now);
        items.map(|((_, sort), (body, _))| (sort.clone(), body.clone())).collect()
    }
}

/// xorshift64, so that every run takes the same way.
fn random(seed: &mut u64, below: u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed % below
}

#[tokio::test]
async fn a_random_schedule_over_two_connections_does_what_the_model_does() {
    let mut dice = 0x5eed_2026;
    let folder = tempfile::tempdir().unwrap();
    let time = clock();
    let path = folder.path().join("state");
    let open = || EmbeddedState::open(&path, Arc::clone(&time) as Arc<dyn Clock>).unwrap();
    let mut states = [open(), open()];
    let mut model = Model::default();
    let mut used: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut now = 0;
    for step in 0..4000_u64 {
        let state = &states[usize::try_from(random(&mut dice, 2)).unwrap()];
        let partition = ["a", "a#b", "\u{ad6c}", ""][usize::try_from(random(&mut dice, 4)).unwrap()].to_owned();
        let sort = random(&mut dice, 5).to_string();
        let body = step.to_be_bytes().to_vec();
        let expires = now + i64::try_from(random(&mut dice, 40)).unwrap();
        let key = (partition.clone(), sort.clone());
        match random(&mut dice, 12) {
            0..3 => {
                state.put(&partition, &sort, body.clone(), at(expires)).await.unwrap();
                model.items.insert(key, (body, expires));
            }
            3..7 => {
                let live = model.items.get(&key).is_some_and(|(_, expires)| *expires > now);
                let seen = state.get(&partition, &sort).await.unwrap().map(|item| item.version);
                assert_eq!(seen.is_some(), live);
                let held = used.get(&key).copied();
                let (expected, wins) = match random(&mut dice, 3) {
                    0 => (seen, true),
                    1 => (None, !live),
                    _ => (held, held == seen),
                };
                let won = state.put_if(&partition, &sort, body.clone(), at(expires), expected).await.unwrap();
                assert_eq!(won, wins, "step {step}: expected {expected:?}, there was {seen:?}");
                if let Some(seen) = seen {
                    used.insert(key.clone(), seen);
                }
                if won {
                    model.items.insert(key, (body, expires));
                }
            }
            7 => {
                state.delete(&partition, &sort).await.unwrap();
                model.items.remove(&key);
            }
            8 => {
                let items: Vec<_> = (0..5)
                    .map(|n| NewItem { expires: at(expires), ..new_item(&partition, &n.to_string(), &body) })
                    .collect();
                for item in &items {
                    model.items.insert((partition.clone(), item.sort.clone()), (body.clone(), expires));
                }
                state.put_all(items).await.unwrap();
            }
            9 => {
                now += i64::try_from(random(&mut dice, 15)).unwrap();
                time.to(now);
            }
            10 if step % 7 == 0 => states[usize::try_from(random(&mut dice, 2)).unwrap()] = open(),
            _ => {
                let items = state.query(&partition).await.unwrap();
                let items: Vec<_> = items.into_iter().map(|(sort, item)| (sort, item.body)).collect();
                assert_eq!(items, model.live(now, &partition), "step {step}");
            }
        }
    }
}

#[tokio::test]
async fn expired_items_are_not_seen_and_then_not_kept() {
    let time = clock();
    let state = EmbeddedState::in_memory(Arc::clone(&time) as Arc<dyn Clock>).unwrap();
    state.put("p", "a", b"1".to_vec(), at(10)).await.unwrap();
    let version = state.get("p", "a").await.unwrap().unwrap().version;
    time.to(10);
    assert_eq!(state.get("p", "a").await.unwrap(), None);
    assert_eq!(state.query("p").await.unwrap(), []);
    assert_eq!(state.partitions("", "a").unwrap(), []);
    assert!(!state.put_if("p", "a", vec![], at(20), Some(version)).await.unwrap());

    state.remove_expired().unwrap();
    let kept: i64 = state.lock().query_row("SELECT count(*) FROM items", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
    assert!(state.put_if("p", "a", vec![], at(20), None).await.unwrap());
    let newer = state.get("p", "a").await.unwrap().unwrap().version;
    assert!(newer > version, "who still holds the old version must not win with it");
}

#[tokio::test]
async fn a_version_from_before_a_removal_never_wins_again() {
    let state = EmbeddedState::in_memory(clock()).unwrap();
    state.put("p", "a", b"1".to_vec(), at(NEVER)).await.unwrap();
    let held = state.get("p", "a").await.unwrap().unwrap().version;
    state.delete("p", "a").await.unwrap();
    state.put("p", "a", b"2".to_vec(), at(NEVER)).await.unwrap();
    assert!(!state.put_if("p", "a", b"3".to_vec(), at(NEVER), Some(held)).await.unwrap());
}

#[tokio::test]
async fn partitions_are_found_by_prefix_and_sort_key_exactly() {
    let state = EmbeddedState::in_memory(clock()).unwrap();
    for partition in ["f", "f#", "f#1", "f#2", "f#\u{10ffff}", "f$", "F#1", "g", "f#1%", "f#_"] {
        state.put_all(vec![new_item(partition, "now", b"x"), new_item(partition, "then", b"y")]).await.unwrap();
    }
    let found = |prefix: &str| {
        let items = state.partitions(prefix, "now").unwrap();
        assert!(items.iter().all(|(_, item)| item.body == b"x"));
        items.into_iter().map(|(partition, _)| partition).collect::<Vec<_>>()
    };
    assert_eq!(found("f#"), ["f#", "f#1", "f#1%", "f#2", "f#_", "f#\u{10ffff}"]);
    assert_eq!(found("f#_"), ["f#_"]);
    assert_eq!(found("f#\u{10ffff}"), ["f#\u{10ffff}"]);
    assert_eq!(found("").len(), 10);
    assert_eq!(state.partitions("f", "never").unwrap(), []);
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all_and_bodies_have_a_limit() {
    let state = EmbeddedState::in_memory(clock()).unwrap();
    let largest = vec![0; MAX_BODY];
    let too_large = vec![0; MAX_BODY + 1];
    let error = state.put_all(vec![new_item("p", "a", b"x"), new_item("p", "b", &too_large)]).await.unwrap_err();
    assert_eq!(error.failure, Failure::Permanent);
    assert!(error.to_string().contains("item p / b"), "{error}");
    assert_eq!(state.query("p").await.unwrap(), []);
    state.put_all(vec![new_item("p", "a", &largest), new_item("p", "\0\n", b"")]).await.unwrap();
    assert_eq!(state.query("p").await.unwrap().len(), 2);
}

fn refused(path: &Path) -> String {
    let error = EmbeddedState::open(path, clock()).err().unwrap();
    assert_eq!(error.failure, Failure::Permanent, "{error}");
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()) && text.contains("name another file"), "{text}");
    text
}

#[test]
fn a_file_that_is_something_else_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [("short", "hello".to_owned()), ("access.log", "GET / HTTP/1.1 200\n".repeat(1000))] {
        let path = folder.path().join(name);
        fs::write(&path, &content).unwrap();
        refused(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }

    let path = folder.path().join("other.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(other);
    let before = fs::read(&path).unwrap();
    assert!(refused(&path).contains("another program"));
    assert!(fs::read(&path).unwrap() == before);
}

#[test]
fn a_newer_layout_is_refused_by_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    drop(EmbeddedState::open(&path, clock()).unwrap());
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert!(refused(&path).contains("layout 2"));
}

#[tokio::test]
async fn an_empty_file_becomes_a_state_file_and_names_mean_nothing_special() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(":memory:");
    fs::write(&path, "").unwrap();
    EmbeddedState::open(&path, clock()).unwrap().put("p", "s", vec![], at(NEVER)).await.unwrap();
    let again = EmbeddedState::open(&path, clock()).unwrap();
    assert!(again.get("p", "s").await.unwrap().is_some());
}

#[test]
fn places_where_no_file_can_be_are_errors_that_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let failed = |path: &Path| EmbeddedState::open(path, clock()).err().unwrap();
    assert!(failed(folder.path()).to_string().contains("it is a folder"));
    let error = failed(&folder.path().join("no/state"));
    assert_eq!(error.failure, Failure::NotFound);
    assert!(error.to_string().contains("folder does not exist"), "{error}");
}
