//! Instances and security groups:
//! [DescribeInstances](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html) and
//! [DescribeSecurityGroups](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSecurityGroups.html).

use std::collections::BTreeSet;

use async_trait::async_trait;
use aws_sdk_ec2::types;
use cloudvigil_aws::Clients;
use jiff::Timestamp;

use super::{Collected, Collector, Place};
use crate::failure::Failure;
use crate::snapshot::ec2::{Instance, Interface, Region, SecurityGroup};
use crate::snapshot::exposure::IngressRule;

/// How many resources a page has at most: the services' own limit.
const PAGE: i32 = 1000;
/// The longest description that is kept, in characters.
const MAX_DESCRIPTION: usize = 80;

/// The collector of instances and security groups.
pub struct Ec2;

#[async_trait]
impl Collector for Ec2 {
    fn name(&self) -> &'static str {
        "ec2"
    }

    async fn collect(&self, clients: &Clients, place: &Place) -> Collected {
        let client = aws_sdk_ec2::Client::new(&clients.config_in(&place.region).await);
        let (instances, groups) =
            futures::join!(instances(&client, &place.region), security_groups(&client, &place.region));
        let region = Region { region: place.region.clone(), instances, groups };
        let mut collected = Collected { resources: region.resources(&place.account), ..Collected::default() };
        for (kind, failure) in [("instance", region.instances.err()), ("security_group", region.groups.err())] {
            match failure {
                None => collected.complete.push((place.region.clone(), kind)),
                Some(failure) => collected.failures.push(failure),
            }
        }
        collected
    }
}

async fn instances(client: &aws_sdk_ec2::Client, region: &str) -> Result<Vec<Instance>, Failure> {
    let mut pages = client.describe_instances().max_results(PAGE).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::of_call("ec2:DescribeInstances", region, &error))?;
        let reservations = page.reservations.unwrap_or_default();
        found.extend(reservations.into_iter().flat_map(|r| r.instances.unwrap_or_default()).filter_map(instance));
    }
    Ok(found)
}

async fn security_groups(client: &aws_sdk_ec2::Client, region: &str) -> Result<Vec<SecurityGroup>, Failure> {
    let mut pages = client.describe_security_groups().max_results(PAGE).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::of_call("ec2:DescribeSecurityGroups", region, &error))?;
        found.extend(page.security_groups.unwrap_or_default().into_iter().filter_map(security_group));
    }
    Ok(found)
}

fn instance(seen: types::Instance) -> Option<Instance> {
    let options = seen.metadata_options.as_ref();
    let switched_off = options.is_some_and(|o| o.http_endpoint == Some(types::InstanceMetadataEndpointState::Disabled));
    let tokens = options.and_then(|options| options.http_tokens.as_ref());
    Some(Instance {
        id: seen.instance_id?,
        state: seen.state.and_then(|state| state.name).map(|name| name.as_str().to_owned()),
        instance_type: seen.instance_type.map(|kind| kind.as_str().to_owned()),
        image: seen.image_id,
        vpc: seen.vpc_id,
        subnet: seen.subnet_id,
        private_ip: seen.private_ip_address,
        public_ip: seen.public_ip_address.filter(|address| !address.is_empty()),
        launch_time: seen.launch_time.and_then(|time| Timestamp::from_second(time.secs()).ok()),
        name: seen
            .tags
            .unwrap_or_default()
            .into_iter()
            .find(|tag| tag.key.as_deref() == Some("Name"))
            .and_then(|tag| tag.value),
        iam_profile: seen.iam_instance_profile.and_then(|profile| profile.arn),
        imds_v2_required: tokens.map(|tokens| switched_off || *tokens == types::HttpTokensState::Required),
        security_groups: group_ids(seen.security_groups),
        interfaces: seen.network_interfaces.unwrap_or_default().into_iter().map(interface).collect(),
    })
}

fn interface(seen: types::InstanceNetworkInterface) -> Interface {
    // A secondary private address may have a public one of its own.
    let associated =
        seen.private_ip_addresses.unwrap_or_default().into_iter().filter_map(|address| address.association);
    let ipv4 = seen.association.into_iter().chain(associated).filter_map(|association| association.public_ip);
    let ipv6 = seen.ipv6_addresses.unwrap_or_default().into_iter().filter_map(|address| address.ipv6_address);
    Interface { addresses: ipv4.chain(ipv6).collect(), security_groups: group_ids(seen.groups) }
}

fn group_ids(groups: Option<Vec<types::GroupIdentifier>>) -> BTreeSet<String> {
    groups.unwrap_or_default().into_iter().filter_map(|group| group.group_id).collect()
}

fn security_group(seen: types::SecurityGroup) -> Option<SecurityGroup> {
    let mut ingress: Vec<IngressRule> = seen.ip_permissions.unwrap_or_default().into_iter().map(ingress_rule).collect();
    ingress.sort();
    Some(SecurityGroup { id: seen.group_id?, name: seen.group_name, vpc: seen.vpc_id, ingress })
}

fn ingress_rule(seen: types::IpPermission) -> IngressRule {
    let mut rule = IngressRule {
        protocol: match seen.ip_protocol.as_deref() {
            Some("-1") | None => "all".to_owned(),
            Some("6") => "tcp".to_owned(),
            Some("17") => "udp".to_owned(),
            Some(protocol) => protocol.to_ascii_lowercase(),
        },
        from_port: seen.from_port,
        to_port: seen.to_port,
        ..IngressRule::default()
    };
    for range in seen.ip_ranges.unwrap_or_default() {
        rule.cidrs.extend(range.cidr_ip);
        rule.descriptions.extend(range.description);
    }
    for range in seen.ipv6_ranges.unwrap_or_default() {
        rule.cidrs.extend(range.cidr_ipv6);
        rule.descriptions.extend(range.description);
    }
    for pair in seen.user_id_group_pairs.unwrap_or_default() {
        rule.groups.extend(pair.group_id);
        rule.descriptions.extend(pair.description);
    }
    for list in seen.prefix_list_ids.unwrap_or_default() {
        rule.prefix_lists.extend(list.prefix_list_id);
        rule.descriptions.extend(list.description);
    }
    for description in &mut rule.descriptions {
        *description = description.chars().take(MAX_DESCRIPTION).collect();
    }
    for list in [&mut rule.cidrs, &mut rule.groups, &mut rule.prefix_lists, &mut rule.descriptions] {
        list.sort();
    }
    rule
}
