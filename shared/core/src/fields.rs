//! A record's fields, as little taken apart as rules need.
//!
//! A line's fields are slices of the line. A JSON object's are its text, of which only the members that rules were
//! indexed by have been read: the tree is built when somebody asks for more.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt::Debug;
use std::ops::Index;

use serde_json::{Map, Value};

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

/// The fields of a line. A line of an attack is asked for two or three of them, and for all of them only where a rule must
/// be evaluated.
pub trait Line: Debug {
    /// The value of a field, by its name.
    fn get(&self, name: &str) -> Option<Flat<'_>>;

    /// All of them.
    fn all(&self) -> Map<String, Value>;
}

/// The fields of a line as a list. A name that comes twice has its last value.
pub type FlatFields<'a> = Vec<(&'static str, Flat<'a>)>;

impl Line for FlatFields<'_> {
    fn get(&self, name: &str) -> Option<Flat<'_>> {
        self.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn all(&self) -> Map<String, Value> {
        self.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect()
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
    Line(Box<dyn Line + 'a>),
    Json(Json<'a>),
    /// The tree is all there is.
    Tree,
}

/// A JSON object, whose text is known to be well-formed.
#[derive(Debug)]
struct Json<'a> {
    text: Cow<'a, str>,
    build: fn(&str) -> Value,
}

impl<'a> Fields<'a> {
    /// The fields of a line.
    pub fn line(line: impl Line + 'a) -> Self {
        Self { read: Read::Line(Box::new(line)), tree: OnceCell::new() }
    }

    /// The members of a JSON object; `build` makes the tree of the text.
    pub(crate) fn json(text: Cow<'a, str>, build: fn(&str) -> Value) -> Self {
        Self { read: Read::Json(Json { text, build }), tree: OnceCell::new() }
    }

    /// The fields as one JSON object.
    pub fn tree(&self) -> &Value {
        self.tree.get_or_init(|| match &self.read {
            Read::Line(line) => Value::Object(line.all()),
            Read::Json(json) => (json.build)(&json.text),
            Read::Tree => Value::Null,
        })
    }

    /// The fields of a line, where they are those of a line.
    pub(crate) fn as_line(&self) -> Option<&(dyn Line + 'a)> {
        match &self.read {
            Read::Line(line) => Some(line.as_ref()),
            Read::Json(_) | Read::Tree => None,
        }
    }

    /// A field's text; `None` where it is absent or no text. No nested field is looked for.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.as_line() {
            Some(line) => match line.get(name)? {
                Flat::Text(text) => Some(text),
                Flat::Number(_) | Flat::Flag(_) => None,
            },
            None => self.tree().get(name)?.as_str(),
        }
    }

    /// See [`Value::get`].
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.tree().get(name)
    }

    /// See [`Value::pointer`].
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        self.tree().pointer(pointer)
    }
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
