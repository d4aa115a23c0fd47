//! A machine's auth log: sshd, PAM, sudo, cron and systemd-logind.

use std::io::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::random::Random;

const USERS: [&str; 6] = ["alice", "bob", "deploy", "backup", "carol", "ansible"];
const TRIED: [&str; 6] = ["root", "admin", "ubuntu", "test", "postgres", "oracle"];
const COMMANDS: [&str; 4] = [
    "/usr/bin/systemctl reload nginx",
    "/usr/bin/apt-get --quiet update",
    "/usr/bin/journalctl --unit=nginx --since=today",
    "/usr/bin/install --mode=0644 site.conf /etc/nginx/conf.d/",
];

pub fn write(random: &mut Random, time: Timestamp, candidate: bool, out: &mut Vec<u8>) {
    let stamp = time.to_zoned(TimeZone::UTC).strftime("%b %e %H:%M:%S");
    let (host, process) = (1 + random.below(8), 1000 + random.below(60_000));
    let (user, port) = (random.pick(&USERS), random.port());
    // Writing into memory cannot fail.
    let _ = write!(out, "{stamp} web-{host} ");
    let _ = if candidate {
        let (address, tried) = (random.hostile_address(), random.pick(&TRIED));
        match random.below(8) {
            0 => write!(
                out,
                "sshd[{process}]: Accepted publickey for {user} from {address} port {port} ssh2: ED25519 SHA256:Q2xvdWRWaWdpbEV4YW1wbGVLZXlGaW5nZXJwcmludDAwMDA"
            ),
            1 | 2 => write!(out, "sshd[{process}]: Invalid user {tried} from {address} port {port}"),
            3 | 4 => {
                write!(out, "sshd[{process}]: Failed password for invalid user {tried} from {address} port {port} ssh2")
            }
            _ => write!(out, "sshd[{process}]: Failed password for root from {address} port {port} ssh2"),
        }
    } else {
        let address = random.address();
        match random.below(10) {
            0 => write!(
                out,
                "sshd[{process}]: pam_unix(sshd:session): session opened for user {user}(uid=1000) by (uid=0)"
            ),
            1 => write!(out, "sshd[{process}]: pam_unix(sshd:session): session closed for user {user}"),
            2 => {
                write!(out, "sshd[{process}]: Received disconnect from {address} port {port}:11: disconnected by user")
            }
            3 => write!(out, "sshd[{process}]: Disconnected from user {user} {address} port {port}"),
            4 => write!(out, "sshd[{process}]: Connection closed by {address} port {port} [preauth]"),
            5 => write!(out, "CRON[{process}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
            6 => write!(
                out,
                "CRON[{process}]: (root) CMD (test -x /usr/sbin/anacron || run-parts --report /etc/cron.hourly)"
            ),
            7 => write!(out, "systemd-logind[811]: New session {process} of user {user}."),
            8 => write!(
                out,
                "sudo:   {user} : TTY=pts/0 ; PWD=/home/{user} ; USER=root ; COMMAND={}",
                random.pick(&COMMANDS)
            ),
            _ => write!(out, "systemd[1]: session-{process}.scope: Deactivated successfully."),
        }
    };
}
