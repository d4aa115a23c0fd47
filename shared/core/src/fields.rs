//! A record's fields, as little taken apart as rules need.
//!
//! A line's fields are places in the line. A JSON object's are its text, of which a member is read when it is asked for.
//! The tree is built when somebody asks for more than single values.

mod json;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::Debug;
use std::ops::Index;

use serde_json::{Map, Number, Value};

use json::Json;
pub(crate) use json::Node;

/// A value of a line's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flat<'f> {
    /// Text, as it stands in the line or as a word of ours.
    Text(&'f str),
    /// A number without a sign.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl From<Flat<'_>> for Value {
    fn from(value: Flat<'_>) -> Self {
        match value {
            Flat::Text(text) => Self::from(text),
            Flat::Number(number) => Self::from(number),
            Flat::Flag(yes) => Self::from(yes),
        }
    }
}

/// A value that is no list and no object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'f> {
    Text(Cow<'f, str>),
    Number(Number),
    Flag(bool),
    Null,
}

impl<'f> From<Flat<'f>> for Scalar<'f> {
    fn from(value: Flat<'f>) -> Self {
        match value {
            Flat::Text(text) => Self::Text(Cow::Borrowed(text)),
            Flat::Number(number) => Self::Number(number.into()),
            Flat::Flag(yes) => Self::Flag(yes),
        }
    }
}

/// What is asked for only the tree can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnlyTree;

/// What is known of the fields of a line, which is at hand wherever they are asked for. A line of an attack is asked for two
/// or three of them, and for all of them only where a rule must be evaluated. So their parser keeps what it knows in the same
/// room for line after line, and lends it out.
pub trait Line: Debug {
    /// The value of a field, by its name.
    fn get<'l>(&'l self, line: &'l str, name: &str) -> Option<Flat<'l>>;

    /// All of them.
    fn all(&self, line: &str) -> Map<String, Value>;
}

/// Where a part of a line stands in it, if it is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Part {
    start: usize,
    /// Only a part that is not there ends where a line starts.
    end: usize,
}

impl Part {
    /// The place of a part that is not empty or does not stand at the start, in a line that starts at this address.
    #[inline]
    pub(crate) fn of(part: &str, line: usize) -> Self {
        let start = part.as_ptr().addr().wrapping_sub(line);
        Self { start, end: start.wrapping_add(part.len()) }
    }

    #[inline]
    pub(crate) fn within(self, line: &str) -> Option<&str> {
        line.get(self.start..self.end).filter(|_| self.end > 0)
    }
}

/// A line's fields, and the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LineFields<'f> {
    line: &'f str,
    fields: &'f dyn Line,
}

impl<'f> LineFields<'f> {
    pub(crate) fn get(self, name: &str) -> Option<Flat<'f>> {
        self.fields.get(self.line, name)
    }

    pub(crate) fn all(self) -> Map<String, Value> {
        self.fields.all(self.line)
    }
}

/// A record's fields.
#[derive(Debug)]
pub struct Fields<'a> {
    read: Read<'a>,
    tree: OnceCell<Value>,
}

#[derive(Debug)]
enum Read<'a> {
    Line(LineFields<'a>),
    Json(Json<'a>),
    /// The tree is all there is.
    Tree,
}

impl<'a> Fields<'a> {
    /// The fields of a line.
    pub fn line(line: &'a str, fields: &'a dyn Line) -> Self {
        Self { read: Read::Line(LineFields { line, fields }), tree: OnceCell::new() }
    }

    /// The members of a JSON object; `build` makes the tree of the text.
    pub(crate) fn json(text: Cow<'a, str>, build: fn(&str) -> Value) -> Self {
        Self { read: Read::Json(Json::new(text, build)), tree: OnceCell::new() }
    }

    /// The fields as one JSON object.
    pub fn tree(&self) -> &Value {
        self.tree.get_or_init(|| match &self.read {
            Read::Line(line) => Value::Object(line.all()),
            Read::Json(json) => json.tree(),
            Read::Tree => Value::Null,
        })
    }

    /// The fields of a line, where they are those of a line.
    pub(crate) fn as_line(&self) -> Option<LineFields<'_>> {
        match &self.read {
            Read::Line(line) => Some(*line),
            Read::Json(_) | Read::Tree => None,
        }
    }

    /// The fields of a JSON object, where its text is at hand.
    pub(crate) fn as_json(&self) -> Option<Node<'_>> {
        match &self.read {
            Read::Json(json) => Some(json.root()),
            Read::Line(_) | Read::Tree => None,
        }
    }

    /// A field's text; `None` where it is absent or no text. No nested field is looked for.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.as_line() {
            Some(line) => match line.get(name)? {
                Flat::Text(text) => Some(text),
                Flat::Number(_) | Flat::Flag(_) => None,
            },
            None => self.text_at(&[name]),
        }
    }

    /// The text of a member of an object in an object, and so on; `None` where it is absent or no text.
    pub fn text_at(&self, path: &[&str]) -> Option<&str> {
        let of_tree = || path.iter().try_fold(self.tree(), |value, name| value.get(name))?.as_str();
        self.as_json().map_or(Err(OnlyTree), |root| text_at(root, path)).unwrap_or_else(|OnlyTree| of_tree())
    }

    /// See [`Value::get`].
    pub fn get(&self, name: &str) -> Option<&Value> {
        let is_absent = self.as_json().is_some_and(|root| matches!(root.member(name), Ok(None)));
        if is_absent { None } else { self.tree().get(name) }
    }
}

fn text_at<'f>(mut node: Node<'f>, path: &[&str]) -> Result<Option<&'f str>, OnlyTree> {
    for name in path {
        match node.member(name)? {
            Some(member) => node = member,
            None => return Ok(None),
        }
    }
    node.text()
}

impl From<Map<String, Value>> for Fields<'_> {
    fn from(fields: Map<String, Value>) -> Self {
        Self { read: Read::Tree, tree: OnceCell::from(Value::Object(fields)) }
    }
}

impl Index<&str> for Fields<'_> {
    type Output = Value;

    /// See [`Value`]'s indexing: null where there is no such field.
    fn index(&self, name: &str) -> &Value {
        &self.tree()[name]
    }
}

impl PartialEq for Fields<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.tree() == other.tree()
    }
}

impl PartialEq<Value> for Fields<'_> {
    fn eq(&self, other: &Value) -> bool {
        self.tree() == other
    }
}
