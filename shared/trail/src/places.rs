//! Where the files lie that digests name: in the bucket itself, or in a folder into which somebody has copied it.
//!
//! A digest names bucket and key. In a folder the files are found by the last part of the key, which is unique, and by
//! as much more of it as the paths have: so it does not matter which part of the bucket was copied to where. Only files
//! of the folder's listing are ever opened: what a digest says leads nowhere else.
//!
//! A copy lacks the objects' metadata, where a digest's own signature is. A file beside the digest may carry them: for
//! `X.json.gz` it is `X.json.gz.metadata.json`, `{"signature": "<hexadecimal>", "signature-algorithm":
//! "SHA256withRSA"}`, which is what `aws s3api head-object --query Metadata` prints.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};

use cloudvigil_core::ports::ObjectId;

use crate::name::file_name;

/// What the name of a digest's metadata file ends in.
pub(crate) const SIDECAR: &str = ".metadata.json";

/// The files that there are.
pub struct Places {
    /// By source.
    objects: Vec<ObjectId>,
    /// Which of them a digest has named.
    named: Vec<AtomicBool>,
    /// In a folder, the objects by file name.
    by_name: Option<Vec<usize>>,
}

impl Places {
    /// Objects of a bucket, by what was listed of it. What was not listed is looked for all the same.
    pub fn bucket(objects: Vec<ObjectId>) -> Self {
        Self::new(objects, false)
    }

    /// Files of a folder.
    pub fn folder(objects: Vec<ObjectId>) -> Self {
        Self::new(objects, true)
    }

    fn new(mut objects: Vec<ObjectId>, is_folder: bool) -> Self {
        objects.sort_unstable();
        let by_name = is_folder.then(|| {
            let mut order: Vec<usize> = (0..objects.len()).collect();
            order.sort_by_key(|index| file_name(&objects[*index].source));
            order
        });
        let named = objects.iter().map(|_| AtomicBool::new(false)).collect();
        Self { objects, named, by_name }
    }

    /// Everything that was listed, by source.
    pub fn objects(&self) -> &[ObjectId] {
        &self.objects
    }

    /// Whether the objects have their metadata with them: a digest without a signature is not as it was delivered then.
    pub(crate) fn have_metadata(&self) -> bool {
        self.by_name.is_none()
    }

    /// Whether an object may be the one with this key. A bucket may be a replica under another name, so that only the
    /// key is compared.
    pub(crate) fn is_at(&self, id: &ObjectId, key: &str) -> bool {
        if self.by_name.is_some() { file_name(&id.source) == file_name(key) } else { id.key == key }
    }

    /// The file with a digest's metadata.
    pub(crate) fn sidecar(&self, digest: &ObjectId) -> Option<&ObjectId> {
        self.by_name.as_ref()?;
        self.listed(&format!("{}{SIDECAR}", digest.source)).map(|index| &self.objects[index])
    }

    /// The object that a digest at `from` means by this bucket and key; `None` if there is none. `own`: the bucket that
    /// the digest says it was delivered to.
    pub(crate) fn find(&self, from: &ObjectId, own: &str, bucket: &str, key: &str) -> Option<ObjectId> {
        let Some(by_name) = &self.by_name else {
            // In a replica the log files lie beside the digest.
            let bucket = if bucket == own { &from.bucket } else { bucket };
            let source = format!("s3://{bucket}/{key}");
            if let Some(index) = self.listed(&source) {
                self.named[index].store(true, Ordering::Relaxed);
            }
            return Some(ObjectId { source, bucket: bucket.to_owned(), key: key.to_owned(), version: None });
        };
        let name = file_name(key);
        let start = by_name.partition_point(|index| file_name(&self.objects[*index].source) < name);
        let same = by_name[start..].iter().take_while(|index| file_name(&self.objects[**index].source) == name);
        // Of several copies, the one whose path says most of the key, then the one that lies closest to the digest.
        let best = same.min_by_key(|index| {
            let path = &self.objects[**index].source;
            (
                Reverse(common(path.rsplit('/'), key.rsplit('/'))),
                Reverse(common(path.split('/'), from.source.split('/'))),
            )
        });
        best.map(|index| {
            self.named[*index].store(true, Ordering::Relaxed);
            self.objects[*index].clone()
        })
    }

    /// The objects that no digest has named so far.
    pub(crate) fn unnamed(&self) -> impl Iterator<Item = &ObjectId> {
        self.objects.iter().zip(&self.named).filter(|(_, named)| !named.load(Ordering::Relaxed)).map(|(id, _)| id)
    }

    /// Whether this was listed.
    pub(crate) fn has(&self, source: &str) -> bool {
        self.listed(source).is_some()
    }

    fn listed(&self, source: &str) -> Option<usize> {
        self.objects.binary_search_by(|id| id.source.as_str().cmp(source)).ok()
    }
}

/// How many parts two paths have in common before they differ.
fn common<'p>(one: impl Iterator<Item = &'p str>, other: impl Iterator<Item = &'p str>) -> usize {
    one.zip(other).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(source: &str) -> ObjectId {
        ObjectId { source: source.to_owned(), bucket: String::new(), key: format!("/data/{source}"), version: None }
    }

    fn found(places: &Places, from: &str, key: &str) -> Option<String> {
        places.find(&file(from), "b", "b", key).map(|id| id.source)
    }

    #[test]
    fn a_key_is_found_wherever_the_bucket_was_copied_to() {
        let places =
            Places::folder(["x/CloudTrail/eu/a.gz", "x/d.gz", "y/CloudTrail/eu/a.gz", "y/d.gz"].map(file).into());
        let key = "prefix/AWSLogs/1/CloudTrail/eu/a.gz";
        assert_eq!(found(&places, "x/d.gz", key).as_deref(), Some("x/CloudTrail/eu/a.gz"));
        assert_eq!(found(&places, "y/d.gz", key).as_deref(), Some("y/CloudTrail/eu/a.gz"));
        assert_eq!(found(&places, "x/d.gz", "AWSLogs/1/CloudTrail/eu/b.gz"), None);
    }

    #[test]
    fn no_key_leads_out_of_the_folder() {
        let places = Places::folder(["d.gz", "passwd"].map(file).into());
        for key in ["../../../../etc/shadow", "/etc/shadow", "..", "", "a/..", "\0"] {
            assert_eq!(found(&places, "d.gz", key), None, "{key}");
        }
        assert_eq!(found(&places, "d.gz", "../../etc/passwd").as_deref(), Some("passwd"));
    }

    #[test]
    fn in_a_replica_the_log_files_lie_beside_the_digest() {
        let from = ObjectId {
            source: "s3://replica/d.gz".to_owned(),
            bucket: "replica".to_owned(),
            key: "d.gz".to_owned(),
            version: None,
        };
        let places = Places::bucket(vec![from.clone()]);
        assert_eq!(places.find(&from, "own", "own", "a.gz").unwrap().source, "s3://replica/a.gz");
        assert_eq!(places.find(&from, "own", "other", "a.gz").unwrap().source, "s3://other/a.gz");
        assert!(places.is_at(&from, "d.gz") && !places.is_at(&from, "x/d.gz"));
    }
}
