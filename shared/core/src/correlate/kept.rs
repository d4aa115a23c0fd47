//! Log entries that are kept for findings to show.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::contribution::RecordKey;
use crate::finding::Evidence;
use crate::record::Facts;

/// What a finding shows and says of a record: worked out once, however many findings it is kept for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub evidence: Evidence,
    pub facts: Facts,
}

/// A log entry kept for the finding, by its record's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeptEvidence {
    pub key: RecordKey,
    pub told: Arc<Told>,
}

impl KeptEvidence {
    /// In the order in which findings show it.
    pub fn order(&self) -> (Option<Timestamp>, RecordKey) {
        (self.told.evidence.time, self.key)
    }
}

impl Serialize for KeptEvidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// As it is stored.
        #[derive(Serialize)]
        struct Stored<'k> {
            key: RecordKey,
            evidence: &'k Evidence,
            facts: &'k Facts,
        }

        let Told { evidence, facts } = self.told.as_ref();
        Stored { key: self.key, evidence, facts }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeptEvidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// As it is stored.
        #[derive(Deserialize)]
        struct Stored {
            key: RecordKey,
            evidence: Evidence,
            facts: Facts,
        }

        let Stored { key, evidence, facts } = Stored::deserialize(deserializer)?;
        Ok(Self { key, told: Arc::new(Told { evidence, facts }) })
    }
}
