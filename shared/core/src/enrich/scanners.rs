//! Scanners that say who they are in their user agent.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

/// What a user agent holds, whatever its case, and the scanner's name.
const SCANNERS: [(&str, &str); 34] = [
    ("sqlmap", "sqlmap"),
    ("nikto", "nikto"),
    ("nmap", "nmap"),
    ("masscan", "masscan"),
    ("zgrab", "zgrab"),
    ("nuclei", "nuclei"),
    ("gobuster", "gobuster"),
    ("dirbuster", "dirbuster"),
    ("feroxbuster", "feroxbuster"),
    ("fuzz faster u fool", "ffuf"),
    ("wfuzz", "wfuzz"),
    ("dirsearch", "dirsearch"),
    ("wpscan", "wpscan"),
    ("joomscan", "joomscan"),
    ("acunetix", "acunetix"),
    ("netsparker", "netsparker"),
    ("nessus", "nessus"),
    ("openvas", "openvas"),
    ("qualys", "qualys"),
    ("arachni", "arachni"),
    ("w3af", "w3af"),
    ("havij", "havij"),
    ("zmeu", "zmeu"),
    ("jorgee", "jorgee"),
    ("whatweb", "whatweb"),
    ("skipfish", "skipfish"),
    ("commix", "commix"),
    ("xsstrike", "xsstrike"),
    ("webinspect", "webinspect"),
    ("morfeus", "morfeus"),
    ("censysinspect", "censys"),
    ("l9explore", "l9explore"),
    ("(hydra)", "hydra"),
    ("burpcollaborator", "burp"),
];

static FINDER: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| {
    AhoCorasick::builder().ascii_case_insensitive(true).build(SCANNERS.iter().map(|(text, _)| text)).ok()
});

/// The name of the scanner that a user agent names.
pub(super) fn scanner(agent: &str) -> Option<&'static str> {
    let found = FINDER.as_ref()?.find(agent)?;
    Some(SCANNERS[found.pattern().as_usize()].1)
}
