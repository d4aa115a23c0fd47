//! Collections: the findings of a rule and hour, or of a day, that wait for one mail together.
//!
//! Each finding must be in exactly one, although writers and the task that sends the mail run at the same time, and
//! any of them may die at any point. A collection is open until the task claims it, and never again. A writer
//! **offers** its entry, then looks whether the collection is open: if so, the task's later query sees the entry, and
//! the writer marks it **kept**. If not, the query may or may not have seen it. Then whoever changes the entry first
//! decides: the task **takes** an offered entry by a conditional write, the writer **moves** it by another.

use cloudvigil_core::ports::StateStore;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::entry::{Entry, Membership};
use crate::records::{self, COLLECTION_KEPT, SCHEMA, Status};

const ATTEMPTS: u32 = 8;

/// Where a collection lies: its entries (sort key: the finding's id), and the item that says how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    pub entries: String,
    pub batches: String,
    pub batch: String,
}

/// How far a collection is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Batch {
    pub schema: u32,
    pub status: Status,
}

/// What became of an offer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// The finding belongs to the collection.
    Member,
    /// The collection was closed before; the finding belongs into a later one.
    Late,
}

impl Collection {
    /// Puts a finding into the collection. Repeating it changes nothing.
    pub async fn offer(&self, store: &dyn StateStore, entry: &Entry, now: Timestamp) -> Result<Offer, Error> {
        let expires = now + COLLECTION_KEPT;
        for _ in 0..ATTEMPTS {
            let Some((stored, version)) = records::load::<Entry>(store, &self.entries, &entry.id).await? else {
                store.put_if(&self.entries, &entry.id, records::encode(entry)?, expires, None).await?;
                continue;
            };
            match stored.membership {
                Membership::Kept | Membership::Taken => return Ok(Offer::Member),
                Membership::Moved => return Ok(Offer::Late),
                Membership::Offered => {}
            }
            let membership = match records::load::<Batch>(store, &self.batches, &self.batch).await? {
                None => {
                    let open = Batch { schema: SCHEMA, status: Status::Open };
                    store.put_if(&self.batches, &self.batch, records::encode(&open)?, expires, None).await?;
                    continue;
                }
                Some((Batch { status: Status::Open, .. }, _)) => Membership::Kept,
                Some(_) => Membership::Moved,
            };
            let decided = Entry { membership, ..stored };
            store.put_if(&self.entries, &entry.id, records::encode(&decided)?, expires, Some(version)).await?;
        }
        Err(Error::Contended { what: format!("the entry {} / {}", self.entries, entry.id), attempts: ATTEMPTS })
    }

    /// Brings an entry up to a later revision of its finding. Of no consequence once the mail is sent.
    pub async fn refresh(&self, store: &dyn StateStore, entry: &Entry, now: Timestamp) -> Result<(), Error> {
        let Some((stored, version)) = records::load::<Entry>(store, &self.entries, &entry.id).await? else {
            return Ok(());
        };
        if stored.revision < entry.revision {
            let newer = Entry { membership: stored.membership, ..entry.clone() };
            let expires = now + COLLECTION_KEPT;
            // Somebody else's write is either a newer revision or the task's: both may stand.
            store.put_if(&self.entries, &entry.id, records::encode(&newer)?, expires, Some(version)).await?;
        }
        Ok(())
    }

    /// The entries that belong to the collection, decided for good. Only for who has closed it.
    pub async fn take(&self, store: &dyn StateStore, now: Timestamp) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for (sort, item) in store.query(&self.entries).await? {
            let mut found = Some((records::decode::<Entry>(&self.entries, &sort, &item)?, item.version));
            let mut attempts = 0;
            while let Some((entry, version)) = found {
                match entry.membership {
                    Membership::Moved => break,
                    Membership::Kept | Membership::Taken => {
                        entries.push(entry);
                        break;
                    }
                    Membership::Offered if attempts == ATTEMPTS => {
                        return Err(Error::Contended {
                            what: format!("the entry {} / {sort}", self.entries),
                            attempts,
                        });
                    }
                    Membership::Offered => {}
                }
                attempts += 1;
                let taken = Entry { membership: Membership::Taken, ..entry };
                let body = records::encode(&taken)?;
                if store.put_if(&self.entries, &sort, body, now + COLLECTION_KEPT, Some(version)).await? {
                    entries.push(taken);
                    break;
                }
                found = records::load(store, &self.entries, &sort).await?;
            }
        }
        Ok(entries)
    }
}
