//! Texts with wildcards: `*` stands for any letters, none too, and `?` for one byte.

/// Whether a text fits a pattern.
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    fits_by(pattern, text, |one, other| one == other)
}

/// The same, whatever the case of ASCII letters.
pub(crate) fn fits_in_any_case(pattern: &str, text: &str) -> bool {
    fits_by(pattern, text, |one, other| one.eq_ignore_ascii_case(&other))
}

fn fits_by(pattern: &str, text: &str, is_same: impl Fn(u8, u8) -> bool) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut of) = (0, 0);
    // Where to go on after the last star, if what follows it does not fit here.
    let mut again: Option<(usize, usize)> = None;
    while of < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                again = Some((at + 1, of));
                at += 1;
            }
            Some(letter) if *letter == b'?' || is_same(*letter, text[of]) => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((after, from)) = again else { return false };
                again = Some((after, from + 1));
                (at, of) = (after, from + 1);
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_and_question_marks() {
        for (pattern, expected) in [
            ("*", true),
            ("s3:p*t", true),
            ("s3:PutObjec?", true),
            ("s3:*Put*Object*", true),
            ("s3:Put", false),
            ("s3:?", false),
        ] {
            assert_eq!(fits_in_any_case(pattern, "s3:PutObject"), expected, "{pattern}");
            assert_eq!(fits(&pattern.to_lowercase(), "s3:putobject"), expected, "{pattern}");
        }
        assert!(!fits("S3:*", "s3:PutObject"), "case counts");
        assert!(!fits("s3:*Objectt", "s3:PutObject") && fits("s3:*t", "s3:PutObjectt") && !fits("", "s3:PutObject"));
    }
}
