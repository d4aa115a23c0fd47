//! The members of a JSON object, where they stand in its text: most records of which a tree could be built are asked for a
//! handful of them.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use serde_json::Value;

use crate::framing::{Kind, Marks, Scanner};

/// How many members most objects have at most.
const USUAL: usize = 32;
/// How many parts a path has at most that is followed here. What lies far deeper is not held as it stands in the text.
const MAX_PARTS: usize = 8;

/// What is asked can only be told by the object's tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnlyTree;

/// The members of an object, in their order; of several of one name, the last counts.
#[derive(Debug)]
pub(super) struct Members(Vec<Member>);

/// A member: where its name, without the quotes, and its value are in the text.
#[derive(Debug)]
struct Member {
    name: Range<usize>,
    value: Range<usize>,
    /// Its own members, if it is an object.
    members: OnceCell<Result<Members, OnlyTree>>,
}

impl Members {
    /// Those of the object that a part of a text is; not where a name is not written as it reads.
    pub(super) fn of(text: &str, object: Range<usize>) -> Result<Self, OnlyTree> {
        let mut members = Vec::with_capacity(USUAL);
        let mut scanner = Scanner::new(text.get(object.clone()).ok_or(OnlyTree)?);
        let read = scanner.object(Marks::ALL, |scanner, name| {
            if name.has_escapes() {
                return None;
            }
            scanner.kind()?;
            let start = scanner.offset();
            scanner.value()?;
            let place = |within: Range<usize>| object.start + within.start..object.start + within.end;
            let (name, value) = (place(name.place()), place(start..scanner.offset()));
            members.push(Member { name, value, members: OnceCell::new() });
            Some(())
        });
        read.map(|()| Self(members)).ok_or(OnlyTree)
    }

    fn get(&self, text: &str, name: &str) -> Option<&Member> {
        let is_it = |member: &&Member| {
            member.name.len() == name.len() && text.as_bytes().get(member.name.clone()) == Some(name.as_bytes())
        };
        self.0.iter().rev().find(is_it)
    }

    /// The text of the value at a path: the member whose name it is, or one within others, with dots between their names.
    pub(super) fn find<'t>(&self, text: &'t str, path: &str) -> Result<Option<&'t str>, OnlyTree> {
        let value = |member: &Member| text.get(member.value.clone()).ok_or(OnlyTree).map(Some);
        if let Some(member) = self.get(text, path) {
            return value(member);
        }
        let parts = path.bytes().filter(|byte| *byte == b'.').count() + 1;
        if parts > MAX_PARTS {
            return Err(OnlyTree);
        }
        // With more than one dot a name may hold some of them.
        let nothing = if parts <= 2 { Ok(None) } else { Err(OnlyTree) };
        let mut members = self;
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let Some(member) = members.get(text, name) else { return nothing };
            if names.peek().is_none() {
                return value(member);
            }
            match text.as_bytes().get(member.value.start) {
                Some(b'{') => {
                    let inner = member.members.get_or_init(|| Self::of(text, member.value.clone()));
                    members = inner.as_ref().map_err(|only| *only)?;
                }
                // Every element of a list counts.
                Some(b'[') => return Err(OnlyTree),
                _ => return nothing,
            }
        }
        nothing
    }
}

/// A value that is neither a list nor an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'t> {
    /// A text, as it reads.
    Text(Cow<'t, str>),
    /// A number, truth value or null.
    Other(Value),
}

impl<'t> Scalar<'t> {
    /// What a value's text means.
    pub(super) fn of(text: &'t str) -> Result<Self, OnlyTree> {
        let mut scanner = Scanner::new(text);
        match scanner.kind().ok_or(OnlyTree)? {
            Kind::Text => {
                let word = scanner.string();
                scanner.text(word).map(Self::Text).ok_or(OnlyTree)
            }
            Kind::Number | Kind::Literal => serde_json::from_str(text).map(Self::Other).map_err(|_| OnlyTree),
            Kind::Object | Kind::List => Err(OnlyTree),
        }
    }
}
