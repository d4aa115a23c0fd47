//! Which fields the records of each format have.
//!
//! See the files of [`crate::formats`], which say where the names come from. A format that is JSON of somebody else's may
//! get members that nobody here has heard of: below what is not fixed by its specification, any are taken for real.

use crate::detect::WantedLogSource;
use crate::detect::event::DERIVED;
use crate::enrich::{
    ERROR_KIND, EXPIRES_AFTER_DAYS, FOREIGN_KEY, LOG_RESOURCE, MANAGEMENT_EVENTS, OPEN_PORTS, OPEN_TO_WORLD,
    OWN_RESOURCE, POLICY_PUBLIC, SCANNER, SERVICE_MAY_WRITE, URI_DECODED, USE_DENIED, WEB_ATTACK,
};
use crate::formats::{access, application, cloudtrail, eve, inventory, syslog, vpcflow};
use crate::record::LogSource;

/// The fields of a format's records.
pub(super) struct Declared {
    /// What people know it by.
    pub name: &'static str,
    pub log_sources: &'static [&'static LogSource],
    fields: Names,
    /// Those of [`crate::enrich`].
    derived: &'static [&'static str],
}

enum Names {
    /// These, as whole paths; of an object all that is in it, or nothing: then it may hold any.
    These { exact: &'static [&'static str], open: &'static [&'static str] },
    /// Whoever writes the records chooses them.
    Any,
}

impl Declared {
    /// Whether a rule that asks for this log source gets such records.
    pub(super) fn fits(&self, wanted: &WantedLogSource) -> bool {
        self.log_sources.iter().any(|source| wanted.fits(source))
    }

    /// Whether such a record may be asked for a field by this name.
    pub(super) fn answers(&self, wanted: &WantedLogSource, name: &str) -> bool {
        let mut fitting = self.log_sources.iter().filter(|source| wanted.fits(source));
        self.has(name) || fitting.any(|source| !source.other_paths(name).is_empty())
    }

    /// Whether a record may have a field of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        if name.starts_with(DERIVED) {
            return self.derived.contains(&name);
        }
        let Names::These { exact, open } = &self.fields else { return true };
        let name = plain(name);
        let below = |path: &str, of: &str| path.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'));
        exact.iter().any(|field| *field == name || below(field, &name))
            || open.iter().any(|field| *field == name || below(&name, field))
    }
}

/// A path without what tells the elements of a list apart (`resources[0].ARN`), and without escapes.
fn plain(path: &str) -> String {
    let (mut plain, mut within) = (String::with_capacity(path.len()), false);
    for letter in path.chars() {
        match letter {
            '[' => within = true,
            ']' => within = false,
            '\\' => {}
            letter if !within => plain.push(letter),
            _ => {}
        }
    }
    plain
}

/// Of every format.
pub(super) static DECLARED: [Declared; 7] = [
    Declared {
        name: "access logs",
        log_sources: access::LOG_SOURCES,
        fields: Names::These { exact: &ACCESS, open: &[] },
        derived: &[URI_DECODED, WEB_ATTACK, SCANNER],
    },
    Declared {
        name: "syslog",
        log_sources: syslog::LOG_SOURCES,
        fields: Names::These { exact: &syslog::FIELDS, open: &[] },
        derived: &[],
    },
    Declared {
        name: "VPC flow logs",
        log_sources: vpcflow::LOG_SOURCES,
        fields: Names::These { exact: &VPC_FLOW, open: &[] },
        derived: &[],
    },
    Declared {
        name: "CloudTrail",
        log_sources: cloudtrail::LOG_SOURCES,
        fields: Names::These { exact: &CLOUDTRAIL, open: &CLOUDTRAIL_OPEN },
        derived: &[
            OPEN_TO_WORLD,
            OPEN_PORTS,
            POLICY_PUBLIC,
            MANAGEMENT_EVENTS,
            OWN_RESOURCE,
            LOG_RESOURCE,
            EXPIRES_AFTER_DAYS,
            USE_DENIED,
            SERVICE_MAY_WRITE,
            FOREIGN_KEY,
        ],
    },
    Declared {
        name: "Suricata's EVE",
        log_sources: eve::LOG_SOURCES,
        fields: Names::These { exact: &EVE, open: &EVE_OPEN },
        derived: &[],
    },
    Declared {
        name: "application logs",
        log_sources: application::LOG_SOURCES,
        fields: Names::Any,
        derived: &[ERROR_KIND],
    },
    Declared {
        name: "the inventory",
        log_sources: inventory::LOG_SOURCES,
        fields: Names::Any,
        derived: &[OPEN_TO_WORLD, OPEN_PORTS, POLICY_PUBLIC, MANAGEMENT_EVENTS],
    },
];

static ACCESS: [&str; 12] = [
    "c-ip",
    "cs-username",
    "cs-method",
    "cs-uri",
    "cs-uri-stem",
    "cs-uri-query",
    "cs-version",
    "cs-host",
    "sc-status",
    "sc-bytes",
    "cs-referer",
    "cs-user-agent",
];

