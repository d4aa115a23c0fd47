//! State in one embedded database file, shared by any number of threads and processes.

mod layout;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use cloudvigil_core::ports::{Clock, Failure, Item, NewItem, PortError, PortResult, StateStore};
use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, named_params};

use crate::failure::{shown, shown_path};
use layout::{ATTEMPTS, database_failure, is_busy};

/// The largest body, as in `DynamoDB`'s store: what works here works there.
const MAX_BODY: usize = 300 * 1024;

/// Expired items are removed after so many writes, and when a file is opened.
const WRITES_BETWEEN_REMOVALS: u64 = 1024;

/// So many expired items at most are removed at once: nobody waits long for it.
const REMOVED_AT_ONCE: i64 = 4096;

/// The state store on one file: a writer that is killed leaves nothing half written.
///
/// Every write is one transaction, begun `IMMEDIATE`, so reading and writing within it see one state. A lock held by
/// others is waited for, a minute in all; after it, the failure is [`Failure::Transient`].
pub struct EmbeddedState {
    name: String,
    connection: Mutex<Connection>,
    clock: Arc<dyn Clock>,
    writes: AtomicU64,
}

impl EmbeddedState {
    /// Opens the state file at `path`, and creates it if there is none; its folder must exist. A file that is something
    /// else, or that a newer version wrote, is an error and is left as it is.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> PortResult<Self> {
        let path = path.as_ref();
        let state = Self::new(shown_path(path), layout::open_file(path)?, clock);
        state.remove_expired()?;
        Ok(state)
    }

    /// State that lives as long as this value.
    pub fn in_memory(clock: Arc<dyn Clock>) -> PortResult<Self> {
        Ok(Self::new("memory".to_owned(), layout::open_memory()?, clock))
    }

    /// The items with the sort key `sort` in every partition whose key starts with `prefix`, by partition key, each with
    /// its partition key.
    pub fn partitions(&self, prefix: &str, sort: &str) -> PortResult<Vec<(String, Item)>> {
        let now = self.now();
        let end = first_after(prefix);
        self.read(&format!("list partitions {}", shown(prefix)), |connection| {
            connection
                .prepare_cached(
                    "SELECT pk, body, version FROM items
                     WHERE pk >= :from AND (:end IS NULL OR pk < :end) AND sk = :sort AND ttl > :now
                     ORDER BY pk",
                )?
                .query_map(named_params! {":from": prefix, ":end": end, ":sort": sort, ":now": now}, |row| {
                    Ok((row.get(0)?, Item { body: row.get(1)?, version: row.get::<_, i64>(2)?.unsigned_abs() }))
                })?
                .collect()
        })
    }

    fn new(name: String, connection: Connection, clock: Arc<dyn Clock>) -> Self {
        Self { name, connection: Mutex::new(connection), clock, writes: AtomicU64::new(0) }
    }

    fn now(&self) -> i64 {
        self.clock.now().as_microsecond()
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic interrupted was rolled back when it was dropped.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, what: &str, look: impl Fn(&Connection) -> rusqlite::Result<T>) -> PortResult<T> {
        let connection = self.lock();
        self.patiently(what, || look(&connection))
    }

    fn write<T>(&self, what: &str, change: impl Fn(&Transaction<'_>) -> rusqlite::Result<T>) -> PortResult<T> {
        let mut connection = self.lock();
        self.patiently(what, || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let outcome = change(&transaction)?;
            transaction.commit()?;
            Ok(outcome)
        })
    }

    /// `SQLite` waits for locks by itself, but gives up at once where waiting could be a deadlock or while a log is
    /// recovered; the whole transaction is then tried again.
    fn patiently<T>(&self, what: &str, mut work: impl FnMut() -> rusqlite::Result<T>) -> PortResult<T> {
        let mut attempt = 1;
        loop {
            match work() {
                Err(error) if is_busy(&error) && attempt < ATTEMPTS => attempt += 1,
                outcome => {
                    return outcome.map_err(|error| database_failure(format!("{what} in state {}", self.name), error));
                }
            }
        }
    }

    fn wrote(&self, items: u64) {
        let before = self.writes.fetch_add(items, Ordering::Relaxed);
        if before / WRITES_BETWEEN_REMOVALS != (before + items) / WRITES_BETWEEN_REMOVALS
            && let Err(error) = self.remove_expired()
        {
            // What was asked for is written; expired items are not seen anyway, and the next removal gets them.
            tracing::warn!(%error, "expired items stay in the state file for now");
        }
    }

    fn remove_expired(&self) -> PortResult<()> {
        let now = self.now();
        self.write("remove expired items", |transaction| {
            let highest: Option<i64> = transaction
                .prepare_cached(
                    "DELETE FROM items WHERE (pk, sk) IN (SELECT pk, sk FROM items WHERE ttl <= :now LIMIT :limit)
                     RETURNING version",
                )?
                .query_map(named_params! {":now": now, ":limit": REMOVED_AT_ONCE}, |row| row.get::<_, i64>(0))?
                .try_fold(None, |highest, version| version.map(|version| highest.max(Some(version))))?;
            raise_floor(transaction, highest)
        })
    }

    fn check(&self, partition: &str, sort: &str, body: &[u8]) -> PortResult<()> {
        if body.len() <= MAX_BODY {
            return Ok(());
        }
        Err(PortError::new(
            Failure::Permanent,
            format!("write {} in state {}", item_name(partition, sort), self.name),
            format!("{} bytes are more than an item's {MAX_BODY}; split it", body.len()),
        ))
    }
}

