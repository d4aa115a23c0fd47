//! The one path: bytes of an object, or single entries, to matches, contributions and counters that balance.
//!
//! The command line, every Lambda function and the rules' own tests come through here. What enters is counted, and what
//! was counted is either parsed, unparsed or skipped, whatever happens on the way.

mod analysis;
mod judge;
mod matcher;
mod matches;
mod reading;
mod screening;
mod sections;
mod stats;

pub use analysis::Analysis;
pub use matches::{Match, Matches};
pub use screening::Screening;
pub use stats::{SourceStats, Stats, Totals};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::correlate::{Contributions, Partition, digest};
use crate::decode::DecodeError;
use crate::detect::Catalogue;
use crate::enrich::OwnResources;
use crate::formats::{Context, FORMATS, Format, Unrecognised};
use crate::ports::{ObjectId, ObjectStore, PortError};

/// What a run asks for beyond its rules.
#[derive(Clone)]
pub struct Options {
    /// Read everything as this format; `None`: recognise it from the content.
    pub format: Option<&'static dyn Format>,
    /// What the content may be recognised as, the strictest first.
    pub formats: &'static [&'static dyn Format],
    /// What to read something as whose format is not recognised; `None`: that is an error.
    pub fallback: Option<&'static dyn Format>,
    /// Keep each (record, rule) pair.
    pub matches: bool,
    /// Keep what the records contribute to findings.
    pub contributions: bool,
    /// Keep what the simple rules of which this holds match, by their ids, as it stood in the log: see [`Report::whole`].
    pub whole: Option<fn(&str) -> bool>,
    /// Put aside records before this.
    pub since: Option<Timestamp>,
    /// Put aside records at or after this.
    pub until: Option<Timestamp>,
    /// The zone of times that name none.
    pub timezone: TimeZone,
    /// When the input was last modified, where its store does not say.
    pub modified: Timestamp,
    /// The most bytes of one object, decompressed; more is an error, and what came before it counts. `None`: no limit.
    pub max_bytes: Option<u64>,
    /// ARNs of cloudvigil's own roles: what they do is no source, but for the rules about tampering.
    pub own_roles: Vec<String>,
    /// cloudvigil's own resources: tampering with them is critical.
    pub own_resources: OwnResources,
    /// ARNs of the roles that deploy cloudvigil: their tampering is one level lower.
    pub deploying_roles: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self::recognising(FORMATS)
    }
}

impl Options {
    /// The defaults, for content that may be of these formats.
    pub fn recognising(formats: &'static [&'static dyn Format]) -> Self {
        Self {
            format: None,
            formats,
            fallback: None,
            matches: false,
            contributions: true,
            whole: None,
            since: None,
            until: None,
            timezone: TimeZone::UTC,
            modified: Timestamp::UNIX_EPOCH,
            max_bytes: None,
            own_roles: Vec::new(),
            own_resources: OwnResources::default(),
            deploying_roles: Vec::new(),
        }
    }

    /// What parsers must know.
    pub(crate) fn context(&self) -> Context {
        Context { modified: self.modified, timezone: self.timezone.clone() }
    }
}

/// A single entry that came by itself: a log event, an event.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'e> {
    /// The id that its carrier gave it (a log event's id). An id that the entry itself has comes first.
    pub key: Option<&'e str>,
    /// Its carrier's time, where the entry has none.
    pub time: Option<Timestamp>,
    /// The entry.
    pub bytes: &'e [u8],
}

/// What can be wrong with an object that was opened. What was read before it is in the report.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// Reading broke off.
    #[error(transparent)]
    Read(#[from] PortError),
    /// The compressed bytes are wrong.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is larger than [`Options::max_bytes`].
    #[error("it has more than {0} bytes when decompressed; only those were read")]
    TooLarge(u64),
    /// No format was recognised.
    #[error("its format is not known: {0}")]
    UnknownFormat(Unrecognised),
    /// There is no record in it.
    #[error("there is no record in it")]
    NoRecord,
}

