//! The programs that write to the log: to which log sources their records belong, and what they say.

use super::super::bytes::last_of;
use super::{AUTH, CLAMAV, CRON, GUACAMOLE, SSHD, SUDO, SYSLOG, VSFTPD};
use crate::record::LogSource;
use crate::short::Short;

/// What is known of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Program {
    /// `None`: it depends on the message.
    log_source: Option<&'static LogSource>,
    pub(super) speech: Speech,
}

/// Whose messages a program's are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Speech {
    Sshd,
    Sudo,
    Su,
    /// A program's of which nothing is taken apart.
    Other,
}

impl Program {
    /// The program of a name, perhaps with its path.
    fn of(name: &[u8]) -> Self {
        let name = last_of(name, b'/').map_or(name, |end| &name[end + 1..]);
        let log_source = match name {
            b"sshd" | b"sshd-session" | b"sshd-auth" => Some(&SSHD),
            b"sudo" => Some(&SUDO),
            b"cron" | b"CRON" | b"crond" | b"anacron" | b"crontab" => Some(&CRON),
            b"su" | b"login" | b"passwd" | b"useradd" | b"userdel" | b"usermod" | b"groupadd" | b"groupdel"
            | b"groupmod" | b"gpasswd" | b"chpasswd" | b"chage" | b"chfn" | b"chsh" | b"newusers"
            | b"systemd-logind" | b"polkitd" | b"pkexec" | b"doas" | b"dropbear" | b"gdm-password" => Some(&AUTH),
            b"clamd" | b"freshclam" | b"clamav" | b"clamscan" => Some(&CLAMAV),
            b"vsftpd" => Some(&VSFTPD),
            b"guacd" | b"guacamole" => Some(&GUACAMOLE),
            _ => None,
        };
        let speech = match name {
            b"sudo" => Speech::Sudo,
            b"su" => Speech::Su,
            _ if log_source == Some(&SSHD) => Speech::Sshd,
            _ => Speech::Other,
        };
        Self { log_source, speech }
    }

    /// The log source of a record of it.
    #[inline]
    pub(super) fn log_source(self, message: &str) -> &'static LogSource {
        match self.log_source {
            Some(log_source) => log_source,
            None if message.starts_with("pam_") => &AUTH,
            None => &SYSLOG,
        }
    }
}

/// How many programs are remembered. A log has the lines of a handful.
const REMEMBERED: usize = 16;

/// The programs of the last lines, each in the one place that its name gives it.
#[derive(Default)]
pub(super) struct Programs([Option<(Short, Program)>; REMEMBERED]);

impl Programs {
    /// The program of a name, perhaps with its path.
    #[inline]
    pub(super) fn of(&mut self, name: &[u8]) -> Program {
        let Some(short) = Short::of(name) else { return Program::of(name) };
        let place = &mut self.0[short.place(REMEMBERED)];
        match place {
            Some((known, program)) if *known == short => *program,
            _ => place.insert((short, Program::of(name))).1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_the_same_after_whatever_programs() {
        let letters =
            ["", "s", "su", "do", "sshd", "sud", "cron", "/", "bin/", "sh", "d", "-session", "\0", "systemd-"];
        let mut programs = Programs::default();
        let mut number = 0_u64;
        let mut next = || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) as usize
        };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50_000 {
            let name: String = (0..next() % 4).map(|_| letters[next() % letters.len()]).collect();
            assert_eq!(programs.of(name.as_bytes()), Program::of(name.as_bytes()), "{name:?}");
            seen.insert(format!("{:?}", Program::of(name.as_bytes())));
        }
        assert!(seen.len() > 4, "{seen:?}");
    }
}
