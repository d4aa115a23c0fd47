//! What sshd says, taken apart.
//!
//! The messages are those of [OpenSSH's sources](https://github.com/openssh/openssh-portable/blob/master/auth.c).
//! A client chooses its user name, spaces and all: `root from 192.0.2.1 port 22 ssh2` is one. So an address is read
//! from the right end of a message, where sshd itself wrote it, and the user is what is left between.

use std::ops::RangeInclusive;

use super::super::bytes::{digits_at_end, last_of};
use super::header::word;
use super::{Key, Kind, NOTHING, Outline, Said};

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

const fn failed(event: &'static str) -> Kind {
    Kind::of("Failed ", event, authentication)
}

static FAILED_PASSWORD: Kind = failed("failed_password");
static FAILED_PUBLICKEY: Kind = failed("failed_publickey");
static FAILED_NONE: Kind = failed("failed_none");
static FAILED_KEYBOARD_INTERACTIVE: Kind = failed("failed_keyboard_interactive");
static FAILED_HOSTBASED: Kind = failed("failed_hostbased");
static FAILED_GSSAPI: Kind = failed("failed_gssapi");
static FAILED_OTHER: Kind = failed("failed_other");
static ACCEPTED: Kind = Kind::of("Accepted ", "accepted", authentication);
static INVALID: Kind = Kind::of("Invalid user ", "invalid_user", unknown_user);
static ILLEGAL: Kind = Kind::of("Illegal user ", "invalid_user", unknown_user);
static CLOSED: Kind = Kind::of("Connection closed by ", "connection_closed", ending_address);
static RESET: Kind = Kind::of("Connection reset by ", "connection_reset", ending_address);
static CONNECTION: Kind = Kind::of("Connection from ", "connection", following_address);
static DISCONNECTED: Kind = Kind::of("Disconnected from ", "disconnected", ending_address);
static DISCONNECTING: Kind = Kind::of("Disconnecting ", "disconnecting", ending_address);
static NO_IDENTIFICATION: Kind =
    Kind::of("Did not receive identification string from ", "no_identification", following_address);
static DISCONNECT: Kind = Kind::of("Received disconnect from ", "received_disconnect", following_address);
static MAXIMUM_ATTEMPTS: Kind =
    Kind::of("maximum authentication attempts exceeded for ", "max_auth_attempts", user_and_address);
static TOO_MANY_FAILURES: Kind =
    Kind::of("Too many authentication failures for ", "max_auth_attempts", user_and_address);
static USERAUTH_REQUEST: Kind = Kind::of("input_userauth_request: ", "userauth_request", user_alone);
static NOT_ALLOWED: Kind = Kind::of("User ", "user_not_allowed", user_not_allowed);
static NO_NEGOTIATION: Kind = Kind::of("Unable to negotiate with ", "negotiation_failed", following_address);
static BAD_PROTOCOL: Kind = Kind::of("Bad protocol version identification ", "bad_protocol", no_user_but_address);
static BAD_BANNER: Kind = Kind::of("banner exchange: Connection from ", "bad_protocol", following_address);
static CONNECTION_TIMEOUT: Kind =
    Kind::of("Timeout before authentication for connection from ", "auth_timeout", following_address);
static TIMEOUT: Kind = Kind::of("Timeout before authentication for ", "auth_timeout", following_address);
/// It may begin like another one as well.
static BREAKING_IN: Kind = Kind { start: "", event: Key::Any, read: break_in };

/// What a message begins like; one that is not known has no event.
#[inline]
pub(super) fn outline(message: &str) -> Outline<'_> {
    let text = known_part(message);
    let is_break_in = text.as_bytes().last() == Some(&b'!') && text.ends_with(BREAK_IN);
    (if is_break_in { &BREAKING_IN } else { begins(text) }, text)
}

/// A message without what may stand around any.
#[inline]
fn known_part(message: &str) -> &str {
    let last = message.as_bytes().last();
    let text = if last.is_some_and(u8::is_ascii_graphic) { message } else { message.trim_end() };
    // Most messages have another last letter.
    let text = match text.as_bytes().last() {
        Some(b']') => text.strip_suffix(" [preauth]").unwrap_or(text),
        _ => text,
    };
    let severity = match text.as_bytes().first() {
        Some(b'e') => "error: ",
        Some(b'f') => "fatal: ",
        Some(b'i') => "info: ",
        _ => return text,
    };
    text.strip_prefix(severity).unwrap_or(text)
}

/// By the first letter, so that most messages are compared with one or two of the beginnings.
fn begins(text: &str) -> &'static Kind {
    match text.as_bytes().first() {
        Some(b'F') => failure(text),
        Some(b'A') => Kind::among([&ACCEPTED], text),
        Some(b'I') => Kind::among([&INVALID, &ILLEGAL], text),
        Some(b'C') => Kind::among([&CLOSED, &CONNECTION, &RESET], text),
        Some(b'D') => Kind::among([&DISCONNECTED, &DISCONNECTING, &NO_IDENTIFICATION], text),
        Some(b'R') => Kind::among([&DISCONNECT], text),
        Some(b'm') => Kind::among([&MAXIMUM_ATTEMPTS], text),
        Some(b'i') => Kind::among([&USERAUTH_REQUEST], text),
        Some(b'U') => Kind::among([&NOT_ALLOWED, &NO_NEGOTIATION], text),
        Some(b'B') => Kind::among([&BAD_PROTOCOL], text),
        Some(b'T') => Kind::among([&TOO_MANY_FAILURES, &CONNECTION_TIMEOUT, &TIMEOUT], text),
        Some(b'b') => Kind::among([&BAD_BANNER], text),
        _ => &NOTHING,
    }
}

