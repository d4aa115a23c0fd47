//! A scan of an account that a server on 127.0.0.1 plays.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::config::{Credentials, SharedCredentialsProvider};
use cloudvigil_core::ports::Clock;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::memory::Memory;

const ACCOUNT: &str = "123456789012";

struct At(&'static str);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0.parse().unwrap()
    }
}

/// Clients of a server that answers each request (method and path, region, form) with a status and a body.
fn clients(answer: fn(&str, &str, &str) -> (u16, &'static str)) -> Clients {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            thread::spawn(move || serve(stream, answer));
        }
    });
    let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::disabled())
        .endpoint_url(url)
        .build();
    Clients::with_config(config)
}

fn serve(mut stream: TcpStream, answer: fn(&str, &str, &str) -> (u16, &'static str)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut request, mut region, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut request).unwrap();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
            break;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        } else if let Some(scope) = line.strip_prefix("authorization: ").and_then(|l| l.split("credential=").nth(1)) {
            region = scope.split('/').nth(2).unwrap().to_owned();
        }
    }
    let mut form = vec![0; length];
    reader.read_exact(&mut form).unwrap();
    let request = request.rsplit_once(' ').map_or("", |(request, _)| request);
    let (status, body) = answer(request, &region, &String::from_utf8(form).unwrap());
    let length = if request.starts_with("HEAD") { 0 } else { body.len() };
    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..length]).unwrap();
}

const INSTANCES_1: &str = include_str!("fixtures/describe_instances_page_1.xml");
const INSTANCES_2: &str = include_str!("fixtures/describe_instances_page_2.xml");
const GROUPS: &str = include_str!("fixtures/describe_security_groups.xml");
const NO_INSTANCES: &str = "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>";
const NO_GROUPS: &str = "<DescribeSecurityGroupsResponse><securityGroupInfo/></DescribeSecurityGroupsResponse>";
const EC2_DENIED: &str = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You are not authorized \
                          to perform this operation.</Message></Error></Errors><RequestID>1</RequestID></Response>";
const BUCKETS: &str = "<ListAllMyBucketsResult><Buckets>\
    <Bucket><Name>site</Name><BucketRegion>eu-west-1</BucketRegion></Bucket>\
    <Bucket><Name>vault</Name><BucketRegion>us-east-1</BucketRegion></Bucket>\
    </Buckets></ListAllMyBucketsResult>";
const NO_BLOCK: &str = "<Error><Code>NoSuchPublicAccessBlockConfiguration</Code><Message>none</Message></Error>";
const NO_ACCOUNT_BLOCK: &str = "<ErrorResponse><Error><Code>NoSuchPublicAccessBlockConfiguration</Code>\
    <Message>none</Message></Error></ErrorResponse>";
const NO_POLICY: &str = "<Error><Code>NoSuchBucketPolicy</Code><Message>none</Message></Error>";
const S3_DENIED: &str = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
const PUBLIC_ACL: &str = "<AccessControlPolicy><AccessControlList><Grant>\
    <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\">\
    <URI>http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee><Permission>READ</Permission>\
    </Grant></AccessControlList></AccessControlPolicy>";
const OWN_ACL: &str = "<AccessControlPolicy><AccessControlList/></AccessControlPolicy>";

const NO_VPCS: &str = "<DescribeVpcsResponse><vpcSet/></DescribeVpcsResponse>";
const VPCS: &str = "<DescribeVpcsResponse><vpcSet><item><vpcId>vpc-1</vpcId><cidrBlock>10.0.0.0/16</cidrBlock>\
    <cidrBlockAssociationSet><item><cidrBlock>10.0.0.0/16</cidrBlock></item><item><cidrBlock>10.1.0.0/16</cidrBlock>\
    </item></cidrBlockAssociationSet><isDefault>false</isDefault></item></vpcSet></DescribeVpcsResponse>";
const NO_SUBNETS: &str = "<DescribeSubnetsResponse><subnetSet/></DescribeSubnetsResponse>";
const NO_FLOW_LOGS: &str = "<DescribeFlowLogsResponse><flowLogSet/></DescribeFlowLogsResponse>";
const FLOW_LOGS: &str = "<DescribeFlowLogsResponse><flowLogSet><item><flowLogId>fl-1</flowLogId>\
    <resourceId>vpc-1</resourceId><trafficType>ALL</trafficType><logDestinationType>s3</logDestinationType>\
    <logDestination>arn:aws:s3:::flows</logDestination><deliverLogsStatus>SUCCESS</deliverLogsStatus>\
    <flowLogStatus>ACTIVE</flowLogStatus><maxAggregationInterval>600</maxAggregationInterval></item></flowLogSet>\
    </DescribeFlowLogsResponse>";

