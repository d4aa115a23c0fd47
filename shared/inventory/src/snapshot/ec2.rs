//! A region's instances and security groups, and what they open to the internet.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::exposure::{ADMIN_PORTS, DATA_PORTS, IngressRule, OpenPorts, Reach, is_public_address};
use crate::failure::Failure;
use crate::resource::{Resource, partition};

/// An EC2 instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: String,
    /// `running`, `stopped`, `terminated`, …
    pub state: Option<String>,
    /// `t3.micro`.
    pub instance_type: Option<String>,
    /// The AMI.
    pub image: Option<String>,
    /// Its VPC.
    pub vpc: Option<String>,
    /// The primary interface's subnet.
    pub subnet: Option<String>,
    /// The primary interface's private address.
    pub private_ip: Option<String>,
    /// The primary interface's public IPv4 address.
    pub public_ip: Option<String>,
    /// When it was last started.
    pub launch_time: Option<Timestamp>,
    /// Its tag `Name`.
    pub name: Option<String>,
    /// Its instance profile's ARN.
    pub iam_profile: Option<String>,
    /// Whether its metadata service insists on version 2, or is switched off.
    pub imds_v2_required: Option<bool>,
    /// The security groups of the primary interface.
    pub security_groups: BTreeSet<String>,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
}

/// A network interface of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its addresses that the internet may reach: associated public IPv4, and IPv6.
    pub addresses: Vec<String>,
    /// Its security groups.
    pub security_groups: BTreeSet<String>,
}

/// A security group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its VPC.
    pub vpc: Option<String>,
    /// Its inbound rules, sorted.
    pub ingress: Vec<IngressRule>,
}

/// What a region has.
#[derive(Debug)]
pub struct Region {
    /// The region's name.
    pub region: String,
    /// Its instances, or why they could not be looked at.
    pub instances: Result<Vec<Instance>, Failure>,
    /// Its security groups, or why they could not be looked at.
    pub groups: Result<Vec<SecurityGroup>, Failure>,
}

impl Region {
    /// The region's resources, with what they open to the internet.
    pub fn resources(&self, account: &str) -> Vec<Resource> {
        let instances = self.instances.iter().flatten().map(|instance| self.instance(instance, account));
        let groups = self.groups.iter().flatten().map(|group| self.group(group, account));
        instances.chain(groups).collect()
    }

    fn arn(&self, account: &str, kind: &str, id: &str) -> String {
        format!("arn:{}:ec2:{}:{account}:{kind}/{id}", partition(&self.region), self.region)
    }

    fn instance(&self, instance: &Instance, account: &str) -> Resource {
        const PORTS: [&str; 3] = ["open_ports_world", "open_admin_ports", "open_data_ports"];
        let addresses = instance.public_addresses();
        let groups = instance.all_groups();
        let arn = self.arn(account, "instance", &instance.id);
        let mut resource = Resource::new("ec2", "instance", arn, Some(&self.region))
            .with("name", instance.name.clone())
            .with("state", instance.state.clone())
            .with("instance_type", instance.instance_type.clone())
            .with("image", instance.image.clone())
            .with("vpc", instance.vpc.clone())
            .with("subnet", instance.subnet.clone())
            .with("private_ip", instance.private_ip.clone())
            .with("public_ip", instance.public_ip.clone())
            .with("public_addresses", json!(addresses))
            .with("launch_time", json!(instance.launch_time))
            .with("iam_profile", instance.iam_profile.clone())
            .with("imds_v2_required", instance.imds_v2_required)
            .with("security_groups", json!(groups));

        match &self.groups {
            Ok(known) => {
                let known: BTreeMap<&str, &SecurityGroup> = known.iter().map(|g| (g.id.as_str(), g)).collect();
                let open = instance.open_ports(&known);
                resource = resource.with_open_ports(&open);
                if groups.iter().any(|group| !known.contains_key(group)) {
                    // Shared by another account, or made between the two calls.
                    resource.note_unseen("NotFound: ec2:DescribeSecurityGroups", &PORTS);
                }
            }
            Err(_) if addresses.is_empty() => resource = resource.with_open_ports(&OpenPorts::default()),
            Err(failure) => {
                for field in PORTS {
                    resource = resource.with(field, Value::Null);
                }
                resource.note_unseen(&failure.why(), &PORTS);
            }
        }
        resource
    }

