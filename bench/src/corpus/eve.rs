//! What Suricata writes into `eve.json`: flows, DNS, HTTP, TLS, and alerts.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::random::Random;

/// Signature, class and severity. The identifiers are those that are free for one's own rules.
const ALERTS: [(&str, &str, u32); 4] = [
    ("LOCAL SCAN many connections to SSH", "Attempted Information Leak", 2),
    ("LOCAL MALWARE beacon of a known family", "A Network Trojan was detected", 1),
    ("LOCAL WEB request to an administrative path", "Attempted Administrator Privilege Gain", 1),
    ("LOCAL STREAM packet out of window", "Generic Protocol Command Decode", 3),
];
const NAMES: [&str; 4] = ["www.example.com", "api.example.net", "updates.example.org", "cdn.example.com"];

pub fn write(random: &mut Random, time: Timestamp, candidate: bool, out: &mut Vec<u8>) {
    let stamp = time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S%.6f%z");
    let flow = random.next() >> 14;
    let port = random.port();
    let own = format!("10.0.{}.{}", random.below(16), random.below(256));
    let bytes = 300 + random.below(90_000);
    // Writing into memory cannot fail.
    let _ = write!(out, r#"{{"timestamp":"{stamp}","flow_id":{flow},"in_iface":"eth0","#);
    let _ = if candidate {
        let (number, address) = (random.below(4), random.hostile_address());
        let (signature, class, severity) = ALERTS[number as usize];
        write!(
            out,
            r#""event_type":"alert","src_ip":"{address}","src_port":{port},"dest_ip":"{own}","dest_port":80,"proto":"TCP","pkt_src":"wire/pcap","alert":{{"action":"allowed","gid":1,"signature_id":{},"rev":2,"signature":"{signature}","category":"{class}","severity":{severity},"metadata":{{"confidence":["Medium"],"created_at":["2026_01_15"]}}}},"app_proto":"http","direction":"to_server","flow":{{"pkts_toserver":4,"pkts_toclient":3,"bytes_toserver":{bytes},"bytes_toclient":1420,"start":"{stamp}"}}}}"#,
            1_000_000 + number
        )
    } else {
        let (address, name) = (random.address(), random.pick(&NAMES));
        match random.below(8) {
            0..=2 => write!(
                out,
                r#""event_type":"flow","src_ip":"{own}","src_port":{port},"dest_ip":"{address}","dest_port":443,"proto":"TCP","app_proto":"tls","flow":{{"pkts_toserver":12,"pkts_toclient":14,"bytes_toserver":2210,"bytes_toclient":{bytes},"start":"{stamp}","end":"{stamp}","age":4,"state":"closed","reason":"timeout","alerted":false}},"tcp":{{"tcp_flags":"1b","tcp_flags_ts":"1b","tcp_flags_tc":"1b","syn":true,"fin":true,"psh":true,"ack":true,"state":"closed"}}}}"#
            ),
            3 | 4 => write!(
                out,
                r#""event_type":"dns","src_ip":"{own}","src_port":{port},"dest_ip":"10.0.0.2","dest_port":53,"proto":"UDP","dns":{{"version":2,"type":"answer","id":{},"flags":"8180","qr":true,"rd":true,"ra":true,"rrname":"{name}","rrtype":"A","rcode":"NOERROR","answers":[{{"rrname":"{name}","rrtype":"A","ttl":60,"rdata":"{address}"}}]}}}}"#,
                random.below(65_536)
            ),
            5 => write!(
                out,
                r#""event_type":"http","src_ip":"{own}","src_port":{port},"dest_ip":"{address}","dest_port":80,"proto":"TCP","tx_id":0,"http":{{"hostname":"{name}","url":"/packages/index?page=2","http_user_agent":"ExampleMonitor/1.4","http_content_type":"text/html","http_method":"GET","protocol":"HTTP/1.1","status":200,"length":{bytes}}}}}"#
            ),
            _ => write!(
                out,
                r#""event_type":"tls","src_ip":"{own}","src_port":{port},"dest_ip":"{address}","dest_port":443,"proto":"TCP","tls":{{"subject":"CN={name}","issuerdn":"C=US, O=Example Trust, CN=Example CA 1","serial":"04:9B:{:02X}","fingerprint":"a7:3c:11:5d:90:2e:77:01","sni":"{name}","version":"TLS 1.3","notbefore":"2026-01-01T00:00:00","notafter":"2026-12-31T23:59:59"}}}}"#,
                bytes & 0xff
            ),
        }
    };
}
