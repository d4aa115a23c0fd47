//! Which resource a call is about, and whose it is: by its name, or because it is known to be cloudvigil's.
//!
//! A call that succeeded names it in its parameters. One that was refused has none: its error message says `is not
//! authorized to perform: lambda:DeleteFunction on resource: arn:…`, and S3 lists it under `resources`.

use serde_json::Value;

use super::super::elements;
use super::{Call, OwnResources};

/// What everything of cloudvigil's stack has in its name.
const OWN: &str = "cloudvigil";

/// The parameters that name the resource a call is about, in lower case. Others may name resources too (a rule's targets,
/// a subscription's endpoint, a tag), but are not what is changed.
const NAMING: [&str; 27] = [
    "name",
    "names",
    "rule",
    "rulename",
    "rulenames",
    "eventbusname",
    "archivename",
    "groupname",
    "topicarn",
    "subscriptionarn",
    "resourcearn",
    "queueurl",
    "functionname",
    "rolename",
    "policyarn",
    "tablename",
    "stackname",
    "alarmname",
    "alarmnames",
    "bucketname",
    "loggroupname",
    "loggroupidentifier",
    "resourceidentifier",
    "destinationname",
    "deliverystreamname",
    "aliasname",
    "identifier",
];

/// The same, where a name says nothing but must be known: keys have ids, and trails any name.
const NAMING_KNOWN: [&str; 3] = ["keyid", "targetkeyid", "trailname"];

/// Services whose resources are known to be cloudvigil's by the word in their name, beside those that keep logs.
const NAMED_BY_US: [&str; 9] = [
    "cloudformation.amazonaws.com",
    "dynamodb.amazonaws.com",
    "events.amazonaws.com",
    "lambda.amazonaws.com",
    "monitoring.amazonaws.com",
    "scheduler.amazonaws.com",
    "sns.amazonaws.com",
    "sqs.amazonaws.com",
    "ssm.amazonaws.com",
];

/// Kinds of security logs, with nothing but letters and digits.
const LOG_WORDS: [&str; 9] =
    [OWN, "trail", "audit", "flowlog", "accesslog", "configbucket", "awsconfig", "guardduty", "securitylake"];

/// The same, of the roles with which trails, flow logs and the Config recorder deliver. `audit` is none of them: it is
/// what auditors' roles are called.
const ROLE_WORDS: [&str; 7] = [OWN, "trail", "flowlog", "configrole", "roleforconfig", "awsconfig", "configrecorder"];

/// Ordinary words in which those are.
const NOT_LOG_WORDS: [&str; 4] = ["trailer", "trailhead", "trailing", "appconfig"];

/// Words that end in `log` and keep none.
const NO_LOGS: [&str; 9] = ["blog", "vlog", "catalog", "dialog", "backlog", "analog", "changelog", "homolog", "prolog"];

/// What a call's resource is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// One of cloudvigil's own, by the word in its name or because it is known.
    pub own: bool,
    /// One that is known to be cloudvigil's own.
    pub known: bool,
    /// One that keeps or delivers logs.
    pub logs: bool,
}

/// Judges the resources of a call by their names, and by what is known to be `own`.
pub(super) fn judge(event: &Value, source: &str, own: &OwnResources) -> Named {
    let is_log: Option<fn(&str) -> bool> = match source {
        // Everything there is a log group: only those of security logs count.
        "logs.amazonaws.com" => Some(keeps_security_logs),
        "iam.amazonaws.com" => Some(delivers_logs),
        "s3.amazonaws.com" | "firehose.amazonaws.com" | "kms.amazonaws.com" | "pipes.amazonaws.com" => Some(keeps_logs),
        _ => None,
    };
    let by_word = is_log.is_some() || NAMED_BY_US.contains(&source);
    if !by_word && own.is_empty() {
        return Named::default();
    }
    let call = Call::of(event, source);
    let mut named = Named::default();
    let mut see = |name: &str, tells: bool| {
        let known = own.has(name, &call);
        named.known |= known;
        named.own |= known || tells && by_word && name.to_ascii_lowercase().contains(OWN);
        // What is cloudvigil's own keeps or delivers logs, whatever it is called.
        named.logs |= is_log.is_some_and(|is_log| known || tells && is_log(own_part(name)));
    };
    let parameters = event.get("requestParameters").and_then(Value::as_object);
    // Beside a role or a function, other names are those of a policy that it is given, or of one of its versions.
    let alone =
        ["roleName", "functionName"].into_iter().find(|name| parameters.is_some_and(|all| all.contains_key(*name)));
    for (parameter, value) in parameters.into_iter().flatten() {
        let tells = alone.map_or_else(|| is_among(&NAMING, parameter), |alone| alone == parameter);
        if tells || alone.is_none() && is_among(&NAMING_KNOWN, parameter) {
            elements(value).into_iter().filter_map(Value::as_str).for_each(|name| see(name, tells));
        }
    }
    // An event source mapping is known by its id; the answer says whose it is.
    let function = event.get("responseElements").and_then(|answer| answer.get("functionArn"));
    function.and_then(Value::as_str).into_iter().for_each(|name| see(name, true));
    if event.get("errorCode").is_some_and(Value::is_string) {
        let message = event.get("errorMessage").and_then(Value::as_str);
        message.and_then(refused).into_iter().for_each(|name| see(name, true));
        let listed = event.get("resources").map(elements).unwrap_or_default().into_iter();
        listed.filter_map(|one| one.get("ARN").and_then(Value::as_str)).for_each(|name| see(name, true));
    }
    named
}