    fn group(&self, group: &SecurityGroup, account: &str) -> Resource {
        let open = OpenPorts::of(&group.ingress, Reach::ANY);
        let arn = self.arn(account, "security-group", &group.id);
        let mut resource = Resource::new("ec2", "security_group", arn, Some(&self.region))
            .with("id", group.id.as_str())
            .with("name", group.name.clone())
            .with("vpc", group.vpc.clone())
            .with("ingress", json!(group.ingress))
            .with("open_to_world", !open.names().is_empty())
            .with_open_ports(&open);
        match &self.instances {
            Ok(instances) => {
                let attached = instances.iter().any(|instance| instance.all_groups().contains(group.id.as_str()));
                resource = resource.with("attached", attached);
            }
            Err(failure) => {
                resource = resource.with("attached", Value::Null);
                resource.note_unseen(&failure.why(), &["attached"]);
            }
        }
        resource
    }
}

impl Resource {
    fn with_open_ports(self, open: &OpenPorts) -> Self {
        self.with("open_ports_world", open.names())
            .with("open_admin_ports", open.among(&ADMIN_PORTS))
            .with("open_data_ports", open.among(&DATA_PORTS))
    }
}

impl Instance {
    fn all_groups(&self) -> BTreeSet<&str> {
        let interfaces = self.interfaces.iter().flat_map(|interface| &interface.security_groups);
        self.security_groups.iter().chain(interfaces).map(String::as_str).collect()
    }

    fn public_addresses(&self) -> BTreeSet<&str> {
        let interfaces = self.interfaces.iter().flat_map(|interface| &interface.addresses);
        let addresses = self.public_ip.iter().chain(interfaces).map(String::as_str);
        addresses.filter(|address| is_public_address(address)).collect()
    }

