//! What PAM, sudo and su say, taken apart.
//!
//! [pam_unix](https://github.com/linux-pam/linux-pam/tree/master/modules/pam_unix),
//! [sudo's event log](https://www.sudo.ws/docs/man/sudoers.man/#EVENT_LOGGING).

#![expect(clippy::unnecessary_wraps, reason = "what reads the rest of a message may find another one")]

use super::{Outline, Said, split};

/// `pam_unix(sshd:auth): ...`, and sshd's `PAM N more authentication failures; ...`.
///
/// The summary is `pam_more_failures` and no failed password: each of its failures has a line of its own.
pub(super) fn pam(message: &str) -> Outline<'_> {
    if let Some(rest) = message.strip_prefix("PAM ") {
        return Outline::Event("pam_more_failures", rest, more_failures);
    }
    let Some((_, text)) = split(message, b"): ") else { return Outline::Nothing };
    match text.as_bytes().first() {
        Some(b's') => Outline::of(text, ("session opened for user ", "session_opened", session_opened))
            .or(text, ("session closed for user ", "session_closed", session_closed)),
        Some(b'a') => Outline::of(text, ("authentication failure;", "pam_failure", details)),
        Some(b'c') => Outline::of(text, ("check pass; user unknown", "pam_user_unknown", nothing_more)),
        Some(b'p') => Outline::of(text, ("password changed for ", "password_changed", password_changed)),
        _ => Outline::Nothing,
    }
}

fn more_failures<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    details(split(text, b" more authentication failure")?.1, said)
}

fn session_opened<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (target, by) = split(text, b" by ").unwrap_or((text, ""));
    let (target, by) = (without_uid(target), without_uid(by));
    said.target_user = Some(target);
    said.user = Some(if by.is_empty() { target } else { by });
    Some(())
}

fn session_closed<'l>(user: &'l str, said: &mut Said<'l>) -> Option<()> {
    said.target_user = Some(user);
    said.user = Some(user);
    Some(())
}

fn nothing_more<'l>(_: &'l str, _: &mut Said<'l>) -> Option<()> {
    Some(())
}

fn password_changed<'l>(user: &'l str, said: &mut Said<'l>) -> Option<()> {
    said.target_user = Some(user);
    Some(())
}

/// `root(uid=0)` is root.
fn without_uid(text: &str) -> &str {
    split(text, b"(uid=").map_or(text, |(name, _)| name)
}

/// `logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root`. Only the last value is a client's choice.
fn details<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    if let Some((_, rest)) = split(text, b" rhost=") {
        let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        if !host.is_empty() {
            said.src_ip = Some(host);
        }
        if let Some(user) = rest.trim_start().strip_prefix("user=") {
            said.user = Some(user);
        }
    }
    Some(())
}

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls -l`, perhaps with a reason for refusal before
/// `TTY=`.
pub(super) fn sudo<'l>(message: &'l str, said: &mut Said<'l>) -> Option<()> {
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
    said.user = Some(user.trim_end());
    said.command = Some(command);
    // After the reason for a refusal, if there is one: each part begins behind a semicolon.
    if let Some((_, target)) = split(before, b" ; USER=") {
        said.target_user = Some(split(target, b" ; ").map_or(target, |(target, _)| target).trim_end());
        said.sudo_user = said.target_user;
    }
    Some(())
}

/// `Successful su for root by alice`, `FAILED SU (to root) alice on pts/0`.
pub(super) fn su<'l>(message: &'l str, said: &mut Said<'l>) -> Option<()> {
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
    said.target_user = Some(target);
    said.user = Some(user);
    Some(())
}
