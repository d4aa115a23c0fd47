//! Every pair of a role and an action: how it is tried, or why it is not.

/// What needs the permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trial {
    /// A scan looks at something: it goes on, and says what it could not look at.
    Look,
    /// A scan makes a finding of an instance that is new.
    NewInstance,
    /// A scan forgets a resource that is gone.
    GoneGroup,
    /// An API call is judged.
    Call,
    /// An API call is judged, delivered asynchronously as EventBridge does.
    CallLater,
    /// The poll asks CloudTrail.
    Poll,
    /// The poll looks at something beside the trails: it goes on, and counts what it could not look at.
    PollLook,
    /// The poll asks the event history for what nothing else has told.
    History,
    /// A queue message names an object.
    Object,
    /// A queue message names an object's version.
    Version,
    /// A queue message is a finding.
    Finding,
    /// The hours' summaries are due.
    RollUp,
    /// A function starts, and reads its configuration.
    Start,
}

use Trial::{
    Call, CallLater, Finding, GoneGroup, History, Look, NewInstance, Object, Poll, PollLook, RollUp, Start, Version,
};

/// The pairs that are tried.
pub const TRIED: &[(&str, &str, Trial)] = &[
    ("InventoryScannerRole", "account:ListRegions", Look),
    ("InventoryScannerRole", "cloudtrail:DescribeTrails", Look),
    ("InventoryScannerRole", "cloudtrail:GetEventSelectors", Look),
    ("InventoryScannerRole", "cloudtrail:GetTrailStatus", Look),
    ("InventoryScannerRole", "ec2:DescribeFlowLogs", Look),
    ("InventoryScannerRole", "ec2:DescribeInstances", Look),
    ("InventoryScannerRole", "ec2:DescribeSecurityGroups", Look),
    ("InventoryScannerRole", "ec2:DescribeSubnets", Look),
    ("InventoryScannerRole", "ec2:DescribeVpcs", Look),
    ("InventoryScannerRole", "s3:GetBucketAcl", Look),
    ("InventoryScannerRole", "s3:GetBucketPolicyStatus", Look),
    ("InventoryScannerRole", "s3:GetBucketPublicAccessBlock", Look),
    ("InventoryScannerRole", "s3:ListAllMyBuckets", Look),
    ("InventoryScannerRole", "s3:ListBucket", Look),
    ("InventoryScannerRole", "s3:GetObject", Start),
    ("InventoryScannerRole", "dynamodb:DeleteItem", GoneGroup),
    ("InventoryScannerRole", "dynamodb:GetItem", NewInstance),
    ("InventoryScannerRole", "dynamodb:Query", NewInstance),
    ("InventoryScannerRole", "dynamodb:UpdateItem", NewInstance),
    ("InventoryScannerRole", "kms:Decrypt", NewInstance),
    ("InventoryScannerRole", "kms:GenerateDataKey", NewInstance),
    ("InventoryScannerRole", "sns:Publish", NewInstance),
    ("TrailDetectorRole", "account:ListRegions", Poll),
    ("TrailDetectorRole", "cloudtrail:DescribeTrails", Poll),
    ("TrailDetectorRole", "cloudtrail:GetEventSelectors", Poll),
    ("TrailDetectorRole", "cloudtrail:GetTrailStatus", Poll),
    ("TrailDetectorRole", "cloudtrail:LookupEvents", History),
    ("TrailDetectorRole", "config:DescribeConfigurationRecorderStatus", PollLook),
    ("TrailDetectorRole", "config:DescribeConfigurationRecorders", PollLook),
    ("TrailDetectorRole", "config:DescribeDeliveryChannels", PollLook),
    ("TrailDetectorRole", "s3:GetBucketLocation", PollLook),
    ("TrailDetectorRole", "s3:GetBucketPolicy", PollLook),
    ("TrailDetectorRole", "s3:GetBucketPublicAccessBlock", PollLook),
    ("TrailDetectorRole", "s3:GetLifecycleConfiguration", PollLook),
    ("TrailDetectorRole", "s3:GetObject", Start),
    ("TrailDetectorRole", "s3:ListBucket", Poll),
    ("TrailDetectorRole", "dynamodb:GetItem", Call),
    ("TrailDetectorRole", "dynamodb:Query", Call),
    ("TrailDetectorRole", "dynamodb:UpdateItem", Call),
    ("TrailDetectorRole", "kms:Decrypt", Call),
    ("TrailDetectorRole", "kms:GenerateDataKey", Call),
    ("TrailDetectorRole", "sns:Publish", CallLater),
    ("LogAnalyzerRole", "dynamodb:GetItem", Object),
    ("LogAnalyzerRole", "dynamodb:Query", Object),
    ("LogAnalyzerRole", "dynamodb:UpdateItem", Object),
    ("LogAnalyzerRole", "kms:Decrypt", Object),
    ("LogAnalyzerRole", "kms:GenerateDataKey", Object),
    ("LogAnalyzerRole", "s3:GetObject", Object),
    ("LogAnalyzerRole", "s3:GetObjectVersion", Version),
    ("LogAnalyzerRole", "sns:Publish", Object),
    ("NotifierRole", "dynamodb:GetItem", Finding),
    ("NotifierRole", "dynamodb:Query", RollUp),
    ("NotifierRole", "dynamodb:UpdateItem", Finding),
    ("NotifierRole", "s3:GetObject", Start),
    ("NotifierRole", "ses:SendEmail", Finding),
];