/// `Failed password for ...`: a login that failed, by a method, perhaps with a submethod behind it. The event of a method not
/// known is `failed_other`.
#[inline]
fn failure(text: &str) -> &'static Kind {
    if text.starts_with("Failed password ") {
        return &FAILED_PASSWORD;
    }
    let Some((method, _)) = text.strip_prefix("Failed ").and_then(word) else { return &NOTHING };
    match method.split('/').next().unwrap_or(method) {
        "password" => &FAILED_PASSWORD,
        "publickey" => &FAILED_PUBLICKEY,
        "none" => &FAILED_NONE,
        "keyboard-interactive" | "challenge-response" => &FAILED_KEYBOARD_INTERACTIVE,
        "hostbased" => &FAILED_HOSTBASED,
        "gssapi-with-mic" | "gssapi-keyex" => &FAILED_GSSAPI,
        _ => &FAILED_OTHER,
    }
}

/// `reverse mapping checking getaddrinfo for example.net [A] failed - POSSIBLE BREAK-IN ATTEMPT!`, unless it is an attempt
/// to log in with such a name.
fn break_in(text: &str, said: &mut Said) -> Option<()> {
    let kind = begins(text);
    let is_login = text.starts_with("Failed ") || text.starts_with("Accepted ");
    let is_attempt = ATTEMPTS.iter().any(|start| text.starts_with(start));
    if (is_login || is_attempt) && kind.read(text, said).is_some() {
        return Some(());
    }
    let inner = || text.rsplit_once(']')?.0.rsplit_once('[').map(|(_, inner)| inner);
    match inner().filter(|_| !is_attempt) {
        Some(address) => {
            said.event = Some("reverse_mapping_failed");
            Peer { address, port: None }.put(said);
            Some(())
        }
        None => kind.read(text, said),
    }
}

/// `password for [invalid user ]U from A port N ssh2[: key]`.
fn authentication(text: &str, said: &mut Said) -> Option<()> {
    let (method, rest) = word(text)?;
    user_and_address(rest.strip_prefix("for ")?, said)?;
    said.auth_method = said.part(method);
    Some(())
}

/// `[invalid user ]U from A port N`.
#[inline]
fn user_and_address(text: &str, said: &mut Said) -> Option<()> {
    let (user, peer) = rightmost_peer(text)?;
    put_user(user, said);
    peer.put(said);
    Some(())
}

/// `U from A port N`, of a user who does not exist.
fn unknown_user(text: &str, said: &mut Said) -> Option<()> {
    let (user, peer) = rightmost_peer(text)?;
    said.invalid_user = Some(true);
    said.user = said.part(user);
    peer.put(said);
    Some(())
}

/// `[invalid user ]U`.
#[expect(clippy::unnecessary_wraps, reason = "as all that read the rest of a message")]
fn user_alone(text: &str, said: &mut Said) -> Option<()> {
    put_user(text, said);
    Some(())
}

/// `U from A not allowed because ...`.
fn user_not_allowed(text: &str, said: &mut Said) -> Option<()> {
    let (rest, _) = text.rsplit_once(" not allowed because ")?;
    let (user, address) = rest.rsplit_once(" from ")?;
    said.user = said.part(user);
    Peer { address, port: None }.put(said);
    Some(())
}

/// `'...' from A port N`.
fn no_user_but_address(text: &str, said: &mut Said) -> Option<()> {
    rightmost_peer(text)?.1.put(said);
    Some(())
}

/// `[authenticating user U |invalid user U ]A[ port N]`.
fn ending_address(text: &str, said: &mut Said) -> Option<()> {
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
        said.user = said.part(user);
    } else if before.starts_with("invalid user ") {
        put_user(before, said);
    }
    peer.put(said);
    Some(())
}

/// `A port N:11: ...`: the address comes before anything that a client chooses.
fn following_address(text: &str, said: &mut Said) -> Option<()> {
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

impl Peer<'_> {
    fn put(&self, said: &mut Said) {
        said.src_ip = said.part(self.address);
        if let Some(port) = self.port {
            said.src_port = said.part(port);
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
    // Few words of what may follow have this letter.
    while let Some(at) = last_of(&bytes[..end], b'f') {
        if let Some(start) = at.checked_sub(1).filter(|start| bytes[*start..].starts_with(FROM))
            && let Some(peer) = peer(&text[start + FROM.len()..])
        {
            return Some((&text[..start], peer));
        }
        end = at;
    }
    None
}

/// The same of a text that ends with ` from A port N[ ssh2]`, as most do: no other such place can follow.
fn ending_peer(text: &str) -> Option<(&str, Peer<'_>)> {
    let text = text.strip_suffix(" ssh2").unwrap_or(text);
    let digits = Some(digits_at_end(text.as_bytes())).filter(|digits| PORT.contains(digits))?;
    let (before, port) = text.split_at_checked(text.len() - digits)?;
    let (before, address) = last_word(before.strip_suffix(" port ")?)?;
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

/// How many digits a port has.
const PORT: RangeInclusive<usize> = 1..=5;

fn is_port(text: &str) -> bool {
    PORT.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The user, without sshd's remark that there is none of that name.
fn put_user(text: &str, said: &mut Said) {
    let stripped = text.strip_prefix("invalid user ").or_else(|| text.strip_prefix("illegal user "));
    said.invalid_user = Some(stripped.is_some());
    said.user = said.part(stripped.unwrap_or(text));
}
