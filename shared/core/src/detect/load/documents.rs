//! A file of rules, cut into its YAML documents: what is wrong with one is told with its line, and the others are loaded.

use rsigma_parser::{SigmaCollection, parse_sigma_yaml};
use serde::Deserialize;
use yaml_serde::Value;

/// The longest condition in bytes, all conditions of a rule together. To parse one takes the square of its length.
const MAX_CONDITION: usize = 8 * 1024;
/// How deep the brackets of a condition are nested at most, and how many `not`s follow one another: each level is one of
/// the stack.
const MAX_BRACKETS: usize = 64;
const MAX_NOTS: usize = 8;

/// How many brackets of YAML may be open at once: to read nested ones takes the square of their number. They are counted
/// whether they stand in a text or not, so closing ones in texts hide nesting, and such a file is slow to read.
const MAX_OPEN: usize = 4096;

/// Where in a text more brackets are open at once than may be.
pub(in crate::detect) fn too_many_open(text: &str) -> Option<usize> {
    let mut open = 0_usize;
    text.bytes().position(|byte| {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        open > MAX_OPEN
    })
}

/// What reasons call kinds of values, and the modifiers that take them.
const KINDS: [(&str, &str); 4] =
    [("regex", "|re"), ("CIDR", "|cidr"), ("field reference", "|fieldref"), ("base64", "|base64")];

/// The texts of a condition: it may be a list.
fn texts(condition: &Value) -> Vec<String> {
    let parts = condition.as_sequence().map_or(std::slice::from_ref(condition), Vec::as_slice);
    parts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a condition, or a text that has one, is nested too deep.
fn is_deep(text: &str) -> bool {
    let (mut open, mut nots) = (0_usize, 0);
    for part in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '(' | ')')) {
        let word = part.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ')'));
        match word {
            "" => {}
            word if word.eq_ignore_ascii_case("not") => nots += 1,
            _ => nots = 0,
        }
        match part.chars().next_back() {
            Some('(') => open += 1,
            Some(')') => open = open.saturating_sub(1),
            _ => {}
        }
        if open > MAX_BRACKETS || nots > MAX_NOTS {
            return true;
        }
    }
    false
}

/// One document of a file.
#[derive(Clone)]
pub(super) struct Document {
    /// The line that it starts on, from 1.
    line: usize,
    text: String,
}

/// The documents of a file. A file in which documents build on one another (`action: global`) is a single one.
pub(super) fn split(text: &str) -> Vec<Document> {
    let whole = || vec![Document { line: 1, text: text.to_owned() }];
    if text.lines().any(|line| line.strip_prefix("action").is_some_and(|rest| rest.trim_start().starts_with(':'))) {
        return whole();
    }
    let mut documents = Vec::new();
    let (mut start, mut line, mut offset) = (0, 1, 0);
    for (number, text_line) in (1..).zip(text.split_inclusive('\n')) {
        let is_marker =
            text_line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if is_marker && offset > 0 {
            documents.push(Document { line, text: text[start..offset].to_owned() });
            (start, line) = (offset, number);
        }
        offset += text_line.len();
    }
    documents.push(Document { line, text: text[start..].to_owned() });
    // What stands before the first marker may be comments alone.
    documents.retain(|document| !document.is_empty());
    documents
}

impl Document {
    fn is_empty(&self) -> bool {
        let says_nothing = |line: &str| {
            let line = line.strip_prefix("---").unwrap_or(line).trim();
            line.is_empty() || line.starts_with('#') || line == "..."
        };
        self.text.lines().all(says_nothing)
    }

    /// What rsigma reads in it. An error has been given its line, where that can be known.
    pub(super) fn parse(&self) -> Result<SigmaCollection, (Option<usize>, String)> {
        if let Some(line) = self.too_many_open() {
            return Err((Some(line), format!("more than {MAX_OPEN} brackets are open at once")));
        }
        if let Some(reason) = self.unreasonable() {
            return Err((self.line_of(&reason), reason));
        }
        // YAML counts lines from where it starts to read.
        let padded = format!("{}{}", "\n".repeat(self.line - 1), self.text);
        parse_sigma_yaml(&padded).map_err(|error| {
            let reason = error.to_string();
            (self.line_of(&reason), reason)
        })
    }

