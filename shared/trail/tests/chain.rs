//! A chain of digests: whole, and broken in every way.

#![allow(clippy::unwrap_used, reason = "a test may panic, also outside of its #[test] function")]

mod support;

use cloudvigil_core::decode::Decoder;
use cloudvigil_core::ports::Failure;
use cloudvigil_trail::{KeyRing, Scope};
use jiff::ToSpan as _;
use support::{Bucket, CLOUDTRAIL, Hour, MALLORY, Store, Trail, View, gzip, hour, verify, verify_in};

/// What is inside a gzip file.
fn gunzip(content: &[u8]) -> Vec<u8> {
    let (mut decoder, mut inside) = (Decoder::default(), Vec::new());
    decoder.push(content, &mut |bytes| inside.extend_from_slice(bytes)).unwrap();
    decoder.finish(&mut |bytes| inside.extend_from_slice(bytes)).unwrap();
    inside
}

const VIEWS: [View; 3] = [View::Bucket, View::Folder, View::FolderWithoutMetadata];
/// Where the newest digest can be verified too.
const SIGNED: [View; 2] = [View::Bucket, View::Folder];

#[tokio::test]
async fn what_nobody_has_touched_is_valid() {
    let (bucket, digests) = Bucket::with_hours(5);
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        assert_eq!(verified.breaks(), [], "{view:?}");
        let [summary] = verified.summaries.as_slice() else { panic!("{verified:?}") };
        assert_eq!((summary.digests.valid, summary.log_files.valid), (5, 10));
        assert_eq!((summary.from, summary.to), (Some(hour(0)), Some(hour(5))));
        assert!(verified.errors.is_empty() && summary.gaps.is_empty());
        assert_eq!(verified.records.len(), 5, "one line a digest");
    }
    let offline = verify(&bucket, View::FolderWithoutMetadata).await;
    assert_eq!(offline.breaks(), [("digest", "unverified", digests[4].key.as_str())]);
    assert_eq!(offline.summaries[0].log_files.valid, 10);
    assert_eq!(offline.summaries[0].digests.valid, 4);
}

#[tokio::test]
async fn a_log_file_that_changed_is_found() {
    let (whole, _) = Bucket::with_hours(3);
    let key = &whole.log_keys()[2];
    let other = gzip(br#"{"Records":[]}"#);
    let mut appended = whole.files[key].clone();
    appended.extend(gzip(b"more"));
    let mut trailing = whole.files[key].clone();
    trailing.extend(b"more");
    let cut = whole.files[key][..whole.files[key].len() - 9].to_vec();
    for changed in [other, appended, trailing, cut, b"not gzip".to_vec(), Vec::new()] {
        let mut bucket = whole.clone();
        bucket.change(key, |content| content.clone_from(&changed));
        for view in SIGNED {
            let verified = verify(&bucket, view).await;
            assert_eq!(verified.breaks(), [("log_file", "changed", key.as_str())], "{view:?}");
            let record = &verified.records.iter().find(|record| record["type"] == "trail_log_file").unwrap();
            assert_ne!(record["expected_hash"], record["actual_hash"]);
            assert_eq!(record["resource"], format!("arn:aws:s3:::trail-logs/{key}"));
            assert_eq!(record["since"], hour(2).to_string(), "the end of its digest's time");
            assert_eq!(verified.summaries[0].log_files.changed, 1);
        }
    }
}

#[tokio::test]
async fn a_log_file_compressed_anew_is_as_it_was() {
    let (mut bucket, _) = Bucket::with_hours(2);
    let key = bucket.log_keys()[0].clone();
    let content = Trail::default().log_files(hour(1)).remove(0).1;
    // CloudTrail hashes what is inside.
    bucket.change(&key, |stored| stored.clone_from(&content));
    assert_eq!(verify(&bucket, View::Bucket).await.breaks(), []);
}

#[tokio::test]
async fn a_log_file_that_is_gone_is_found() {
    let (mut bucket, _) = Bucket::with_hours(3);
    let key = bucket.log_keys()[5].clone();
    bucket.remove(&key);
    for view in SIGNED {
        assert_eq!(verify(&bucket, view).await.breaks(), [("log_file", "missing", key.as_str())], "{view:?}");
    }
}

#[tokio::test]
async fn a_digest_that_is_gone_is_named_by_the_next() {
    let (mut bucket, digests) = Bucket::with_hours(5);
    bucket.remove(&digests[2].key);
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        assert_eq!(verified.breaks()[0], ("digest", "missing", digests[2].key.as_str()), "{view:?}");
        assert_eq!(verified.breaks().len(), 1, "its log files are in the gap: {:?}", verified.breaks());
        let gap = verified.summaries[0].gaps[0];
        assert_eq!((gap.from, gap.to), (hour(2), hour(3)));
    }
    // Two in a row, of which nobody names the first.
    bucket.remove(&digests[1].key);
    let verified = verify(&bucket, View::Bucket).await;
    assert_eq!(verified.breaks(), [("digest", "missing", digests[2].key.as_str())]);
    assert_eq!(verified.summaries[0].gaps[0].from, hour(1));
    // Without metadata nobody knows the signature of the one before the gap either.
    let offline = verify(&bucket, View::FolderWithoutMetadata).await;
    let names: Vec<_> = offline.breaks().iter().map(|(_, status, _)| *status).collect();
    assert_eq!(names, ["unverified", "missing", "unverified"]);
}

