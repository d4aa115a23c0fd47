use std::collections::BTreeSet;

use serde_json::json;

use super::*;

fn event(name: &str, parameters: &Value) -> Map<String, Value> {
    let mut derived = Map::new();
    cloudtrail(&json!({"eventName": name, "requestParameters": parameters}), &OwnResources::default(), &mut derived);
    derived
}

fn ingress(parameters: &Value) -> (bool, Vec<u64>) {
    let derived = event("AuthorizeSecurityGroupIngress", parameters);
    let ports = derived.get(OPEN_PORTS).and_then(Value::as_array).into_iter().flatten();
    (derived.contains_key(OPEN_TO_WORLD), ports.filter_map(Value::as_u64).collect())
}

fn rule(protocol: &str, from: i64, to: i64, cidrs: &[&str]) -> Value {
    let (v6, v4): (Vec<&str>, Vec<&str>) = cidrs.iter().partition(|cidr| cidr.contains(':'));
    json!({"ipProtocol": protocol, "fromPort": from, "toPort": to, "groups": {}, "prefixListIds": {},
        "ipRanges": {"items": v4.iter().map(|cidr| json!({"cidrIp": cidr})).collect::<Vec<_>>()},
        "ipv6Ranges": {"items": v6.iter().map(|cidr| json!({"cidrIpv6": cidr})).collect::<Vec<_>>()}})
}

fn items(rules: &[Value]) -> Value {
    json!({"groupId": "sg-0123", "ipPermissions": {"items": rules}})
}

