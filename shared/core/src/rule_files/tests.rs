use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;

use super::*;
use crate::ports::{Chunks, Object};

/// Objects by source: a text, or how it fails.
struct Store(BTreeMap<String, Result<Vec<u8>, Failure>>);

struct Content(Option<Vec<u8>>);

#[async_trait]
impl Chunks for Content {
    async fn next(&mut self) -> PortResult<Option<Bytes>> {
        Ok(self.0.take().map(Bytes::from))
    }
}

fn id(bucket: &str, source: &str) -> ObjectId {
    ObjectId { source: source.to_owned(), bucket: bucket.to_owned(), key: source.to_owned(), version: None }
}

#[async_trait]
impl ObjectStore for Store {
    async fn list(&self, root: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        let bucket = if root.starts_with("s3://") { "b" } else { "" };
        Ok((self.0.keys().map(|source| id(bucket, source)).collect(), Vec::new()))
    }

    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        let content = match &self.0[&id.source] {
            Ok(bytes) => Content(Some(bytes.clone())),
            Err(failure) => return Err(PortError::new(*failure, format!("read {}", id.source), "AccessDenied")),
        };
        let (version, modified, size, metadata) = (String::new(), None, None, BTreeMap::new());
        Ok(Object { version, modified, size, metadata, content: Box::new(content) })
    }
}

fn store<const N: usize>(objects: [(&str, Result<Vec<u8>, Failure>); N]) -> Store {
    Store(objects.into_iter().map(|(source, content)| (source.to_owned(), content)).collect())
}

fn read(store: &Store, root: &str) -> RuleFiles {
    RuleFiles::read(store, root).now_or_never().unwrap().unwrap()
}

#[test]
fn files_are_known_by_the_name_under_which_people_find_them() {
    let folder =
        store([("a/one.yml", Ok(b"1".to_vec())), ("notes.txt", Ok(b"2".to_vec())), ("two.yaml", Ok(Vec::new()))]);
    let names = |read: RuleFiles| read.files.into_iter().map(|file| file.name).collect::<Vec<_>>();
    assert_eq!(names(read(&folder, "rules/")), ["rules/a/one.yml", "rules/two.yaml"]);
    assert_eq!(names(read(&store([("rule.sigma", Ok(Vec::new()))]), "rule.sigma")), ["rule.sigma"], "it was named");
    let bucket = store([("s3://b/rules/one.yml", Ok(Vec::new())), ("s3://b/rules/README", Ok(Vec::new()))]);
    assert_eq!(names(read(&bucket, "s3://b/rules/")), ["s3://b/rules/one.yml"]);
}

#[test]
fn one_that_cannot_be_read_hides_no_other() {
    let objects = store([
        ("binary.yml", Ok(vec![0xff])),
        ("good.yml", Ok(b"title: x".to_vec())),
        ("huge.yml", Ok(vec![b'#'; MAX_FILE + 1])),
        ("lines.yml", Ok(b"title: x\n".repeat(MAX_FILE))),
        ("late.yml", Ok(b"title: x\nauthor: \xff\n".to_vec())),
        ("secret.yml", Err(Failure::Denied)),
    ]);
    let read = read(&objects, "rules");
    assert_eq!(read.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["rules/good.yml"]);
    let problems: Vec<_> = read.problems.iter().map(ToString::to_string).collect();
    let long = "it has more than 1048576 bytes, the most that is read";
    assert_eq!(
        problems,
        [
            "rules/binary.yml:1: it is not UTF-8".to_owned(),
            format!("rules/huge.yml:1: {long}"),
            "rules/late.yml:2: it is not UTF-8".to_owned(),
            // Nine bytes a line.
            format!("rules/lines.yml:{}: {long}", 1 + MAX_FILE / 9),
        ]
    );
    assert_eq!(read.errors.iter().map(|error| error.failure).collect::<Vec<_>>(), [Failure::Denied]);
}

#[test]
fn a_configuration_is_text_of_a_reasonable_size() {
    let objects = store([("c", Ok(b"[own]".to_vec())), ("b", Ok(vec![0xff])), ("d", Err(Failure::NotFound))]);
    let text = |name: &str| configuration(&objects, &id("", name)).now_or_never().unwrap();
    assert_eq!(text("c").unwrap(), "[own]");
    assert_eq!(text("b").unwrap_err().to_string(), "read b: it is not UTF-8");
    assert_eq!(text("d").unwrap_err().failure, Failure::NotFound);
}