#[tokio::test]
async fn the_first_digest_that_is_gone_may_have_expired() {
    let (mut bucket, digests) = Bucket::with_hours(3);
    bucket.remove(&digests[0].key);
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        assert_eq!(verified.breaks(), [("digest", "beginning_missing", digests[0].key.as_str())], "{view:?}");
    }
}

#[tokio::test]
async fn the_newest_digest_that_is_gone_leaves_its_metadata_file() {
    let (bucket, digests) = Bucket::with_hours(3);
    let newest = &digests[2].key;
    let mut store = Store::new(&bucket, View::Folder);
    store.failing.clear();
    let mut files = bucket.clone();
    let sidecar = serde_json::json!(bucket.metadata[newest]).to_string().into_bytes();
    files.remove(newest);
    files.files.insert(format!("{newest}.metadata.json"), sidecar);
    let verified = verify(&files, View::Folder).await;
    assert_eq!(verified.breaks(), [("digest", "missing", newest.as_str())]);
}

#[tokio::test]
async fn a_digest_whose_log_file_was_taken_out_is_found() {
    let trail = Trail::default();
    let (whole, digests) = Bucket::with_hours(4);
    // Somebody removes a log file and writes a digest that does not name it, as well as it can be done without the key.
    for forged in [1, 3] {
        let mut log_files = trail.log_files(hour(i64::try_from(forged).unwrap() + 1));
        let removed = log_files.remove(0).0;
        let of = Hour {
            end: hour(i64::try_from(forged).unwrap() + 1),
            previous: Some(&digests[forged - 1]),
            log_files,
            backfill: false,
            signer: &CLOUDTRAIL,
        };
        let mut bucket = whole.clone();
        bucket.remove(&removed);
        bucket.change(&digests[forged].key, |content| content.clone_from(&gzip(&trail.digest(&of).0)));
        for view in VIEWS {
            let verified = verify(&bucket, view).await;
            let status = match (forged, view) {
                (3, View::FolderWithoutMetadata) => "unverified",
                (3, _) => "signature_invalid",
                _ => "changed",
            };
            assert!(
                verified.breaks().contains(&("digest", status, digests[forged].key.as_str())),
                "{forged} {view:?}: {:?}",
                verified.breaks()
            );
        }
    }
}

