//! What sshd says, taken apart.
//!
//! The messages are those of [OpenSSH's sources](https://github.com/openssh/openssh-portable/blob/master/auth.c).
//! A client chooses its user name, spaces and all: `root from 192.0.2.1 port 22 ssh2` is one. So an address is read
//! from the right end of a message, where sshd itself wrote it, and the user is what is left between.

use super::super::bytes::last_of;
use super::header::word;
use super::{Outline, Said};

/// How the messages begin that tell of an attempt to log in, other than of a login that failed or not.
const ATTEMPTS: [&str; 7] = [
    "Invalid user ",
    "Illegal user ",
    "maximum authentication attempts exceeded for ",
    "input_userauth_request: ",
    "User ",
    "Bad protocol version identification ",
    "Too many authentication failures for ",
];

/// How a message ends whose address stands somewhere in brackets.
const BREAK_IN: &str = "POSSIBLE BREAK-IN ATTEMPT!";

/// What a message begins like; one that is not known has no event.
pub(super) fn outline(message: &str) -> Outline<'_> {
    let text = known_part(message);
    if text.ends_with(BREAK_IN) {
        // It may begin like another one as well.
        return Outline::Unknown(text, break_in);
    }
    begins(text)
}

/// A message without what may stand around any.
#[inline]
fn known_part(message: &str) -> &str {
    let ends = message.as_bytes().last().is_none_or(|last| !last.is_ascii_graphic());
    let text = if ends { message.trim_end() } else { message };
    let text = text.strip_suffix(" [preauth]").unwrap_or(text);
    let severity = match text.as_bytes().first() {
        Some(b'e') => "error: ",
        Some(b'f') => "fatal: ",
        Some(b'i') => "info: ",
        _ => return text,
    };
    text.strip_prefix(severity).unwrap_or(text)
}

/// By the first letter, so that most messages are compared with one or two of the beginnings.
#[expect(clippy::inline_always, reason = "what it returns is large, and looked at once")]
#[inline(always)]
fn begins(text: &str) -> Outline<'_> {
    match text.as_bytes().first() {
        Some(b'F') => text.strip_prefix("Failed ").map_or(Outline::Nothing, failure),
        Some(b'A') => Outline::of(text, ("Accepted ", "accepted", authentication)),
        Some(b'I') => Outline::of(text, ("Invalid user ", "invalid_user", unknown_user))
            .or(text, ("Illegal user ", "invalid_user", unknown_user)),
        Some(b'C') => Outline::of(text, ("Connection closed by ", "connection_closed", ending_address))
            .or(text, ("Connection from ", "connection", following_address))
            .or(text, ("Connection reset by ", "connection_reset", ending_address)),
        Some(b'D') => Outline::of(text, ("Disconnected from ", "disconnected", ending_address))
            .or(text, ("Disconnecting ", "disconnecting", ending_address))
            .or(text, ("Did not receive identification string from ", "no_identification", following_address)),
        Some(b'R') => Outline::of(text, ("Received disconnect from ", "received_disconnect", following_address)),
        Some(b'm') => {
            let start = "maximum authentication attempts exceeded for ";
            Outline::of(text, (start, "max_auth_attempts", user_and_address))
        }
        Some(b'i') => Outline::of(text, ("input_userauth_request: ", "userauth_request", user_alone)),
        Some(b'U') => Outline::of(text, ("User ", "user_not_allowed", user_not_allowed))
            .or(text, ("Unable to negotiate with ", "negotiation_failed", following_address)),
        Some(b'B') => Outline::of(text, ("Bad protocol version identification ", "bad_protocol", no_user_but_address)),
        Some(b'T') => {
            let timeout = "Timeout before authentication for connection from ";
            Outline::of(text, ("Too many authentication failures for ", "max_auth_attempts", user_and_address))
                .or(text, (timeout, "auth_timeout", following_address))
                .or(text, ("Timeout before authentication for ", "auth_timeout", following_address))
        }
        Some(b'b') => Outline::of(text, ("banner exchange: Connection from ", "bad_protocol", following_address)),
        _ => Outline::Nothing,
    }
}

/// `password for ...`: a login that failed, by a method, perhaps with a submethod behind it. The event of a method not known
/// is `failed_other`.
#[inline]
fn failure(text: &str) -> Outline<'_> {
    if text.starts_with("password ") {
        return Outline::Event("failed_password", text, authentication);
    }
    let Some((method, _)) = word(text) else { return Outline::Nothing };
    let event = match method.split('/').next().unwrap_or(method) {
        "password" => "failed_password",
        "publickey" => "failed_publickey",
        "none" => "failed_none",
        "keyboard-interactive" | "challenge-response" => "failed_keyboard_interactive",
        "hostbased" => "failed_hostbased",
        "gssapi-with-mic" | "gssapi-keyex" => "failed_gssapi",
        _ => "failed_other",
    };
    Outline::Event(event, text, authentication)
}