/// An account with an instance that is open to the internet in eu-west-1, a public bucket there, and a bucket in
/// us-east-1 that answers nothing about itself; EC2 in us-east-1 may not be looked at.
fn account(request: &str, region: &str, form: &str) -> (u16, &'static str) {
    let ec2 = |name: &str| form.contains(&format!("Action={name}&"));
    let query = |name: &str| request.contains(&format!("?{name}"));
    match region {
        "us-east-1" if ec2("DescribeInstances") || ec2("DescribeSecurityGroups") => (403, EC2_DENIED),
        "eu-west-1" if ec2("DescribeInstances") && form.contains("NextToken=two") => (200, INSTANCES_2),
        "eu-west-1" if ec2("DescribeInstances") => (200, INSTANCES_1),
        "eu-west-1" if ec2("DescribeSecurityGroups") => (200, GROUPS),
        "eu-west-1" if ec2("DescribeVpcs") => (200, VPCS),
        "eu-west-1" if ec2("DescribeFlowLogs") => (200, FLOW_LOGS),
        _ if ec2("DescribeVpcs") => (200, NO_VPCS),
        _ if ec2("DescribeSubnets") => (200, NO_SUBNETS),
        _ if ec2("DescribeFlowLogs") => (200, NO_FLOW_LOGS),
        _ if ec2("DescribeInstances") => (200, NO_INSTANCES),
        _ if ec2("DescribeSecurityGroups") => (200, NO_GROUPS),
        _ if request.starts_with("GET /v20180820/configuration/publicAccessBlock") => (404, NO_ACCOUNT_BLOCK),
        _ if request.starts_with("GET /?") => (200, BUCKETS),
        "eu-west-1" if query("publicAccessBlock") => (404, NO_BLOCK),
        "eu-west-1" if query("policyStatus") => (404, NO_POLICY),
        "eu-west-1" if query("acl") => (200, PUBLIC_ACL),
        "eu-west-1" if request.starts_with("HEAD /site") => (200, ""),
        "us-east-1" if request.starts_with("HEAD /vault") => (403, ""),
        "us-east-1" if query("acl") => (200, OWN_ACL),
        "us-east-1" if request.contains("/vault") => (403, S3_DENIED),
        _ if request.starts_with("POST") => (200, "{\"trailList\":[]}"),
        _ => (400, "<Error><Code>Unexpected</Code></Error>"),
    }
}

fn record<'a>(inventory: &'a Inventory, resource: &str) -> &'a Value {
    let mut found = inventory.records.iter().filter(|record| record["resource"] == resource);
    let record = found.next().unwrap_or_else(|| panic!("{resource} is not in {:#?}", inventory.records));
    assert!(found.next().is_none(), "{resource} is there twice");
    record
}

fn regions(names: &[&str]) -> Regions {
    Regions { names: names.iter().map(ToString::to_string).collect(), error: None }
}

async fn scan(state: &Memory, time: &'static str) -> Inventory {
    collect(&clients(account), &regions(&["ap-east-1", "eu-west-1", "us-east-1"]), ACCOUNT, state, &At(time)).await
}

#[tokio::test]
async fn what_is_exposed_is_seen_though_another_region_may_not_be_looked_at() {
    let inventory = scan(&Memory::default(), "2026-03-01T10:00:00Z").await;

    let instance = record(&inventory, "arn:aws:ec2:eu-west-1:123456789012:instance/i-0a1b2c3d4e5f60718");
    assert_eq!(instance["schema"], 1);
    assert_eq!((&instance["service"], &instance["type"]), (&json!("ec2"), &json!("instance")));
    assert_eq!((&instance["account"], &instance["region"]), (&json!(ACCOUNT), &json!("eu-west-1")));
    assert_eq!(instance["since"], "2026-03-01T10:00:00Z");
    assert_eq!(instance["public_ip"], "203.0.113.25");
    assert_eq!(instance["open_admin_ports"], json!([22]));
    assert_eq!(instance["open_data_ports"], json!([5432]));
    assert_eq!(instance["open_ports_world"], json!(["tcp/22", "tcp/5432"]));
    assert_eq!(instance["imds_v2_required"], json!(false));
    assert_eq!(instance["name"], "web");
    assert_eq!(instance["launch_time"], "2026-02-27T08:00:00Z");
    // The second page.
    let second = record(&inventory, "arn:aws:ec2:eu-west-1:123456789012:instance/i-0ffffffffffffffff");
    assert_eq!(second["open_ports_world"], json!([]));

    let group = record(&inventory, "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-0123456789abcdef0");
    assert_eq!((&group["attached"], &group["open_to_world"]), (&json!(true), &json!(true)));
    assert_eq!(group["ingress"][0]["cidrs"], json!(["0.0.0.0/0"]));

    let network = record(&inventory, "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1");
    assert_eq!(network["cidr_blocks"], json!(["10.0.0.0/16", "10.1.0.0/16"]));
    assert_eq!(network["flow_logs"], json!(["fl-1"]));
    let log = record(&inventory, "arn:aws:ec2:eu-west-1:123456789012:vpc-flow-log/fl-1");
    assert_eq!((&log["recorded"], &log["destination"]), (&json!("vpc-1"), &json!("arn:aws:s3:::flows")));

    let site = record(&inventory, "arn:aws:s3:::site");
    assert_eq!((&site["public"], &site["public_through"]), (&json!(true), &json!(["acl"])));
    assert_eq!(site["acl_public_grants"], json!(["AllUsers:READ"]));
    assert_eq!((&site["policy_is_public"], &site["reachable"]), (&json!(false), &json!("ok")));

    assert!(inventory.state_errors.is_empty());
}