fn item_name(partition: &str, sort: &str) -> String {
    format!("item {} / {}", shown(partition), shown(sort))
}

/// The first string after all those that start with `prefix`; `None` if there is none. Strings are compared by their
/// UTF-8 bytes, which is the order of their code points.
fn first_after(prefix: &str) -> Option<String> {
    let mut kept = prefix.to_owned();
    while let Some(last) = kept.pop() {
        // The range knows the gap of the surrogates.
        if let Some(next) = (last..=char::MAX).nth(1) {
            kept.push(next);
            return Some(kept);
        }
    }
    None
}

fn raise_floor(transaction: &Transaction<'_>, version: Option<i64>) -> rusqlite::Result<()> {
    if let Some(version) = version {
        transaction.prepare_cached("UPDATE floor SET version = max(version, ?1)")?.execute([version])?;
    }
    Ok(())
}

fn upsert(
    transaction: &Transaction<'_>,
    partition: &str,
    sort: &str,
    body: &[u8],
    expires: Timestamp,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached(
            "INSERT INTO items (pk, sk, body, version, ttl)
             VALUES (:pk, :sk, :body, (SELECT version FROM floor) + 1, :ttl)
             ON CONFLICT (pk, sk) DO UPDATE
             SET body = excluded.body, version = items.version + 1, ttl = excluded.ttl",
        )?
        .execute(named_params! {":pk": partition, ":sk": sort, ":body": body, ":ttl": expires.as_microsecond()})?;
    Ok(())
}

#[async_trait]
impl StateStore for EmbeddedState {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        let now = self.now();
        self.read(&format!("read {}", item_name(partition, sort)), |connection| {
            connection
                .prepare_cached("SELECT body, version FROM items WHERE pk = :pk AND sk = :sk AND ttl > :now")?
                .query_row(named_params! {":pk": partition, ":sk": sort, ":now": now}, |row| {
                    Ok(Item { body: row.get(0)?, version: row.get::<_, i64>(1)?.unsigned_abs() })
                })
                .optional()
        })
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        let now = self.now();
        self.read(&format!("read partition {}", shown(partition)), |connection| {
            connection
                .prepare_cached("SELECT sk, body, version FROM items WHERE pk = :pk AND ttl > :now ORDER BY sk")?
                .query_map(named_params! {":pk": partition, ":now": now}, |row| {
                    Ok((row.get(0)?, Item { body: row.get(1)?, version: row.get::<_, i64>(2)?.unsigned_abs() }))
                })?
                .collect()
        })
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, expires: Timestamp) -> PortResult<()> {
        self.check(partition, sort, &body)?;
        self.write(&format!("write {}", item_name(partition, sort)), |transaction| {
            upsert(transaction, partition, sort, &body, expires)
        })?;
        self.wrote(1);
        Ok(())
    }

    /// All in one transaction: all of them are written, or none.
    async fn put_all(&self, items: Vec<NewItem>) -> PortResult<()> {
        for item in &items {
            self.check(&item.partition, &item.sort, &item.body)?;
        }
        self.write(&format!("write {} items", items.len()), |transaction| {
            items.iter().try_for_each(|item| upsert(transaction, &item.partition, &item.sort, &item.body, item.expires))
        })?;
        self.wrote(u64::try_from(items.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        expected: Option<u64>,
    ) -> PortResult<bool> {
        self.check(partition, sort, &body)?;
        let written = self.write(&format!("write {}", item_name(partition, sort)), |transaction| {
            // The time is taken when the lock is held: it may have been long in coming.
            let now = self.now();
            let version = transaction
                .prepare_cached("SELECT version FROM items WHERE pk = :pk AND sk = :sk AND ttl > :now")?
                .query_row(named_params! {":pk": partition, ":sk": sort, ":now": now}, |row| row.get::<_, i64>(0))
                .optional()?;
            if version.map(i64::unsigned_abs) != expected {
                return Ok(false);
            }
            upsert(transaction, partition, sort, &body, expires)?;
            Ok(true)
        })?;
        if written {
            self.wrote(1);
        }
        Ok(written)
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        self.write(&format!("remove {}", item_name(partition, sort)), |transaction| {
            let version = transaction
                .prepare_cached("DELETE FROM items WHERE pk = :pk AND sk = :sk RETURNING version")?
                .query_row(named_params! {":pk": partition, ":sk": sort}, |row| row.get::<_, i64>(0))
                .optional()?;
            raise_floor(transaction, version)
        })
    }
}
