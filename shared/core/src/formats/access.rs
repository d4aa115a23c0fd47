//! Access logs of Apache and nginx: the common and the combined log format.
//!
//! Specification: <https://httpd.apache.org/docs/current/mod/mod_log_config.html#examples>,
//! nginx's `combined`: <https://nginx.org/en/docs/http/ngx_http_log_module.html#log_format>.
//!
//! `address ident user [time] "request" status bytes "referer" "user agent"`, and whatever follows is ignored. Field
//! names are those of
//! [Sigma's taxonomy](https://github.com/SigmaHQ/sigma-specification/blob/main/specification/sigma-appendix-taxonomy.md)
//! for the category `webserver`. Values stand as the server wrote them, its escapes (`\"`, `\x22`) included: rules of
//! the community are written for that, and [`crate::enrich`] has the decoded text. A value that is absent or `-` has
//! no field, but for `cs-username`, where the taxonomy says that `-` is an anonymous user. A header that was sent without
//! a value is an empty text.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::{memchr, memchr2, memrchr};
use serde_json::{Map, Value};

use super::stamp::Clock;
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, head, stamp};
use crate::enrich::{Attacks, Header, Memo, SCANNER, WEB_ATTACK};
use crate::fields::{self, Fields, Flat, Part};
use crate::record::{FactsOf, LogSource, Record};

/// The client's address.
pub(crate) const C_IP: &str = "c-ip";
/// The user whom the server authenticated; `-` for an anonymous one.
pub(crate) const CS_USERNAME: &str = "cs-username";
/// The method.
pub(crate) const CS_METHOD: &str = "cs-method";
/// The request's target as it was sent; the whole request where it is no HTTP request line.
pub(crate) const CS_URI: &str = "cs-uri";
/// The target's path.
pub(crate) const CS_URI_STEM: &str = "cs-uri-stem";
/// What follows the target's `?`.
pub(crate) const CS_URI_QUERY: &str = "cs-uri-query";
/// `HTTP/1.1`.
pub(crate) const CS_VERSION: &str = "cs-version";
/// The host, where the target names it.
pub(crate) const CS_HOST: &str = "cs-host";
/// The status, a number.
pub(crate) const SC_STATUS: &str = "sc-status";
/// The size of the answer in bytes, a number.
pub(crate) const SC_BYTES: &str = "sc-bytes";
/// The referring page.
pub(crate) const CS_REFERER: &str = "cs-referer";
/// The user agent.
pub(crate) const CS_USER_AGENT: &str = "cs-user-agent";

static LOG_SOURCE: LogSource = LogSource {
    products: &["apache", "nginx"],
    services: &["access"],
    categories: &["webserver"],
    group_by: &[C_IP],
    keys: &[WEB_ATTACK, SCANNER, SC_STATUS],
    rare: &[WEB_ATTACK, SCANNER],
    words: &[],
    aliases: &[],
};

/// Those that a record may have.
pub(crate) const LOG_SOURCES: &[&LogSource] = &[&LOG_SOURCE];

/// The format `access`.
pub struct Access;

impl Format for Access {
    fn name(&self) -> &'static str {
        "access"
    }

    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head::most_lines(head, |line| Line::read(&String::from_utf8_lossy(line), &mut Start::default()).is_ok())
    }

    fn parser(&self, context: &Context) -> Box<dyn Parser> {
        Box::new(AccessParser {
            clock: Clock::new(context.timezone.clone(), Timestamp::MAX),
            start: Start::default(),
            requests: Memo::new(1024),
            tails: Memo::new(1024),
            headers: Memo::new(256),
            fields: Listed::default(),
        })
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf {
            actor: text(CS_USERNAME).filter(|user| is_there(user)),
            source_address: text(C_IP),
            resources: text(CS_HOST).into_iter().collect(),
            ..FactsOf::default()
        }
    }
}