    /// The line on which more brackets are open at once than may be.
    fn too_many_open(&self) -> Option<usize> {
        let at = too_many_open(&self.text)?;
        Some(self.line + self.text[..at].matches('\n').count())
    }

    /// Why a condition is not handed to the parser, which would take all time or overflow the stack.
    fn unreasonable(&self) -> Option<String> {
        // Nearly every rule is short and flat, and is not read twice for this.
        if self.text.len() <= MAX_CONDITION && !is_deep(&self.text) {
            return None;
        }
        let documents = yaml_serde::Deserializer::from_str(&self.text).map_while(|one| Value::deserialize(one).ok());
        documents.into_iter().find_map(|document| {
            let of = |part: &str| document.get(part).and_then(|part| part.get("condition")).map(texts);
            let conditions: Vec<String> =
                ["detection", "filter", "correlation"].into_iter().filter_map(of).flatten().collect();
            if conditions.iter().map(String::len).sum::<usize>() > MAX_CONDITION {
                return Some(format!("the condition is longer than {MAX_CONDITION} bytes"));
            }
            let deep = || {
                format!("the condition has more than {MAX_BRACKETS} brackets in one another, or {MAX_NOTS} times `not`")
            };
            conditions.iter().any(|condition| is_deep(condition)).then(deep)
        })
    }

    /// The document as plain YAML, for what rsigma does not hand on; null if it is none.
    pub(super) fn value(&self) -> Value {
        if self.too_many_open().is_some() {
            return Value::Null;
        }
        yaml_serde::from_str(&self.text).unwrap_or_default()
    }

    /// The line that a reason speaks of: the one that it names; that of the condition, or of the first value of a kind; the
    /// first one with something that it quotes or ends with; else where the document starts.
    pub(super) fn line_of(&self, reason: &str) -> Option<usize> {
        let named = || {
            let digits = reason.rsplit_once("at line ")?.1;
            digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let quoted = || {
            let words: Vec<&str> = reason.split(['\'', '`', '"']).skip(1).step_by(2).collect();
            words.into_iter().filter(|word| word.len() > 1).find_map(|word| self.find(|line| line.contains(word)))
        };
        let condition = || {
            let is_it = |line: &str| line.trim_start_matches(['{', ' ']).starts_with("condition:");
            let is_told = reason.starts_with("Condition") || reason.starts_with("the condition");
            is_told.then(|| self.find(is_it).or_else(|| self.find(|line| line.contains("condition:"))))?
        };
        // Some reasons name a modifier, or the kind of value that one takes.
        let modifier = || {
            let words = reason.split(|c: char| c.is_whitespace() || c == ',');
            let named = words.filter(|word| word.starts_with('|') && word.len() > 2);
            let by_kind = KINDS.iter().filter(|(kind, _)| reason.contains(kind)).map(|(_, modifier)| *modifier);
            named.chain(by_kind).find_map(|modifier| self.find(|line| line.contains(modifier)))
        };
        // Or end with the value itself.
        let value = || {
            let value = reason.rsplit_once(": ")?.1;
            if value.len() < 2 { None } else { self.find(|line| line.contains(value)) }
        };
        let start = || self.find(|line| !line.starts_with("---") && !line.trim().is_empty() && !line.starts_with('#'));
        named().or_else(condition).or_else(modifier).or_else(quoted).or_else(value).or_else(start)
    }

    /// The line where a document says which rule it is.
    pub(super) fn line_of_rule(&self) -> Option<usize> {
        let title = || self.find(|line| line.trim_start_matches(['{', ' ']).starts_with("title:"));
        self.line_of_id().or_else(title).or_else(|| self.line_of(""))
    }

    /// The line of the id.
    pub(super) fn line_of_id(&self) -> Option<usize> {
        self.find(|line| line.trim_start_matches(['{', ' ']).starts_with("id:"))
    }

    fn find(&self, is_wanted: impl Fn(&str) -> bool) -> Option<usize> {
        self.text.lines().position(is_wanted).map(|at| self.line + at)
    }
}
