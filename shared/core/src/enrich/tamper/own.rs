//! cloudvigil's own resources by name: those of its stack, and what the configuration names.
//!
//! A call names a resource by its ARN, its bare name, its id or its URL, and an alias, a version or the kind may stand
//! beside it. So both sides are taken apart into partition, service, region, account and the names that the rest of an
//! ARN may be known by (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html>).

use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::config::Pattern;

/// Resources that are cloudvigil's own. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnResources(Arc<[OwnResource]>);

/// One of them, or with wildcards several.
#[derive(Debug, Clone, PartialEq, Eq)]
struct OwnResource {
    service: Pattern,
    region: Pattern,
    account: Pattern,
    names: Vec<Pattern>,
}

impl OwnResources {
    /// The resources that these texts name: ARNs (`arn:aws:s3:::company-trail`), or bare names or ids, which may be of any
    /// service. `*` and `?` stand for other letters, in each part of an ARN; an empty part of it for any.
    ///
    /// An error is a text that names nothing, or everything.
    pub fn new<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, String> {
        let own = |text: T| {
            let text = text.as_ref().trim();
            OwnResource::new(text).ok_or_else(|| {
                format!("'{text}' must be the ARN or the name of a resource; `*` may stand for a part of the name")
            })
        };
        texts.into_iter().map(own).collect::<Result<Vec<_>, _>>().map(|all| Self(all.into()))
    }

    /// Whether none are known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These and others.
    #[must_use]
    pub fn and(&self, others: &Self) -> Self {
        Self(self.0.iter().chain(others.0.iter()).cloned().collect())
    }

    /// Whether a resource with this ARN is one of them.
    pub fn has_arn(&self, arn: &str) -> bool {
        Named::by_arn(arn).is_some_and(|named| self.has_named(&named))
    }

    /// Whether the resource that a call to AWS names so is one of them.
    pub(super) fn has(&self, name: &str, call: &Call<'_>) -> bool {
        !self.is_empty() && self.has_named(&Named::in_call(name, call))
    }

    fn has_named(&self, named: &Named<'_>) -> bool {
        self.0.iter().any(|own| own.is(named))
    }
}

impl<'de> Deserialize<'de> for OwnResources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<String>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl OwnResource {
    fn new(text: &str) -> Option<Self> {
        let part = |text: &str| Pattern::new(if text.is_empty() { "*" } else { text });
        let arn = Named::by_arn(text);
        if arn.is_none() && text.starts_with("arn:") {
            return None;
        }
        let whole = arn.unwrap_or_else(|| Named { service: "", region: "", account: "", names: vec![text] });
        // A pattern of nothing but wildcards would make every resource cloudvigil's.
        let says = |name: &&&str| name.chars().any(|letter| letter.is_ascii_alphanumeric());
        let names: Vec<_> = whole.names.iter().filter(says).map(|name| Pattern::new(*name)).collect();
        let (service, region, account) = (part(whole.service), part(whole.region), part(whole.account));
        (!names.is_empty()).then_some(Self { service, region, account, names })
    }

    fn is(&self, named: &Named<'_>) -> bool {
        // What a call leaves open may be anything.
        let fits = |own: &Pattern, part: &str| part.is_empty() || own.fits(part);
        fits(&self.service, named.service)
            && fits(&self.region, named.region)
            && fits(&self.account, named.account)
            && self.names.iter().any(|own| named.names.iter().any(|name| own.fits(name)))
    }
}

/// Where a call was made: what a bare name in it leaves open.
pub(super) struct Call<'e> {
    service: &'e str,
    region: &'e str,
    account: &'e str,
}

impl<'e> Call<'e> {
    pub(super) fn of(event: &'e Value, source: &'e str) -> Self {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let service = match source.strip_suffix(".amazonaws.com").unwrap_or(source) {
            "monitoring" => "cloudwatch",
            service => service,
        };
        // Names of these two are one account's or the world's, whatever the region.
        let region = if matches!(service, "iam" | "s3") { "" } else { text("awsRegion") };
        Self { service, region, account: if service == "s3" { "" } else { text("recipientAccountId") } }
    }
}

/// A resource as it was named. An empty part is not known.
struct Named<'n> {
    service: &'n str,
    region: &'n str,
    account: &'n str,
    /// What it may be called: with and without its kind, its path, its alias.
    names: Vec<&'n str>,
}

impl<'n> Named<'n> {
    fn by_arn(text: &'n str) -> Option<Self> {
        let mut parts = text.strip_prefix("arn:")?.splitn(5, ':').skip(1);
        let (service, region, account) = (parts.next()?, parts.next()?, parts.next()?);
        let resource = parts.next()?;
        let names = match service {
            "s3" => vec![resource.split('/').next().unwrap_or(resource)],
            _ => names_of(service, resource),
        };
        Some(Self { service, region, account, names })
    }

    fn in_call(name: &'n str, call: &Call<'n>) -> Self {
        let of_call = |names| Self { service: call.service, region: call.region, account: call.account, names };
        if let Some(named) = Self::by_arn(name) {
            return named;
        }
        // https://sqs.REGION.amazonaws.com/ACCOUNT/NAME
        if let Some((_, path)) = name.split_once("://") {
            return of_call(path.rsplit('/').next().into_iter().collect());
        }
        of_call(vec![name, without_qualifier(name)])
    }
}

