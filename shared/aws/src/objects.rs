//! Objects in S3: [`ObjectStore`] by `ListObjectsV2` and `GetObject`
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::SdkError;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use cloudvigil_core::ports::{Chunks, Failure, Object, ObjectId, ObjectStore, PortError, PortResult};

use crate::Clients;
use crate::error::port_error;
use crate::time::timestamp;

/// What every address begins with.
const SCHEME: &str = "s3://";

/// Objects in S3, known by `s3://bucket/key`. Buckets of other regions are found where they are.
pub struct S3Objects {
    clients: Arc<Clients>,
    /// The regions of the buckets that turned out to be elsewhere.
    elsewhere: Mutex<HashMap<String, String>>,
}

impl S3Objects {
    /// Objects read with these clients. Nothing is asked yet.
    pub fn new(clients: Arc<Clients>) -> Self {
        Self { clients, elsewhere: Mutex::new(HashMap::new()) }
    }

    async fn client(&self, bucket: &str) -> Client {
        let region = self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned();
        match region {
            Some(region) => self.clients.s3_in(&region).await,
            None => self.clients.s3().await.clone(),
        }
    }

    /// A client for the region that S3 names when it is asked for a bucket in the wrong one.
    async fn redirected<E>(&self, bucket: &str, error: &SdkError<E>) -> Option<Client> {
        let answer = error.raw_response()?;
        if !matches!(answer.status().as_u16(), 301 | 307 | 400) {
            return None;
        }
        let region = answer.headers().get("x-amz-bucket-region")?;
        if self.clients.region().await.is_ok_and(|current| current == region) {
            return None;
        }
        let client = self.clients.s3_in(region).await;
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket.to_owned(), region.to_owned());
        Some(client)
    }

    async fn page(&self, bucket: &str, prefix: &str, token: Option<String>) -> PortResult<Page> {
        let ask = |client: Client| {
            client.list_objects_v2().bucket(bucket).prefix(prefix).set_continuation_token(token.clone()).send()
        };
        let mut answer = ask(self.client(bucket).await).await;
        if let Err(error) = &answer
            && let Some(client) = self.redirected(bucket, error).await
        {
            answer = ask(client).await;
        }
        let answer = answer.map_err(|error| port_error(format!("list {SCHEME}{bucket}/{prefix}"), &error))?;
        let next = answer.next_continuation_token.filter(|_| answer.is_truncated == Some(true));
        let objects = answer.contents.unwrap_or_default().into_iter();
        // A console's "folder" is an empty object whose key ends in a slash.
        let objects =
            objects.filter(|object| object.size != Some(0) || !object.key().is_some_and(|key| key.ends_with('/')));
        let objects = objects.filter_map(|object| Some((object.key?, object.e_tag.unwrap_or_default())));
        Ok(Page { objects: objects.collect(), next })
    }
}

struct Page {
    /// Keys and `ETag`s.
    objects: Vec<(String, String)>,
    next: Option<String>,
}

#[async_trait]
impl ObjectStore for S3Objects {
    /// Every object whose key begins with the prefix, or, if the prefix is itself the key of an object, that one alone.
    ///
    /// If the first page cannot be read, that is the error. If a later one cannot, the pages before it are the answer,
    /// with the error beside them.
    async fn list(&self, root: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        let (bucket, prefix) = parse(root)?;
        let mut page = self.page(bucket, prefix, None).await?;
        if !prefix.is_empty() && page.objects.first().is_some_and(|(key, _)| key == prefix) {
            return Ok((vec![object_id(bucket, prefix)], Vec::new()));
        }
        let mut objects = Vec::new();
        let mut errors = Vec::new();
        loop {
            objects.extend(page.objects.iter().map(|(key, _)| object_id(bucket, key)));
            let Some(token) = page.next else { break };
            page = match self.page(bucket, prefix, Some(token)).await {
                Ok(page) => page,
                Err(error) => {
                    errors.push(error);
                    break;
                }
            };
        }
        // S3 sorts by UTF-8 bytes, but directory buckets do not sort at all.
        objects.sort_unstable();
        Ok((objects, errors))
    }

    /// The keys and `ETag`s, which the list has.
    async fn fingerprint(&self, root: &str) -> PortResult<Option<String>> {
        let (bucket, prefix) = parse(root)?;
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let page = self.page(bucket, prefix, token).await?;
            objects.extend(page.objects);
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        objects.sort_unstable();
        Ok(Some(objects.iter().flat_map(|(key, tag)| [key.as_str(), "\n", tag.as_str(), "\n"]).collect()))
    }