/// A pair that is not tried.
pub struct Explained {
    /// The role's logical id.
    pub role: &'static str,
    /// The action.
    pub action: &'static str,
    /// Why it is not tried.
    pub reason: &'static str,
    /// The alarms that ring if it is missing, where the function itself cannot tell.
    pub alarms: &'static [&'static str],
}

const fn explained(
    role: &'static str,
    action: &'static str,
    reason: &'static str,
    alarms: &'static [&'static str],
) -> Explained {
    Explained { role, action, reason, alarms }
}

const LOG: &str = "Lambda writes the log in the role's name: the function does not notice. Its errors are counted by Lambda without a log";
const POLL: &str = "Lambda polls the queue in the role's name: the function is not called, and the messages wait";
const DELETE: &str =
    "Lambda deletes from the queue in the role's name: what was done is done again, then goes to the dead letters";
const DESTINATION: &str =
    "Lambda reports a failed invocation in the role's name: the failure itself is counted by Lambda before that";
const NO_DIGEST: &str = "the emulator's trail delivers no digest that could be verified; a poll that may not look is tried with s3:ListBucket";

const NO_SERVICE: &str = "the emulator has no such service: it refuses every call with and without the permission, which the poll counts as a look that failed";

/// The pairs that are not tried.
pub const EXPLAINED: &[Explained] = &[
    explained("InventoryScannerRole", "logs:CreateLogStream", LOG, &["InventoryScannerErrorsAlarm"]),
    explained("InventoryScannerRole", "logs:PutLogEvents", LOG, &["InventoryScannerErrorsAlarm"]),
    explained("InventoryScannerRole", "sqs:SendMessage", DESTINATION, &["InventoryScannerErrorsAlarm"]),
    explained(
        "InventoryScannerRole",
        "s3:GetAccountPublicAccessBlock",
        "the emulator has no such operation of S3 Control: it answers InvalidURI before it asks for permissions",
        &[],
    ),
    explained(
        "InventoryScannerRole",
        "s3:GetBucketLocation",
        "the emulator's list of buckets names every region, so nobody has to ask",
        &[],
    ),
    explained("TrailDetectorRole", "cloudtrail:ListPublicKeys", NO_DIGEST, &[]),
    explained("TrailDetectorRole", "guardduty:GetDetector", NO_SERVICE, &[]),
    explained("TrailDetectorRole", "guardduty:ListDetectors", NO_SERVICE, &[]),
    explained("TrailDetectorRole", "kms:DescribeKey", "the story's trail encrypts with no key of KMS", &[]),
    explained("TrailDetectorRole", "securityhub:DescribeHub", NO_SERVICE, &[]),
    explained("TrailDetectorRole", "securityhub:GetEnabledStandards", NO_SERVICE, &[]),
    explained("TrailDetectorRole", "logs:CreateLogStream", LOG, &["TrailDetectorErrorsAlarm"]),
    explained("TrailDetectorRole", "logs:PutLogEvents", LOG, &["TrailDetectorErrorsAlarm"]),
    explained("TrailDetectorRole", "sqs:SendMessage", DESTINATION, &["TrailDetectorErrorsAlarm"]),
    explained("LogAnalyzerRole", "logs:CreateLogStream", LOG, &["LogAnalyzerErrorsAlarm", "ObjectDeadLettersAlarm"]),
    explained("LogAnalyzerRole", "logs:PutLogEvents", LOG, &["LogAnalyzerErrorsAlarm", "ObjectDeadLettersAlarm"]),
    explained("LogAnalyzerRole", "sqs:DeleteMessage", DELETE, &["ObjectDeadLettersAlarm"]),
    explained("LogAnalyzerRole", "sqs:GetQueueAttributes", POLL, &["ObjectsLateAlarm"]),
    explained("LogAnalyzerRole", "sqs:ReceiveMessage", POLL, &["ObjectsLateAlarm"]),
    explained("LogAnalyzerRole", "sqs:SendMessage", DESTINATION, &["LogAnalyzerErrorsAlarm"]),
    explained(
        "LogAnalyzerRole",
        "s3:ListBucket",
        "the emulator says NoSuchKey of a missing object with and without it; the message ends in the dead letters either way",
        &["ObjectDeadLettersAlarm"],
    ),
    explained("NotifierRole", "logs:CreateLogStream", LOG, &["NotifierErrorsAlarm", "FindingDeadLettersAlarm"]),
    explained("NotifierRole", "logs:PutLogEvents", LOG, &["NotifierErrorsAlarm", "FindingDeadLettersAlarm"]),
    explained("NotifierRole", "sqs:DeleteMessage", DELETE, &["FindingDeadLettersAlarm"]),
    explained("NotifierRole", "sqs:GetQueueAttributes", POLL, &["FindingsLateAlarm"]),
    explained("NotifierRole", "sqs:ReceiveMessage", POLL, &["FindingsLateAlarm"]),
    explained("NotifierRole", "sqs:SendMessage", DESTINATION, &["NotifierErrorsAlarm"]),
    explained(
        "NotifierRole",
        "ses:SendRawEmail",
        "the emulator asks for ses:SendEmail alone; AWS asks for both where the message is a raw one",
        &[],
    ),
    explained(
        "SchedulerRole",
        "lambda:InvokeFunction",
        "the Scheduler invokes in the role's name, once a minute at most; what it could not deliver is a dead letter",
        &["EventDeadLettersAlarm"],
    ),
    explained(
        "SchedulerRole",
        "sqs:SendMessage",
        "the Scheduler reports in the role's name, and only what it could not deliver",
        &["PollMissingAlarm", "ScanMissingAlarm", "RollUpMissingAlarm", "DigestMissingAlarm"],
    ),
];