/// What an ARN's last part may be called: `function:NAME:ALIAS`, `log-group:NAME:*`, `table/NAME/index/I`, `role/PATH/NAME`,
/// `schedule/GROUP/NAME`, `stack/NAME/ID`, `key/ID`. Topics and queues have no kind: `NAME`, `NAME:SUBSCRIPTION`.
fn names_of<'r>(service: &str, resource: &'r str) -> Vec<&'r str> {
    let Some((kind, rest)) = resource.split_once([':', '/']).filter(|_| !matches!(service, "sns" | "sqs")) else {
        return vec![resource, without_qualifier(resource)];
    };
    let name = match kind {
        "table" | "stack" => rest.split('/').next(),
        "role" | "user" | "policy" | "rule" | "schedule" => rest.rsplit('/').next(),
        _ => None,
    };
    vec![resource, rest, name.unwrap_or_else(|| without_qualifier(rest))]
}

/// A name without the alias, version or id that may follow it.
fn without_qualifier(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn has(own: &[&str], source: &str, name: &str) -> bool {
        let event = json!({"awsRegion": "eu-central-1", "recipientAccountId": "123456789012"});
        OwnResources::new(own).unwrap().has(name, &Call::of(&event, &format!("{source}.amazonaws.com")))
    }

    #[test]
    fn a_resource_is_known_by_each_of_its_names() {
        let arn = |service: &str, rest: &str| format!("arn:aws:{service}:eu-central-1:123456789012:{rest}");
        for (service, source, own, names) in [
            ("lambda", "lambda", "function:secmon-notifier", &["secmon-notifier", "secmon-notifier:live"] as &[&str]),
            ("sqs", "sqs", "secmon-findings", &["https://sqs.eu-central-1.amazonaws.com/123456789012/secmon-findings"]),
            ("dynamodb", "dynamodb", "table/secmon-StateTable-1", &["secmon-StateTable-1"]),
            ("cloudwatch", "monitoring", "alarm:secmon-late", &["secmon-late"]),
            ("logs", "logs", "log-group:/cloudvigil/secmon/notifier", &["/cloudvigil/secmon/notifier"]),
            ("cloudtrail", "cloudtrail", "trail/secmon-trail", &["secmon-trail"]),
            ("kms", "kms", "key/1f2e", &["1f2e"]),
            ("cloudformation", "cloudformation", "stack/secmon/0a1b", &["secmon"]),
            ("scheduler", "scheduler", "schedule/secmon-poll/secmon-poll", &["secmon-poll"]),
        ] {
            let own = arn(service, own);
            for name in names.iter().copied().chain([own.as_str()]) {
                assert!(has(&[&own], source, name), "{own} is {name}");
            }
            assert!(!has(&[&own], source, "orders"), "{own}");
            assert!(!has(&[&own], source, &own.replace("123456789012", "210987654321")), "{own} of another account");
        }
        assert!(has(&["arn:aws:s3:::company-trail"], "s3", "company-trail"));
        assert!(has(&["arn:aws:s3:::company-trail/AWSLogs/"], "s3", "arn:aws:s3:::company-trail/AWSLogs/x"));
        assert!(has(&["arn:aws:iam::123456789012:role/path/Deliver"], "iam", "Deliver"));
        assert!(has(&["company-trail"], "cloudtrail", "arn:aws:cloudtrail:us-east-1:1:trail/company-trail"));
    }

    #[test]
    fn a_stack_is_known_by_what_its_names_begin_with() {
        let own = ["arn:aws:*:*:123456789012:secmon-*", "arn:aws:logs:*:123456789012:log-group:/cloudvigil/secmon/*"];
        for (source, name) in [
            ("lambda", "arn:aws:lambda:us-east-1:123456789012:function:secmon-notifier:live"),
            ("iam", "secmon-NotifierRole-ABC"),
            ("events", "secmon-trail-s3"),
            ("sns", "arn:aws:sns:eu-central-1:123456789012:secmon-findings:7e6d"),
            ("logs", "arn:aws:logs:eu-central-1:123456789012:log-group:/cloudvigil/secmon/notifier:*"),
        ] {
            assert!(has(&own, source, name), "{name}");
        }
        let role = ["arn:aws:iam::123456789012:role/service-role/Deliver"];
        assert!(
            has(&role, "iam", "Deliver") && !has(&role, "iam", "arn:aws:iam::123456789012:role/service-role/Other")
        );
        for (source, name) in [
            ("lambda", "arn:aws:lambda:us-east-1:210987654321:function:secmon-notifier"),
            ("lambda", "orders-secmon-notifier"),
            ("s3", "arn:aws:s3:::orders/secmon-notifier"),
            ("logs", "/cloudvigil/other/notifier"),
        ] {
            assert!(!has(&own, source, name), "{name}");
        }
    }

    #[test]
    fn what_would_make_everything_ones_own_is_refused() {
        for text in ["", "*", "arn:aws:s3:::*", "arn:aws:s3", "?*"] {
            let error = OwnResources::new([text]).unwrap_err();
            assert!(error.contains(&format!("'{text}'")), "{error}");
        }
    }
}