fn is_among(names: &[&str], name: &str) -> bool {
    names.iter().any(|naming| naming.eq_ignore_ascii_case(name))
}

/// The resource in the message of a refusal: an ARN, or IAM's `role NAME`.
fn refused(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("on resource: ")?;
    let end = [" because ", " with an "].iter().filter_map(|word| rest.find(word)).min().unwrap_or(rest.len());
    Some(rest[..end].trim_matches(|letter: char| letter == '"' || letter.is_whitespace()))
}

/// A name without what its ARN says of partition, service, region, account and kind; of an object its bucket.
fn own_part(name: &str) -> &str {
    let Some(arn) = name.strip_prefix("arn:") else { return name };
    let resource = arn.splitn(5, ':').nth(4).unwrap_or(arn);
    if arn.split(':').nth(1) == Some("s3") {
        return resource.split('/').next().unwrap_or(resource);
    }
    resource.strip_prefix("log-group:").unwrap_or(resource)
}

fn keeps_logs(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.any(|word| {
        let word = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
        let word = word.strip_suffix('s').unwrap_or(word);
        (word.ends_with("log") && !NO_LOGS.contains(&word)) || word == "logging"
    }) || keeps_security_logs(&lower)
}

fn keeps_security_logs(name: &str) -> bool {
    has_word(name, &LOG_WORDS)
}

fn delivers_logs(name: &str) -> bool {
    has_word(name, &ROLE_WORDS)
}

