//! What records the traffic of networks, as controls to be compared with what the last scan saw.
//!
//! A flow log is known by what it does, not by its id: one that takes another's place is no loss. It belongs to what it
//! records, so that one that ended with its network is none either. Interfaces come and go with what they serve; nobody
//! can tell here whether one is still there, so of theirs only failures are told, and the call that deletes one.

use std::collections::BTreeMap;

use cloudvigil_controls::{Condition, Control, Part};
use cloudvigil_trail::undo::quoted;
use serde_json::Value;

const SERVICE: &str = "ec2";
const FLOW_LOG: &str = "flow_log";

/// The controls of a scan's records: one for each network whose flow logs could be looked at, whether it has any or not,
/// and one for whatever else has some.
pub fn controls(records: &[Value], account: &str) -> Vec<Control> {
    let mut controls = BTreeMap::new();
    for network in records.iter().filter(|one| matches!(text(one, "type"), Some("vpc" | "subnet"))) {
        if let (Some(region), Some(id), Some(arn)) =
            (text(network, "region"), text(network, "network"), text(network, "resource"))
            && network["flow_logs"].is_array()
        {
            let control = Control::of_resource(SERVICE, account, region, arn);
            controls.insert((region, id), Control { is_complete: true, ..control });
        }
    }
    for log in records.iter().filter(|one| text(one, "type") == Some("flow_log")) {
        let (Some(region), Some(recorded)) = (text(log, "region"), text(log, "recorded")) else { continue };
        let control = controls
            .entry((region, recorded))
            .or_insert_with(|| Control::of_resource(SERVICE, account, region, &arn(log, recorded).unwrap_or_default()));
        let (name, part) = part(log, region, recorded);
        // Of two that do the same, one that works is enough.
        let works = |seen: &cloudvigil_controls::Seen| matches!(seen, cloudvigil_controls::Seen::There(part) if part.condition == Condition::Working);
        if !control.parts.get(&name).is_some_and(works) {
            *control = control.clone().with(name, part);
        }
    }
    controls.into_values().collect()
}

fn part(log: &Value, region: &str, recorded: &str) -> (String, Part) {
    let traffic = text(log, "traffic_type").unwrap_or("ALL");
    let place = text(log, "destination").or_else(|| text(log, "log_group")).unwrap_or("an unknown place");
    // arn:aws:logs:REGION:ACCOUNT:log-group:NAME:*, arn:aws:s3:::BUCKET/PREFIX
    let shown = text(log, "log_group")
        .or_else(|| place.strip_prefix("arn:").and_then(|arn| arn.splitn(5, ':').nth(4)))
        .unwrap_or(place);
    let of = format!("{recorded} in {region}");
    let part = Part {
        kind: FLOW_LOG.to_owned(),
        condition: Condition::Working,
        lost: format!("The network traffic of {of} is no longer recorded ({traffic}, to {shown})"),
        again: format!("The network traffic of {of} is recorded again ({traffic}, to {shown})"),
        undo: vec![create(log, region, recorded)],
        if_gone: None,
        if_off: None,
        relied_on: true,
        extent: None,
    };
    let part = if text(log, "delivery_status") == Some("FAILED") {
        let id = text(log, "flow_log").unwrap_or_default();
        let reason = text(log, "delivery_error").unwrap_or("no reason is given");
        let look = format!("aws ec2 describe-flow-logs --region {} --flow-log-ids {}", quoted(region), quoted(id));
        Part {
            condition: Condition::Failing,
            lost: format!("The flow log {id} of {of} cannot deliver: {reason}"),
            undo: vec![look],
            if_gone: Some((part.lost, part.undo)),
            ..part
        }
    } else {
        part
    };
    (format!("{traffic} to {place}"), part)
}

/// The command that creates a flow log that does the same.
fn create(log: &Value, region: &str, recorded: &str) -> String {
    let mut command = format!("aws ec2 create-flow-logs --region {}", quoted(region));
    let mut option = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            command.extend([" --", name, " ", quoted(value).as_ref()]);
        }
    };
    let kind = match recorded.split_once('-').map(|(prefix, _)| prefix) {
        Some("vpc") => "VPC",
        Some("subnet") => "Subnet",
        Some("eni") => "NetworkInterface",
        _ if recorded.starts_with("tgw-attach-") => "TransitGatewayAttachment",
        _ => "TransitGateway",
    };
    option("resource-type", Some(kind));
    option("resource-ids", Some(recorded));
    option("traffic-type", text(log, "traffic_type"));
    option("log-destination-type", text(log, "destination_type"));
    match text(log, "log_group") {
        // Either names it, and only one may.
        Some(group) => option("log-group-name", Some(group)),
        None => option("log-destination", text(log, "destination")),
    }
    option("deliver-logs-permission-arn", text(log, "role"));
    option("log-format", text(log, "format"));
    let seconds = log["aggregation_seconds"].as_i64().map(|seconds| seconds.to_string());
    option("max-aggregation-interval", seconds.as_deref());
    command
}

