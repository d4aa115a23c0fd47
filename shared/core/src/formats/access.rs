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
//! no field.

use std::borrow::Cow;

use jiff::Timestamp;
use memchr::{memchr, memchr2, memmem, memrchr};
use serde_json::Map;

use super::stamp::Clock;
use super::{Context, Format, Framing, Gate, Key, Parsed, Parser, by_line, head, stamp};
use crate::enrich::{Headers, SCANNER, WEB_ATTACK, is_suspicious};
use crate::fields::{Fields, Flat, FlatFields};
use crate::record::{FactsOf, LogSource, Record};

/// The client's address.
pub(crate) const C_IP: &str = "c-ip";
/// The user whom the server authenticated.
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
};

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
        head::most_lines(head, |line| Line::read(&String::from_utf8_lossy(line)).is_ok())
    }

    fn parser(&self, context: &Context) -> Box<dyn Parser> {
        Box::new(AccessParser {
            clock: Clock::new(context.timezone.clone(), Timestamp::MAX),
            headers: Headers::default(),
        })
    }

    fn facts<'r>(&self, record: &'r Record<'_>) -> FactsOf<'r> {
        let text = |name: &str| record.fields.text(name).map(Cow::Borrowed);
        FactsOf {
            actor: text(CS_USERNAME),
            source_address: text(C_IP),
            resources: text(CS_HOST).into_iter().collect(),
            ..FactsOf::default()
        }
    }
}

struct AccessParser {
    clock: Clock,
    headers: Headers,
}

impl Parser for AccessParser {
    fn parse_if<'a>(&mut self, frame: &'a [u8], gate: &mut dyn Gate) -> Parsed<'a> {
        by_line(frame, |line| self.line(line, gate))
    }
}

impl AccessParser {
    fn line<'a>(&mut self, raw: &'a str, gate: &mut dyn Gate) -> Parsed<'a> {
        let line = match Line::read(raw) {
            Ok(line) => line,
            Err(reason) => return Parsed::Unparsed(reason),
        };
        let request = Request::read(line.request);
        let (referer, agent) = (self.headers.look(line.referer), self.headers.look(line.agent));
        let attack = referer.suspicious || agent.suspicious || is_suspicious(request.uri);
        let maybe = |there: bool| if there { Key::Any } else { Key::Absent };
        let keys = [maybe(attack), maybe(agent.scanner), Key::Number(line.status.into())];
        if !gate.admits(&LOG_SOURCE, &keys, raw) {
            return Parsed::Unwatched;
        }
        let time = self.clock.time(line.time.as_bytes(), |zone, _| {
            stamp::common_log(line.time.as_bytes(), zone).or_else(|| stamp::iso_whole(line.time, zone))
        });
        Parsed::Record(Record {
            log_source: &LOG_SOURCE,
            time,
            id: None,
            fields: Fields::flat(line.fields(&request)),
            derived: Map::new(),
            occurrences: 1,
            raw: Cow::Borrowed(raw),
        })
    }
}

/// A line, taken apart.
struct Line<'l> {
    address: &'l str,
    user: &'l str,
    time: &'l str,
    request: &'l str,
    status: u16,
    bytes: &'l str,
    referer: &'l str,
    agent: &'l str,
}

