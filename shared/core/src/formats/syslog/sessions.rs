//! What PAM, sudo and su say, taken apart.
//!
//! [pam_unix](https://github.com/linux-pam/linux-pam/tree/master/modules/pam_unix),
//! [sudo's event log](https://www.sudo.ws/docs/man/sudoers.man/#EVENT_LOGGING).

use super::{Said, split};

/// `pam_unix(sshd:auth): ...`, and sshd's `PAM N more authentication failures; ...`.
///
/// The summary is `pam_more_failures` and no failed password: each of its failures has a line of its own.
pub(super) fn pam<'l>(message: &'l str, said: &mut Said<'l>) {
    if let Some(rest) = message.strip_prefix("PAM ") {
        if let Some((_, details)) = split(rest, " more authentication failure") {
            said.event = Some("pam_more_failures");
            put_details(details, said);
        }
        return;
    }
    let Some((_, text)) = split(message, "): ") else { return };
    if let Some(details) = text.strip_prefix("authentication failure;") {
        said.event = Some("pam_failure");
        put_details(details, said);
    } else if let Some(rest) = text.strip_prefix("session opened for user ") {
        said.event = Some("session_opened");
        let (target, by) = split(rest, " by ").unwrap_or((rest, ""));
        let target = without_uid(target);
        let by = without_uid(by);
        said.target_user = Some(target);
        said.user = Some(if by.is_empty() { target } else { by });
    } else if let Some(rest) = text.strip_prefix("session closed for user ") {
        said.event = Some("session_closed");
        said.target_user = Some(rest);
        said.user = Some(rest);
    } else if text.starts_with("check pass; user unknown") {
        said.event = Some("pam_user_unknown");
    } else if let Some(user) = text.strip_prefix("password changed for ") {
        said.event = Some("password_changed");
        said.target_user = Some(user);
    }
}

/// `root(uid=0)` is root.
fn without_uid(text: &str) -> &str {
    split(text, "(uid=").map_or(text, |(name, _)| name)
}

/// `logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1  user=root`. Only the last value is a client's choice.
fn put_details<'l>(text: &'l str, said: &mut Said<'l>) {
    let Some((_, rest)) = split(text, " rhost=") else { return };
    let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    if !host.is_empty() {
        said.src_ip = Some(host);
    }
    if let Some(user) = rest.trim_start().strip_prefix("user=") {
        said.user = Some(user);
    }
}

/// `alice : TTY=pts/0 ; PWD=/home/alice ; USER=root ; COMMAND=/bin/ls -l`, perhaps with a reason for refusal before
/// `TTY=`.
pub(super) fn sudo<'l>(message: &'l str, said: &mut Said<'l>) {
    let Some((user, rest)) = split(message.trim_start(), " : ") else { return };
    let event = match split(rest, " ; ").map_or(rest, |(first, _)| first) {
        reason if reason.starts_with("TTY=") => "sudo_command",
        reason if reason.contains("incorrect password attempt") => "sudo_failed_password",
        reason if reason.contains("NOT in sudoers") || reason.contains("not allowed") => "sudo_denied",
        reason if reason.contains('=') => "sudo_command",
        _ => "sudo_denied",
    };
    let Some((before, command)) = split(rest, "COMMAND=") else { return };
    said.event = Some(event);
    said.user = Some(user.trim_end());
    said.command = Some(command);
    // After the reason for a refusal, if there is one: each part begins behind a semicolon.
    if let Some((_, target)) = split(before, " ; USER=") {
        said.target_user = Some(split(target, " ; ").map_or(target, |(target, _)| target).trim_end());
        said.sudo_user = said.target_user;
    }
}

/// `Successful su for root by alice`, `FAILED SU (to root) alice on pts/0`.
pub(super) fn su<'l>(message: &'l str, said: &mut Said<'l>) {
    let (event, target, user) = if let Some(rest) = message.strip_prefix("Successful su for ") {
        let Some((target, user)) = rest.rsplit_once(" by ") else { return };
        ("su_succeeded", target, user)
    } else if let Some(rest) = message.strip_prefix("FAILED su for ") {
        let Some((target, user)) = rest.rsplit_once(" by ") else { return };
        ("su_failed", target, user)
    } else if let Some(rest) = message.strip_prefix("(to ") {
        let Some((target, rest)) = rest.split_once(") ") else { return };
        ("su_succeeded", target, rest.split(" on ").next().unwrap_or(rest))
    } else if let Some(rest) = message.strip_prefix("FAILED SU (to ") {
        let Some((target, rest)) = rest.split_once(") ") else { return };
        ("su_failed", target, rest.split(" on ").next().unwrap_or(rest))
    } else {
        return;
    };
    said.event = Some(event);
    said.target_user = Some(target);
    said.user = Some(user);
}