struct AccessParser {
    clock: Clock,
    start: Start,
    /// The attacks in requests.
    requests: Memo<Attacks>,
    /// What the ends of lines hold, from the referer on.
    tails: Memo<Header>,
    headers: Memo<Header>,
    /// Those of the last line that was taken apart.
    fields: Listed,
}

impl Parser for AccessParser {
    fn parse_if<'a>(&'a mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        let line = match Line::read(raw, &mut self.start) {
            Ok(line) => line,
            Err(reason) => return Parsed::Unparsed(reason),
        };
        let attacks = self.requests.of(line.request, |text| Request::read(text).attacks());
        let headers = self.tails.of(line.tail, |tail| {
            let [referer, agent] = referer_and_agent(tail).map(Option::unwrap_or_default);
            let referer = self.headers.of(referer, Header::judge);
            let agent = self.headers.of(agent, Header::judge);
            Header { attacks: referer.attacks.and(agent.attacks), scanner: agent.scanner }
        });
        let attacks = attacks.and(headers.attacks);
        let attack = match (attacks.is_empty(), attacks.only()) {
            (true, _) => Key::Absent,
            (false, Some(name)) => Key::Text(name),
            // It will be a list.
            (false, None) => Key::Any,
        };
        let scanner = headers.scanner.map_or(Key::Absent, Key::Text);
        if !gate.admits(&LOG_SOURCE, &[attack, scanner, Key::Number(line.status.into())], raw) {
            return Parsed::Unwatched;
        }
        let time = self.clock.time(line.time.as_bytes(), |text| {
            stamp::common_log(text).or_else(|| stamp::iso(text).filter(|stamp| stamp.len == text.len()))
        });
        let mut derived: Option<Map<String, Value>> = None;
        if !attacks.is_empty() {
            derived.get_or_insert_default().insert(WEB_ATTACK.to_owned(), attacks.names().collect());
        }
        if let Some(scanner) = headers.scanner {
            derived.get_or_insert_default().insert(SCANNER.to_owned(), Value::from(scanner));
        }
        line.put_fields(raw, &mut self.fields);
        Parsed::Record(Record {
            log_source: &LOG_SOURCE,
            time,
            id: None,
            fields: Fields::line(raw, &self.fields),
            derived,
            occurrences: 1,
            raw: Cow::Borrowed(raw),
        })
    }
}

/// A line, taken apart as far as it takes to know that it is one.
struct Line<'l> {
    address: &'l str,
    /// What stands between the address and the time.
    identities: &'l str,
    time: &'l str,
    request: &'l str,
    status: u16,
    bytes: &'l str,
    /// What follows the bytes.
    tail: &'l str,
}

