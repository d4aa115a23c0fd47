//! The programs that write to the log: to which log sources their records belong, and what they say.

use super::super::bytes::last_of;
use super::{AUTH, CLAMAV, CRON, GUACAMOLE, SSHD, SUDO, SYSLOG, VSFTPD};
use crate::record::LogSource;
use crate::spread::spread;

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
        let (log_source, speech) = match name {
            b"sshd" | b"sshd-session" | b"sshd-auth" => (Some(&SSHD), Speech::Sshd),
            b"sudo" => (Some(&SUDO), Speech::Sudo),
            b"su" => (Some(&AUTH), Speech::Su),
            b"cron" | b"CRON" | b"crond" | b"anacron" | b"crontab" => (Some(&CRON), Speech::Other),
            b"login" | b"passwd" | b"useradd" | b"userdel" | b"usermod" | b"groupadd" | b"groupdel" | b"groupmod"
            | b"gpasswd" | b"chpasswd" | b"chage" | b"chfn" | b"chsh" | b"newusers" | b"systemd-logind"
            | b"polkitd" | b"pkexec" | b"doas" | b"dropbear" | b"gdm-password" => (Some(&AUTH), Speech::Other),
            b"clamd" | b"freshclam" | b"clamav" | b"clamscan" => (Some(&CLAMAV), Speech::Other),
            b"vsftpd" => (Some(&VSFTPD), Speech::Other),
            b"guacd" | b"guacamole" => (Some(&GUACAMOLE), Speech::Other),
            _ => (None, Speech::Other),
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

/// How many programs are remembered, a power of two. A log has the lines of a handful.
const REMEMBERED: usize = 16;

/// The programs of the last lines, each in the one place that its name gives it.
#[derive(Default)]
pub(super) struct Programs([Option<(Name, Program)>; REMEMBERED]);

impl Programs {
    /// The program of a name, perhaps with its path.
    #[inline]
    pub(super) fn of(&mut self, name: &[u8]) -> Program {
        let Some(short) = Name::of(name) else { return Program::of(name) };
        let place = &mut self.0[short.place()];
        match place {
            Some((known, program)) if *known == short => *program,
            _ => place.insert((short, Program::of(name))).1,
        }
    }
}

/// A name of at most [`Name::LONGEST`] bytes: its length, and two numbers that each of its bytes is in, so that names are
/// compared in a step or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name {
    length: usize,
    start: u64,
    end: u64,
}

impl Name {
    const LONGEST: usize = 16;

    /// `None`: it is too long.
    #[inline]
    fn of(name: &[u8]) -> Option<Self> {
        let length = name.len();
        if let (Some(start), Some(end)) = (name.first_chunk(), name.last_chunk()) {
            let (start, end) = (u64::from_le_bytes(*start), u64::from_le_bytes(*end));
            return (length <= Self::LONGEST).then_some(Self { length, start, end });
        }
        if let (Some(start), Some(end)) = (name.first_chunk(), name.last_chunk()) {
            let (start, end) = (u32::from_le_bytes(*start).into(), u32::from_le_bytes(*end).into());
            return Some(Self { length, start, end });
        }
        Some(Self { length, start: name.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)), end: 0 })
    }

    /// Its place among the programs that are remembered: mostly another one than those of other names.
    #[inline]
    fn place(self) -> usize {
        spread(self.start ^ self.end.rotate_left(32) ^ self.length as u64, REMEMBERED.ilog2())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

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

    #[test]
    fn two_names_are_equal_exactly_if_their_numbers_are() {
        let mut number = 0_u64;
        let mut next = |below: usize| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 33) as usize % below
        };
        let mut known: HashMap<Vec<u8>, Name> = HashMap::new();
        for _ in 0..10_000 {
            let length = next(Name::LONGEST + 3);
            let odd = next(length.max(1));
            // Mostly the same name but for a byte.
            let text: Vec<u8> = (0..length).map(|at| if at == odd { b"\0ab\xff"[next(4)] } else { b'a' }).collect();
            match Name::of(&text) {
                Some(name) => known.extend([(text, name)]),
                None => assert!(length > Name::LONGEST),
            }
        }
        for (one, name) in &known {
            assert!(known.iter().all(|(other, number)| (one == other) == (name == number)), "{one:?}");
        }
        assert!(known.len() > 50);
    }
}