    /// Opens an object. Its version is S3's version id where the bucket has versions, else its `ETag`.
    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        let ask = |client: Client| {
            client.get_object().bucket(&id.bucket).key(&id.key).set_version_id(id.version.clone()).send()
        };
        let mut answer = ask(self.client(&id.bucket).await).await;
        if let Err(error) = &answer
            && let Some(client) = self.redirected(&id.bucket, error).await
        {
            answer = ask(client).await;
        }
        let answer = answer.map_err(|error| port_error(format!("read {}", id.source), &error))?;
        // A bucket whose versioning was never on, or is suspended, answers `null`.
        let version = answer.version_id.filter(|version| version != "null");
        let version = version.or_else(|| answer.e_tag.map(|etag| etag.trim_matches('"').to_owned()));
        Ok(Object {
            version: version.unwrap_or_default(),
            modified: answer.last_modified.as_ref().and_then(timestamp),
            size: answer.content_length.and_then(|length| u64::try_from(length).ok()),
            metadata: answer.metadata.unwrap_or_default().into_iter().collect(),
            content: Box::new(Body { source: id.source.clone(), stream: answer.body }),
        })
    }
}

/// An object's content as it comes over the network.
struct Body {
    source: String,
    stream: ByteStream,
}

#[async_trait]
impl Chunks for Body {
    async fn next(&mut self) -> PortResult<Option<Bytes>> {
        loop {
            match self.stream.next().await {
                None => return Ok(None),
                Some(Ok(chunk)) if chunk.is_empty() => {}
                Some(Ok(chunk)) => return Ok(Some(chunk)),
                Some(Err(error)) => {
                    return Err(PortError::new(Failure::Transient, format!("read {} to its end", self.source), error));
                }
            }
        }
    }
}

fn parse(root: &str) -> PortResult<(&str, &str)> {
    let address = root.strip_prefix(SCHEME).map(|rest| rest.split_once('/').unwrap_or((rest, "")));
    match address {
        Some((bucket, prefix)) if !bucket.is_empty() => Ok((bucket, prefix)),
        _ => Err(PortError::new(Failure::Permanent, format!("list {root}"), "not of the form s3://bucket/prefix")),
    }
}

