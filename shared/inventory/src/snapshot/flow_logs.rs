//! A region's networks, and what records their traffic.

use serde_json::Value;

use crate::failure::Failure;
use crate::resource::{Resource, partition};

/// A VPC or a subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// `vpc-…`, `subnet-…`.
    pub id: String,
    /// A subnet's VPC.
    pub vpc: Option<String>,
    /// Its IPv4 blocks, sorted.
    pub cidr_blocks: Vec<String>,
    /// Whether AWS made it.
    pub is_default: Option<bool>,
}

/// A flow log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowLog {
    /// `fl-…`.
    pub id: String,
    /// The id of what it records: `vpc-…`, `subnet-…`, `eni-…`, `tgw-…`.
    pub recorded: String,
    /// `ALL`, `ACCEPT`, `REJECT`; none for a transit gateway's.
    pub traffic_type: Option<String>,
    /// `cloud-watch-logs`, `s3`, `kinesis-data-firehose`.
    pub destination_type: Option<String>,
    /// The destination's ARN.
    pub destination: Option<String>,
    /// The log group's name.
    pub log_group: Option<String>,
    /// The ARN of the role by which it delivers.
    pub role: Option<String>,
    /// The fields of a line.
    pub format: Option<String>,
    /// How long packets are gathered into a line, in seconds.
    pub aggregation_seconds: Option<i32>,
    /// `SUCCESS`, `FAILED`.
    pub delivery_status: Option<String>,
    /// Why it failed: `Access error`, `Rate limited`, `Unknown error`.
    pub delivery_error: Option<String>,
}

/// What a region has.
#[derive(Debug)]
pub struct Region {
    /// The region's name.
    pub region: String,
    /// Its VPCs, or why they could not be looked at.
    pub vpcs: Result<Vec<Network>, Failure>,
    /// Its subnets, or why they could not be looked at.
    pub subnets: Result<Vec<Network>, Failure>,
    /// Its flow logs, or why they could not be looked at.
    pub flow_logs: Result<Vec<FlowLog>, Failure>,
}

impl Region {
    /// The region's resources. A network names the flow logs that record it as a whole.
    pub fn resources(&self, account: &str) -> Vec<Resource> {
        let arn =
            |kind: &str, id: &str| format!("arn:{}:ec2:{}:{account}:{kind}/{id}", partition(&self.region), self.region);
        let mut resources = Vec::new();
        for (kind, networks) in [("vpc", &self.vpcs), ("subnet", &self.subnets)] {
            for network in networks.iter().flatten() {
                let mut resource = Resource::new("ec2", kind, arn(kind, &network.id), Some(&self.region))
                    .with("network", network.id.as_str())
                    .with("vpc", network.vpc.clone())
                    .with("cidr_blocks", network.cidr_blocks.clone())
                    .with("is_default", network.is_default)
                    .with("flow_logs", self.recording(&network.id));
                if let Err(failure) = &self.flow_logs {
                    resource.note_unseen(&failure.why(), &["flow_logs"]);
                }
                resources.push(resource);
            }
        }
        for log in self.flow_logs.iter().flatten() {
            let mut resource = Resource::new("ec2", "flow_log", arn("vpc-flow-log", &log.id), Some(&self.region))
                .with("flow_log", log.id.as_str())
                .with("recorded", log.recorded.as_str())
                .with("traffic_type", log.traffic_type.clone())
                .with("destination_type", log.destination_type.clone())
                .with("destination", log.destination.clone())
                .with("log_group", log.log_group.clone())
                .with("role", log.role.clone())
                .with("format", log.format.clone())
                .with("aggregation_seconds", log.aggregation_seconds)
                .with("delivery_status", log.delivery_status.clone())
                .with("delivery_error", log.delivery_error.clone());
            resource.volatile = &["delivery_status", "delivery_error"];
            resources.push(resource);
        }
        resources
    }

    /// The ids of the flow logs that record a network, sorted; null where they could not be looked at.
    fn recording(&self, network: &str) -> Value {
        let Ok(flow_logs) = &self.flow_logs else { return Value::Null };
        let of_it = flow_logs.iter().filter(|log| log.recorded == network);
        let mut ids: Vec<&str> = of_it.map(|log| log.id.as_str()).collect();
        ids.sort_unstable();
        ids.into()
    }
}

#[cfg(test)]
mod tests {
    use cloudvigil_core::ports::Failure as Kind;
    use serde_json::json;

    use super::*;

    fn region(flow_logs: Result<Vec<FlowLog>, Failure>) -> Region {
        let vpc = Network { id: "vpc-1".to_owned(), cidr_blocks: vec!["10.0.0.0/16".to_owned()], ..Network::default() };
        let subnet = Network { id: "subnet-1".to_owned(), vpc: Some("vpc-1".to_owned()), ..Network::default() };
        Region { region: "eu-west-1".to_owned(), vpcs: Ok(vec![vpc]), subnets: Ok(vec![subnet]), flow_logs }
    }

    #[test]
    fn a_network_names_its_own_flow_logs() {
        let log = |id: &str| FlowLog { id: id.to_owned(), recorded: "vpc-1".to_owned(), ..FlowLog::default() };
        let resources = region(Ok(vec![log("fl-2"), log("fl-1")])).resources("123456789012");
        let arns: Vec<&str> = resources.iter().map(|one| one.arn.rsplit(':').next().unwrap()).collect();
        assert_eq!(arns, ["vpc/vpc-1", "subnet/subnet-1", "vpc-flow-log/fl-2", "vpc-flow-log/fl-1"]);
        assert_eq!(resources[0].fields["flow_logs"], json!(["fl-1", "fl-2"]));
        assert_eq!(resources[1].fields["flow_logs"], json!([]));
        assert_eq!(resources[2].fields["recorded"], "vpc-1");
    }

    #[test]
    fn flow_logs_that_may_not_be_looked_at_are_not_none() {
        let denied = Failure::new("ec2:DescribeFlowLogs", "eu-west-1", "UnauthorizedOperation", "", Kind::Denied);
        let resources = region(Err(denied)).resources("123456789012");
        assert_eq!(resources[0].fields["flow_logs"], Value::Null);
        assert!(resources[0].unseen.contains(&"flow_logs"));
        assert_eq!(resources[0].could_not_look, ["AccessDenied: ec2:DescribeFlowLogs"]);
    }
}