impl<'l> Line<'l> {
    fn read(line: &'l str, start: &mut Start) -> Result<Self, &'static str> {
        let end = line.bytes().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
        let line = line.get(..end).unwrap_or(line);
        let address_end = line.bytes().position(|byte| !IN_ADDRESS[usize::from(byte)]).ok_or("no address")?;
        if address_end == 0 || line.as_bytes()[address_end] != b' ' {
            return Err("no address at the start");
        }
        let (address, rest) = (&line[..address_end], &line[address_end + 1..]);
        let (identities, time, rest) = start.read(rest)?;
        let (request, status, rest) = request_and_status(rest).ok_or("no quoted request and status of three digits")?;
        let end_of_bytes = rest.bytes().position(|byte| byte == b' ');
        let (bytes, tail) = end_of_bytes.map_or((rest, ""), |end| (&rest[..end], &rest[end + 1..]));
        Ok(Self { address, identities, time, request, status, bytes, tail })
    }

    /// Lists the fields of a line that this is.
    fn put_fields(&self, raw: &str, Listed(fields): &mut Listed) {
        let request = Request::read(self.request);
        let [referer, agent] = referer_and_agent(self.tail);
        let user = self.identities.trim_end_matches(' ').split_once(' ').map_or("", |(_, user)| user);
        fields.clear();
        let mut put = |name: &'static str, value: Option<&'l str>| {
            if let Some(value) = value {
                fields.push((name, Listing::Text(Part::of(value, raw.as_ptr().addr()))));
            }
        };
        let there = |value: &'l str| Some(value).filter(|value| is_there(value));
        put(C_IP, there(self.address));
        put(CS_USERNAME, Some(user).filter(|user| !user.is_empty()));
        put(CS_REFERER, referer);
        put(CS_USER_AGENT, agent);
        put(CS_METHOD, there(request.method));
        put(CS_VERSION, there(request.version));
        put(CS_URI, there(request.uri));
        if !request.method.is_empty() {
            let (host, stem, query) = request.host_stem_and_query();
            put(CS_HOST, there(host));
            put(CS_URI_STEM, there(stem));
            put(CS_URI_QUERY, there(query));
        }
        fields.push((SC_STATUS, Listing::Number(self.status.into())));
        if let Ok(bytes) = self.bytes.parse::<u64>() {
            fields.push((SC_BYTES, Listing::Number(bytes)));
        }
    }
}

/// The fields of a line by their names.
#[derive(Debug, Default)]
struct Listed(Vec<(&'static str, Listing)>);

/// A field's value.
#[derive(Debug, Clone, Copy)]
enum Listing {
    /// A text, by its place.
    Text(Part),
    Number(u64),
}

impl Listing {
    fn read(self, line: &str) -> Option<Flat<'_>> {
        match self {
            Self::Text(part) => part.within(line).map(Flat::Text),
            Self::Number(number) => Some(Flat::Number(number)),
        }
    }
}

impl fields::Line for Listed {
    fn get<'l>(&'l self, line: &'l str, name: &str) -> Option<Flat<'l>> {
        self.0.iter().find(|(known, _)| *known == name)?.1.read(line)
    }

    fn all(&self, line: &str) -> Map<String, Value> {
        self.0.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.read(line)?.into()))).collect()
    }
}

/// Whether a value is not absent.
fn is_there(value: &str) -> bool {
    !value.is_empty() && value != "-"
}

/// The bytes of an address or a host's name; `-` and `unix:` are what nginx writes for a socket.
static IN_ADDRESS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "it is below 256")]
        let letter = byte as u8;
        table[byte] = letter.is_ascii_alphanumeric() || matches!(letter, b'.' | b':' | b'-' | b'_' | b'%');
        byte += 1;
    }
    table
};

/// What stands before a request: ` - - [01/Mar/2026:10:00:00 +0000] "`. Of lines that were written within a second it is
/// mostly the same.
#[derive(Default)]
struct Start {
    /// That of the last line, from after its address.
    last: String,
    /// Where its time starts.
    time: usize,
}

impl Start {
    /// How a time and the request after it are told from what stands before. Servers escape quotes in what a client
    /// chooses, so that this cannot be within a user's name: the first one ends the time, wherever else a bracket stands.
    const END: &str = "] \"";

    /// The identities, the time, and what follows the request's opening quote, of what follows an address.
    fn read<'l>(&mut self, text: &'l str) -> Result<(&'l str, &'l str, &'l str), &'static str> {
        if self.last.is_empty() || !text.starts_with(&self.last) {
            let time_end = Self::time_end(text.as_bytes()).ok_or("no time in brackets before a request")?;
            let start = memrchr(b'[', &text.as_bytes()[..time_end]).ok_or("no time in brackets")?;
            self.time = start + 1;
            text[..time_end + Self::END.len()].clone_into(&mut self.last);
        }
        let (start, rest) = text.split_at(self.last.len());
        Ok((&start[..self.time - 1], &start[self.time..start.len() - Self::END.len()], rest))
    }

    fn time_end(bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        loop {
            at += memchr(b']', bytes.get(at..)?)?;
            if bytes[at..].starts_with(Self::END.as_bytes()) {
                return Some(at);
            }
            at += 1;
        }
    }
}

