//! What a text of the configuration stands for: itself, or with `*` and `?` every text of that form.

use serde::{Deserialize, Deserializer};

use crate::wildcards::fits;

/// A text in which `*` stands for any letters and `?` for one. Case counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it stands for this text.
    pub fn fits(&self, text: &str) -> bool {
        fits(&self.0, text)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let expects = "it must be a text that is not empty, in which `*` and `?` may stand for others";
        let text = Some(text.trim()).filter(|text| !text.is_empty());
        text.map(Self::new).ok_or_else(|| serde::de::Error::custom(expects))
    }
}

/// One pattern or a list of them: any of them fits.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "a text or a list of texts, none of them empty")]
pub enum Patterns {
    /// `"one"`.
    One(Pattern),
    /// `["one", "another"]`.
    Several(Vec<Pattern>),
}

impl Patterns {
    /// Whether one of them stands for this text. An empty list stands for none.
    pub fn fit(&self, text: &str) -> bool {
        match self {
            Self::One(pattern) => pattern.fits(text),
            Self::Several(patterns) => patterns.iter().any(|pattern| pattern.fits(text)),
        }
    }
}