/// <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>, and the names of the category `firewall`.
static VPC_FLOW: [&str; 46] = [
    "version",
    "account-id",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "packets",
    "bytes",
    "start",
    "end",
    "action",
    "log-status",
    "vpc-id",
    "subnet-id",
    "instance-id",
    "tcp-flags",
    "type",
    "pkt-srcaddr",
    "pkt-dstaddr",
    "region",
    "az-id",
    "sublocation-type",
    "sublocation-id",
    "pkt-src-aws-service",
    "pkt-dst-aws-service",
    "flow-direction",
    "traffic-path",
    "ecs-cluster-arn",
    "ecs-cluster-name",
    "ecs-container-instance-arn",
    "ecs-container-instance-id",
    "ecs-container-id",
    "ecs-second-container-id",
    "ecs-service-name",
    "ecs-task-definition-arn",
    "ecs-task-arn",
    "ecs-task-id",
    "reject-reason",
    "resource-id",
    "encryption-status",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
];

/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html> and
/// <https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-user-identity.html>.
static CLOUDTRAIL: [&str; 55] = [
    "eventTime",
    "eventVersion",
    "userIdentity.type",
    "userIdentity.userName",
    "userIdentity.principalId",
    "userIdentity.arn",
    "userIdentity.accountId",
    "userIdentity.accessKeyId",
    "userIdentity.invokedBy",
    "userIdentity.identityProvider",
    "userIdentity.credentialId",
    "userIdentity.sessionContext.sessionIssuer.type",
    "userIdentity.sessionContext.sessionIssuer.userName",
    "userIdentity.sessionContext.sessionIssuer.principalId",
    "userIdentity.sessionContext.sessionIssuer.arn",
    "userIdentity.sessionContext.sessionIssuer.accountId",
    "userIdentity.sessionContext.attributes.creationDate",
    "userIdentity.sessionContext.attributes.mfaAuthenticated",
    "userIdentity.sessionContext.attributes.sessionCredentialFromConsole",
    "userIdentity.sessionContext.sourceIdentity",
    "userIdentity.sessionContext.ec2RoleDelivery",
    "userIdentity.sessionContext.assumedRoot",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "errorMessage",
    "requestID",
    "eventID",
    "eventType",
    "apiVersion",
    "managementEvent",
    "readOnly",
    "resources.ARN",
    "resources.ARNPrefix",
    "resources.accountId",
    "resources.type",
    "recipientAccountId",
    "sharedEventID",
    "vpcEndpointId",
    "vpcEndpointAccountId",
    "eventCategory",
    "addendum.reason",
    "addendum.updatedFields",
    "addendum.originalRequestID",
    "addendum.originalEventID",
    "sessionCredentialFromConsole",
    "tlsDetails.tlsVersion",
    "tlsDetails.cipherSuite",
    "tlsDetails.clientProvidedHostHeader",
    "tlsDetails.keyExchange",
    // Of aggregated events alone.
    "accountId",
    "eventId",
];

/// What services fill as they like, and what has been seen to hold more than is written down.
static CLOUDTRAIL_OPEN: [&str; 13] = [
    "requestParameters",
    "responseElements",
    "additionalEventData",
    "serviceEventDetails",
    "insightDetails",
    "eventContext",
    "summary",
    "timeWindow",
    "edgeDeviceDetails",
    "userIdentity.sessionContext.webIdFederationData",
    "userIdentity.onBehalfOf",
    "userIdentity.inScopeOf",
    "userIdentity.invokedByDelegate",
];

/// <https://docs.suricata.io/en/latest/output/eve/eve-json-format.html>
static EVE: [&str; 41] = [
    "timestamp",
    "flow_id",
    "in_iface",
    "event_type",
    "vlan",
    "src_ip",
    "src_port",
    "dest_ip",
    "dest_port",
    "proto",
    "icmp_type",
    "icmp_code",
    "response_icmp_type",
    "response_icmp_code",
    "app_proto",
    "app_proto_tc",
    "app_proto_ts",
    "app_proto_orig",
    "app_proto_expected",
    "direction",
    "pcap_cnt",
    "pcap_filename",
    "host",
    "sensor",
    "community_id",
    "tx_id",
    "tx_guessed",
    "ts_progress",
    "tc_progress",
    "parent_id",
    "pkt_src",
    "ip_v",
    "suricata_version",
    "capture_file",
    "payload",
    "payload_printable",
    "payload_length",
    "packet",
    "stream",
    "xff",
    "stats_interval",
];

/// The objects in it: each protocol's grows with every version.
static EVE_OPEN: [&str; 55] = [
    "verdict",
    "metadata",
    "ether",
    "alert",
    "anomaly",
    "http",
    "dns",
    "tls",
    "ssh",
    "smtp",
    "email",
    "ftp",
    "ftp_data",
    "tftp",
    "smb",
    "dcerpc",
    "rdp",
    "rfb",
    "sip",
    "snmp",
    "nfs",
    "rpc",
    "krb5",
    "ike",
    "dhcp",
    "modbus",
    "dnp3",
    "enip",
    "mqtt",
    "pgsql",
    "ldap",
    "quic",
    "websocket",
    "bittorrent_dht",
    "mdns",
    "arp",
    "pop3",
    "sdp",
    "fileinfo",
    "files",
    "flow",
    "netflow",
    "tcp",
    "tunnel",
    "drop",
    "stats",
    "http2",
    "packet_info",
    "traffic",
    "template",
    "engine",
    "vars",
    "frame",
    "doh2",
    "ikev2",
];
