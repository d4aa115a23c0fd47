//! A bucket, and whether the public can reach what is in it.

use serde_json::json;

use crate::failure::Failure;
use crate::resource::{Resource, partition};

/// What was asked, or why there is no answer.
pub type Seen<T> = Result<T, Failure>;

/// The four switches that
/// [block public access](https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html),
/// of a bucket or of an account. Where nothing is configured, all are off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are four independent switches of the service")]
pub struct PublicAccessBlock {
    /// New public ACLs are refused.
    pub block_public_acls: bool,
    /// Public ACLs have no effect.
    pub ignore_public_acls: bool,
    /// New public policies are refused.
    pub block_public_policy: bool,
    /// A public policy lets in the bucket's own account and AWS services alone.
    pub restrict_public_buckets: bool,
}

/// Whether the bucket itself answers us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachable {
    /// It does.
    Ok,
    /// It is not there any more.
    NotFound,
}

impl Reachable {
    /// The record's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
        }
    }
}

/// An S3 bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// Its region, where it is known.
    pub region: Option<String>,
    /// The bucket's own switches.
    pub block: Seen<PublicAccessBlock>,
    /// The account's switches, which hold for every bucket.
    pub account_block: Seen<PublicAccessBlock>,
    /// Whether S3 takes the bucket's policy for public, the switches left aside. No policy is not public.
    pub policy_is_public: Seen<bool>,
    /// Permissions that its ACL grants to everybody, or to everybody who has an AWS account: `AllUsers:READ`.
    pub public_grants: Seen<Vec<String>>,
    /// Whether it answers.
    pub reachable: Seen<Reachable>,
}

impl Bucket {
    /// Whether the public gets in through the policy; `None` where that cannot be told.
    fn through_policy(&self) -> Option<bool> {
        let open = self.policy_is_public.as_ref().ok().copied();
        and_not(open, self.blocked(|block| block.restrict_public_buckets))
    }

    /// Whether the public gets in through the ACL; `None` where that cannot be told.
    fn through_acl(&self) -> Option<bool> {
        let open = self.public_grants.as_ref().ok().map(|grants| !grants.is_empty());
        and_not(open, self.blocked(|block| block.ignore_public_acls))
    }

    /// Whether the bucket or the account has a switch on; `None` where neither is known to, and one is not known.
    fn blocked(&self, switch: fn(&PublicAccessBlock) -> bool) -> Option<bool> {
        match (self.block.as_ref().ok().map(switch), self.account_block.as_ref().ok().map(switch)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }
    }

    /// Whether it answers, in the record's words: a refusal is an answer too, but one that hides what there is.
    fn reached(&self) -> Option<&'static str> {
        match &self.reachable {
            Ok(reachable) => Some(reachable.as_str()),
            Err(failure) if failure.code == "AccessDenied" => Some("denied"),
            Err(_) => None,
        }
    }

    /// The bucket as a resource.
    pub fn resource(&self) -> Resource {
        let paths = [("policy", self.through_policy()), ("acl", self.through_acl())];
        let through: Vec<&str> = paths.iter().filter(|(_, open)| *open == Some(true)).map(|(name, _)| *name).collect();
        let public = if through.is_empty() {
            if paths.iter().all(|(_, open)| *open == Some(false)) { Some(false) } else { None }
        } else {
            Some(true)
        };
        let partition = partition(self.region.as_deref().unwrap_or_default());
        let block = self.block.as_ref().ok();
        let account = self.account_block.as_ref().ok();
        let mut resource =
            Resource::new("s3", "bucket", format!("arn:{partition}:s3:::{}", self.name), self.region.as_deref())
                .with("name", self.name.as_str())
                .with("block_public_acls", block.map(|b| b.block_public_acls))
                .with("ignore_public_acls", block.map(|b| b.ignore_public_acls))
                .with("block_public_policy", block.map(|b| b.block_public_policy))
                .with("restrict_public_buckets", block.map(|b| b.restrict_public_buckets))
                .with("account_block_public_acls", account.map(|b| b.block_public_acls))
                .with("account_ignore_public_acls", account.map(|b| b.ignore_public_acls))
                .with("account_block_public_policy", account.map(|b| b.block_public_policy))
                .with("account_restrict_public_buckets", account.map(|b| b.restrict_public_buckets))
                .with("policy_is_public", self.policy_is_public.as_ref().ok().copied())
                .with("acl_public_grants", json!(self.public_grants.as_ref().ok()))
                .with("public", public)
                .with("public_through", through)
                .with("reachable", self.reached());
        // Where the answer stands whatever was not seen (a switch is on), it is an answer.
        let verdict: &[&'static str] = if public.is_none() { &["public", "public_through"] } else { &[] };
        let missing: [(Option<&Failure>, &[&'static str]); 5] = [
            (
                self.block.as_ref().err(),
                &["block_public_acls", "ignore_public_acls", "block_public_policy", "restrict_public_buckets"],
            ),
            (
                self.account_block.as_ref().err(),
                &[
                    "account_block_public_acls",
                    "account_ignore_public_acls",
                    "account_block_public_policy",
                    "account_restrict_public_buckets",
                ],
            ),
            (self.policy_is_public.as_ref().err(), &["policy_is_public"]),
            (self.public_grants.as_ref().err(), &["acl_public_grants"]),
            (self.reachable.as_ref().err(), &["reachable"]),
        ];
        for (failure, fields) in missing {
            if let Some(failure) = failure {
                resource.note_unseen(&failure.why(), fields);
                resource.unseen.extend(verdict);
            }
        }
        resource
    }

    /// What could not be looked at, but for the account's switches, which all buckets share.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        [
            self.block.as_ref().err(),
            self.policy_is_public.as_ref().err(),
            self.public_grants.as_ref().err(),
            self.reachable.as_ref().err(),
        ]
        .into_iter()
        .flatten()
    }
}

