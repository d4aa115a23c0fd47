//! One log in pieces, scanned by several processes into one state: in any order, some pieces twice, some processes killed
//! midway and run again. What is settled at the end is what one pass over the whole log finds.

#![allow(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

mod support;

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;
use support::Folder;

/// Rules of every kind: of single records, of windows that slide, of windows that are closed, and a chain.
const RULES: &str = "
title: A trail was stopped
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a01
level: high
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: StopLogging}, condition: selection}
---
title: A password was wrong
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a02
level: low
logsource: {product: linux, service: sshd}
detection: {selection: {event: failed_password}, condition: selection}
---
title: A password was right
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a03
level: low
logsource: {product: linux, service: sshd}
detection: {selection: {event: accepted}, condition: selection}
---
title: Many wrong passwords
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a04
level: medium
correlation:
  type: event_count
  rules: [3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a02]
  group-by: [src_ip]
  timespan: 20m
  condition: {gte: 5}
---
title: Many users
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a05
level: medium
correlation:
  type: value_count
  rules: [3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a02]
  group-by: [src_ip]
  timespan: 30m
  condition: {field: user, gte: 4}
---
title: Few wrong passwords
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a06
level: low
correlation:
  type: event_count
  rules: [3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a02]
  group-by: [src_ip]
  timespan: 15m
  condition: {lte: 2}
---
title: In after many wrong passwords
id: 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a07
level: critical
correlation:
  type: temporal_ordered
  rules: [3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a04, 3ff0a6a4-3d2c-4a6e-8a04-6f5a2f0c1a03]
  group-by: [src_ip]
  timespan: 60m
  generate: true
";

/// How many pieces the log is in, and how many lines it has.
const PIECES: usize = 240;
const LINES: usize = 2_400;
/// How many processes share the state.
const PROCESSES: usize = 4;
/// After how many written items the first process is killed, each time that it is run.
const KILLED_AFTER: [i64; 3] = [1, 60, 150];
/// How long anything is waited for.
const LIMIT: Duration = Duration::from_mins(1);

/// Numbers that follow from their seed alone.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// A line of sshd, or a record of CloudTrail, at a second of the day.
fn line(random: &mut Random, number: usize) -> (bool, String) {
    let second = random.below(6 * 3600);
    let time = format!("2026-03-01T{:02}:{:02}:{:02}", 8 + second / 3600, second / 60 % 60, second % 60);
    if random.below(20) == 0 {
        let id = format!("{number:08x}-0000-4000-8000-000000000000");
        let record = format!(
            r#"{{"eventVersion":"1.11","eventTime":"{time}Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"eu-west-1","sourceIPAddress":"203.0.113.7","eventID":"{id}"}}"#
        );
        return (true, record);
    }
    let (user, host, port) = (random.below(6), random.below(12), 1024 + random.below(60_000));
    let verb = if random.below(12) == 0 { "Accepted" } else { "Failed" };
    (
        false,
        format!(
            "{time}+00:00 web01 sshd[{number}]: {verb} password for user{user} from 203.0.113.{host} port {port} ssh2"
        ),
    )
}

fn scan(folder: &Folder, state: &str, paths: &[String]) -> Child {
    let mut arguments = vec!["scan", "--no-default-rules", "--rules", "rules.yml", "--state", state];
    arguments.extend(paths.iter().map(String::as_str));
    let mut command = folder.command(&arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// How many items a state holds; none while there is no state.
fn items(folder: &Folder, state: &str) -> i64 {
    let count = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(folder.path(state), flags)?;
        connection.busy_timeout(LIMIT)?;
        connection.query_row("SELECT count(*) FROM items", [], |row| row.get(0))
    };
    count().unwrap_or(0)
}

/// Kills a process when the state has grown by so many items; whether it was alive until then.
fn kill_when_it_wrote(folder: &Folder, state: &str, mut child: Child, before: i64, grown: i64) -> bool {
    let deadline = Instant::now() + LIMIT;
    while items(folder, state) < before + grown {
        assert!(Instant::now() < deadline, "nothing was written");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

fn settled(folder: &Folder, state: &str) -> Vec<Value> {
    let ran = folder.run(&["findings", "--state", state]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut found = ran.json();
    assert!(found.is_sorted_by_key(|finding| finding["id"].as_str().unwrap().to_owned()));
    for finding in &mut found {
        // How often it was published on the way differs, and where its entries lie; what it says at the end does not.
        finding["revision"].take();
        finding["evidence"].take();
    }
    found
}

#[test]
fn processes_that_share_a_state_end_like_one_pass() {
    let folder = Folder::new();
    folder.write("rules.yml", RULES);
    let mut random = Random(0x5eed_cafe);
    let (mut logs, mut whole) = (vec![[String::new(), String::new()]; PIECES], [String::new(), String::new()]);
    for number in 0..LINES {
        let (is_trail, line) = line(&mut random, number);
        let piece = random.below(PIECES);
        for log in [&mut logs[piece], &mut whole] {
            log[usize::from(is_trail)].push_str(&line);
            log[usize::from(is_trail)].push('\n');
        }
    }
    let mut pieces = BTreeSet::new();
    for (number, log) in logs.iter().enumerate() {
        for (name, text) in ["auth.log", "trail.json"].iter().zip(log).filter(|(_, text)| !text.is_empty()) {
            let path = format!("pieces/{number:03}-{name}");
            folder.write(&path, text);
            pieces.insert(path);
        }
    }
    folder.write("whole/auth.log", &whole[0]).write("whole/trail.json", &whole[1]);
    finish(scan(&folder, "whole.db", &["whole".to_owned()]));
    let expected = settled(&folder, "whole.db");
    let by_rule =
        |rule: &str| expected.iter().filter(|finding| finding["rule"].as_str().unwrap().ends_with(rule)).count();
    for rule in ["01", "04", "05", "06", "07"] {
        assert!(by_rule(rule) > 0, "no finding of rule {rule}");
    }

    // Each piece goes to a process, every fourth to another one too; each process has them in an order of its own.
    let mut shares = vec![Vec::new(); PROCESSES];
    for piece in pieces {
        let first = random.below(PROCESSES);
        if random.below(4) == 0 {
            shares[(first + 1 + random.below(PROCESSES - 1)) % PROCESSES].push(piece.clone());
        }
        shares[first].push(piece);
    }
    for share in &mut shares {
        random.shuffle(share);
    }
    let (dying, others) = shares.split_first().unwrap();
    let mut running: Vec<Child> = Vec::new();
    let mut deaths = 0;
    for (number, grown) in KILLED_AFTER.into_iter().enumerate() {
        let before = items(&folder, "shared.db");
        let child = scan(&folder, "shared.db", dying);
        // One by one the others join, while the first one lives and dies.
        running.extend(others.get(number).map(|share| scan(&folder, "shared.db", share)));
        deaths += usize::from(kill_when_it_wrote(&folder, "shared.db", child, before, grown));
    }
    running.into_iter().for_each(finish);
    assert!(deaths > 0, "the first process was never killed at work");
    finish(scan(&folder, "shared.db", dying));
    let found = settled(&folder, "shared.db");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
    println!("{} findings, {deaths} deaths", expected.len());
}
