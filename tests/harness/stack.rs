//! A `CloudFormation` stack on the emulator.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::aws::Aws;
use super::poll::poll_until;
use super::xml;

/// A stack that was created.
pub struct Stack {
    /// Each resource's type and physical id, by logical id.
    pub resources: BTreeMap<String, Resource>,
}

/// A resource of a stack.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its type: `AWS::SQS::Queue`.
    pub kind: String,
    /// Its physical id: a name, an ARN, a queue's address.
    pub id: String,
}

impl Stack {
    /// Creates a stack and waits for it. A failure names each resource that failed, and why.
    pub fn create(aws: &Aws, name: &str, template: &str, parameters: &[(&str, &str)]) -> Result<Self> {
        // By way of a bucket, because a request takes 51,200 bytes.
        let bucket = format!("{name}-template");
        aws.create_bucket(&bucket)?;
        aws.put_object(&bucket, "template.yaml", template.as_bytes())?;
        let url = aws.object_url(&bucket, "template.yaml");
        let mut call = vec![("StackName".to_owned(), name.to_owned()), ("TemplateURL".to_owned(), url)];
        let capabilities = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"];
        for (number, capability) in (1..).zip(capabilities) {
            call.push((format!("Capabilities.member.{number}"), capability.to_owned()));
        }
        for (number, (key, value)) in (1..).zip(parameters) {
            call.push((format!("Parameters.member.{number}.ParameterKey"), (*key).to_owned()));
            call.push((format!("Parameters.member.{number}.ParameterValue"), (*value).to_owned()));
        }
        let call: Vec<(&str, &str)> = call.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        aws.query("cloudformation", "CreateStack", &call)?;
        let named = [("StackName", name)];
        poll_until(Duration::from_mins(2), &format!("the stack {name} is complete"), || {
            let described = aws.query("cloudformation", "DescribeStacks", &named)?;
            match xml::text(&described, "StackStatus").as_str() {
                "CREATE_COMPLETE" => Ok(Some(())),
                "CREATE_IN_PROGRESS" => Ok(None),
                status => bail!("the stack {name} is {status}:\n{}", failures(aws, name)?),
            }
        })?;
        let resources = aws.query("cloudformation", "DescribeStackResources", &named)?;
        let resources = xml::blocks(&resources, "member")
            .into_iter()
            .map(|resource| {
                let read = Resource {
                    kind: xml::text(resource, "ResourceType"),
                    id: xml::text(resource, "PhysicalResourceId"),
                };
                (xml::text(resource, "LogicalResourceId"), read)
            })
            .collect();
        Ok(Self { resources })
    }

    /// The physical id of a resource.
    pub fn id(&self, logical_id: &str) -> Result<&str> {
        let resource = self.resources.get(logical_id);
        resource.map(|resource| resource.id.as_str()).with_context(|| {
            let known: Vec<&str> = self.resources.keys().map(String::as_str).collect();
            format!("the stack has no resource {logical_id}; it has {}", known.join(", "))
        })
    }
}

fn failures(aws: &Aws, name: &str) -> Result<String> {
    let events = aws.query("cloudformation", "DescribeStackEvents", &[("StackName", name)])?;
    let lines: Vec<String> = xml::blocks(&events, "member")
        .into_iter()
        .filter(|event| xml::text(event, "ResourceStatus").ends_with("FAILED"))
        .map(|event| {
            let field = |tag| xml::text(event, tag);
            format!("{} ({}): {}", field("LogicalResourceId"), field("ResourceType"), field("ResourceStatusReason"))
        })
        .collect();
    Ok(lines.join("\n"))
}