/// The ARN of what a flow log records, by the flow log's own.
fn arn(log: &Value, recorded: &str) -> Option<String> {
    let kind = match recorded.split_once('-')?.0 {
        "vpc" => "vpc",
        "subnet" => "subnet",
        "eni" => "network-interface",
        _ if recorded.starts_with("tgw-attach-") => "transit-gateway-attachment",
        _ => "transit-gateway",
    };
    let (place, _) = text(log, "resource")?.rsplit_once(':')?;
    Some(format!("{place}:{kind}/{recorded}"))
}

fn text<'v>(record: &'v Value, name: &str) -> Option<&'v str> {
    record[name].as_str()
}

#[cfg(test)]
mod tests {
    use cloudvigil_controls::Seen;
    use serde_json::json;

    use super::*;

    fn network(id: &str, flow_logs: &Value) -> Value {
        let kind = id.split('-').next();
        json!({
            "type": kind, "service": "ec2", "resource": format!("arn:aws:ec2:eu-west-1:123456789012:{}/{id}", kind.unwrap()),
            "region": "eu-west-1", "network": id, "flow_logs": flow_logs,
        })
    }

    fn flow_log(id: &str, recorded: &str, status: &str) -> Value {
        json!({
            "type": "flow_log", "service": "ec2", "region": "eu-west-1", "flow_log": id, "recorded": recorded,
            "resource": format!("arn:aws:ec2:eu-west-1:123456789012:vpc-flow-log/{id}"), "traffic_type": "REJECT",
            "destination_type": "cloud-watch-logs", "log_group": "/vpc/rejected", "delivery_status": status,
            "destination": "arn:aws:logs:eu-west-1:123456789012:log-group:/vpc/rejected:*",
            "role": "arn:aws:iam::123456789012:role/flow-logs", "format": "${version} ${srcaddr}",
            "aggregation_seconds": 60, "delivery_error": (status == "FAILED").then_some("Access error"),
        })
    }

    const NAME: &str = "REJECT to arn:aws:logs:eu-west-1:123456789012:log-group:/vpc/rejected:*";

    fn there<'c>(controls: &'c [Control], arn: &str) -> &'c Part {
        let control = controls.iter().find(|control| control.resource.as_deref() == Some(arn)).unwrap();
        match &control.parts[NAME] {
            Seen::There(part) => part,
            Seen::Gone => panic!("gone"),
        }
    }

    #[test]
    fn a_flow_log_belongs_to_what_it_records_and_says_how_to_have_it_again() {
        let records = [
            network("vpc-1", &json!(["fl-1"])),
            network("subnet-1", &json!([])),
            flow_log("fl-1", "vpc-1", "SUCCESS"),
            flow_log("fl-2", "eni-1", "FAILED"),
        ];
        let controls = controls(&records, "123456789012");
        let complete: Vec<(&str, bool, usize)> = controls
            .iter()
            .map(|control| (control.key.rsplit('/').next().unwrap(), control.is_complete, control.parts.len()))
            .collect();
        assert_eq!(complete, [("eni-1", false, 1), ("subnet-1", true, 0), ("vpc-1", true, 1)]);
        let works = there(&controls, "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1");
        assert_eq!(
            works.lost,
            "The network traffic of vpc-1 in eu-west-1 is no longer recorded (REJECT, to /vpc/rejected)"
        );
        assert_eq!(
            works.undo,
            [concat!(
                "aws ec2 create-flow-logs --region eu-west-1 --resource-type VPC --resource-ids vpc-1 ",
                "--traffic-type REJECT --log-destination-type cloud-watch-logs --log-group-name /vpc/rejected ",
                "--deliver-logs-permission-arn arn:aws:iam::123456789012:role/flow-logs ",
                "--log-format '${version} ${srcaddr}' --max-aggregation-interval 60"
            )]
        );
        let fails = there(&controls, "arn:aws:ec2:eu-west-1:123456789012:network-interface/eni-1");
        assert_eq!(fails.condition, Condition::Failing);
        assert_eq!(fails.lost, "The flow log fl-2 of eni-1 in eu-west-1 cannot deliver: Access error");
    }

    #[test]
    fn of_two_that_do_the_same_one_that_works_is_enough() {
        for order in [["SUCCESS", "FAILED"], ["FAILED", "SUCCESS"]] {
            let logs = order.map(|status| flow_log(&format!("fl-{status}"), "vpc-1", status));
            let controls = controls(&[network("vpc-1", &json!([])), logs[0].clone(), logs[1].clone()], "123456789012");
            let part = there(&controls, "arn:aws:ec2:eu-west-1:123456789012:vpc/vpc-1");
            assert_eq!(part.condition, Condition::Working, "{order:?}");
        }
    }

    #[test]
    fn where_flow_logs_may_not_be_looked_at_nothing_is_said() {
        assert!(controls(&[network("vpc-1", &Value::Null)], "123456789012").is_empty());
    }
}