    /// What the internet reaches: interface by interface, each with its own addresses and groups.
    fn open_ports(&self, groups: &BTreeMap<&str, &SecurityGroup>) -> OpenPorts {
        let primary = Interface {
            addresses: self.public_ip.iter().cloned().collect(),
            security_groups: self.security_groups.clone(),
        };
        let mut open = OpenPorts::default();
        for interface in std::iter::once(&primary).chain(&self.interfaces) {
            let public = || interface.addresses.iter().filter(|address| is_public_address(address));
            let reach = Reach {
                ipv4: public().any(|address| !address.contains(':')),
                ipv6: public().any(|address| address.contains(':')),
            };
            let rules = interface.security_groups.iter().filter_map(|id| groups.get(id.as_str()));
            open.add(OpenPorts::of(rules.flat_map(|group| &group.ingress), reach));
        }
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cloudvigil_core::ports::Failure as Kind;

    const ACCOUNT: &str = "123456789012";

    fn ssh_from(cidr: &str) -> SecurityGroup {
        SecurityGroup {
            id: "sg-ssh".to_owned(),
            name: Some("ssh".to_owned()),
            vpc: Some("vpc-1".to_owned()),
            ingress: vec![IngressRule {
                protocol: "tcp".to_owned(),
                from_port: Some(22),
                to_port: Some(22),
                cidrs: vec![cidr.to_owned()],
                ..IngressRule::default()
            }],
        }
    }

    fn instance(public_ip: Option<&str>) -> Instance {
        Instance {
            id: "i-1".to_owned(),
            state: Some("running".to_owned()),
            public_ip: public_ip.map(ToOwned::to_owned),
            private_ip: Some("10.0.0.5".to_owned()),
            security_groups: BTreeSet::from(["sg-ssh".to_owned()]),
            ..Instance::default()
        }
    }

    fn region(instances: Vec<Instance>, groups: Vec<SecurityGroup>) -> Region {
        Region { region: "eu-west-1".to_owned(), instances: Ok(instances), groups: Ok(groups) }
    }

    #[test]
    fn a_public_instance_with_ssh_open_to_the_internet_says_so() {
        let resources = region(vec![instance(Some("203.0.113.10"))], vec![ssh_from("0.0.0.0/0")]).resources(ACCOUNT);
        assert_eq!(resources[0].arn, "arn:aws:ec2:eu-west-1:123456789012:instance/i-1");
        assert_eq!(resources[0].fields["open_admin_ports"], json!([22]));
        assert_eq!(resources[0].fields["open_ports_world"], json!(["tcp/22"]));
        assert_eq!(resources[1].arn, "arn:aws:ec2:eu-west-1:123456789012:security-group/sg-ssh");
        assert_eq!(resources[1].fields["attached"], json!(true));
        assert_eq!(resources[1].fields["open_to_world"], json!(true));
        assert!(resources.iter().all(|resource| resource.could_not_look.is_empty()));
    }

    #[test]
    fn without_a_public_address_or_an_open_group_nothing_is_open() {
        let private = region(vec![instance(None)], vec![ssh_from("0.0.0.0/0")]).resources(ACCOUNT);
        assert_eq!(private[0].fields["open_admin_ports"], json!([]));
        // The group is open all the same: whoever is put into it next will be.
        assert_eq!(private[1].fields["open_admin_ports"], json!([22]));

        let office = region(vec![instance(Some("203.0.113.10"))], vec![ssh_from("198.51.100.0/24")]).resources(ACCOUNT);
        assert_eq!(office[0].fields["open_ports_world"], json!([]));
        assert_eq!(office[1].fields["open_to_world"], json!(false));
    }

    #[test]
    fn an_open_group_on_a_private_interface_opens_nothing() {
        let mut instance = instance(None);
        instance.security_groups = BTreeSet::from(["sg-web".to_owned()]);
        instance.interfaces = vec![
            Interface {
                addresses: vec!["203.0.113.10".to_owned()],
                security_groups: BTreeSet::from(["sg-web".to_owned()]),
            },
            Interface { addresses: vec![], security_groups: BTreeSet::from(["sg-ssh".to_owned()]) },
        ];
        let web = SecurityGroup { id: "sg-web".to_owned(), ..SecurityGroup::default() };
        let resources = region(vec![instance], vec![ssh_from("0.0.0.0/0"), web]).resources(ACCOUNT);
        assert_eq!(resources[0].fields["open_admin_ports"], json!([]));
        assert_eq!(resources[0].fields["public_addresses"], json!(["203.0.113.10"]));
        assert_eq!(resources[0].fields["security_groups"], json!(["sg-ssh", "sg-web"]));
    }

    #[test]
    fn an_ipv6_address_is_reached_by_ipv6_rules() {
        let mut instance = instance(None);
        instance.interfaces = vec![Interface {
            addresses: vec!["2600:1f18::7".to_owned()],
            security_groups: BTreeSet::from(["sg-ssh".to_owned()]),
        }];
        let open = region(vec![instance.clone()], vec![ssh_from("::/0")]).resources(ACCOUNT);
        assert_eq!(open[0].fields["open_admin_ports"], json!([22]));
        let closed = region(vec![instance], vec![ssh_from("0.0.0.0/0")]).resources(ACCOUNT);
        assert_eq!(closed[0].fields["open_admin_ports"], json!([]));
    }

    #[test]
    fn groups_that_could_not_be_looked_at_are_not_closed_ports() {
        let denied = Failure::new("ec2:DescribeSecurityGroups", "eu-west-1", "UnauthorizedOperation", "", Kind::Denied);
        let mut blind = region(vec![instance(Some("203.0.113.10")), instance(None)], vec![]);
        blind.groups = Err(denied);
        let resources = blind.resources(ACCOUNT);
        assert_eq!(resources[0].fields["open_admin_ports"], Value::Null);
        assert_eq!(resources[0].could_not_look, ["AccessDenied: ec2:DescribeSecurityGroups"]);
        // Without a public address there is nothing to look for.
        assert_eq!(resources[1].fields["open_admin_ports"], json!([]));
    }

    #[test]
    fn a_group_that_nobody_described_is_unseen() {
        let resources = region(vec![instance(Some("203.0.113.10"))], vec![]).resources(ACCOUNT);
        assert_eq!(resources[0].could_not_look, ["NotFound: ec2:DescribeSecurityGroups"]);
        assert!(resources[0].unseen.contains(&"open_admin_ports"));
    }
}