fn has_word(name: &str, words: &[&str]) -> bool {
    let mut letters: String =
        name.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| char::from(byte.to_ascii_lowercase())).collect();
    for ordinary in NOT_LOG_WORDS {
        if letters.contains(ordinary) {
            letters = letters.replace(ordinary, "-");
        }
    }
    words.iter().any(|word| letters.contains(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn buckets_are_known_by_words_in_their_names() {
        for name in [
            "example-trail-logs",
            "aws-cloudtrail-logs-123456789012-a1b2c3d4",
            "config-bucket-123456789012",
            "org-audit",
            "accesslogs",
            "elb.logs",
            "central-logging",
            "logs2",
            "VPC-Flow-Logs",
            "company-log-archive",
            "weblogs",
        ] {
            assert!(keeps_logs(name), "{name}");
        }
        for name in
            ["my-blog", "blogs", "product-catalog", "login-pages", "movie-trailers", "app-config-prod", "logistics"]
        {
            assert!(!keeps_logs(name), "{name}");
        }
    }

    #[test]
    fn of_log_groups_only_those_of_security_logs_count() {
        for name in ["CloudTrail/logs", "/aws/vpc/flow-logs", "/audit", "/cloudvigil/prod/notifier", "API-Access-Logs"]
        {
            assert!(keeps_security_logs(name), "{name}");
        }
        for name in ["/aws/lambda/orders", "/ecs/logs", "syslog"] {
            assert!(!keeps_security_logs(name), "{name}");
        }
    }

    fn of(source: &str, event: &Value) -> Named {
        judge(event, &format!("{source}.amazonaws.com"), &OwnResources::default())
    }

    #[test]
    fn what_is_known_needs_no_word_in_its_name() {
        let arn = |service: &str, rest: &str| format!("arn:aws:{service}:eu-central-1:123456789012:{rest}");
        let own = OwnResources::new([
            arn("kms", "key/1f2e"),
            arn("cloudtrail", "trail/company"),
            "arn:aws:s3:::company".to_owned(),
            arn("*", "secmon-*"),
        ]);
        let own = own.unwrap();
        let judged = |source: &str, mut event: Value| {
            event["awsRegion"] = json!("eu-central-1");
            event["recipientAccountId"] = json!("123456789012");
            judge(&event, &format!("{source}.amazonaws.com"), &own)
        };
        let (known, both) = (Named { known: true, ..OWN_ONE }, Named { own: true, known: true, logs: true });
        assert_eq!(judged("kms", json!({"requestParameters": {"keyId": "1f2e"}})), both);
        assert_eq!(judged("kms", json!({"requestParameters": {"keyId": "alias/cloudtrail"}})), Named::default());
        assert_eq!(judged("s3", json!({"requestParameters": {"bucketName": "company"}})), both);
        assert_eq!(judged("cloudtrail", json!({"requestParameters": {"name": "company"}})), known);
        assert_eq!(judged("cloudtrail", json!({"requestParameters": {"trailName": "other"}})), Named::default());
        assert_eq!(judged("lambda", json!({"requestParameters": {"functionName": "secmon-notifier"}})), known);
        let message = format!(
            "User: arn:aws:iam::123456789012:user/m is not authorized to perform: cloudtrail:StopLogging on resource: {} because no identity-based policy allows the cloudtrail:StopLogging action",
            arn("cloudtrail", "trail/company")
        );
        let refused = json!({"errorCode": "AccessDenied", "errorMessage": message, "requestParameters": null});
        assert_eq!(judged("cloudtrail", refused), known);
        let mentioned = json!({"requestParameters": {"name": "other", "s3BucketName": "company", "kmsKeyId": "1f2e"}});
        assert_eq!(judged("cloudtrail", mentioned), Named::default());
    }

    const OWN_ONE: Named = Named { own: true, known: false, logs: false };
    const LOG_ONE: Named = Named { own: false, known: false, logs: true };

    #[test]
    fn parameters_name_the_resource() {
        let topic = "arn:aws:sns:eu-central-1:123456789012:cloudvigil-findings";
        assert_eq!(of("sns", &json!({"requestParameters": {"topicArn": topic}})), OWN_ONE);
        assert_eq!(of("ssm", &json!({"requestParameters": {"names": ["/x", "/cloudvigil/config"]}})), OWN_ONE);
        assert_eq!(of("scheduler", &json!({"requestParameters": {"Name": "cloudvigil-poll"}})), OWN_ONE);
        assert_eq!(of("s3", &json!({"requestParameters": {"bucketName": "example-logs"}})), LOG_ONE);
        assert_eq!(of("iam", &json!({"requestParameters": {"roleName": "CloudTrail_CloudWatchLogs_Role"}})), LOG_ONE);
        let given = json!({"roleName": "deployment", "policyArn": "arn:aws:iam::aws:policy/AWSCloudTrail_FullAccess"});
        assert_eq!(of("iam", &json!({"requestParameters": given})), Named::default());
        let alias = json!({"functionName": "orders", "name": "cloudvigil"});
        assert_eq!(of("lambda", &json!({"requestParameters": alias})), Named::default());
        let policy = json!({"policyArn": "arn:aws:iam::123456789012:policy/cloudtrail-to-logs"});
        assert_eq!(of("iam", &json!({"requestParameters": policy})), LOG_ONE);
        let mapping = json!({
            "requestParameters": {"uUID": "a92cb0bf"},
            "responseElements": {"functionArn": "arn:aws:lambda:eu-central-1:123456789012:function:cloudvigil-notifier"},
        });
        assert_eq!(of("lambda", &mapping), OWN_ONE);
    }

    #[test]
    fn what_a_parameter_mentions_is_not_the_resource() {
        let event = json!({"requestParameters": {
            "rule": "nightly", "targets": [{"id": "1", "arn": "arn:aws:lambda:eu-central-1:123456789012:function:cloudvigil-notifier"}],
            "description": "cloudvigil",
        }});
        assert_eq!(of("events", &event), Named::default());
        let event = json!({"requestParameters": {"name": "cloudvigil"}});
        assert_eq!(of("glue", &event), Named::default());
    }

    #[test]
    fn a_refusal_names_the_resource_in_its_message() {
        let refusal = |resource: &str| {
            json!({
                "errorCode": "AccessDenied", "requestParameters": null,
                "errorMessage": format!("User: arn:aws:iam::123456789012:user/cloudvigil-audit is not authorized to perform: x:Y on resource: {resource} with an explicit deny in an identity-based policy: arn:aws:iam::123456789012:policy/protect-cloudvigil-trail"),
            })
        };
        assert_eq!(
            of("lambda", &refusal("arn:aws:lambda:eu-central-1:123456789012:function:cloudvigil-notifier")),
            OWN_ONE
        );
        assert_eq!(
            of("lambda", &refusal("arn:aws:lambda:eu-central-1:123456789012:function:orders")),
            Named::default()
        );
        assert_eq!(of("s3", &refusal("\"arn:aws:s3:::example-trail-logs\"")), LOG_ONE);
        assert_eq!(of("s3", &refusal("\"arn:aws:s3:::example-data/logs/x\"")), Named::default());
        assert_eq!(of("iam", &refusal("role CloudTrailToLogs")), LOG_ONE);
        assert_eq!(
            of("logs", &refusal("arn:aws:logs:eu-central-1:123456789012:log-group:/ecs/orders:*")),
            Named::default()
        );
        let listed = json!({
            "errorCode": "AccessDenied", "errorMessage": "Access Denied", "requestParameters": null,
            "resources": [{"type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::example-logs"}],
        });
        assert_eq!(of("s3", &listed), LOG_ONE);
    }
}
