//! The management and data events of a busy account, as a trail delivers them.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::random::Random;

/// A call: its service, its name, and what it was asked and answered, in JSON. `#` stands for a few digits.
struct Call {
    service: &'static str,
    name: &'static str,
    read_only: bool,
    request: &'static str,
    response: &'static str,
    /// Further fields, each with a comma before it.
    more: &'static str,
}

const fn read(service: &'static str, name: &'static str, request: &'static str) -> Call {
    Call { service, name, read_only: true, request, response: "null", more: "" }
}

const fn change(service: &'static str, name: &'static str, request: &'static str) -> Call {
    Call { service, name, read_only: false, request, response: "null", more: "" }
}

/// What mostly happens. The last few are what rules ask about, done as it should be.
const USUAL: [Call; 18] = [
    read(
        "ec2",
        "DescribeInstances",
        r#"{"maxResults":100,"instancesSet":{},"filterSet":{"items":[{"name":"instance-state-name","valueSet":{"items":[{"value":"running"}]}}]}}"#,
    ),
    read(
        "ec2",
        "DescribeSecurityGroups",
        r#"{"securityGroupSet":{"items":[{"groupId":"sg-0a1b2c3d4e5f#"}]},"filterSet":{}}"#,
    ),
    read(
        "ec2",
        "DescribeVolumes",
        r#"{"volumeSet":{},"filterSet":{"items":[{"name":"attachment.instance-id","valueSet":{"items":[{"value":"i-0a1b2c3d4e5f#"}]}}]}}"#,
    ),
    read(
        "s3",
        "GetBucketLocation",
        r#"{"bucketName":"example-data-#","Host":"s3.eu-central-1.amazonaws.com","location":""}"#,
    ),
    read(
        "s3",
        "GetObject",
        r#"{"bucketName":"example-data-#","Host":"example-data-#.s3.eu-central-1.amazonaws.com","key":"reports/2026/03/part-#.parquet"}"#,
    ),
    read(
        "s3",
        "ListObjects",
        r#"{"list-type":"2","bucketName":"example-data-#","prefix":"reports/2026/","Host":"example-data-#.s3.eu-central-1.amazonaws.com"}"#,
    ),
    change(
        "s3",
        "PutObject",
        r#"{"bucketName":"example-data-#","Host":"example-data-#.s3.eu-central-1.amazonaws.com","key":"uploads/#.json","x-amz-server-side-encryption":"aws:kms"}"#,
    ),
    read(
        "kms",
        "Decrypt",
        r#"{"encryptionContext":{"aws:s3:arn":"arn:aws:s3:::example-data-#"},"encryptionAlgorithm":"SYMMETRIC_DEFAULT"}"#,
    ),
    read(
        "kms",
        "GenerateDataKey",
        r#"{"keySpec":"AES_256","encryptionContext":{"aws:s3:arn":"arn:aws:s3:::example-data-#"},"keyId":"arn:aws:kms:eu-central-1:123456789012:key/example-#"}"#,
    ),
    Call {
        response: r#"{"credentials":{"accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionToken":"AQoEXAMPLEH4aoAH0gNCAPy","expiration":"Mar 1, 2026, 11:00:00 AM"},"assumedRoleUser":{"assumedRoleId":"AROACKCEVSQ6C2EXAMPLE:worker-#","arn":"arn:aws:sts::123456789012:assumed-role/worker/worker-#"}}"#,
        ..read(
            "sts",
            "AssumeRole",
            r#"{"roleArn":"arn:aws:iam::123456789012:role/worker","roleSessionName":"worker-#","durationSeconds":3600}"#,
        )
    },
    read("iam", "GetRole", r#"{"roleName":"worker-#"}"#),
    read(
        "logs",
        "DescribeLogStreams",
        r#"{"logGroupName":"/aws/lambda/worker-#","orderBy":"LastEventTime","descending":true,"limit":50}"#,
    ),
    read("cloudtrail", "GetTrailStatus", r#"{"name":"arn:aws:cloudtrail:eu-central-1:123456789012:trail/main"}"#),
    change(
        "lambda",
        "UpdateFunctionCode20150331v2",
        r#"{"functionName":"worker-#","s3Bucket":"example-artifacts","s3Key":"worker/#.zip","publish":true,"dryRun":false}"#,
    ),
    change(
        "ec2",
        "AuthorizeSecurityGroupIngress",
        r#"{"groupId":"sg-0a1b2c3d4e5f#","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":443,"toPort":443,"groups":{},"ipRanges":{"items":[{"cidrIp":"10.0.0.0/8"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}"#,
    ),
    change(
        "s3",
        "PutBucketAcl",
        r#"{"bucketName":"example-data-#","acl":"","x-amz-acl":"private","Host":"example-data-#.s3.eu-central-1.amazonaws.com"}"#,
    ),
    change("iam", "CreateAccessKey", "null"),
    Call {
        response: r#"{"ConsoleLogin":"Success"}"#,
        more: r#","additionalEventData":{"LoginTo":"https://console.aws.amazon.com/console/home","MobileVersion":"No","MFAUsed":"Yes"}"#,
        ..change("signin", "ConsoleLogin", "null")
    },
];

/// What rules look for.
const LOOKED_FOR: [Call; 7] = [
    change("cloudtrail", "StopLogging", r#"{"name":"main"}"#),
    change("cloudtrail", "DeleteTrail", r#"{"name":"main-#"}"#),
    Call {
        more: r#","errorCode":"AccessDenied","errorMessage":"User: arn:aws:iam::123456789012:user/mallory is not authorized to perform: cloudtrail:StopLogging on resource: arn:aws:cloudtrail:eu-central-1:123456789012:trail/main because no identity-based policy allows the cloudtrail:StopLogging action""#,
        ..change("cloudtrail", "StopLogging", "null")
    },
    change(
        "ec2",
        "AuthorizeSecurityGroupIngress",
        r#"{"groupId":"sg-0a1b2c3d4e5f#","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"groups":{},"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]},"ipv6Ranges":{},"prefixListIds":{}}]}}"#,
    ),
    change(
        "s3",
        "PutBucketAcl",
        r#"{"bucketName":"example-data-#","acl":"","x-amz-acl":"public-read","Host":"example-data-#.s3.eu-central-1.amazonaws.com"}"#,
    ),
    change("iam", "CreateAccessKey", r#"{"userName":"admin-#"}"#),
    Call {
        response: r#"{"ConsoleLogin":"Success"}"#,
        more: r#","additionalEventData":{"LoginTo":"https://console.aws.amazon.com/console/home","MobileVersion":"No","MFAUsed":"No"}"#,
        ..change("signin", "ConsoleLogin", "null")
    },
];

const AGENTS: [&str; 4] = [
    "aws-cli/2.31.4 md/awscrt#0.27.6 ua/2.1 os/linux#6.8.0 md/arch#x86_64 lang/python#3.13.7 md/pyimpl#CPython cfg/retry-mode#standard",
    "aws-sdk-rust/1.3.8 os/linux lang/rust/1.95.0",
    "Boto3/1.40.1 md/Botocore#1.40.1 ua/2.1 os/linux#6.8.0 md/arch#aarch64 lang/python#3.13.7 exec-env/AWS_Lambda_python3.13",
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
];
const USER: &str = r#"{"type":"IAMUser","principalId":"AIDACKCEVSQ6C2EXAMPLE","arn":"arn:aws:iam::123456789012:user/mallory","accountId":"123456789012","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"mallory"}"#;
const ROLE: &str = r#"{"type":"AssumedRole","principalId":"AROACKCEVSQ6C2EXAMPLE:worker-#","arn":"arn:aws:sts::123456789012:assumed-role/worker/worker-#","accountId":"123456789012","accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROACKCEVSQ6C2EXAMPLE","arn":"arn:aws:iam::123456789012:role/worker","accountId":"123456789012","userName":"worker"},"attributes":{"creationDate":"2026-03-01T09:58:02Z","mfaAuthenticated":"false"}}}"#;

pub fn write(random: &mut Random, time: Timestamp, candidate: bool, out: &mut Vec<u8>) {
    let number = (10_000 + random.below(500)).to_string();
    let filled = |text: &str| text.replace('#', &number);
    let (calls, address) = if candidate {
        (&LOOKED_FOR[..], random.hostile_address())
    } else {
        // The calls that come close to what rules look for are rare.
        let usual = if random.below(50) == 0 { &USUAL[13..] } else { &USUAL[..13] };
        (usual, random.address())
    };
    let call = &calls[random.below(u32::try_from(calls.len()).unwrap_or(1)) as usize];
    let identity = if candidate { USER } else { ROLE };
    let stamp = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%SZ");
    let Call { service, name, read_only, .. } = *call;
    let agent = random.pick(&AGENTS);
    // Writing into memory cannot fail.
    let _ = write!(
        out,
        r#"{{"eventVersion":"1.11","userIdentity":{},"eventTime":"{stamp}","eventSource":"{service}.amazonaws.com","eventName":"{name}","awsRegion":"eu-central-1","sourceIPAddress":"{address}","userAgent":"{agent}","requestParameters":{},"responseElements":{}{},"requestID":"{}","eventID":"{}","readOnly":{read_only},"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management","tlsDetails":{{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"{service}.eu-central-1.amazonaws.com"}}}}"#,
        filled(identity),
        filled(call.request),
        filled(call.response),
        call.more,
        random.uuid(),
        random.uuid(),
    );
}
