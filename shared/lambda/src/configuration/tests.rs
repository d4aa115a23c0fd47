use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use cloudvigil_core::ports::{Chunks, Failure, Object, PortError, PortResult};

use super::*;

/// A bucket: objects by address. While it is closed, every request is denied; so is each of an address in `denied`.
#[derive(Default)]
pub(crate) struct Bucket {
    objects: Mutex<BTreeMap<String, String>>,
    denied: Mutex<Vec<String>>,
    closed: Mutex<bool>,
    reads: Mutex<usize>,
}

struct Content(Option<Vec<u8>>);

#[async_trait]
impl Chunks for Content {
    async fn next(&mut self) -> PortResult<Option<bytes::Bytes>> {
        Ok(self.0.take().map(bytes::Bytes::from))
    }
}

impl Bucket {
    pub(crate) fn put(&self, key: &str, text: &str) {
        self.objects.lock().unwrap().insert(format!("s3://b/{key}"), text.to_owned());
    }

    /// From now on every request is denied.
    pub(crate) fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    fn check(&self, what: &str) -> PortResult<()> {
        let denied = *self.closed.lock().unwrap() || self.denied.lock().unwrap().iter().any(|one| one == what);
        if denied { Err(PortError::new(Failure::Denied, format!("read {what}"), "AccessDenied")) } else { Ok(()) }
    }

    fn below(&self, root: &str) -> Vec<(String, String)> {
        let objects = self.objects.lock().unwrap();
        objects.iter().filter(|(key, _)| key.starts_with(root)).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn list(&self, root: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        self.check(root)?;
        let id = |source: String| ObjectId { bucket: "b".to_owned(), key: source.clone(), source, version: None };
        Ok((self.below(root).into_iter().map(|(source, _)| id(source)).collect(), Vec::new()))
    }

    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        self.check(&id.source)?;
        *self.reads.lock().unwrap() += 1;
        let text = self.objects.lock().unwrap().get(&id.source).cloned();
        let missing = || PortError::new(Failure::NotFound, format!("read {}", id.source), "NoSuchKey");
        let content = Box::new(Content(Some(text.ok_or_else(missing)?.into_bytes())));
        Ok(Object { version: String::new(), modified: None, size: None, metadata: BTreeMap::new(), content })
    }

    async fn fingerprint(&self, root: &str) -> PortResult<Option<String>> {
        self.check(root)?;
        Ok(Some(format!("{:?}", self.below(root))))
    }
}

fn configuration(bucket: &Arc<Bucket>) -> Configuration {
    let environment = Environment::from([
        ("CONFIGURATION_BUCKET", "b"),
        ("CONFIGURATION_KEY", "cloudvigil.toml"),
        ("RULES_PREFIX", "rules/"),
    ]);
    Configuration::from_environment(&environment, Arc::clone(bucket) as Arc<dyn ObjectStore>)
}

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(minute * 60).unwrap()
}

fn names(news: &News) -> Option<Vec<&str>> {
    news.files.as_ref().map(|files| files.iter().map(|file| file.name.as_str()).collect())
}

#[tokio::test]
async fn it_is_read_at_first_and_then_only_what_has_changed() {
    let bucket = Arc::new(Bucket::default());
    bucket.put("cloudvigil.toml", "[placeholders]\nadmins = [\"a\"]\n");
    bucket.put("rules/one.yml", "title: one");
    bucket.put("rules/README.md", "no rule");
    let mut configuration = configuration(&bucket);
    let news = configuration.read(at(0)).await.unwrap();
    assert_eq!((news.document_changed, names(&news)), (true, Some(vec!["s3://b/rules/one.yml"])));
    assert!(news.failures.is_empty(), "{:?}", news.failures);
    assert!(configuration.read(at(4)).await.is_none(), "it holds for five minutes");

    let reads = *bucket.reads.lock().unwrap();
    let news = configuration.read(at(5)).await.unwrap();
    assert_eq!((news.document_changed, names(&news)), (false, None));
    assert_eq!(*bucket.reads.lock().unwrap(), reads + 1, "of what is as it was, the document alone is read");

    bucket.put("rules/two.yaml", "title: two");
    let news = configuration.read(at(10)).await.unwrap();
    assert_eq!(names(&news).unwrap().len(), 2);
    // Placeholders stand in the rules, so these are needed again too.
    bucket.put("cloudvigil.toml", "[placeholders]\nadmins = [\"b\"]\n");
    let news = configuration.read(at(15)).await.unwrap();
    assert_eq!((news.document_changed, names(&news).unwrap().len()), (true, 2));
    assert_eq!(configuration.config().placeholders["admins"], ["b"]);
}

#[tokio::test]
async fn what_cannot_be_read_changes_nothing_and_is_tried_again_soon() {
    let bucket = Arc::new(Bucket::default());
    bucket.put("cloudvigil.toml", "[placeholders]\nadmins = [\"a\"]\n");
    bucket.put("rules/one.yml", "title: one");
    let mut configuration = configuration(&bucket);
    configuration.read(at(0)).await.unwrap();

    *bucket.closed.lock().unwrap() = true;
    bucket.put("rules/two.yml", "title: two");
    let news = configuration.read(at(5)).await.unwrap();
    assert_eq!((news.document_changed, names(&news), news.failures.len()), (false, None, 2));
    assert!(news.failures[0].contains("s3://b/cloudvigil.toml: AccessDenied"), "{:?}", news.failures);
    assert_eq!(configuration.config().placeholders["admins"], ["a"]);
    *bucket.closed.lock().unwrap() = false;

    bucket.denied.lock().unwrap().push("s3://b/rules/two.yml".to_owned());
    let news = configuration.read(at(6)).await.unwrap();
    assert_eq!((names(&news), news.failures.len()), (None, 1), "part of the rules is not what the rules are now");
    bucket.denied.lock().unwrap().clear();
    let news = configuration.read(at(7)).await.unwrap();
    assert_eq!((names(&news).unwrap().len(), news.failures.len()), (2, 0));

    bucket.objects.lock().unwrap().clear();
    let news = configuration.read(at(12)).await.unwrap();
    assert_eq!(
        (news.document_changed, names(&news), news.failures.len()),
        (false, None, 2),
        "an empty bucket is a failure"
    );
}

#[tokio::test]
async fn a_document_that_is_none_is_told_each_time_and_leaves_the_rules() {
    let bucket = Arc::new(Bucket::default());
    bucket.put("cloudvigil.toml", "[suppresions]\n");
    bucket.put("rules/one.yml", "title: one");
    let mut configuration = configuration(&bucket);
    for minute in [0, 1] {
        let news = configuration.read(at(minute)).await.unwrap();
        assert_eq!(news.failures.len(), 1);
        assert!(news.failures[0].starts_with("s3://b/cloudvigil.toml, line 1"), "{:?}", news.failures);
        assert_eq!(names(&news).is_some(), minute == 0, "the rules do not depend on it");
    }
    assert_eq!(*configuration.config(), Config::default());
}

#[tokio::test]
async fn without_a_bucket_nothing_is_asked() {
    let environment = Environment::from([("CONFIGURATION_KEY", "cloudvigil.toml"), ("RULES_PREFIX", "rules/")]);
    let store: Arc<dyn ObjectStore> = Arc::new(Bucket { closed: Mutex::new(true), ..Bucket::default() });
    assert!(Configuration::from_environment(&environment, store).read(at(0)).await.is_none());
}