#[tokio::test]
async fn a_digest_signed_with_another_key_is_found() {
    let (mut bucket, digests) = Bucket::with_hours(3);
    let trail = Trail::default();
    let mut of =
        Hour { end: hour(4), previous: Some(&digests[2]), log_files: Vec::new(), backfill: false, signer: &MALLORY };
    let forged = bucket.deliver(&trail, &of).key;
    for view in SIGNED {
        assert_eq!(verify(&bucket, view).await.breaks(), [("digest", "key_unknown", forged.as_str())], "{view:?}");
    }
    // The same under the name of CloudTrail's key.
    let claims = support::Signer::clone_as(&MALLORY, &CLOUDTRAIL.fingerprint);
    of.signer = &claims;
    bucket.deliver(&trail, &of);
    for view in SIGNED {
        let breaks = verify(&bucket, view).await;
        assert_eq!(breaks.breaks(), [("digest", "signature_invalid", forged.as_str())], "{view:?}");
    }
}

#[tokio::test]
async fn without_the_right_keys_nothing_is_verified_and_hashes_still_are() {
    let (mut bucket, digests) = Bucket::with_hours(3);
    let key = bucket.log_keys()[0].clone();
    bucket.remove(&key);
    let store = Store::new(&bucket, View::Bucket);
    let verified = verify_in(&store, View::Bucket, &MALLORY.ring(), &Scope::default()).await;
    let names: Vec<_> = verified.breaks().iter().map(|(_, status, _)| *status).collect();
    assert_eq!(names, ["key_unknown", "missing"]);
    // Even then the next digest tells that one was changed.
    bucket.change(&digests[1].key, |content| *content = gzip(&[content.as_slice()].concat()));
    let store = Store::new(&bucket, View::Bucket);
    let verified = verify_in(&store, View::Bucket, &KeyRing::default(), &Scope::default()).await;
    assert!(verified.breaks().contains(&("digest", "malformed", digests[1].key.as_str())));
}

#[tokio::test]
async fn logging_that_was_off_for_a_while_is_a_gap() {
    let (mut bucket, _) = Bucket::with_hours(3);
    let restarted = bucket.deliver_hours(&Trail::default(), 10..13, None);
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        assert_eq!(verified.breaks(), [("digest", "gap", restarted[0].key.as_str())], "{view:?}");
        let gap = verified.summaries[0].gaps[0];
        assert_eq!((gap.from, gap.to), (hour(3), hour(9)));
    }
}

#[tokio::test]
async fn a_backfill_digest_is_verified_apart_and_needs_none_before_it() {
    let (mut bucket, digests) = Bucket::with_hours(4);
    let trail = Trail::default();
    let late = vec![(trail.log_key(hour(2), "late"), b"{\"Records\":[]}".to_vec())];
    let of = |n, log_files| Hour { end: hour(n), previous: None, log_files, backfill: true, signer: &CLOUDTRAIL };
    bucket.deliver(&trail, &of(2, late.clone()));
    bucket.deliver(&trail, &of(3, Vec::new()));
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        assert_eq!(verified.breaks(), [], "{view:?}");
        assert_eq!(verified.summaries.iter().filter(|summary| summary.backfill).count(), 1);
    }
    bucket.remove(&late[0].0);
    assert_eq!(verify(&bucket, View::Bucket).await.breaks(), [("log_file", "missing", late[0].0.as_str())]);
    assert_eq!(digests.len(), 4);
}

#[tokio::test]
async fn what_is_no_digest_is_found() {
    let (whole, digests) = Bucket::with_hours(3);
    let key = &digests[1].key;
    let genuine = whole.files[&digests[0].key].clone();
    let cut = whole.files[key][..60].to_vec();
    for (content, status) in [
        (b"<html>".to_vec(), "malformed"),
        (gzip(b"{}"), "malformed"),
        (gzip(b"[1, 2"), "malformed"),
        (cut, "malformed"),
        // Another genuine digest in its place.
        (genuine, "moved"),
    ] {
        let mut bucket = whole.clone();
        bucket.change(key, |stored| stored.clone_from(&content));
        for view in SIGNED {
            let verified = verify(&bucket, view).await;
            assert_eq!(verified.breaks()[0], ("digest", status, key.as_str()), "{view:?}");
        }
    }
}