#[tokio::test]
async fn what_may_not_be_looked_at_is_a_record_of_its_own() {
    let inventory = scan(&Memory::default(), "2026-03-01T10:00:00Z").await;
    let blind = record(&inventory, "arn:aws:ec2:us-east-1:123456789012:collection/DescribeInstances");
    assert_eq!((&blind["type"], &blind["region"]), (&json!("collection"), &json!("us-east-1")));
    assert_eq!(blind["could_not_look"], "AccessDenied: ec2:DescribeInstances");

    let vault = record(&inventory, "arn:aws:s3:::vault");
    assert_eq!((&vault["public"], &vault["reachable"]), (&Value::Null, &json!("denied")));
    assert_eq!(
        vault["could_not_look"],
        "AccessDenied: s3:GetBucketPublicAccessBlock; AccessDenied: s3:GetBucketPolicyStatus; \
         AccessDenied: s3:ListBucket"
    );
    let denied = record(&inventory, "arn:aws:s3:us-east-1:123456789012:collection/GetBucketPolicyStatus");
    assert_eq!(denied["affected"], 1);

    let failures: Vec<_> = inventory.summary.failures.iter().map(|f| (f.region.as_str(), f.action)).collect();
    assert_eq!(
        failures,
        [
            ("us-east-1", "ec2:DescribeInstances"),
            ("us-east-1", "ec2:DescribeSecurityGroups"),
            ("us-east-1", "s3:GetBucketPolicyStatus"),
            ("us-east-1", "s3:GetBucketPublicAccessBlock"),
            ("us-east-1", "s3:ListBucket"),
        ]
    );
}

#[tokio::test]
async fn the_second_scan_of_the_same_account_dates_everything_by_the_first() {
    let state = Memory::default();
    let first = scan(&state, "2026-03-01T10:00:00Z").await;
    let second = scan(&state, "2026-03-01T11:00:00Z").await;
    assert_eq!(first.ndjson(), second.ndjson());
    let lines = String::from_utf8(first.ndjson()).unwrap();
    assert_eq!(lines.lines().count(), first.records.len());
    let (first, second) = (first.summary.total(), second.summary.total());
    assert_eq!((first.seen, first.new, first.unchanged), (7, 7, 0));
    assert_eq!((second.seen, second.new, second.unchanged, second.changed, second.removed), (7, 0, 7, 0, 0));
}

#[tokio::test]
async fn an_account_that_denies_everything_is_not_an_empty_account() {
    let state = Memory::default();
    scan(&state, "2026-03-01T10:00:00Z").await;
    let blind = clients(|request, _, _| (403, if request.starts_with("POST") { EC2_DENIED } else { S3_DENIED }));
    let inventory = collect(&blind, &regions(&["eu-west-1"]), ACCOUNT, &state, &At("2026-03-01T11:00:00Z")).await;
    assert!(inventory.records.iter().all(|record| record["type"] == "collection"));
    assert!(inventory.records.iter().any(|r| r["could_not_look"] == "AccessDenied: s3:ListAllMyBuckets"));
    assert_eq!(inventory.summary.total().removed, 0);
    // And what is known of it is still known when the denial is lifted.
    let again = scan(&state, "2026-03-01T12:00:00Z").await;
    assert_eq!(record(&again, "arn:aws:s3:::site")["since"], "2026-03-01T10:00:00Z");
}

#[tokio::test]
async fn regions_that_could_not_be_listed_are_a_record() {
    let denied = PortError::new(cloudvigil_core::ports::Failure::Denied, "list regions", "no");
    let regions = Regions { error: Some(denied), ..regions(&["us-east-1"]) };
    let clock = At("2026-03-01T10:00:00Z");
    let inventory = collect(&clients(account), &regions, ACCOUNT, &Memory::default(), &clock).await;
    let blind = record(&inventory, "arn:aws:account:us-east-1:123456789012:collection/ListRegions");
    assert_eq!(blind["could_not_look"], "failed: account:ListRegions");
}