impl<'l> Line<'l> {
    fn read(line: &'l str) -> Result<Self, &'static str> {
        let line = line.trim_end_matches(['\r', '\n']);
        let (address, rest) = line.split_once(' ').ok_or("no address")?;
        if !is_address(address) {
            return Err("no address at the start");
        }
        // Servers escape quotes in what a client chooses, so that `] "` cannot be within a user's name: the first one
        // ends the time, wherever else a bracket stands.
        let time_end = memmem::find(rest.as_bytes(), b"] \"").ok_or("no time in brackets before a request")?;
        let before = &rest[..time_end];
        let time_start = memrchr(b'[', before.as_bytes()).ok_or("no time in brackets")?;
        let (identities, time) = (before[..time_start].trim_end_matches(' '), &before[time_start + 1..]);
        let user = identities.split_once(' ').map_or("", |(_, user)| user);
        let after = &rest[time_end + 3..];
        let (request, status, rest) =
            request_and_status(after).ok_or("no quoted request and status of three digits")?;
        let (bytes, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (referer, rest) = quoted(rest);
        let (agent, _) = quoted(rest);
        Ok(Self { address, user, time, request, status, bytes, referer, agent })
    }

    fn fields(&self, request: &Request<'l>) -> FlatFields<'l> {
        let mut fields = FlatFields::with_capacity(16);
        let mut put = |name: &'static str, value: &'l str| {
            if !value.is_empty() && value != "-" {
                fields.push((Cow::Borrowed(name), Flat::Text(Cow::Borrowed(value))));
            }
        };
        put(C_IP, self.address);
        put(CS_USERNAME, self.user);
        put(CS_REFERER, self.referer);
        put(CS_USER_AGENT, self.agent);
        put(CS_METHOD, request.method);
        put(CS_VERSION, request.version);
        put(CS_URI, request.uri);
        if !request.method.is_empty() {
            let (host, target) = host_and_target(request.method, request.uri);
            put(CS_HOST, host);
            let (stem, query) = target.split_once('?').unwrap_or((target, ""));
            put(CS_URI_STEM, stem);
            put(CS_URI_QUERY, query);
        }
        fields.push((Cow::Borrowed(SC_STATUS), Flat::Number(self.status.into())));
        if let Ok(bytes) = self.bytes.parse::<u64>() {
            fields.push((Cow::Borrowed(SC_BYTES), Flat::Number(bytes)));
        }
        fields
    }
}

/// An address or a host's name; `-` and `unix:` are what nginx writes for a socket.
fn is_address(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'-' | b'_' | b'%'))
}

/// The request's text, the status and the rest of the line, from after the request's opening quote.
fn request_and_status(text: &str) -> Option<(&str, u16, &str)> {
    let bytes = text.as_bytes();
    let closes = |at: usize| {
        let digits = bytes.get(at + 1..at + 5).filter(|next| next[0] == b' ')?;
        let end = bytes.get(at + 5).is_none_or(|byte| *byte == b' ');
        let all = digits[1..].iter().all(u8::is_ascii_digit);
        let status = (end && all).then(|| text[at + 2..at + 5].parse::<u16>().ok())??;
        Some((&text[..at], status, text.get(at + 6..).unwrap_or("")))
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

/// The text in quotes at the start, and what follows; two empty texts where there is no quote.
fn quoted(text: &str) -> (&str, &str) {
    let Some(inner) = text.trim_start_matches(' ').strip_prefix('"') else { return ("", "") };
    let bytes = inner.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes[at] == b'"' {
            return (&inner[..at], &inner[at + 1..]);
        }
        at += 2;
    }
    // Cut off, or ended by an unescaped backslash: the last quote, if there is one.
    memrchr(b'"', bytes).map_or((inner, ""), |end| (&inner[..end], ""))
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
}

/// Parts a target in absolute form (a proxy's request) into host and path; `CONNECT` names only the host.
fn host_and_target<'l>(method: &str, uri: &'l str) -> (&'l str, &'l str) {
    if method == "CONNECT" {
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::formats::trial::{context, no_bytes_make_it_panic};

    const BASIC: &[u8] = include_bytes!("fixtures/access/basic.log");
    const MALFORMED: &[u8] = include_bytes!("fixtures/access/malformed.log");

    fn fields(line: &str) -> Fields<'_> {
        match Access.parser(&context()).parse(line.as_bytes()) {
            Parsed::Record(record) => {
                assert_eq!(record.raw, line);
                record.fields
            }
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_basic_line_is_parsed() {
        let mut parser = Access.parser(&context());
        for line in BASIC.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let text = String::from_utf8_lossy(line).into_owned();
            assert!(matches!(parser.parse(line), Parsed::Record(record) if record.time.is_some()), "{text}");
        }
        assert!(Access.recognises(BASIC));
    }

    #[test]
    fn every_malformed_line_is_unparsed() {
        let mut parser = Access.parser(&context());
        for line in MALFORMED.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            assert!(matches!(parser.parse(line), Parsed::Unparsed(_)), "{}", String::from_utf8_lossy(line));
        }
        assert!(!Access.recognises(MALFORMED));
    }

    #[test]
    fn the_fields_of_a_combined_line() {
        let line = r#"198.51.100.7 - alice [01/Mar/2026:10:00:00 +0100] "GET /a/b.php?id=1&x=%27 HTTP/1.1" 404 1234 "https://example.com/" "Mozilla/5.0 (X11)" "-" extra"#;
        assert_eq!(
            fields(line),
            serde_json::json!({
                "c-ip": "198.51.100.7", "cs-username": "alice", "cs-method": "GET", "cs-uri": "/a/b.php?id=1&x=%27",
                "cs-uri-stem": "/a/b.php", "cs-uri-query": "id=1&x=%27", "cs-version": "HTTP/1.1", "sc-status": 404,
                "sc-bytes": 1234, "cs-referer": "https://example.com/", "cs-user-agent": "Mozilla/5.0 (X11)"
            })
        );
    }

    #[test]
    fn what_is_absent_has_no_field() {
        let common = r#"2001:db8::1 - - [01/Mar/2026:10:00:00 +0000] "-" 408 -"#;
        assert_eq!(fields(common), serde_json::json!({"c-ip": "2001:db8::1", "sc-status": 408}));
        let dashes = r#"2001:db8::1 - - [01/Mar/2026:10:00:00 +0000] "GET / HTTP/1.0" 200 0 "-" "-""#;
        let fields = fields(dashes);
        assert_eq!((fields.get(CS_REFERER), fields.get(CS_USER_AGENT)), (None, None));
    }

    #[test]
    fn escaped_quotes_do_not_end_a_value() {
        let forged = r#"203.0.113.9 - x\" [y] \" [01/Mar/2026:10:00:00 +0000] "GET /?a=\" 200 5 \"b HTTP/1.1" 403 12 "-" "a \"quoted\" agent""#;
        let fields = fields(forged);
        assert_eq!((&fields[SC_STATUS], &fields[CS_URI]), (&Value::from(403), &Value::from(r#"/?a=\" 200 5 \"b"#)));
        assert_eq!(fields[CS_USER_AGENT], r#"a \"quoted\" agent"#);
        assert_eq!(fields[CS_USERNAME], r#"x\" [y] \""#);
    }

    #[test]
    fn what_is_no_http_request_is_kept_as_the_target() {
        let tls = r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "\x16\x03\x01\x02" 400 226 "-" "-""#;
        let fields = fields(tls);
        assert_eq!((&fields[CS_URI], fields.get(CS_METHOD)), (&Value::from(r"\x16\x03\x01\x02"), None));
    }

    #[test]
    fn a_target_with_spaces_or_a_host() {
        let spaces = fields(r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET /a b?c d HTTP/1.1" 400 226"#);
        assert_eq!((&spaces[CS_URI_STEM], &spaces[CS_URI_QUERY]), (&Value::from("/a b"), &Value::from("c d")));
        let proxy =
            fields(r#"203.0.113.9 - - [01/Mar/2026:10:00:00 +0000] "GET http://evil.example/x?y HTTP/1.1" 400 226"#);
        assert_eq!((&proxy[CS_HOST], &proxy[CS_URI_STEM]), (&Value::from("evil.example"), &Value::from("/x")));
    }

    #[test]
    fn an_impossible_time_or_other_bytes_leave_the_line_parsed() {
        let line = b"203.0.113.9 - - [31/Feb/2026:10:00:00 +0000] \"GET /caf\xe9 HTTP/1.1\" 200 1 \"-\" \"\xff\"";
        let Parsed::Record(record) = Access.parser(&context()).parse(line) else { panic!("not parsed") };
        assert_eq!((record.time, &record.fields[CS_URI]), (None, &Value::from("/caf\u{fffd}")));
    }

    #[test]
    fn other_logs_are_not_recognised() {
        for head in [
            &include_bytes!("fixtures/syslog/basic.log")[..],
            include_bytes!("fixtures/application/basic.log"),
            include_bytes!("fixtures/unrelated.txt"),
            b"",
        ] {
            assert!(!Access.recognises(head));
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic() {
        no_bytes_make_it_panic(&Access, BASIC);
    }
}
