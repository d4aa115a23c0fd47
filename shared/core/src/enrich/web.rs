//! What a web request is up to: its target decoded, the attacks in it, the scanner that sent it.
//!
//! The parts that an application works with are judged one by one, decoded: the path, and each parameter of the
//! query. The referer and the user agent are judged where they hold what no browser sends.

use std::borrow::Cow;
use std::sync::LazyLock;

use aho_corasick::packed;
use serde_json::{Map, Value};

use super::patterns::Patterns;
use super::percent::decoded;
use super::sql::{self, Libinjection};
use super::{URI_DECODED, scanners};
use crate::fields::Fields;
use crate::formats::access::CS_URI;

/// Attacks, each a bit of its own.
const SQL_INJECTION: u8 = 1;
const PATH_TRAVERSAL: u8 = 2;
const CROSS_SITE_SCRIPTING: u8 = 4;
const COMMAND_INJECTION: u8 = 8;
/// Their names.
const ATTACKS: [(u8, &str); 4] = [
    (SQL_INJECTION, "sql_injection"),
    (PATH_TRAVERSAL, "path_traversal"),
    (CROSS_SITE_SCRIPTING, "cross_site_scripting"),
    (COMMAND_INJECTION, "command_injection"),
];

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
static SENSITIVE_FILES: Patterns = Patterns::new(&[
    r"/etc/(?:passwd|shadow|group|hosts|sudoers)(?:[^\w.-]|$)",
    r"/proc/self/(?:environ|cmdline|maps|fd|root|status)",
    r"(?:^|/)(?:boot|win)\.ini(?:\W|$)",
    r"/windows/(?:system32|win\.ini)",
    r"/web-inf/web\.xml",
    r"^(?:php://(?:filter|input)|file:///?[a-z/]|expect://|phar://)",
]);

static SCRIPTS: Patterns = Patterns::new(&[
    r"<\s*/?\s*script\b",
    r#"(?:<[a-z!/][^>]*|["'`])[\s/"'`]+on[a-z]{3,25}\s*="#,
    r"<\s*(?:svg|iframe|img|body|object|embed|math|details|video|audio|base|link|meta|style|marquee|input|form)\b[^>]*(?:\bon[a-z]{3,25}\s*=|javascript:|data:text|srcdoc|src\s*=\s*[^>\s]*\bx\b)",
    r#"(?:^|["'=\s])javascript:[^\s]*[(`]"#,
    r"<\s*(?:iframe|object|embed|svg)\b[\s/>]",
    r"data:text/html[;,]",
    r"\bdocument\.(?:cookie|location|write)\b.*[(=;]",
]);

/// A shell's separator and a command after it. Commands that are English words must have what only a command has.
static COMMANDS: Patterns = Patterns::new(&[
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
]);

/// Fills in what a request's fields say, beyond what the parser worked out by [`Attacks`] and [`Header`].
pub(super) fn enrich(fields: &Fields<'_>, wants: impl Fn(&str) -> bool, derived: &mut Map<String, Value>) {
    if wants(URI_DECODED)
        && let Some(uri) = fields.text(CS_URI)
    {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        let mut plain = decoded(path, false).to_lowercase();
        if let Some(query) = query {
            plain.push('?');
            plain.push_str(&decoded(query, true).to_lowercase());
        }
        derived.insert(URI_DECODED.to_owned(), Value::from(plain));
    }
}

/// What a referer or user agent holds.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Header {
    /// The attacks in it.
    pub(crate) attacks: Attacks,
    /// The name of the scanner that it names, were it a user agent.
    pub(crate) scanner: Option<&'static str>,
}

impl Header {
    /// Judges a header's value.
    pub(crate) fn judge(value: &str) -> Self {
        let mut attacks = Attacks::default();
        attacks.judge_header(value);
        Self { attacks, scanner: scanners::scanner(value) }
    }
}

/// Whether anything in a target is worth a closer look: one pass, and most targets end here.
fn is_suspicious(uri: &str) -> bool {
    classes(uri) & SUSPICIOUS != 0 || holds(&SUSPICIOUS_TEXTS, uri)
}

/// The attacks in a request: a bit for each of [`ATTACKS`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attacks(u8);

impl Attacks {
    /// Those in a target. `stem`: its path, where it is in absolute form.
    pub(crate) fn in_target(uri: &str, stem: Option<&str>) -> Self {
        let mut attacks = Self::default();
        if is_suspicious(uri) {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            attacks.judge_path(stem.unwrap_or(path));
            attacks.judge_query(query);
        }
        attacks
    }

    /// These, and others.
    pub(crate) fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether there is none.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The name of the one that is there alone.
    pub(crate) fn only(self) -> Option<&'static str> {
        ATTACKS.into_iter().find(|(attack, _)| self.0 == *attack).map(|(_, name)| name)
    }

    /// Their names, as rules ask for them.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        ATTACKS.into_iter().filter(move |(attack, _)| self.0 & attack != 0).map(|(_, name)| name)
    }

    /// Adds an attack if it is there and not among them yet.
    fn add(&mut self, attack: u8, is_there: impl FnOnce() -> bool) {
        if self.0 & attack == 0 && is_there() {
            self.0 |= attack;
        }
    }

    fn judge_path(&mut self, path: &str) {
        let path = cut(path);
        let plain = decoded(path, false);
        let lower = plain.to_lowercase();
        self.add(PATH_TRAVERSAL, || climbs_out_of_root(&lower) || asks_for_sensitive_file(&lower));
        // A path's segments are an application's parameters, but their words are often prose.
        self.add(SQL_INJECTION, || {
            may_be_sql(&plain)
                && (path.split('/').take(MAX_PARAMETERS).any(|segment| is_sql(&decoded(segment, false)))
                    || plain.contains("/*") && is_sql(&plain))
        });
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
                self.add(SQL_INJECTION, || is_sql(&plain));
                self.add(PATH_TRAVERSAL, || is_traversal_value(&lower) || asks_for_sensitive_file(&lower));
                self.judge_text(&lower);
            }
        }
    }

    fn judge_text(&mut self, lower: &str) {
        let classes = classes(lower);
        self.add(CROSS_SITE_SCRIPTING, || classes & SCRIPT != 0 && SCRIPTS.match_in(lower));
        self.add(COMMAND_INJECTION, || {
            (classes & COMMAND != 0 || holds(&COMMAND_TEXTS, lower)) && COMMANDS.match_in(lower)
        });
    }

    /// A header is free text: only what no browser sends in it counts. It is not decoded, since a referer holds the
    /// searches of others.
    fn judge_header(&mut self, value: &str) {
        if !is_suspicious_header(value) {
            return;
        }
        let plain = unescaped_quotes(cut(value));
        let lower = plain.to_lowercase();
        self.add(SQL_INJECTION, || (plain.contains(['\'', '"']) || has_sleep(value)) && is_sql(&plain));
        self.add(CROSS_SITE_SCRIPTING, || lower.contains("<script"));
        self.add(COMMAND_INJECTION, || lower.contains("${") && COMMANDS.match_in(&lower) || lower.contains("() {"));
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

fn cut(text: &str) -> &str {
    let end = (0..=MAX_PART.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}

fn asks_for_sensitive_file(lower: &str) -> bool {
    let asks = |text: &str| holds(&FILE_TEXTS, text) && SENSITIVE_FILES.match_in(text);
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
mod tests;
