//! What sshd says, taken apart.
//!
//! The messages are those of [OpenSSH's sources](https://github.com/openssh/openssh-portable/blob/master/auth.c).
//! A client chooses its user name, spaces and all: `root from 192.0.2.1 port 22 ssh2` is one. So an address is read
//! from the right end of a message, where sshd itself wrote it, and the user is what is left between.

use memchr::memrchr;

use super::Said;
use super::header::word;

/// The methods that get an event of their own; a name not known is `failed_other`.
const FAILURES: [(&str, &str); 8] = [
    ("password", "failed_password"),
    ("publickey", "failed_publickey"),
    ("none", "failed_none"),
    ("keyboard-interactive", "failed_keyboard_interactive"),
    ("hostbased", "failed_hostbased"),
    ("gssapi-with-mic", "failed_gssapi"),
    ("gssapi-keyex", "failed_gssapi"),
    ("challenge-response", "failed_keyboard_interactive"),
];

/// Messages that begin with a fixed text and hold an address, `address` or `address port N`, right after it.
const ADDRESS_FOLLOWS: [(&str, &str); 7] = [
    ("Received disconnect from ", "received_disconnect"),
    ("Did not receive identification string from ", "no_identification"),
    ("Unable to negotiate with ", "negotiation_failed"),
    ("Timeout before authentication for connection from ", "auth_timeout"),
    ("Timeout before authentication for ", "auth_timeout"),
    ("banner exchange: Connection from ", "bad_protocol"),
    ("Connection from ", "connection"),
];

/// Messages that begin with a fixed text, perhaps name a user, and end with an address.
const ADDRESS_ENDS: [(&str, &str); 4] = [
    ("Connection closed by ", "connection_closed"),
    ("Connection reset by ", "connection_reset"),
    ("Disconnected from ", "disconnected"),
    ("Disconnecting ", "disconnecting"),
];

/// Puts what a message says into the fields; a message not known adds none.
pub(super) fn take_apart<'l>(message: &'l str, said: &mut Said<'l>) {
    let text = message.trim_end();
    let text = text.strip_suffix(" [preauth]").unwrap_or(text);
    let text = text
        .strip_prefix("error: ")
        .or_else(|| text.strip_prefix("fatal: "))
        .or_else(|| text.strip_prefix("info: "))
        .unwrap_or(text);
    let _ = authentication(text, said)
        .or_else(|| user_message(text, said))
        .or_else(|| ending_address(text, said))
        .or_else(|| following_address(text, said));
}

/// `Failed password for [invalid user ]U from A port N ssh2[: key]`, and `Accepted` likewise.
fn authentication<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (accepted, rest) = match text.strip_prefix("Failed ") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("Accepted ")?),
    };
    let (method, rest) = word(rest)?;
    let rest = rest.strip_prefix("for ")?;
    let (user, peer) = rightmost_peer(rest)?;
    let base = method.split('/').next().unwrap_or(method);
    let failure = FAILURES.iter().find(|(name, _)| *name == base).map_or("failed_other", |(_, event)| event);
    said.event = Some(if accepted { "accepted" } else { failure });
    said.auth_method = Some(method);
    put_user(user, said);
    peer.put(said);
    Some(())
}

/// Messages about a user, whose address comes after ` from `.
fn user_message<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    if let Some(rest) = text.strip_prefix("Invalid user ").or_else(|| text.strip_prefix("Illegal user ")) {
        let (user, peer) = rightmost_peer(rest)?;
        said.event = Some("invalid_user");
        said.invalid_user = Some(true);
        said.user = Some(user);
        peer.put(said);
    } else if let Some(rest) = text.strip_prefix("maximum authentication attempts exceeded for ") {
        let (user, peer) = rightmost_peer(rest)?;
        said.event = Some("max_auth_attempts");
        put_user(user, said);
        peer.put(said);
    } else if let Some(rest) = text.strip_prefix("input_userauth_request: ") {
        said.event = Some("userauth_request");
        put_user(rest, said);
    } else if let Some(rest) = text.strip_prefix("User ") {
        let (rest, _) = rest.rsplit_once(" not allowed because ")?;
        let (user, address) = rest.rsplit_once(" from ")?;
        said.event = Some("user_not_allowed");
        said.user = Some(user);
        Peer { address, port: None }.put(said);
    } else if let Some(rest) = text.strip_prefix("Bad protocol version identification ") {
        let (_, peer) = rightmost_peer(rest)?;
        said.event = Some("bad_protocol");
        peer.put(said);
    } else if let Some(rest) = text.strip_prefix("Too many authentication failures for ") {
        let (user, peer) = rightmost_peer(rest)?;
        said.event = Some("max_auth_attempts");
        put_user(user, said);
        peer.put(said);
    } else if text.ends_with("POSSIBLE BREAK-IN ATTEMPT!") {
        let inner = text.rsplit_once(']')?.0.rsplit_once('[')?.1;
        said.event = Some("reverse_mapping_failed");
        Peer { address: inner, port: None }.put(said);
    } else {
        return None;
    }
    Some(())
}

