//! Networks, and the flow logs that record their traffic:
//! [DescribeFlowLogs](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeFlowLogs.html),
//! [DescribeVpcs](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeVpcs.html) and
//! [DescribeSubnets](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSubnets.html).

use async_trait::async_trait;
use aws_sdk_ec2::types;
use cloudvigil_aws::Clients;

use super::{Collected, Collector, Place};
use crate::failure::Failure;
use crate::snapshot::flow_logs::{FlowLog, Network, Region};

/// How many resources a page has at most: the services' own limit.
const PAGE: i32 = 1000;

/// The collector of VPCs, subnets and flow logs.
pub struct FlowLogs;

#[async_trait]
impl Collector for FlowLogs {
    fn name(&self) -> &'static str {
        "ec2"
    }

    async fn collect(&self, clients: &Clients, place: &Place) -> Collected {
        let client = aws_sdk_ec2::Client::new(&clients.config_in(&place.region).await);
        let region = &place.region;
        let (vpcs, subnets, flow_logs) =
            futures::join!(vpcs(&client, region), subnets(&client, region), flow_logs(&client, region));
        let region = Region { region: region.clone(), vpcs, subnets, flow_logs };
        let mut collected = Collected { resources: region.resources(&place.account), ..Collected::default() };
        let failures =
            [("vpc", region.vpcs.err()), ("subnet", region.subnets.err()), ("flow_log", region.flow_logs.err())];
        for (kind, failure) in failures {
            match failure {
                None => collected.complete.push((place.region.clone(), kind)),
                Some(failure) => collected.failures.push(failure),
            }
        }
        collected
    }
}

async fn vpcs(client: &aws_sdk_ec2::Client, region: &str) -> Result<Vec<Network>, Failure> {
    let mut pages = client.describe_vpcs().max_results(PAGE).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::of_call("ec2:DescribeVpcs", region, &error))?;
        found.extend(page.vpcs.unwrap_or_default().into_iter().filter_map(|seen| {
            let more = seen.cidr_block_association_set.unwrap_or_default().into_iter().filter_map(|one| one.cidr_block);
            let mut cidr_blocks: Vec<String> = seen.cidr_block.into_iter().chain(more).collect();
            cidr_blocks.sort();
            cidr_blocks.dedup();
            Some(Network { id: seen.vpc_id?, vpc: None, cidr_blocks, is_default: seen.is_default })
        }));
    }
    Ok(found)
}

async fn subnets(client: &aws_sdk_ec2::Client, region: &str) -> Result<Vec<Network>, Failure> {
    let mut pages = client.describe_subnets().max_results(PAGE).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::of_call("ec2:DescribeSubnets", region, &error))?;
        found.extend(page.subnets.unwrap_or_default().into_iter().filter_map(|seen| {
            let cidr_blocks = seen.cidr_block.into_iter().collect();
            Some(Network { id: seen.subnet_id?, vpc: seen.vpc_id, cidr_blocks, is_default: seen.default_for_az })
        }));
    }
    Ok(found)
}

async fn flow_logs(client: &aws_sdk_ec2::Client, region: &str) -> Result<Vec<FlowLog>, Failure> {
    let mut pages = client.describe_flow_logs().max_results(PAGE).into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| Failure::of_call("ec2:DescribeFlowLogs", region, &error))?;
        found.extend(page.flow_logs.unwrap_or_default().into_iter().filter_map(flow_log));
    }
    Ok(found)
}

fn flow_log(seen: types::FlowLog) -> Option<FlowLog> {
    Some(FlowLog {
        id: seen.flow_log_id?,
        recorded: seen.resource_id?,
        traffic_type: seen.traffic_type.map(|kind| kind.as_str().to_owned()),
        destination_type: seen.log_destination_type.map(|kind| kind.as_str().to_owned()),
        destination: seen.log_destination.filter(|destination| !destination.is_empty()),
        log_group: seen.log_group_name,
        role: seen.deliver_logs_permission_arn,
        format: seen.log_format,
        aggregation_seconds: seen.max_aggregation_interval,
        delivery_status: seen.deliver_logs_status,
        delivery_error: seen.deliver_logs_error_message,
    })
}
