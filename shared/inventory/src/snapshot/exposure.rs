//! What the rules of security groups open to the internet.
//!
//! Which networks amount to the internet is the core's to say ([`cloudvigil_core::enrich::exposure`]); here it is asked
//! for the addresses that there are. Rules of security groups only ever allow, and add up, so a port is open as soon as one rule of one group opens it
//! ([security group rules](https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html)).

use std::collections::BTreeSet;
use std::net::IpAddr;

use cloudvigil_core::enrich::exposure;
use serde::Serialize;
use serde_json::json;

/// Ports by which a machine is administered: SSH, Telnet, the Docker API, RDP, VNC, `WinRM`, the kubelet.
pub const ADMIN_PORTS: [u16; 9] = [22, 23, 2375, 2376, 3389, 5900, 5985, 5986, 10250];
/// Ports of data stores: SQL Server, Oracle, `MySQL`, `PostgreSQL`, `CouchDB`, Redis, Cassandra, Elasticsearch,
/// Memcached, `MongoDB`.
pub const DATA_PORTS: [u16; 10] = [1433, 1521, 3306, 5432, 5984, 6379, 9042, 9200, 11211, 27017];

/// An inbound rule of a security group.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct IngressRule {
    /// `tcp`, `udp`, `icmp`, `icmpv6`, a protocol's number, or `all`.
    pub protocol: String,
    /// The first port, or the ICMP type; `None` for every port.
    pub from_port: Option<i32>,
    /// The last port, or the ICMP code.
    pub to_port: Option<i32>,
    /// From which networks, IPv4 and IPv6, sorted.
    pub cidrs: Vec<String>,
    /// From which security groups, sorted.
    pub groups: Vec<String>,
    /// From which prefix lists, sorted. What they hold is not looked up.
    pub prefix_lists: Vec<String>,
    /// What people wrote beside it, cut. Hostile: escape it wherever it is shown.
    pub descriptions: Vec<String>,
}

/// By which protocols of the network layer an address can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// By IPv4.
    pub ipv4: bool,
    /// By IPv6.
    pub ipv6: bool,
}

impl Reach {
    /// By either.
    pub const ANY: Self = Self { ipv4: true, ipv6: true };
}

impl IngressRule {
    /// Whether it has ports at all: ICMP has a type and a code, and being answered to a ping is no open port.
    fn has_ports(&self) -> bool {
        !matches!(self.protocol.as_str(), "icmp" | "icmpv6" | "1" | "58")
    }

    /// Whether it lets in whatever `other` lets in, the networks left aside.
    fn includes(&self, other: &Self) -> bool {
        let (from, to) = self.span();
        let (other_from, other_to) = other.span();
        self.protocol == "all" || (self.protocol == other.protocol && from <= other_from && other_to <= to)
    }

    fn span(&self) -> (u16, u16) {
        match (self.protocol.as_str(), self.from_port, self.to_port) {
            ("tcp" | "udp", Some(from), Some(to)) => (port(from), port(to)),
            _ => (0, u16::MAX),
        }
    }

    /// As people write it: `tcp/22`, `tcp/8000-8100`, `all`.
    fn name(&self) -> String {
        let protocol = &self.protocol;
        match self.span() {
            (0, u16::MAX) => protocol.clone(),
            (from, to) if from == to => format!("{protocol}/{from}"),
            (from, to) => format!("{protocol}/{from}-{to}"),
        }
    }

    /// The rule as far as it concerns an address that is reached by `reach`.
    fn for_reach(&self, reach: Reach) -> Self {
        let reaches = |cidr: &&String| if cidr.contains(':') { reach.ipv6 } else { reach.ipv4 };
        Self { cidrs: self.cidrs.iter().filter(reaches).cloned().collect(), ..self.clone() }
    }
}

fn port(number: i32) -> u16 {
    u16::try_from(number.clamp(0, i32::from(u16::MAX))).unwrap_or(u16::MAX)
}

/// Ports that are open to the internet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenPorts {
    spans: BTreeSet<String>,
    ports: BTreeSet<u16>,
}