/// `reverse mapping checking getaddrinfo for example.net [A] failed - POSSIBLE BREAK-IN ATTEMPT!`, unless it is an attempt
/// to log in with such a name.
fn break_in<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let outline = begins(text);
    let is_login = text.starts_with("Failed ") || text.starts_with("Accepted ");
    let is_attempt = ATTEMPTS.iter().any(|start| text.starts_with(start));
    if (is_login || is_attempt) && outline.read(said).is_some() {
        return Some(());
    }
    let inner = || text.rsplit_once(']')?.0.rsplit_once('[').map(|(_, inner)| inner);
    match inner().filter(|_| !is_attempt) {
        Some(address) => {
            said.event = Some("reverse_mapping_failed");
            Peer { address, port: None }.put(said);
            Some(())
        }
        None => outline.read(said),
    }
}

/// `password for [invalid user ]U from A port N ssh2[: key]`.
fn authentication<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (method, rest) = word(text)?;
    user_and_address(rest.strip_prefix("for ")?, said)?;
    said.auth_method = Some(method);
    Some(())
}

/// `[invalid user ]U from A port N`.
fn user_and_address<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (user, peer) = rightmost_peer(text)?;
    put_user(user, said);
    peer.put(said);
    Some(())
}

/// `U from A port N`, of a user who does not exist.
fn unknown_user<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (user, peer) = rightmost_peer(text)?;
    said.invalid_user = Some(true);
    said.user = Some(user);
    peer.put(said);
    Some(())
}

/// `[invalid user ]U`.
#[expect(clippy::unnecessary_wraps, reason = "as all that read the rest of a message")]
fn user_alone<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    put_user(text, said);
    Some(())
}

/// `U from A not allowed because ...`.
fn user_not_allowed<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (rest, _) = text.rsplit_once(" not allowed because ")?;
    let (user, address) = rest.rsplit_once(" from ")?;
    said.user = Some(user);
    Peer { address, port: None }.put(said);
    Some(())
}

/// `'...' from A port N`.
fn no_user_but_address<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    rightmost_peer(text)?.1.put(said);
    Some(())
}

/// `[authenticating user U |invalid user U ]A[ port N]`.
fn ending_address<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    // The other reason repeats the user's name, so that no side of the text can be trusted.
    let rest = text.strip_suffix(": Too many authentication failures").unwrap_or(text);
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
    if let Some(user) = before.strip_prefix("authenticating user ").or_else(|| before.strip_prefix("user ")) {
        said.user = Some(user);
    } else if before.starts_with("invalid user ") {
        put_user(before, said);
    }
    peer.put(said);
    Some(())
}

/// `A port N:11: ...`: the address comes before anything that a client chooses.
fn following_address<'l>(text: &'l str, said: &mut Said<'l>) -> Option<()> {
    let (address, after) = word(text).unwrap_or((text, ""));
    let address = address.trim_end_matches([':', ',', '.']);
    let port = after.strip_prefix("port ").map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        &rest[..end]
    });
    if address.is_empty() {
        return None;
    }
    Peer { address, port: port.filter(|port| is_port(port)) }.put(said);
    Some(())
}

/// The text before and after the last space.
#[inline]
fn last_word(text: &str) -> Option<(&str, &str)> {
    let end = last_of(text.as_bytes(), b' ')?;
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
    const FROM: &[u8] = b" from ";
    if let Some(found) = ending_peer(text) {
        return Some(found);
    }
    let bytes = text.as_bytes();
    let mut end = text.len();
    while let Some(at) = last_of(&bytes[..end], b' ') {
        if bytes[at..].starts_with(FROM)
            && let Some(peer) = peer(&text[at + FROM.len()..])
        {
            return Some((&text[..at], peer));
        }
        end = at;
    }
    None
}

/// The same of a text that ends with ` from A port N[ ssh2]`, as most do: no other such place can follow.
fn ending_peer(text: &str) -> Option<(&str, Peer<'_>)> {
    let (before, port) = last_word(text.strip_suffix(" ssh2").unwrap_or(text))?;
    let (before, address) = last_word(before.strip_suffix(" port").filter(|_| is_port(port))?)?;
    let user = before.strip_suffix(" from").filter(|_| !address.is_empty())?;
    Some((user, Peer { address, port: Some(port) }))
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
