//! A record's fields, as little taken apart as rules need.
//!
//! A line's fields are slices of the line. A JSON object's are its text, of which only the members that rules were
//! indexed by have been read: the tree is built when somebody asks for more.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Index;

use serde_json::{Map, Value};

/// A value of a line's field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flat<'a> {
    /// Text, as it stands in the line or as a word of ours.
    Text(Cow<'a, str>),
    /// A number without a sign.
    Number(u64),
    /// Yes or no.
    Flag(bool),
}

impl Flat<'_> {
    fn into_owned(self) -> Flat<'static> {
        match self {
            Self::Text(text) => Flat::Text(Cow::Owned(text.into_owned())),
            Self::Number(number) => Flat::Number(number),
            Self::Flag(yes) => Flat::Flag(yes),
        }
    }
}

impl From<&Flat<'_>> for Value {
    fn from(value: &Flat<'_>) -> Self {
        match value {
            Flat::Text(text) => Self::from(text.as_ref()),
            Flat::Number(number) => Self::from(*number),
            Flat::Flag(yes) => Self::from(*yes),
        }
    }
}

/// The fields of a line, in the order in which they were found. A name that comes twice has its last value.
pub type FlatFields<'a> = Vec<(Cow<'static, str>, Flat<'a>)>;

/// A record's fields.
#[derive(Debug)]
pub struct Fields<'a> {
    read: Read<'a>,
    tree: OnceCell<Value>,
}

#[derive(Debug)]
enum Read<'a> {
    Flat(FlatFields<'a>),
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
    pub fn flat(fields: FlatFields<'a>) -> Self {
        Self { read: Read::Flat(fields), tree: OnceCell::new() }
    }

    /// The members of a JSON object; `build` makes the tree of the text.
    pub(crate) fn json(text: Cow<'a, str>, build: fn(&str) -> Value) -> Self {
        Self { read: Read::Json(Json { text, build }), tree: OnceCell::new() }
    }

    /// The fields as one JSON object.
    pub fn tree(&self) -> &Value {
        self.tree.get_or_init(|| match &self.read {
            Read::Flat(fields) => Value::Object(
                fields.iter().map(|(name, value)| (name.clone().into_owned(), Value::from(value))).collect(),
            ),
            Read::Json(json) => (json.build)(&json.text),
            Read::Tree => Value::Null,
        })
    }

    /// The fields of a line, where they are those of a line.
    pub(crate) fn as_flat(&self) -> Option<&FlatFields<'a>> {
        match &self.read {
            Read::Flat(fields) => Some(fields),
            Read::Json(_) | Read::Tree => None,
        }
    }

    /// A field's text; `None` where it is absent or no text. No nested field is looked for.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.as_flat() {
            Some(fields) => match find(fields, name)? {
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

    /// The same fields, independent of the entry that they were read from.
    pub(crate) fn into_owned(self) -> Fields<'static> {
        let read = match self.read {
            Read::Flat(fields) => {
                Read::Flat(fields.into_iter().map(|(name, value)| (name, value.into_owned())).collect())
            }
            Read::Json(json) => Read::Json(Json { text: Cow::Owned(json.text.into_owned()), build: json.build }),
            Read::Tree => Read::Tree,
        };
        Fields { read, tree: self.tree }
    }
}

/// The last value of a name.
pub(crate) fn find<'f, 'a>(fields: &'f FlatFields<'a>, name: &str) -> Option<&'f Flat<'a>> {
    fields.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
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
