//! What PAM, sudo and su say, taken apart.
//!
//! [pam_unix](https://github.com/linux-pam/linux-pam/tree/master/modules/pam_unix),
//! [sudo's event log](https://www.sudo.ws/docs/man/sudoers.man/#EVENT_LOGGING).

#![expect(clippy::unnecessary_wraps, reason = "what reads the rest of a message may find another one")]

use super::{Key, Kind, NOTHING, Outline, Said, split};

static MORE_FAILURES: Kind = Kind::of("PAM ", "pam_more_failures", more_failures);
static OPENED: Kind = Kind::of("session opened for user ", "session_opened", session_opened);
static CLOSED: Kind = Kind::of("session closed for user ", "session_closed", session_closed);
static FAILURE: Kind = Kind::of("authentication failure;", "pam_failure", details);
static UNKNOWN_USER: Kind = Kind::of("check pass; user unknown", "pam_user_unknown", nothing_more);
static PASSWORD_CHANGED: Kind = Kind::of("password changed for ", "password_changed", password_changed);

/// What sudo says.
pub(super) static SUDO: Kind = Kind { start: "", event: Key::Any, read: sudo };
/// What su says.
pub(super) static SU: Kind = Kind { start: "", event: Key::Any, read: su };

/// `pam_unix(sshd:auth): ...`, and sshd's `PAM N more authentication failures; ...`.
///
/// The summary is `pam_more_failures` and no failed password: each of its failures has a line of its own.
pub(super) fn pam(message: &str) -> Outline<'_> {
    if message.starts_with(MORE_FAILURES.start) {
        return (&MORE_FAILURES, message);
    }
    let Some((_, text)) = split(message, b"): ") else { return (&NOTHING, message) };
    let kind = match text.as_bytes().first() {
        Some(b's') => Kind::among([&OPENED, &CLOSED], text),
        Some(b'a') => Kind::among([&FAILURE], text),
        Some(b'c') => Kind::among([&UNKNOWN_USER], text),
        Some(b'p') => Kind::among([&PASSWORD_CHANGED], text),
        _ => &NOTHING,
    };
    (kind, text)
}

fn more_failures(text: &str, said: &mut Said) -> Option<()> {
    details(split(text, b" more authentication failure")?.1, said)
}

fn session_opened(text: &str, said: &mut Said) -> Option<()> {
    let (target, by) = split(text, b" by ").unwrap_or((text, ""));
    let (target, by) = (without_uid(target), without_uid(by));
    said.target_user = said.part(target);
    said.user = said.part(if by.is_empty() { target } else { by });
    Some(())
}

fn session_closed(user: &str, said: &mut Said) -> Option<()> {
    said.target_user = said.part(user);
    said.user = said.part(user);
    Some(())
}

fn nothing_more(_: &str, _: &mut Said) -> Option<()> {
    Some(())
}

fn password_changed(user: &str, said: &mut Said) -> Option<()> {
    said.target_user = said.part(user);
    Some(())
}

/// `root(uid=0)` is root.
fn without_uid(text: &str) -> &str {
    split(text, b"(uid=").map_or(text, |(name, _)| name)
}

/// `logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root`. Only the last value is a client's choice.
fn details(text: &str, said: &mut Said) -> Option<()> {
    if let Some((_, rest)) = split(text, b" rhost=") {
        let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if !host.is_empty() {
            said.src_ip = said.part(host);
        }
        if let Some(user) = rest.trim_start().strip_prefix("user=") {
            said.user = said.part(user);
        }
    }
    Some(())
}

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls -l`, perhaps with a reason for refusal before
/// `TTY=`.
fn sudo(message: &str, said: &mut Said) -> Option<()> {
    let (user, rest) = split(message.trim_start(), b" : ")?;
    let event = match split(rest, b" ; ").map_or(rest, |(first, _)| first) {
        reason if reason.starts_with("TTY=") => "sudo_command",
        reason if reason.contains("incorrect password attempt") => "sudo_failed_password",
        reason if reason.contains("NOT in sudoers") || reason.contains("not allowed") => "sudo_denied",
        reason if reason.contains('=') => "sudo_command",
        _ => "sudo_denied",
    };
    let (before, command) = split(rest, b"COMMAND=")?;
    said.event = Some(event);
    said.user = said.part(user.trim_end());
    said.command = said.part(command);
    // After the reason for a refusal, if there is one: each part begins behind a semicolon.
    if let Some((_, target)) = split(before, b" ; USER=") {
        said.target_user = said.part(split(target, b" ; ").map_or(target, |(target, _)| target).trim_end());
        said.sudo_user = said.target_user;
    }
    Some(())
}

/// `Successful su for root by alice`, `FAILED SU (to root) alice on pts/0`.
fn su(message: &str, said: &mut Said) -> Option<()> {
    let (event, target, user) = if let Some(rest) = message.strip_prefix("Successful su for ") {
        let (target, user) = rest.rsplit_once(" by ")?;
        ("su_succeeded", target, user)
    } else if let Some(rest) = message.strip_prefix("FAILED su for ") {
        let (target, user) = rest.rsplit_once(" by ")?;
        ("su_failed", target, user)
    } else if let Some(rest) = message.strip_prefix("(to ") {
        let (target, rest) = rest.split_once(") ")?;
        ("su_succeeded", target, rest.split(" on ").next().unwrap_or(rest))
    } else {
        let (target, rest) = message.strip_prefix("FAILED SU (to ")?.split_once(") ")?;
        ("su_failed", target, rest.split(" on ").next().unwrap_or(rest))
    };
    said.event = Some(event);
    said.target_user = said.part(target);
    said.user = said.part(user);
    Some(())
}