/// The request's text, the status and the rest of the line, from after the request's opening quote.
fn request_and_status(text: &str) -> Option<(&str, u16, &str)> {
    let bytes = text.as_bytes();
    let closes = |at: usize| {
        let Some([b' ', hundreds, tens, ones]) = bytes.get(at + 1..at + 5) else { return None };
        let (digits, end) = ([hundreds, tens, ones], bytes.get(at + 5));
        if !digits.iter().all(|digit| digit.is_ascii_digit()) || end.is_some_and(|byte| *byte != b' ') {
            return None;
        }
        let status = digits.iter().fold(0, |status, digit| status * 10 + u16::from(**digit - b'0'));
        Some((&text[..at], status, if end.is_some() { &text[at + 6..] } else { "" }))
    };
    let mut at = 0;
    while let Some(found) = memchr2(b'"', b'\\', bytes.get(at..)?) {
        at += found;
        if bytes[at] == b'\\' {
            at += 2;
        } else if let Some(found) = closes(at) {
            return Some(found);
        } else {
            at += 1;
        }
        if at > bytes.len() {
            break;
        }
    }
    // A server that does not escape the backslash ends a request with `\"`.
    memchr::memchr_iter(b'"', bytes).find_map(closes)
}

/// The referer and the user agent, as far as they were sent, of what follows the bytes.
fn referer_and_agent(tail: &str) -> [Option<&str>; 2] {
    let (referer, rest) = quoted(tail);
    [referer, quoted(rest).0].map(|value| value.filter(|value| *value != "-"))
}

/// The text in quotes at the start, and what follows.
fn quoted(text: &str) -> (Option<&str>, &str) {
    let start = text.bytes().take_while(|byte| *byte == b' ').count();
    let Some(inner) = text[start..].strip_prefix('"') else { return (None, "") };
    let bytes = inner.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return (Some(&inner[..at]), &inner[at + 1..]);
        }
        at += 2;
    }
    // Cut off, or ended by an unescaped backslash: the last quote, if there is one.
    (Some(memrchr(b'"', bytes).map_or(inner, |end| &inner[..end])), "")
}

/// A request line; what is none has only a target.
struct Request<'l> {
    method: &'l str,
    uri: &'l str,
    version: &'l str,
}

impl<'l> Request<'l> {
    fn read(text: &'l str) -> Self {
        let none = Self { method: "", uri: text, version: "" };
        let Some(space) = memchr(b' ', text.as_bytes()) else { return none };
        let (method, rest) = (&text[..space], &text[space + 1..]);
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-')) {
            return none;
        }
        let last_space = memrchr(b' ', rest.as_bytes()).filter(|space| rest[*space..].starts_with(" HTTP/"));
        match last_space.or_else(|| rest.rfind(" HTTP/")) {
            Some(end) => Self { method, uri: &rest[..end], version: &rest[end + 1..] },
            None if rest.starts_with(['/', '*']) || rest.contains("://") => Self { method, uri: rest, version: "" },
            None => none,
        }
    }
    /// The attacks in it.
    fn attacks(&self) -> Attacks {
        let (_, stem, _) = self.host_stem_and_query();
        let stem = Some(stem).filter(|stem| !self.method.is_empty() && is_there(stem));
        Attacks::in_target(self.uri, stem)
    }

    /// The target's parts: of one in absolute form (a proxy's request) the host, the path and the query. `CONNECT` names
    /// only the host.
    fn host_stem_and_query(&self) -> (&'l str, &'l str, &'l str) {
        let (host, target) = self.host_and_target();
        let (stem, query) = target.split_once('?').unwrap_or((target, ""));
        (host, stem, query)
    }

    fn host_and_target(&self) -> (&'l str, &'l str) {
        let uri = self.uri;
        if self.method == "CONNECT" {
            return (uri, uri);
        }
        let scheme = ["http://", "https://"]
            .into_iter()
            .find(|scheme| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        let Some(scheme) = scheme else { return ("", uri) };
        let rest = &uri[scheme.len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        (&rest[..end], &rest[end..])
    }
}

#[cfg(test)]
mod tests;
