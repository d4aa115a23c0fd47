//! MITRE ATT&CK: which techniques and tactics there are, and what took the place of those that are gone.
//!
//! The ids lie in `attack/enterprise.txt`, which names its version. A new version is that file written anew.

/// The matrix for enterprises.
const ENTERPRISE: &str = include_str!("attack/enterprise.txt");

/// What became of an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is of this version.
    Current,
    /// These are in its place. A tactic may have been split into several.
    Replaced(Vec<&'static str>),
    /// It is gone, and nothing is in its place.
    Withdrawn,
    /// No version has had it.
    Unknown,
}

/// The version that the ids are of, such as `19.1`.
pub fn version() -> &'static str {
    ENTERPRISE.lines().find_map(|line| line.strip_prefix("version ")).unwrap_or_default()
}

/// What became of a technique (`T1685.002`) or a tactic (`defense-impairment`), written as ATT&CK writes it.
pub fn standing(id: &str) -> Standing {
    let lines = ENTERPRISE.lines().filter(|line| !line.starts_with(['#', ' ']) && !line.starts_with("version "));
    for line in lines {
        let (name, replacement) = match line.split_once(" >") {
            Some((name, replacement)) => (name, Some(replacement)),
            None => (line, None),
        };
        if name == id {
            return match replacement.map(|names| names.split_whitespace().collect::<Vec<_>>()) {
                None => Standing::Current,
                Some(names) if names.is_empty() => Standing::Withdrawn,
                Some(names) => Standing::Replaced(names),
            };
        }
    }
    Standing::Unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_current_replaced_withdrawn_or_none() {
        for (id, expected) in [
            ("T1685.002", Standing::Current),
            ("T1190", Standing::Current),
            ("stealth", Standing::Current),
            ("T1562.008", Standing::Replaced(vec!["T1685.002"])),
            ("defense-evasion", Standing::Replaced(vec!["stealth", "defense-impairment"])),
            ("T1064", Standing::Withdrawn),
            ("T9999", Standing::Unknown),
            ("T1190.001", Standing::Unknown),
            ("t1190", Standing::Unknown),
            ("version", Standing::Unknown),
            ("#", Standing::Unknown),
            ("", Standing::Unknown),
        ] {
            assert_eq!(standing(id), expected, "{id}");
        }
    }

    #[test]
    fn what_took_the_place_of_another_is_current() {
        let mut current = 0;
        for line in ENTERPRISE.lines().filter(|line| !line.starts_with('#')).skip(1) {
            match line.split_once(" >") {
                None => current += 1,
                Some((_, names)) => {
                    for name in names.split_whitespace() {
                        assert_eq!(standing(name), Standing::Current, "{line}");
                    }
                }
            }
        }
        assert!(current > 600, "{current}");
        assert!(version().split('.').all(|part| part.parse::<u32>().is_ok()), "{}", version());
    }
}
