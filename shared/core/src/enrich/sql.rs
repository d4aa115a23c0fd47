//! SQL injection: libinjection's tokens, with a guard against what it takes prose for.
//!
//! libinjection compares the first tokens of a text with fingerprints of known attacks
//! (<https://github.com/libinjection/libinjection>). A fingerprint says that a text *could* be SQL: it also fits
//! `2024-01-01 AND 2024-12-31`, a file's name with `Insert` in it, and English with `update` and `set`. The guard asks
//! for what makes it an attack: that a literal is broken out of, that a condition is always true, that a second
//! statement or a comment follows, that a function is called.

use super::patterns::Patterns;

/// Tells SQL from other text. A port, so that another library can take libinjection's place.
pub(super) trait SqlDetector {
    /// Whether a decoded value could be a piece of SQL.
    fn could_be_sql(&self, value: &str) -> bool;
}

/// The port of libinjection to Rust.
pub(super) struct Libinjection;

impl SqlDetector for Libinjection {
    fn could_be_sql(&self, value: &str) -> bool {
        libinjectionrs::detect_sqli(value.as_bytes()).is_injection()
    }
}

/// What nobody writes but in an injection, over the text in lower case without comments.
static CERTAIN: Patterns = Patterns::new(&[
    r#"\bunion\b[\s(]+(?:all\s+|distinct\s+)?[\s(]*select\b[\s(]*(?:null\b|\d+\s*(?:,|--|#|\)|$|from\b)|['"@*]|char\(|concat\w*\(|[\w.`]+\s*,)"#,
    r#"['"\d)]\s*union\b[\s(]+(?:all\s+|distinct\s+)?[\s(]*select\b.*\bfrom\b"#,
    r"\b(?:pg_sleep|extractvalue|updatexml|load_file|xp_cmdshell|utl_inaddr\.\w+|dbms_pipe\.\w+)\s*\(",
    r"\bbenchmark\s*\(\s*\d",
    r"\bsleep\s*\(\s*[\d.]+\s*\)",
    r#"\bwaitfor\s+delay\s+['"]"#,
    r"\binformation_schema\.\w",
    r"\binto\s+(?:out|dump)file\b",
]);

/// What makes a text that could be SQL an attack.
static PLAUSIBLE: Patterns = Patterns::new(&[
    // A condition of literals: `or 1=1`, `and '1'='1`, `or 1 --`.
    r#"(?:\b(?:or|and|xor|having|where)\b|\|\||&&)\s*(?:not\s+)?[(]*\s*(?:'[^']*'?|"[^"]*"?|\d+|true|false)\s*(?:[=<>!]|like\b|--|#|is\b|in\b|between\b|rlike\b)"#,
    // A literal is broken out of, and a condition follows.
    r#"['"]\s*\)*\s*(?:\b(?:or|and|xor|like|rlike|regexp|in|is|having|union)\b|\|\||&&|[=+*/<>])\s*\(*\s*(?:['"\d(]|\w+\s*[=(<>])"#,
    // The rest of the statement is cut off.
    r#"['"`)]\s*(?:--|#|/\*|;\s*(?:--|#|$))"#,
    r"^\W*\d+\s*(?:--|#)\s*-?$",
    // A second statement.
    r";\s*(?:select|insert|update|delete|drop|create|alter|exec|execute|declare|shutdown|truncate|grant|waitfor|begin)\b",
    // Functions that take a database apart.
    r"\b(?:sleep|substr|substring|mid|ascii|ord|char|chr|concat|group_concat|concat_ws|database|schema|version|user|current_user|system_user|session_user|hex|unhex|if|ifnull|iif|cast|convert|count|rand|floor|exp|elt|make_set|length|randomblob|row_count|decode|nullif|coalesce|json_extract)\s*\(",
    r"@@\w",
    r"\bcase\s+when\b",
    r#"\bselect\b[^;]*[(*@,'"][^;]*\bfrom\b"#,
    r#"(?:\d|['")])\s+(?:order|group)\s+by\s+\d"#,
    r"\bprocedure\s+analyse\b",
]);