/// `Connection closed by [authenticating user U |invalid user U ]A[ port N]`.
fn ending_address<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (rest, event) = after_any(text, &ADDRESS_ENDS)?;
    // The other reason repeats the user's name, so that no side of the text can be trusted.
    let rest = rest.strip_suffix(": Too many authentication failures").unwrap_or(rest);
    let with_port = last_word(rest)
        .filter(|(_, port)| is_port(port))
        .and_then(|(before, port)| Some((before.strip_suffix(" port")?, port)));
    let (before, peer) = match with_port {
        Some((before, port)) => {
            let (user, address) = last_word(before).unwrap_or(("", before));
            (user, Peer { address, port: Some(port) })
        }
        None => ("", Peer { address: rest, port: None }),
    };
    if peer.address.contains(' ') {
        return None;
    }
    said.event = Some(event);
    if let Some(user) = before.strip_prefix("authenticating user ").or_else(|| before.strip_prefix("user ")) {
        said.user = Some(user);
    } else if before.starts_with("invalid user ") {
        put_user(before, said);
    }
    peer.put(said);
    Some(())
}

/// What follows the first of these beginnings that a text has, and its event.
fn after_any<'l>(text: &'l str, beginnings: &[(&str, &'static str)]) -> Option<(&'l str, &'static str)> {
    let first = text.as_bytes().first()?;
    let same = beginnings.iter().filter(|(start, _)| start.as_bytes().first() == Some(first));
    same.into_iter().find_map(|(start, event)| Some((text.strip_prefix(start)?, *event)))
}

/// `Received disconnect from A port N:11: ...`: the address comes before anything that a client chooses.
fn following_address<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (rest, event) = after_any(text, &ADDRESS_FOLLOWS)?;
    let (address, after) = word(rest).unwrap_or((rest, ""));
    let address = address.trim_end_matches([':', ',', '.']);
    let port = after.strip_prefix("port ").map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        &rest[..end]
    });
    if address.is_empty() {
        return None;
    }
    said.event = Some(event);
    Peer { address, port: port.filter(|port| is_port(port)) }.put(said);
    Some(())
}

/// The text before and after the last space.
fn last_word(text: &str) -> Option<(&str, &str)> {
    let end = memrchr(b' ', text.as_bytes())?;
    Some((&text[..end], &text[end + 1..]))
}

/// Where a connection came from.
struct Peer<'l> {
    address: &'l str,
    port: Option<&'l str>,
}

impl<'l> Peer<'l> {
    fn put(&self, said: &mut Said<'l>) {
        said.src_ip = Some(self.address);
        if let Some(port) = self.port {
            said.src_port = Some(port);
        }
    }
}

/// The last ` from A[ port N[ ssh2[: key]]]` of a text, and what comes before it.
fn rightmost_peer(text: &str) -> Option<(&str, Peer<'_>)> {
    const FROM: &str = " from ";
    let mut end = text.len();
    while let Some(at) = memrchr(b' ', &text.as_bytes()[..end]) {
        if let Some(rest) = text[at..].strip_prefix(FROM)
            && let Some(peer) = peer(rest)
        {
            return Some((&text[..at], peer));
        }
        end = at;
    }
    None
}

fn peer(text: &str) -> Option<Peer<'_>> {
    let (address, rest) = word(text).map_or((text, None), |(address, rest)| (address, Some(rest)));
    if address.is_empty() {
        return None;
    }
    let Some(rest) = rest else { return Some(Peer { address, port: None }) };
    let rest = rest.strip_prefix("port ")?;
    let (port, after) = word(rest).unwrap_or((rest, ""));
    let known_end = after.is_empty() || after == "ssh2" || after == "ssh1" || after.starts_with("ssh2: ");
    (is_port(port) && known_end).then_some(Peer { address, port: Some(port) })
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The user, without sshd's remark that there is none of that name.
fn put_user<'l>(text: &'l str, said: &mut Said<'l>) {
    let stripped = text.strip_prefix("invalid user ").or_else(|| text.strip_prefix("illegal user "));
    said.invalid_user = Some(stripped.is_some());
    said.user = Some(stripped.unwrap_or(text));
}