/// `a` and not `b`, where either may be unknown.
fn and_not(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(true)) => Some(false),
        (Some(true), Some(false)) => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudvigil_core::ports::Failure as Kind;
    use serde_json::Value;

    fn denied(action: &'static str) -> Failure {
        Failure::new(action, "eu-west-1", "AccessDenied", "", Kind::Denied)
    }

    fn bucket() -> Bucket {
        Bucket {
            name: "logs".to_owned(),
            region: Some("eu-west-1".to_owned()),
            block: Ok(PublicAccessBlock::default()),
            account_block: Ok(PublicAccessBlock::default()),
            policy_is_public: Ok(false),
            public_grants: Ok(vec![]),
            reachable: Ok(Reachable::Ok),
        }
    }

    #[test]
    fn a_public_policy_or_a_public_grant_makes_a_bucket_public() {
        let policy = Bucket { policy_is_public: Ok(true), ..bucket() }.resource();
        assert_eq!((&policy.fields["public"], &policy.fields["public_through"]), (&json!(true), &json!(["policy"])));
        let grants = vec!["AllUsers:READ".to_owned()];
        let both = Bucket { policy_is_public: Ok(true), public_grants: Ok(grants), ..bucket() }.resource();
        assert_eq!(both.fields["public_through"], json!(["policy", "acl"]));
        let neither = bucket().resource();
        assert_eq!((&neither.fields["public"], &neither.fields["public_through"]), (&json!(false), &json!([])));
    }

    #[test]
    fn a_switch_of_the_account_closes_what_the_bucket_leaves_open() {
        let account = PublicAccessBlock { restrict_public_buckets: true, ..PublicAccessBlock::default() };
        let closed = Bucket { policy_is_public: Ok(true), account_block: Ok(account), ..bucket() }.resource();
        assert_eq!(closed.fields["public"], json!(false));
        // Refusing new public policies does nothing about the one that is there.
        let late = PublicAccessBlock { block_public_policy: true, ..PublicAccessBlock::default() };
        let open = Bucket { policy_is_public: Ok(true), block: Ok(late), ..bucket() }.resource();
        assert_eq!(open.fields["public"], json!(true));
    }

    #[test]
    fn what_could_not_be_looked_at_is_neither_public_nor_private() {
        let blind = Bucket { policy_is_public: Err(denied("s3:GetBucketPolicyStatus")), ..bucket() }.resource();
        assert_eq!(blind.fields["public"], Value::Null);
        assert_eq!(blind.could_not_look, ["AccessDenied: s3:GetBucketPolicyStatus"]);
        assert!(blind.unseen.contains(&"public"));
        // A grant that was seen counts whatever else was not.
        let grants = Ok(vec!["AllUsers:READ".to_owned()]);
        let half =
            Bucket { policy_is_public: Err(denied("s3:GetBucketPolicyStatus")), public_grants: grants, ..bucket() };
        assert_eq!(half.resource().fields["public"], json!(true));
    }

    #[test]
    fn a_switch_that_is_on_answers_for_what_was_not_seen() {
        let all = PublicAccessBlock {
            block_public_acls: true,
            ignore_public_acls: true,
            block_public_policy: true,
            restrict_public_buckets: true,
        };
        let shut = Bucket {
            block: Ok(all),
            account_block: Err(denied("s3:GetAccountPublicAccessBlock")),
            policy_is_public: Err(denied("s3:GetBucketPolicyStatus")),
            ..bucket()
        };
        let resource = shut.resource();
        assert_eq!(resource.fields["public"], json!(false));
        assert!(!resource.unseen.contains(&"public"));
        assert_eq!(resource.could_not_look.len(), 2);
    }
}