fn object_id(bucket: &str, key: &str) -> ObjectId {
    ObjectId {
        source: format!("{SCHEME}{bucket}/{key}"),
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        version: None,
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_stub::{Reply, Stub};

    use super::*;

    fn listing(keys: &[&str], next: Option<&str>) -> Reply {
        let keys: String =
            keys.iter().flat_map(|key| ["<Contents><Key>", key, "</Key><Size>9</Size></Contents>"]).collect();
        let next = next.map_or_else(String::new, |token| {
            format!("<IsTruncated>true</IsTruncated><NextContinuationToken>{token}</NextContinuationToken>")
        });
        Reply::ok(format!("<ListBucketResult>{keys}{next}</ListBucketResult>"))
    }

    fn denied() -> Reply {
        Reply::status(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
    }

    async fn read(object: &mut Object) -> PortResult<Vec<u8>> {
        let mut all = Vec::new();
        while let Some(chunk) = object.content.next().await? {
            assert!(!chunk.is_empty());
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn pages_are_followed_and_folders_left_out() {
        let stub = Stub::answering([listing(&["logs/b", "logs/tree/"], Some("two")), listing(&["logs/a"], None)]);
        let store = S3Objects::new(stub.clients(Clients::with_config));
        let (objects, errors) = store.list("s3://bucket/logs/").await.unwrap();
        let sources: Vec<_> = objects.iter().map(|object| object.source.as_str()).collect();
        assert_eq!(sources, ["s3://bucket/logs/a", "s3://bucket/logs/b", "s3://bucket/logs/tree/"]);
        assert!(errors.is_empty());
        assert!(stub.requests()[1].path.contains("continuation-token=two"));
    }

    #[tokio::test]
    async fn what_lies_below_a_prefix_has_another_fingerprint_when_any_of_it_changes() {
        let page = |tag: &str, next: &str| {
            Reply::ok(format!(
                "<ListBucketResult><Contents><Key>r/{tag}.yml</Key><Size>9</Size><ETag>\"{tag}\"</ETag></Contents>{next}</ListBucketResult>"
            ))
        };
        let more = "<IsTruncated>true</IsTruncated><NextContinuationToken>two</NextContinuationToken>";
        let replies = [page("a", more), page("b", ""), page("a", more), page("b", ""), page("a", more), page("c", "")];
        let stub = Stub::answering(replies.into_iter().chain([denied()]).collect::<Vec<_>>());
        let store = S3Objects::new(stub.clients(Clients::with_config));
        let first = store.fingerprint("s3://bucket/r/").await.unwrap();
        assert!(first.is_some());
        assert_eq!(store.fingerprint("s3://bucket/r/").await.unwrap(), first);
        assert_ne!(store.fingerprint("s3://bucket/r/").await.unwrap(), first);
        assert_eq!(store.fingerprint("s3://bucket/r/").await.unwrap_err().failure, Failure::Denied);
    }

    #[tokio::test]
    async fn a_folder_marker_is_no_object() {
        let body = "<ListBucketResult><Contents><Key>logs/</Key><Size>0</Size></Contents></ListBucketResult>";
        let stub = Stub::answering([Reply::ok(body)]);
        let (objects, _) = S3Objects::new(stub.clients(Clients::with_config)).list("s3://bucket/logs/").await.unwrap();
        assert!(objects.is_empty());
    }

    #[tokio::test]
    async fn an_objects_own_name_means_that_object() {
        let stub = Stub::answering([listing(&["logs/a", "logs/a.1"], None)]);
        let (objects, _) = S3Objects::new(stub.clients(Clients::with_config)).list("s3://bucket/logs/a").await.unwrap();
        assert_eq!(objects, [object_id("bucket", "logs/a")]);
    }

    #[tokio::test]
    async fn a_page_that_is_denied_is_an_error_beside_what_was_listed() {
        let stub = Stub::answering([listing(&["a"], Some("two")), denied()]);
        let (objects, errors) = S3Objects::new(stub.clients(Clients::with_config)).list("s3://bucket").await.unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(errors[0].failure, Failure::Denied);
    }

    #[tokio::test]
    async fn a_bucket_that_is_denied_is_not_an_empty_one() {
        let stub = Stub::answering([denied()]);
        let error = S3Objects::new(stub.clients(Clients::with_config)).list("s3://bucket/p").await.unwrap_err();
        assert_eq!(error.failure, Failure::Denied);
        assert_eq!(error.to_string(), "list s3://bucket/p: AccessDenied: Access Denied");
        for root in ["s3://", "s3:///key", "bucket/key"] {
            let error = S3Objects::new(stub.clients(Clients::with_config)).list(root).await.unwrap_err();
            assert_eq!(error.failure, Failure::Permanent, "{root}");
        }
    }

    #[tokio::test]
    async fn an_object_is_read_with_its_version_and_time() {
        let reply = Reply::ok("line one\nline two\n")
            .header("etag", "\"0a1b\"")
            .header("x-amz-version-id", "v7")
            .header("last-modified", "Sun, 01 Mar 2026 10:00:00 GMT")
            .header("x-amz-meta-Signature", "0a1b");
        let stub =
            Stub::answering([reply, Reply::ok("x").header("etag", "\"0a1b\"").header("x-amz-version-id", "null")]);
        let store = S3Objects::new(stub.clients(Clients::with_config));
        let id = ObjectId { version: Some("v7".into()), ..object_id("bucket", "a b+c") };
        let mut object = store.open(&id).await.unwrap();
        assert_eq!(object.version, "v7");
        assert_eq!(object.modified, "2026-03-01T10:00:00Z".parse().ok());
        assert_eq!(object.size, Some(18));
        assert_eq!(object.metadata.get("signature").map(String::as_str), Some("0a1b"));
        assert_eq!(read(&mut object).await.unwrap(), b"line one\nline two\n");
        let path = &stub.requests()[0].path;
        assert!(path.starts_with("/bucket/a%20b%2Bc?") && path.contains("versionId=v7"), "{path}");
        assert_eq!(store.open(&id).await.unwrap().version, "0a1b");
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_transient_and_named() {
        let stub = Stub::answering([Reply::ok("0123456789").cut_after(4)]);
        let mut object =
            S3Objects::new(stub.clients(Clients::with_config)).open(&object_id("bucket", "key")).await.unwrap();
        let error = read(&mut object).await.unwrap_err();
        assert_eq!(error.failure, Failure::Transient);
        assert!(error.to_string().starts_with("read s3://bucket/key to its end: "), "{error}");
    }

    #[tokio::test]
    async fn a_missing_object_is_not_found() {
        let stub =
            Stub::answering([Reply::status(404, "<Error><Code>NoSuchKey</Code><Message>gone</Message></Error>")]);
        let error =
            S3Objects::new(stub.clients(Clients::with_config)).open(&object_id("bucket", "key")).await.err().unwrap();
        assert_eq!(error.failure, Failure::NotFound);
    }

    #[tokio::test]
    async fn a_bucket_of_another_region_is_read_there() {
        let redirect = Reply::status(301, "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>");
        let redirect = redirect.header("x-amz-bucket-region", "eu-west-1");
        let stub = Stub::answering([redirect, Reply::ok("x"), Reply::ok("y")]);
        let store = S3Objects::new(stub.clients(Clients::with_config));
        for content in [b"x", b"y"] {
            let mut object = store.open(&object_id("bucket", "key")).await.unwrap();
            assert_eq!(read(&mut object).await.unwrap(), content);
        }
        let requests = stub.requests();
        assert!(requests[0].headers.contains("/us-east-1/s3/"));
        assert!(requests[1].headers.contains("/eu-west-1/s3/") && requests[2].headers.contains("/eu-west-1/s3/"));
    }
}
