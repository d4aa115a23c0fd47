//! Which security-group rules let the internet in.
//!
//! Shapes: [AuthorizeSecurityGroupIngress](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AuthorizeSecurityGroupIngress.html)
//! as CloudTrail writes it (`ipPermissions.items[].ipRanges.items[].cidrIp`, or `cidrIp` beside the ports),
//! [ModifySecurityGroupRules](https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySecurityGroupRules.html)
//! (`cidrIpv4`), and the inventory's lists of the same.
//!
//! "The internet" is not only `0.0.0.0/0`: two rules for `0.0.0.0/1` and `128.0.0.0/1` let in as much. What counts is
//! the union of the networks that reach a port, and it is open where that is half of the addresses or more: of IPv4,
//! or of `2000::/3`, from which all of IPv6's public addresses are given out.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;

use super::{elements, member};

/// Ports of administration and of databases, which nobody opens to everyone on purpose.
const PORTS: [u16; 33] = [
    20, 21, 22, 23, 111, 135, 139, 445, 873, 1433, 1521, 2049, 2181, 2375, 2376, 2379, 3306, 3389, 5432, 5439, 5601,
    5900, 5984, 5985, 5986, 6379, 6443, 9042, 9092, 9200, 10250, 11211, 27017,
];
/// Those that are reached over UDP too.
const UDP_PORTS: [u16; 4] = [111, 2049, 3389, 11211];

/// `2000::/3` as a range.
const PUBLIC_V6: (u128, u128) = (0x2000 << 112, (0x3fff << 112) | ((1 << 112) - 1));

/// How far a set of rules opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposure {
    /// Half of the internet or more is let in somewhere.
    pub open_to_world: bool,
    /// The administration and database ports among those it is let in to, ascending.
    pub open_ports: Vec<u16>,
}

/// What a request's parameters, a rule or a list of rules lets in.
pub fn exposure(rules: &Value) -> Exposure {
    let mut permissions = Vec::new();
    collect(rules, &mut permissions, 0);
    permissions.retain(|permission| !permission.networks.is_empty());
    // The smallest network wide enough to matter alone is half; many smaller ones may add up to it.
    let covered = |reaches: &dyn Fn(&Permission) -> bool| {
        let networks = permissions.iter().filter(|permission| reaches(permission)).flat_map(|p| &p.networks);
        covers_half(networks.copied())
    };
    let mut exposure = Exposure::default();
    if permissions.is_empty() || !covered(&|_| true) {
        return exposure;
    }
    exposure.open_ports = PORTS.into_iter().filter(|port| covered(&|permission| permission.reaches(*port))).collect();
    exposure.open_to_world = !exposure.open_ports.is_empty()
        || permissions
            .iter()
            .any(|one| covered(&|other| other.protocol.includes(&one.protocol) && other.contains(one)));
    exposure
}

#[derive(Debug, PartialEq, Eq)]
enum Protocol {
    All,
    Tcp,
    Udp,
    /// ICMP and the rest: no ports.
    Other(String),
}

impl Protocol {
    fn read(value: Option<&Value>) -> Self {
        let name = match value {
            Some(Value::String(name)) => name.to_ascii_lowercase(),
            Some(Value::Number(number)) => number.to_string(),
            // A rule without one is read as the widest: a miss would be worse than a second look.
            _ => return Self::All,
        };
        match name.as_str() {
            "-1" | "all" | "any" => Self::All,
            "tcp" | "6" => Self::Tcp,
            "udp" | "17" => Self::Udp,
            _ => Self::Other(name),
        }
    }

    fn includes(&self, other: &Self) -> bool {
        *self == Self::All || self == other
    }
}

struct Permission {
    protocol: Protocol,
    from: u16,
    to: u16,
    networks: Vec<IpNet>,
}

impl Permission {
    fn reaches(&self, port: u16) -> bool {
        match self.protocol {
            Protocol::All => true,
            Protocol::Tcp => (self.from..=self.to).contains(&port),
            Protocol::Udp => (self.from..=self.to).contains(&port) && UDP_PORTS.contains(&port),
            Protocol::Other(_) => false,
        }
    }

    fn contains(&self, other: &Self) -> bool {
        self.protocol == Protocol::All || (self.from <= other.from && other.to <= self.to)
    }
}

/// How deep rules are looked for: no shape has them deeper.
const MAX_DEPTH: usize = 12;

/// Every object that has networks is a rule.
fn collect(value: &Value, permissions: &mut Vec<Permission>, depth: usize) {
    if depth > MAX_DEPTH {
        return;
    }
    match value {
        Value::Array(list) => list.iter().for_each(|element| collect(element, permissions, depth + 1)),
        Value::Object(object) => {
            let networks = networks(value);
            if networks.is_empty() {
                object.values().for_each(|member| collect(member, permissions, depth + 1));
            } else {
                let egress = member(value, "isEgress").and_then(Value::as_bool) == Some(true);
                if !egress {
                    permissions.push(permission(value, networks));
                }
            }
        }
        _ => {}
    }
}

fn permission(rule: &Value, networks: Vec<IpNet>) -> Permission {
    let protocol = Protocol::read(member(rule, "ipProtocol").or_else(|| member(rule, "protocol")));
    let port = |name: &str| {
        let value = member(rule, name)?;
        let number = value.as_i64().or_else(|| value.as_str()?.parse().ok())?;
        u16::try_from(number).ok()
    };
    let (from, to) = (port("fromPort").unwrap_or(0), port("toPort").unwrap_or(u16::MAX));
    Permission { protocol, from, to, networks }
}

/// The networks that a rule names itself, in whichever of the shapes.
fn networks(rule: &Value) -> Vec<IpNet> {
    let mut networks = Vec::new();
    let mut add = |value: &Value| networks.extend(value.as_str().and_then(network));
    for name in ["cidrIp", "cidrIpv4", "cidrIpv6", "cidr"] {
        if let Some(value) = member(rule, name) {
            add(value);
        }
    }
    for list in ["ipRanges", "ipv6Ranges", "cidrs", "ipv4Cidrs", "ipv6Cidrs"] {
        for element in member(rule, list).map(elements).unwrap_or_default() {
            add(element);
            for name in ["cidrIp", "cidrIpv6", "cidr"] {
                if let Some(value) = member(element, name) {
                    add(value);
                }
            }
        }
    }
    networks
}

/// A CIDR, or an address by itself.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Whether the union of the networks is half of the internet or more.
pub(super) fn covers_half(networks: impl Iterator<Item = IpNet>) -> bool {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for network in networks {
        match network {
            IpNet::V4(network) => v4.push(range_v4(network)),
            IpNet::V6(network) => v6.extend(range_v6(network)),
        }
    }
    covered(v4) >= 1 << 31 || covered(v6) >= 1 << 124
}

fn range_v4(network: Ipv4Net) -> (u128, u128) {
    (u128::from(u32::from(network.network())), u128::from(u32::from(network.broadcast())))
}

/// The part of a network that is public.
fn range_v6(network: Ipv6Net) -> Option<(u128, u128)> {
    let (first, last) = (u128::from(network.network()), u128::from(network.broadcast()));
    let (first, last) = (first.max(PUBLIC_V6.0), last.min(PUBLIC_V6.1));
    (first <= last).then_some((first, last))
}

/// How many addresses the ranges hold together.
fn covered(mut ranges: Vec<(u128, u128)>) -> u128 {
    ranges.sort_unstable();
    let (mut total, mut next) = (0, 0);
    for (first, last) in ranges {
        let first = first.max(next);
        if first <= last {
            total += last - first + 1;
            next = last + 1;
        }
    }
    total
}