#[test]
fn a_rule_for_everyone_opens_its_ports() {
    assert_eq!(ingress(&items(&[rule("tcp", 22, 22, &["0.0.0.0/0"])])), (true, vec![22]));
    assert_eq!(ingress(&items(&[rule("tcp", 3306, 3389, &["::/0"])])), (true, vec![3306, 3389]));
    assert_eq!(ingress(&items(&[rule("tcp", 443, 443, &["0.0.0.0/0"])])), (true, vec![]));
    assert_eq!(ingress(&items(&[rule("udp", 53, 53, &["0.0.0.0/0"])])), (true, vec![]));
    assert!(ingress(&items(&[rule("-1", -1, -1, &["0.0.0.0/0"])])).1.contains(&5432));
    assert_eq!(
        ingress(
            &json!({"groupId": "sg-0123", "ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "cidrIp": "0.0.0.0/0"})
        ),
        (true, vec![22])
    );
    let modified = json!({"ModifySecurityGroupRulesRequest": {"GroupId": "sg-0123", "SecurityGroupRule": {"tag": 1,
        "SecurityGroupRule": {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "0.0.0.0/0"}}}});
    assert_eq!(event("ModifySecurityGroupRules", &modified)[OPEN_PORTS], json!([22]));
}

#[test]
fn networks_that_add_up_to_the_internet_do_too() {
    assert_eq!(ingress(&items(&[rule("tcp", 22, 22, &["0.0.0.0/1"])])), (true, vec![22]));
    let quarters = ["0.0.0.0/2", "64.0.0.0/2"].map(|cidr| rule("tcp", 22, 22, &[cidr]));
    assert_eq!(ingress(&items(&quarters)), (true, vec![22]));
    let eighths = ["0.0.0.0/3", "32.0.0.0/3", "96.0.0.0/3", "192.0.0.0/3"];
    assert_eq!(ingress(&items(&[rule("tcp", 22, 22, &eighths)])), (true, vec![22]));
    assert_eq!(ingress(&items(&[rule("tcp", 22, 22, &["2000::/3"])])), (true, vec![22]));
}

#[test]
fn other_rules_do_not() {
    for cidrs in
        [&["10.0.0.0/8"][..], &["203.0.113.7/32", "2001:db8::/32"], &["64.0.0.0/2"], &["fc00::/7"], &["nonsense"], &[]]
    {
        assert_eq!(ingress(&items(&[rule("tcp", 22, 22, cidrs)])), (false, vec![]), "{cidrs:?}");
    }
    let apart = [rule("tcp", 22, 22, &["0.0.0.0/2"]), rule("tcp", 3306, 3306, &["64.0.0.0/2"])];
    assert_eq!(ingress(&items(&apart)), (false, vec![]), "no port is reached by half of the internet");
    assert_eq!(ingress(&Value::Null), (false, vec![]));
    assert!(event("AuthorizeSecurityGroupEgress", &items(&[rule("-1", -1, -1, &["0.0.0.0/0"])])).is_empty());
}

#[test]
fn an_inventory_group_is_judged_by_its_ingress_alone() {
    let rules = json!([{"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr": "0.0.0.0/0"}]);
    let mut derived = Map::new();
    inventory(&json!({"type": "security_group", "ingress": rules, "egress": rules}), &mut derived);
    assert_eq!((&derived[OPEN_TO_WORLD], &derived[OPEN_PORTS]), (&json!(true), &json!([22])));
    let mut derived = Map::new();
    inventory(&json!({"type": "security_group", "ingress": [], "egress": rules}), &mut derived);
    assert!(derived.is_empty());
}

fn policy(statement: &Value) -> bool {
    let policy = json!({"Version": "2012-10-17", "Statement": statement});
    let object = event("PutBucketPolicy", &json!({"bucketName": "b", "bucketPolicy": policy}));
    let text = event("PutBucketPolicy", &json!({"bucketName": "b", "bucketPolicy": policy.to_string()}));
    assert_eq!(object, text);
    object.contains_key(POLICY_PUBLIC)
}

#[test]
fn a_policy_for_everyone_is_public() {
    for principal in [json!("*"), json!({"AWS": "*"}), json!({"AWS": ["arn:aws:iam::123456789012:root", "*"]})] {
        let statement = json!({"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "*"});
        assert!(policy(&statement) && policy(&json!([statement])), "{principal}");
    }
    assert!(policy(
        &json!({"Effect": "Allow", "NotPrincipal": {"AWS": "arn:aws:iam::123456789012:root"}, "Action": "*"})
    ));
    for condition in [
        json!({"Bool": {"aws:SecureTransport": "true"}}),
        json!({"IpAddress": {"aws:SourceIp": ["0.0.0.0/1", "128.0.0.0/1"]}}),
        json!({"StringLike": {"aws:PrincipalOrgID": "*"}}),
        json!({"StringNotEquals": {"aws:SourceVpce": "vpce-1"}}),
        json!({"StringEqualsIfExists": {"aws:PrincipalOrgID": "o-1"}}),
        json!({"StringEquals": {"s3:x-amz-acl": "public-read"}}),
    ] {
        assert!(policy(&json!({"Effect": "Allow", "Principal": "*", "Condition": condition})), "{condition}");
    }
}

#[test]
fn a_policy_for_somebody_is_not() {
    for statement in [
        json!({"Effect": "Deny", "Principal": "*"}),
        json!({"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}),
        json!({"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}}),
        json!({"Effect": "Allow", "Principal": "*", "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}),
        json!({"Effect": "Allow", "Principal": "*", "Condition": {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}}),
        json!({"Effect": "Allow", "Principal": "*", "Condition": {"StringEquals": {"aws:sourceVpce": "vpce-1"}, "Bool": {"aws:SecureTransport": "true"}}}),
        json!("nonsense"),
    ] {
        assert!(!policy(&statement), "{statement}");
    }
}

fn selectors(parameters: &Value) -> Option<String> {
    event("PutEventSelectors", parameters).get(MANAGEMENT_EVENTS).and_then(Value::as_str).map(str::to_owned)
}

#[test]
fn basic_selectors() {
    for (selector, expected) in [
        (json!({"readWriteType": "All", "includeManagementEvents": true, "dataResources": []}), "all"),
        (json!({"readWriteType": "ReadOnly", "includeManagementEvents": true}), "read_only"),
        (json!({"readWriteType": "WriteOnly", "includeManagementEvents": true}), "write_only"),
        (json!({"readWriteType": "All", "includeManagementEvents": false}), "none"),
        (json!({"readWriteType": "All", "excludeManagementEventSources": ["kms.amazonaws.com"]}), "partly_excluded"),
        (json!({}), "all"),
    ] {
        assert_eq!(selectors(&json!({"trailName": "t", "eventSelectors": [selector]})).as_deref(), Some(expected));
        assert_eq!(selectors(&json!({"trailName": "t", "eventSelectors": selector})).as_deref(), Some(expected));
    }
    assert_eq!(selectors(&json!({"trailName": "t"})), None);
    assert_eq!(selectors(&Value::Null), None);
}

#[test]
fn advanced_selectors() {
    let management = json!({"field": "eventCategory", "equals": ["Management"]});
    let one = |conditions: &[Value]| {
        let mut all = vec![management.clone()];
        all.extend_from_slice(conditions);
        selectors(&json!({"advancedEventSelectors": [{"name": "n", "fieldSelectors": all}]}))
    };
    assert_eq!(one(&[]).as_deref(), Some("all"));
    assert_eq!(one(&[json!({"field": "readOnly", "equals": ["true"]})]).as_deref(), Some("read_only"));
    assert_eq!(one(&[json!({"field": "readOnly", "equals": ["false"]})]).as_deref(), Some("write_only"));
    let excluded = json!({"field": "eventSource", "notEquals": ["kms.amazonaws.com"]});
    assert_eq!(one(&[excluded]).as_deref(), Some("partly_excluded"));
    let data = json!({"fieldSelectors": [{"field": "eventCategory", "equals": ["Data"]}]});
    assert_eq!(selectors(&json!({"advancedEventSelectors": data})).as_deref(), Some("none"));
    let both = ["true", "false"]
        .map(|value| json!({"fieldSelectors": [management, {"field": "readOnly", "equals": [value]}]}));
    assert_eq!(selectors(&json!({"advancedEventSelectors": both})).as_deref(), Some("all"));
}

#[test]
fn selectors_add_up_and_never_to_more_than_they_record() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let writes = |selectors: &[Value]| Recording::of(&json!({"EventSelectors": selectors})).unwrap().writes;
    let but = |names: &[&str]| json!({"ReadWriteType": "All", "ExcludeManagementEventSources": names});
    assert_eq!(writes(&[but(&["kms", "rdsdata"])]), Share::Except(set(&["kms", "rdsdata"])));
    assert_eq!(writes(&[but(&["kms", "rdsdata"]), but(&["kms"])]), Share::Except(set(&["kms"])));
    assert_eq!(writes(&[but(&["kms"]), but(&["rdsdata"])]), Share::All);
    let advanced = |fields: &[Value]| {
        let mut all = vec![json!({"Field": "eventCategory", "Equals": ["Management"]})];
        all.extend_from_slice(fields);
        json!({"FieldSelectors": all})
    };
    let writes = |selectors: &[Value]| Recording::of(&json!({"AdvancedEventSelectors": selectors})).unwrap().writes;
    let only = |names: &[&str]| advanced(&[json!({"Field": "eventSource", "Equals": names})]);
    let but = |names: &[&str]| advanced(&[json!({"Field": "eventSource", "NotEquals": names})]);
    let by_name = advanced(&[json!({"Field": "eventName", "StartsWith": ["Put"]})]);
    assert_eq!(writes(&[only(&["iam"]), only(&["sts"])]), Share::Only(set(&["iam", "sts"])));
    assert_eq!(writes(&[but(&["kms"]), only(&["kms"])]), Share::All);
    assert_eq!(writes(&[but(&["kms"]), by_name.clone()]), Share::Except(set(&["kms"])));
    assert_eq!(writes(&[only(&["iam"]), by_name]), Share::Partly);
}

#[test]
fn data_events_have_their_type_and_their_conditions() {
    let conditions = |selectors: &Value| {
        let others = Recording::of(selectors).unwrap().others;
        let line = |(others, conditions): (Others, BTreeSet<String>)| {
            let conditions = conditions.into_iter().collect::<Vec<_>>().join("|");
            format!("{} {} {:?}: {conditions}", others.category, others.of, others.access)
        };
        others.into_iter().map(line).collect::<Vec<_>>()
    };
    let basic = json!({"eventSelectors": [{"readWriteType": "WriteOnly", "dataResources": [
        {"type": "AWS::S3::Object", "values": ["arn:aws:s3:::"]},
        {"type": "AWS::Lambda::Function", "values": ["arn:aws:lambda:eu-west-1:1:function:a", "arn:aws:lambda"]},
    ]}]});
    assert_eq!(
        conditions(&basic),
        [
            "Data AWS::Lambda::Function Write: |resources.ARN is arn:aws:lambda:eu-west-1:1:function:a",
            "Data AWS::S3::Object Write: ",
        ]
    );
    let advanced = json!({"advancedEventSelectors": [{"fieldSelectors": [
        {"field": "eventCategory", "equals": ["Data"]}, {"field": "resources.type", "equals": ["AWS::S3::Object"]},
        {"field": "readOnly", "equals": ["false"]}, {"field": "resources.ARN", "notStartsWith": ["arn:aws:s3:::logs/"]},
    ]}, {"fieldSelectors": [
        {"field": "eventCategory", "equals": ["NetworkActivity"]}, {"field": "eventSource", "equals": ["s3.amazonaws.com"]},
        {"field": "readOnly", "equals": ["true"]},
    ]}]});
    assert_eq!(
        conditions(&advanced),
        [
            "Data AWS::S3::Object Write: resources.ARN does not start with arn:aws:s3:::logs/",
            "NetworkActivity s3.amazonaws.com Read: ",
        ]
    );
}

#[test]
fn the_kind_of_an_error() {
    let kind = |fields: &Value| errors::kind(fields).map(str::to_owned);
    for (message, expected) in [
        ("ValueError: bad", Some("ValueError")),
        ("Caused by: java.lang.NullPointerException: x", Some("NullPointerException")),
        ("thread 'main' panicked at src/main.rs:2:5:", Some("panic")),
        ("panic: runtime error: index out of range", Some("panic")),
        ("Error: something", None),
        ("all is well", None),
    ] {
        assert_eq!(kind(&json!({"message": message})).as_deref(), expected, "{message}");
    }
    assert_eq!(kind(&json!({"message": "no", "level": "ERROR"})).as_deref(), Some("error"));
    assert_eq!(kind(&json!({"message": "no", "level": "INFO"})), None);
}