/// Whether a decoded value is SQL injection.
pub(super) fn is_injection(detector: &dyn SqlDetector, value: &str) -> bool {
    if value.len() < 3 || !value.bytes().any(|byte| !byte.is_ascii_alphanumeric()) {
        return false;
    }
    let text = without_comments(&value.to_ascii_lowercase());
    CERTAIN.match_in(&text) || PLAUSIBLE.match_in(&text) && detector.could_be_sql(value)
}

/// `/**/` separates words as a space does; what stands in `/*! ... */` is run by `MySQL`.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        plain.push_str(before);
        let Some((comment, following)) = after.split_once("*/") else {
            // The comment does not end: it cuts off the rest of a statement.
            plain.push_str("/*");
            plain.push_str(after);
            return plain;
        };
        plain.push(' ');
        if let Some(run) = comment.strip_prefix('!') {
            plain.push_str(run.trim_start_matches(|letter: char| letter.is_ascii_digit()));
            plain.push(' ');
        }
        rest = following;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::patterns::tests::match_as_in_unicode;

    #[test]
    fn the_patterns_match_as_in_unicode() {
        const WORDS: &[&str] = &[
            "union",
            "select",
            " ",
            "all",
            "null",
            "1",
            ",",
            "--",
            "#",
            ")",
            "(",
            "'",
            "\"",
            "@@",
            "from",
            "char",
            "concat",
            "pg_sleep",
            "benchmark",
            "sleep",
            "waitfor",
            "delay",
            "information_schema.",
            "into",
            "outfile",
            "or",
            "and",
            "not",
            "=",
            "<",
            "like",
            "true",
            "||",
            "&&",
            "is",
            "in",
            ";",
            "/*",
            "drop",
            "insert",
            "substring",
            "version",
            "case",
            "when",
            "order",
            "by",
            "group",
            "procedure",
            "analyse",
            "_",
            "x",
            "\n",
            "*",
            "`",
        ];
        for patterns in [&CERTAIN, &PLAUSIBLE] {
            match_as_in_unicode(patterns, WORDS);
        }
    }

    #[test]
    fn injections_are_seen() {
        for value in [
            "1' OR '1'='1",
            "' or 1=1 --",
            "1 OR 1=1",
            "1 AND 1=2",
            "admin'--",
            "admin' or 1=1 #",
            "1; DROP TABLE users",
            "-1 UNION SELECT 1,2,3",
            "1 union all select null,null,version()",
            "x' UNION/**/SELECT/**/password/**/FROM/**/users--",
            "1/*!50000UNION*//*!50000SELECT*/1,2",
            "1 AND SLEEP(5)",
            "1' AND (SELECT * FROM (SELECT(SLEEP(5)))a)-- -",
            "1' AND ASCII(SUBSTRING((SELECT user()),1,1))>64",
            "1'; WAITFOR DELAY '0:0:5'--",
            "1) or (1=1",
            "' || '1'='1",
            "1 order by 10--",
            "1 and extractvalue(1,concat(0x7e,version()))",
            "\" or \"\"=\"",
        ] {
            assert!(is_injection(&Libinjection, value), "{value}");
        }
    }

    #[test]
    fn prose_is_not() {
        for value in [
            "2024-01-01 AND 2024-12-31",
            "Insert vs Crop.png",
            "update your profile and set a new password",
            "select shoes from our store",
            "european union select committee report 2020",
            "O'Brien and sons",
            "rock 'n' roll",
            "it's a dog's life -- or so they say",
            "\"foo\" and \"bar\"",
            "drop by the table; create memories",
            "1 or 2",
            "where to eat",
            "C# or C++",
            "price<100 and size>10",
            "user@example.com",
            "a=b;c=d",
            "union",
            "",
        ] {
            assert!(!is_injection(&Libinjection, value), "{value}");
        }
    }
}
