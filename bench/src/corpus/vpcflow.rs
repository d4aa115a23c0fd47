//! VPC flow logs in the default format, as S3 gets them.

use std::io::Write as _;

use jiff::Timestamp;

use super::random::Random;

/// The first line of every object.
pub const HEADER: &str = "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n";

const SERVICES: [u32; 8] = [443, 443, 443, 80, 5432, 6379, 53, 9092];
const TRIED: [u32; 8] = [22, 23, 445, 3389, 8080, 5900, 1433, 2375];

pub fn write(random: &mut Random, time: Timestamp, candidate: bool, out: &mut Vec<u8>) {
    let start = time.as_second();
    let end = start + 60;
    let interface = random.below(40);
    let own = format!("10.0.{}.{}", random.below(16), random.below(256));
    // Writing into memory cannot fail.
    let _ = if candidate {
        let (address, port, service) = (random.hostile_address(), random.port(), random.pick(&TRIED));
        write!(
            out,
            "2 123456789012 eni-0a1b2c3d4e5f{interface:05x} {address} {own} {port} {service} 6 1 44 {start} {end} REJECT OK"
        )
    } else if random.below(200) == 0 {
        write!(out, "2 123456789012 eni-0a1b2c3d4e5f{interface:05x} - - - - - - - {start} {end} - NODATA")
    } else {
        let (address, port, service) = (random.address(), random.port(), random.pick(&SERVICES));
        let protocol = if service == 53 { 17 } else { 6 };
        let packets = 1 + random.below(400);
        let bytes = packets * (40 + random.below(1400));
        write!(
            out,
            "2 123456789012 eni-0a1b2c3d4e5f{interface:05x} {address} {own} {port} {service} {protocol} {packets} {bytes} {start} {end} ACCEPT OK"
        )
    };
}
