use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

fn packed_of(list: &[Contribution]) -> Packed {
    let mut packed = Packed::default();
    for one in list {
        packed.push(one);
    }
    packed
}

#[test]
fn what_is_packed_is_read_back_however_it_is_split() {
    let near = 1_772_359_200_000_000..1_772_359_300_000_000_i64;
    let time = prop::option::of(prop_oneof![
        Timestamp::MIN.as_microsecond()..=Timestamp::MAX.as_microsecond(),
        near.clone(),
        near.prop_map(|time| time / SECOND * SECOND)
    ]);
    let key = prop_oneof![any::<u128>(), 0..100_u128, (u128::MAX - 100)..u128::MAX];
    let value = prop::option::of(prop_oneof![any::<i128>(), -10..10_i128]);
    let weight = prop_oneof![Just(1), any::<u32>()];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let one = (time, key, 0..3_usize, weight, flags, value).prop_map(
        |(time, key, leaf, weight, (failed, own, deploying), value)| {
            let key = RecordKey(key);
            Contribution { time, key, leaf, weight, failed, own, deploying, value }
        },
    );
    let config = Config { cases: 2_000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[21; 32]));
    runner
        .run(&(prop::collection::vec(one, 0..20), 0..80_usize), |(list, size)| {
            let packed = packed_of(&list);
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), list.clone());
            let stored = serde_json::to_string(&packed).unwrap();
            let read: Packed = serde_json::from_str(&stored).unwrap();
            prop_assert_eq!(&read, &packed);
            for latest in list.iter().filter_map(|one| one.time) {
                let due = list.iter().filter(|one| one.time.is_none_or(|time| time <= latest));
                prop_assert!(packed.until(latest).eq(due.copied()));
            }
            let (first, second) = list.split_at(size.min(list.len()));
            let mut appended = packed_of(first);
            appended.append(&packed_of(second));
            prop_assert_eq!(&appended, &packed);
            let mut set_apart = packed_of(first);
            set_apart.append_from(&set_apart.base(), &packed_of(second).bytes_from(&set_apart.base()));
            prop_assert_eq!(&set_apart, &packed);
            let parts = packed.split(size);
            prop_assert!(parts.iter().all(|part| part.bytes.len() <= size || part.len() == 1));
            prop_assert_eq!(parts.iter().flat_map(Packed::iter).collect::<Vec<_>>(), list);
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_lines_of_an_attack_take_few_bytes() {
    let object = RecordKey::of(&["position", "object"]);
    for (apart, bytes) in [(400_000, 600), (13 * SECOND, 400)] {
        let mut packed = Packed::default();
        for number in 0..100 {
            let time = Some(1_772_359_200_000_000 + i64::try_from(number).unwrap() * apart);
            let key = object.at(number * 3);
            packed.push(&Contribution {
                time,
                key,
                leaf: 0,
                weight: 1,
                failed: false,
                own: false,
                deploying: false,
                value: None,
            });
        }
        assert!(packed.bytes.len() < bytes, "{apart}: {}", packed.bytes.len());
    }
}

#[test]
fn what_version_2_stored_is_read() {
    let near = [HAS_TIME | IS_NEAR, 14, 5];
    let far =
        [[FAILED | HAS_TIME | HAS_LEAF | HAS_WEIGHT | HAS_VALUE].as_slice(), &[13], &[7; 16], &[1, 2, 9]].concat();
    let stored = STANDARD_NO_PAD.encode([&near[..], &far].concat());
    let packed: Packed = serde_json::from_str(&format!("\"{stored}\"")).unwrap();
    let first = Contribution {
        time: Some(7),
        key: RecordKey(5),
        leaf: 0,
        weight: 1,
        failed: false,
        own: false,
        deploying: false,
        value: None,
    };
    let key = RecordKey(u128::from_be_bytes([7; 16]));
    let second = Contribution { time: Some(0), key, leaf: 1, weight: 2, failed: true, value: Some(-5), ..first };
    assert_eq!(packed.iter().collect::<Vec<_>>(), [first, second]);
    assert_eq!(packed, packed_of(&[first, second]));
}

#[test]
fn what_is_damaged_or_newer_is_an_error() {
    for text in ["!", "A", "AQ", "gA", "Af////////////////////////////////8B"] {
        for mark in ["", "."] {
            assert!(serde_json::from_str::<Packed>(&format!("\"{mark}{text}\"")).is_err(), "{mark}{text}");
        }
    }
}
