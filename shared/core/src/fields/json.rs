//! A JSON object that is read off its text, as far as somebody asks.
//!
//! A rule asks for three fields of an object that has forty. What is read here is what its tree holds; where that is not
//! sure, or where more is asked for than one value, it is said that only the tree can tell.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::ops::Range;

use serde_json::{Number, Value};

use super::{OnlyTree, Scalar};
use crate::framing::{Marks, Scanner};

/// An object with more members is not searched one by one.
const MAX_MEMBERS: usize = 256;
/// How many a log's objects mostly have at most.
const USUAL_MEMBERS: usize = 24;

/// A JSON object, whose text is known to be well-formed.
#[derive(Debug)]
pub(super) struct Json<'a> {
    text: Cow<'a, str>,
    members: Members,
    build: fn(&str) -> Value,
}

/// An object's members, once they were asked for; `None` where only the tree can tell.
type Members = OnceCell<Option<Vec<Member>>>;

/// Where a member is in the text of its object.
#[derive(Debug)]
struct Member {
    name: usize,
    /// The name's: it tells most from another without a look at them.
    length: usize,
    value: Range<usize>,
    members: Members,
}

impl<'a> Json<'a> {
    /// `build` makes the tree of the text.
    pub(super) fn new(text: Cow<'a, str>, build: fn(&str) -> Value) -> Self {
        Self { text, members: Members::new(), build }
    }

    pub(super) fn tree(&self) -> Value {
        (self.build)(&self.text)
    }

    pub(super) fn root(&self) -> Node<'_> {
        // A frame may begin with white space.
        let rest = self.text.trim_ascii_start();
        Node { rest, length: rest.len(), members: &self.members }
    }
}

/// A value.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'f> {
    /// The text from its first byte on.
    rest: &'f str,
    /// How much of it is the value's.
    length: usize,
    members: &'f Members,
}

impl<'f> Node<'f> {
    /// The member of this name, the last one if there are several. Of a list, only the tree can tell.
    #[inline]
    pub(crate) fn member(self, name: &str) -> Result<Option<Self>, OnlyTree> {
        let is_it = |member: &&Member| member.length == name.len() && self.name(member) == name.as_bytes();
        let Some(Member { value, members, .. }) = self.members()?.iter().rev().find(is_it) else { return Ok(None) };
        let rest = self.rest.get(value.start..).ok_or(OnlyTree)?;
        Ok(Some(Self { rest, length: value.len(), members }))
    }

    /// Whether a member's name has a dot.
    pub(crate) fn has_dots(self) -> Result<bool, OnlyTree> {
        Ok(self.members()?.iter().any(|member| self.name(member).contains(&b'.')))
    }

    fn name(self, member: &Member) -> &'f [u8] {
        self.rest.as_bytes().get(member.name..member.name + member.length).unwrap_or_default()
    }

    fn written(self) -> Result<&'f str, OnlyTree> {
        self.rest.get(..self.length).ok_or(OnlyTree)
    }

    /// The value. Of a list or an object, only the tree can tell.
    pub(crate) fn scalar(self) -> Result<Scalar<'f>, OnlyTree> {
        Ok(match self.rest.as_bytes() {
            [b'"', ..] => Scalar::Text(match self.plain() {
                Some(text) => Cow::Borrowed(text),
                None => Cow::Owned(serde_json::from_str(self.written()?).map_err(|_| OnlyTree)?),
            }),
            [b'-' | b'0'..=b'9', ..] => {
                Scalar::Number(serde_json::from_str::<Number>(self.written()?).map_err(|_| OnlyTree)?)
            }
            [b't', ..] => Scalar::Flag(true),
            [b'f', ..] => Scalar::Flag(false),
            [b'n', ..] => Scalar::Null,
            _ => return Err(OnlyTree),
        })
    }

    /// The text, if the value is one. Of one with escapes, a list or an object, only the tree can tell: what cannot be
    /// built is kept in it as text.
    pub(super) fn text(self) -> Result<Option<&'f str>, OnlyTree> {
        match self.rest.as_bytes() {
            [b'"', ..] => self.plain().map(Some).ok_or(OnlyTree),
            [b'{' | b'[', ..] => Err(OnlyTree),
            _ => self.scalar().map(|_| None),
        }
    }

    /// The contents of a text without escapes.
    fn plain(self) -> Option<&'f str> {
        let contents = self.rest.get(1..self.length.checked_sub(1)?)?;
        memchr::memchr(b'\\', contents.as_bytes()).is_none().then_some(contents)
    }

    /// The members of an object; of another value than a list there are none.
    #[inline]
    fn members(self) -> Result<&'f [Member], OnlyTree> {
        match self.rest.as_bytes() {
            [b'{', ..] => self.members.get_or_init(|| read(self.rest)).as_deref().ok_or(OnlyTree),
            [b'[', ..] => Err(OnlyTree),
            _ => Ok(&[]),
        }
    }
}

/// The members of the object at the start of a text, if none has an escape in its name.
fn read(text: &str) -> Option<Vec<Member>> {
    let mut scanner = Scanner::new(text);
    let mut members = Vec::with_capacity(USUAL_MEMBERS);
    scanner.object(Marks::ALL, |scanner, name| {
        if name.has_escapes() || members.len() == MAX_MEMBERS {
            return None;
        }
        scanner.kind()?;
        let start = scanner.offset();
        scanner.value()?;
        let (name, value) = (name.place(), start..scanner.offset());
        members.push(Member { name: name.start, length: name.len(), value, members: Members::new() });
        Some(())
    })?;
    Some(members)
}