/// How many bytes of entries a report keeps whole: evidence has no more than the beginning of each.
pub const MAX_WHOLE: usize = 1 << 20;

/// What came of an object.
#[derive(Debug)]
pub struct Report {
    /// A name for the object that tells its versions apart: under it its contributions are stored.
    pub object: String,
    /// Its counters.
    pub stats: SourceStats,
    /// Records of cloudvigil's own doing, which only the rules about tampering saw.
    pub refused: u64,
    /// What was wrong with it. What was read before is in the report all the same.
    pub damage: Vec<Damage>,
    /// Each (record, rule) pair by record, if they were asked for.
    pub matches: Matches,
    /// The entries that were asked for whole, each with the partition that its finding lies in: the first
    /// [`MAX_WHOLE`] bytes of them.
    pub whole: Vec<(Partition, String)>,
    /// What its records contribute to findings.
    pub contributions: Contributions,
}

/// The pipeline: rules and options. Cheap to make, shared by threads.
#[derive(Clone)]
pub struct Pipeline<'c> {
    catalogue: &'c Catalogue,
    options: Options,
    screening: Option<&'c Screening>,
}

impl<'c> Pipeline<'c> {
    /// A pipeline with these rules.
    pub fn new(catalogue: &'c Catalogue, options: Options) -> Self {
        Self { catalogue, options, screening: None }
    }

    /// With threads that help with large objects, while there are any.
    #[must_use]
    pub fn screened_by<'s>(&self, screening: &'s Screening) -> Pipeline<'s>
    where
        'c: 's,
    {
        Pipeline { screening: Some(screening), ..self.clone() }
    }

    /// The rules.
    pub fn catalogue(&self) -> &'c Catalogue {
        self.catalogue
    }

    /// Analyses an object: opens it, reads it piece by piece, in constant memory whatever its size. An object that
    /// cannot be opened is an error; one that breaks off midway is a report with a [`Damage`].
    pub async fn object(&self, store: &dyn ObjectStore, id: &ObjectId) -> Result<Report, PortError> {
        let mut object = store.open(id).await?;
        let version = object.version.as_str();
        let name = digest(&[&id.bucket, &id.key, version]);
        let mut analysis = self.analysis(&id.source, name, object.modified);
        loop {
            match object.content.next().await {
                Ok(Some(bytes)) => {
                    if !analysis.push(&bytes) {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    analysis.damaged(error.into());
                    break;
                }
            }
        }
        Ok(analysis.finish())
    }

    /// Starts the analysis of an object whose bytes the caller brings. `object` is a name for it that tells its versions
    /// apart; `source` is what people know it by.
    pub fn analysis(&self, source: &str, object: String, modified: Option<Timestamp>) -> Analysis<'c> {
        let mut options = self.options.clone();
        options.modified = modified.unwrap_or(options.modified);
        Analysis::new(self.catalogue, options, source, object).screened_by(self.screening)
    }

    /// Analyses entries that came one by one, of one format: log events of a subscription, events of a bus.
    pub fn entries<'e>(
        &self,
        source: &str,
        format: Option<&'static dyn Format>,
        entries: impl Iterator<Item = Entry<'e>> + Clone,
    ) -> Report {
        // The object is its entries: the same delivery again is the same object.
        let keys: Vec<String> = entries
            .clone()
            .map(|entry| entry.key.map_or_else(|| digest(&[&String::from_utf8_lossy(entry.bytes)]), str::to_owned))
            .collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let object = digest(&[&[source], keys.as_slice()].concat());
        let mut options = self.options.clone();
        options.format = format.or(options.format);
        let mut analysis = Analysis::new(self.catalogue, options, source, object);
        analysis.entries(entries);
        analysis.finish()
    }
}

#[cfg(test)]
mod tests;