#[tokio::test]
async fn a_digest_without_its_metadata_is_no_digest_of_cloudtrails() {
    let (mut bucket, digests) = Bucket::with_hours(3);
    // The next digest vouches for the second; nobody for the last.
    bucket.metadata.remove(&digests[1].key);
    bucket.metadata.remove(&digests[2].key);
    let verified = verify(&bucket, View::Bucket).await;
    assert_eq!(verified.breaks(), [("digest", "signature_invalid", digests[2].key.as_str())]);
}

#[tokio::test]
async fn no_digest_leads_out_of_the_folder() {
    let (mut bucket, digests) = Bucket::with_hours(2);
    let trail = Trail::default();
    let outside = ["../../../../etc/passwd", "/etc/passwd", "..", "a/../../x.json.gz"];
    let of = Hour {
        end: hour(3),
        previous: Some(&digests[1]),
        log_files: outside.iter().map(|key| ((*key).to_owned(), b"x".to_vec())).collect(),
        backfill: false,
        signer: &CLOUDTRAIL,
    };
    bucket.deliver(&trail, &of);
    bucket.files.retain(|key, _| key.starts_with("AWSLogs/"));
    let store = Store::new(&bucket, View::Folder);
    let verified = verify_in(&store, View::Folder, &CLOUDTRAIL.ring(), &Scope::default()).await;
    let missing: Vec<_> = verified.breaks().into_iter().filter(|(_, status, _)| *status == "missing").collect();
    assert_eq!(missing.len(), outside.len());
    assert!(store.opened.lock().unwrap().iter().all(|source| source.starts_with("AWSLogs/")));
}

#[tokio::test]
async fn a_digest_of_ten_megabytes_is_verified() {
    let trail = Trail::default();
    let mut bucket = Bucket::default();
    let log_files = (0..2_500).map(|n| (trail.log_key(hour(1), &format!("{n:04000}")), Vec::new())).collect();
    let of = Hour { end: hour(1), previous: None, log_files, backfill: false, signer: &CLOUDTRAIL };
    assert!(trail.digest(&of).0.len() > 10_000_000);
    bucket.deliver(&trail, &of);
    let gone = bucket.log_keys()[2_000].clone();
    bucket.remove(&gone);
    let verified = verify(&bucket, View::Folder).await;
    assert_eq!(verified.breaks(), [("log_file", "missing", gone.as_str())]);
    assert_eq!(verified.summaries[0].log_files.valid, 2_499);
}

#[tokio::test]
async fn trails_accounts_and_regions_are_chains_of_their_own() {
    let mut bucket = Bucket::default();
    let trails = [
        Trail::default(),
        Trail { name: "second_trail".to_owned(), ..Trail::default() },
        Trail { region: "us-east-1".to_owned(), ..Trail::default() },
        Trail { account: "444455556666".to_owned(), ..Trail::default() },
        Trail { prefix: "org/".to_owned(), account: "o-1/777788889999".to_owned(), ..Trail::default() },
    ];
    for trail in &trails[..4] {
        bucket.deliver_hours(trail, 1..4, None);
    }
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        assert_eq!(verified.breaks(), [], "{view:?}");
        assert_eq!(verified.summaries.len(), 4);
        assert!(verified.summaries.iter().all(|summary| summary.digests.valid == 3 && summary.log_files.valid == 6));
    }
}