impl OpenPorts {
    /// What `rules` open to the internet, for an address that is reached by `reach`.
    pub fn of<'a>(rules: impl IntoIterator<Item = &'a IngressRule>, reach: Reach) -> Self {
        let rules: Vec<IngressRule> = rules
            .into_iter()
            .filter(|rule| rule.has_ports())
            .map(|rule| rule.for_reach(reach))
            .filter(|rule| !rule.cidrs.is_empty())
            .collect();
        let seen = exposure(&json!(rules));
        if !seen.open_to_world {
            return Self::default();
        }
        // Several rules may let in together what none lets in by itself.
        let is_open = |rule: &&IngressRule| {
            let wider: Vec<&IngressRule> = rules.iter().filter(|other| other.includes(rule)).collect();
            exposure(&json!(wider)).open_to_world
        };
        let spans = rules.iter().filter(is_open).map(IngressRule::name).collect();
        Self { spans, ports: seen.open_ports.into_iter().collect() }
    }

    /// Adds what another one opens.
    pub fn add(&mut self, other: Self) {
        self.spans.extend(other.spans);
        self.ports.extend(other.ports);
    }

    /// Which of [`ADMIN_PORTS`] or [`DATA_PORTS`] are open.
    pub fn among(&self, ports: &[u16]) -> Vec<u16> {
        ports.iter().filter(|port| self.ports.contains(port)).copied().collect()
    }

    /// What is open, as people write it: `tcp/22`, `tcp/8000-8100`, `all`, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.spans.iter().map(String::as_str).collect()
    }
}

/// Whether an address can be reached from the internet at all.
pub fn is_public_address(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => !(address.is_private() || address.is_loopback() || address.is_link_local()),
        // Global addresses are 2000::/3 so far.
        Ok(IpAddr::V6(address)) => address.segments()[0] & 0xe000 == 0x2000,
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, ports: Option<(i32, i32)>, cidrs: &[&str]) -> IngressRule {
        IngressRule {
            protocol: protocol.to_owned(),
            from_port: ports.map(|ports| ports.0),
            to_port: ports.map(|ports| ports.1),
            cidrs: cidrs.iter().map(ToString::to_string).collect(),
            ..IngressRule::default()
        }
    }

    fn open(protocol: &str, ports: Option<(i32, i32)>, cidrs: &[&str]) -> OpenPorts {
        OpenPorts::of(&[rule(protocol, ports, cidrs)], Reach::ANY)
    }

    #[test]
    fn an_administration_port_within_a_range_is_seen() {
        let open = open("tcp", Some((20, 25)), &["0.0.0.0/0"]);
        assert_eq!(open.among(&ADMIN_PORTS), [22, 23]);
        assert_eq!(open.names(), ["tcp/20-25"]);
    }

    #[test]
    fn every_protocol_opens_every_port() {
        let open = open("all", None, &["::/0"]);
        assert_eq!(open.among(&ADMIN_PORTS), ADMIN_PORTS);
        assert_eq!(open.names(), ["all"]);
    }

    #[test]
    fn two_halves_are_the_internet_and_an_office_is_not() {
        for wide in ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "::/0", "2000::/3"] {
            assert_eq!(open("tcp", Some((22, 22)), &[wide]).names(), ["tcp/22"], "{wide}");
        }
        for narrow in ["10.0.0.0/8", "203.0.113.7/32", "fc00::/7", "2001:db8::/32", "pl-1", ""] {
            assert!(open("tcp", Some((22, 22)), &[narrow]).names().is_empty(), "{narrow}");
        }
    }

    #[test]
    fn two_rules_open_together_what_neither_opens_alone() {
        let rules = [rule("tcp", Some((22, 22)), &["0.0.0.0/2"]), rule("tcp", Some((20, 30)), &["64.0.0.0/2"])];
        let open = OpenPorts::of(&rules, Reach::ANY);
        assert_eq!(open.names(), ["tcp/22"]);
        assert_eq!(open.among(&ADMIN_PORTS), [22]);
    }

    #[test]
    fn udp_and_ping_do_not_open_ssh() {
        assert!(!open("udp", Some((0, 65535)), &["0.0.0.0/0"]).among(&ADMIN_PORTS).contains(&22));
        assert_eq!(open("icmp", Some((8, 0)), &["0.0.0.0/0"]), OpenPorts::default());
        assert_eq!(open("icmp", Some((-1, -1)), &["0.0.0.0/0"]), OpenPorts::default());
    }

    #[test]
    fn an_address_without_ipv6_is_not_reached_by_it() {
        let rules = [rule("tcp", Some((22, 22)), &["::/0"]), rule("tcp", Some((443, 443)), &["0.0.0.0/0"])];
        assert_eq!(OpenPorts::of(&rules, Reach { ipv4: true, ipv6: false }).names(), ["tcp/443"]);
        assert_eq!(OpenPorts::of(&rules, Reach { ipv4: false, ipv6: true }).names(), ["tcp/22"]);
    }

    #[test]
    fn private_addresses_are_not_public() {
        assert!(is_public_address("203.0.113.10"));
        assert!(is_public_address("2600:1f18::1"));
        assert!(!is_public_address("10.1.2.3"));
        assert!(!is_public_address("fd00::1"));
        assert!(!is_public_address("ip-10-1-2-3"));
    }
}
