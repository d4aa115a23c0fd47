//! Counters that balance: records in = parsed + unparsed + skipped.

use std::ops::AddAssign;

use serde::Serialize;

/// The counters of one source, in the shape of `--stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SourceStats {
    /// The source's name.
    pub source: String,
    /// The format that it was read as.
    pub format: Option<&'static str>,
    /// Records that came in, blank lines not counted.
    pub records_in: u64,
    /// Records whose frame was valid, whether or not a rule then looked at them.
    pub parsed: u64,
    /// Records that were not of the format.
    pub unparsed: u64,
    /// Records recognised and put aside.
    pub skipped: u64,
    /// Bytes, decompressed.
    pub bytes: u64,
    /// What was wrong with the source as a whole.
    pub errors: Vec<String>,
}

/// The counters of a whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Sources.
    pub sources: u64,
    /// Records that came in.
    pub records_in: u64,
    /// Records whose frame was valid.
    pub parsed: u64,
    /// Records that were not of their format.
    pub unparsed: u64,
    /// Records put aside.
    pub skipped: u64,
    /// Bytes, decompressed.
    pub bytes: u64,
    /// Errors of sources.
    pub errors: u64,
}

/// The shape of `--stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Each source.
    pub sources: Vec<SourceStats>,
    /// Their sum.
    pub total: Totals,
}

impl AddAssign<&SourceStats> for Totals {
    fn add_assign(&mut self, source: &SourceStats) {
        self.sources += 1;
        self.records_in += source.records_in;
        self.parsed += source.parsed;
        self.unparsed += source.unparsed;
        self.skipped += source.skipped;
        self.bytes += source.bytes;
        self.errors += source.errors.len() as u64;
    }
}

impl FromIterator<SourceStats> for Stats {
    fn from_iter<I: IntoIterator<Item = SourceStats>>(sources: I) -> Self {
        let mut stats = Self::default();
        for source in sources {
            stats.total += &source;
            stats.sources.push(source);
        }
        stats
    }
}