#[tokio::test]
async fn a_log_file_that_no_digest_names_is_told_once_for_its_region() {
    let (mut bucket, _) = Bucket::with_hours(6);
    let trail = Trail::default();
    for n in 0..3 {
        bucket.files.insert(trail.log_key(hour(3) + n.minutes(), &format!("planted{n}")), gzip(b"{}"));
    }
    // Not digested yet: no wonder.
    bucket.files.insert(trail.log_key(hour(7), "new"), gzip(b"{}"));
    for view in SIGNED {
        let verified = verify(&bucket, view).await;
        let [("log_files", "unlisted", first)] = verified.breaks()[..] else { panic!("{:?}", verified.breaks()) };
        assert!(first.contains("planted0"));
        assert_eq!(verified.records.last().unwrap()["count"], 3);
    }
}

#[tokio::test]
async fn a_part_of_the_time_is_verified_by_itself() {
    let (mut bucket, digests) = Bucket::with_hours(8);
    let keys = bucket.log_keys();
    bucket.remove(&keys[0]);
    bucket.remove(&keys[15]);
    let scope = Scope { since: Some(hour(3)), until: Some(hour(5)), ..Scope::default() };
    for view in VIEWS {
        let store = Store::new(&bucket, view);
        let verified = verify_in(&store, view, &CLOUDTRAIL.ring(), &scope).await;
        assert_eq!(verified.breaks(), [], "the next digest vouches for the last one, {view:?}");
        assert_eq!((verified.summaries[0].from, verified.summaries[0].to), (Some(hour(3)), Some(hour(6))));
    }
    // One that is gone just before it is named by the first one in it.
    bucket.remove(&digests[2].key);
    let store = Store::new(&bucket, View::Bucket);
    let verified = verify_in(&store, View::Bucket, &CLOUDTRAIL.ring(), &scope).await;
    assert_eq!(verified.breaks(), [("digest", "missing", digests[2].key.as_str())]);
}

#[tokio::test]
async fn what_may_not_be_read_is_not_taken_for_sound_or_for_gone() {
    let (bucket, digests) = Bucket::with_hours(3);
    let log = &bucket.log_keys()[0];
    let mut store = Store::new(&bucket, View::Bucket);
    store.failing.insert(format!("s3://trail-logs/{log}"), Failure::Denied);
    store.failing.insert(format!("s3://trail-logs/{}", digests[2].key), Failure::Denied);
    let verified = verify_in(&store, View::Bucket, &CLOUDTRAIL.ring(), &Scope::default()).await;
    assert_eq!(
        verified.breaks(),
        [("log_file", "unreadable", log.as_str()), ("digest", "unreadable", digests[2].key.as_str())]
    );
    assert_eq!(verified.errors.len(), 2);
}

#[tokio::test]
async fn no_change_of_a_byte_and_no_removal_goes_unreported() {
    let (whole, _) = Bucket::with_hours(4);
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let (mut reported, mut same) = (0, 0);
    for (key, content) in &whole.files {
        let mut without = whole.clone();
        without.remove(key);
        let newest = key.contains("Digest") && key.contains("T0401");
        let verified = verify(&without, View::Bucket).await;
        assert!(newest || !verified.breaks().is_empty(), "the removal of {key}");
        let mut offset = 0;
        while offset < content.len() {
            let mask = u8::try_from(next() % 255 + 1).unwrap();
            let mut bucket = whole.clone();
            bucket.change(key, |content| content[offset] ^= mask);
            let verified = verify(&bucket, View::Bucket).await;
            if verified.breaks().is_empty() {
                // A gzip file has a time, a system, and bits of padding, which are no part of what is inside.
                let inside = gunzip(&bucket.files[key]);
                assert_eq!(inside, gunzip(content), "byte {offset} of {key}, changed by {mask:#04x}");
                same += 1;
            } else {
                reported += 1;
            }
            offset += usize::try_from(next() % 11 + 1).unwrap();
        }
    }
    println!("{reported} changes reported, {same} left the content as it was");
    assert!(reported > 500);
}
