//! The findings of a run, of which there may be tens of thousands: each is put together when it is told, and no sooner.

use std::borrow::Cow;

use cloudvigil_core::correlate::{Found, Partition};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::{self, Finding, Guidance, Level, Message};

/// Findings in the order in which a run tells of them.
pub struct Findings<'a> {
    catalogue: &'a Catalogue,
    has_words: bool,
    found: Vec<Told<'a>>,
}

/// A finding that will be told.
pub enum Told<'a> {
    /// Of a partition that is held in memory.
    Found(&'a Partition, Found<'a>),
    /// Out of the state.
    Message(Box<Message>),
}

impl Told<'_> {
    fn level(&self) -> Level {
        match self {
            Self::Found(_, found) => found.level(),
            Self::Message(message) => message.finding.level,
        }
    }

    fn order(&self) -> finding::Order {
        match self {
            Self::Found(_, found) => found.order(),
            Self::Message(message) => message.finding.order(),
        }
    }
}

impl<'a> Findings<'a> {
    /// Those of at least a level. Without `has_words` what is found comes without the rules' words.
    pub fn new(catalogue: &'a Catalogue, mut found: Vec<Told<'a>>, min_level: Level, has_words: bool) -> Self {
        found.retain(|one| one.level() >= min_level);
        found.sort_unstable_by_key(Told::order);
        Self { catalogue, has_words, found }
    }

    /// Those that are told, in the order given.
    pub fn of(catalogue: &'a Catalogue, messages: impl IntoIterator<Item = Message>) -> Self {
        let found = messages.into_iter().map(|message| Told::Message(Box::new(message))).collect();
        Self { catalogue, has_words: true, found }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The level of each.
    pub fn levels(&self) -> impl Iterator<Item = Level> {
        self.found.iter().map(Told::level)
    }

    /// All of them, to be put together one by one.
    pub fn all(&self) -> &[Told<'a>] {
        &self.found
    }

    /// One of them.
    pub fn finding<'t>(&self, told: &'t Told<'a>) -> Cow<'t, Finding> {
        match told {
            Told::Found(partition, found) => Cow::Owned(found.finding(self.catalogue, partition)),
            Told::Message(message) => Cow::Borrowed(&message.finding),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'_, Finding>> {
        self.found.iter().map(|told| self.finding(told))
    }

    /// What is told of each.
    pub fn messages(&self) -> impl Iterator<Item = Cow<'_, Message>> {
        self.found.iter().map(|told| match told {
            Told::Found(partition, found) => {
                let words = || self.catalogue.rule(partition.rule).guidance().clone();
                let guidance = if self.has_words { words() } else { Guidance::default() };
                let finding = found.finding(self.catalogue, partition);
                Cow::Owned(Message { schema: finding::SCHEMA, finding, guidance })
            }
            Told::Message(message) => Cow::Borrowed(message.as_ref()),
        })
    }
}
