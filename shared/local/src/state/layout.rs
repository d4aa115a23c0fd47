//! The database file: recognised, created, or refused. A file that is not ours is never written to.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cloudvigil_core::ports::{Failure, PortError, PortResult};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::failure::shown_path;

/// `cvgl`: marks a database file as ours (<https://www.sqlite.org/pragma.html#pragma_application_id>).
const APPLICATION_ID: i64 = 0x6376_676c;

/// The layout that this version writes, kept in `user_version`. A version reads its predecessor's.
pub(super) const LAYOUT: i64 = 1;

/// How long `SQLite` itself waits for a lock. With [`ATTEMPTS`], a minute.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a busy database is tried before the caller hears of it.
pub(super) const ATTEMPTS: usize = 6;

/// How often the switch to the write-ahead log is tried. It fails at once where others read, so it is tried more often;
/// between two tries, the wait for an exclusive lock keeps it from spinning.
const WAL_ATTEMPTS: usize = 100;

/// As in `DynamoDB`: `pk`, `sk`, `body`, `version`, `ttl`; `ttl` in microseconds since 1970. `floor` holds the highest
/// version of any item ever removed: a new item starts above it, so that a version seen before a removal is never
/// valid again after it.
const CREATE: &str = "
    CREATE TABLE items (
        pk TEXT NOT NULL,
        sk TEXT NOT NULL,
        body BLOB NOT NULL,
        version INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        PRIMARY KEY (pk, sk)
    ) WITHOUT ROWID;
    CREATE INDEX items_by_ttl ON items (ttl);
    CREATE TABLE floor (only INTEGER PRIMARY KEY CHECK (only = 1), version INTEGER NOT NULL);
    INSERT INTO floor (only, version) VALUES (1, 0);
";

/// What a file turned out to be.
#[derive(Clone, Copy)]
enum Found {
    Empty,
    Ours { layout: i64 },
    Foreign,
}

/// Opens the database file at `path`, and creates it if there is none.
pub(super) fn open_file(path: &Path) -> PortResult<Connection> {
    let what = || format!("open state file {}", shown_path(path));
    if path.is_dir() {
        return Err(PortError::new(Failure::Permanent, what(), "it is a folder; name a file"));
    }
    // No URI and no special name: `file:x` and `:memory:` are files like any other.
    let plain = if path.is_absolute() { path.to_path_buf() } else { PathBuf::from(".").join(path) };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&plain, flags).map_err(|error| {
        if plain.parent().is_some_and(|folder| !folder.exists()) {
            PortError::new(Failure::NotFound, what(), "its folder does not exist; create it first")
        } else {
            database_failure(what(), error)
        }
    })?;
    prepare(&mut connection, &what)?;
    Ok(connection)
}

/// A database that lives as long as its connection.
pub(super) fn open_memory() -> PortResult<Connection> {
    let what = || "open state in memory".to_owned();
    let mut connection = Connection::open_in_memory().map_err(|error| database_failure(what(), error))?;
    prepare(&mut connection, &what)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, what: &dyn Fn() -> String) -> PortResult<()> {
    let failed = |error| database_failure(what(), error);
    connection.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
    connection.execute_batch("PRAGMA trusted_schema = OFF").map_err(failed)?;
    // Looked at before anything is written: switching to the write-ahead log already changes the file.
    refuse_others(look(connection).map_err(failed)?, what)?;
    use_write_ahead_log(connection).map_err(failed)?;
    let found = create_if_empty(connection).map_err(failed)?;
    refuse_others(found, what)
}

fn refuse_others(found: Found, what: &dyn Fn() -> String) -> PortResult<()> {
    match found {
        Found::Empty | Found::Ours { layout: LAYOUT } => Ok(()),
        Found::Ours { layout } => Err(PortError::new(
            Failure::Permanent,
            what(),
            format!(
                "it has layout {layout}, and this version of cloudvigil knows {LAYOUT}; \
                 use a newer cloudvigil, or name another file"
            ),
        )),
        Found::Foreign => Err(PortError::new(
            Failure::Permanent,
            what(),
            "it is the database of another program, and was left as it is; name another file",
        )),
    }
}

fn look(connection: &Connection) -> rusqlite::Result<Found> {
    // One statement sees one state of the file.
    let (application, layout, tables) = connection.query_row(
        "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema)
         FROM pragma_application_id, pragma_user_version",
        [],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
    )?;
    Ok(match (application, layout, tables) {
        (0, 0, 0) => Found::Empty,
        (APPLICATION_ID, layout, _) => Found::Ours { layout },
        _ => Found::Foreign,
    })
}

/// Readers and the writer do not hinder one another in a write-ahead log (<https://www.sqlite.org/wal.html>). Where a
/// file system has none, the rollback journal that `SQLite` stays with is as safe, and slower.
fn use_write_ahead_log(connection: &Connection) -> rusqlite::Result<()> {
    let mut attempt = 1;
    let mode = loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0)) {
            Err(error) if is_busy(&error) && attempt < WAL_ATTEMPTS => {
                attempt += 1;
                match connection.execute_batch("BEGIN EXCLUSIVE; COMMIT") {
                    Err(error) if !is_busy(&error) => return Err(error),
                    _ => {}
                }
            }
            outcome => break outcome?,
        }
    };
    // In a write-ahead log NORMAL survives a killed process whole; a power cut may cost the last transactions, never
    // their order. Work is acknowledged in the same file after it, so it is lost with its acknowledgement, and redone.
    let synchronous = if mode == "wal" { "NORMAL" } else { "FULL" };
    connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}"))
}

fn create_if_empty(connection: &mut Connection) -> rusqlite::Result<Found> {
    let mut attempt = 1;
    loop {
        match create_once(connection) {
            Err(error) if is_busy(&error) && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

fn create_once(connection: &mut Connection) -> rusqlite::Result<Found> {
    let found = look(connection)?;
    if !matches!(found, Found::Empty) {
        return Ok(found);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have created it since.
    let found = look(&transaction)?;
    if !matches!(found, Found::Empty) {
        return Ok(found);
    }
    transaction.execute_batch(CREATE)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", LAYOUT)?;
    transaction.commit()?;
    Ok(Found::Ours { layout: LAYOUT })
}

/// Somebody else holds the lock: worth another try.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed)
    )
}

/// What an error of the database means for a caller.
pub(super) fn database_failure(what: String, error: rusqlite::Error) -> PortError {
    match error.sqlite_error_code() {
        _ if is_busy(&error) => PortError::new(
            Failure::Transient,
            what,
            format!("other processes kept it locked for a minute ({error}); try again when they are done"),
        ),
        Some(ErrorCode::NotADatabase) => PortError::new(
            Failure::Permanent,
            what,
            "it is no state file, and was left as it is; name another file, or move this one away",
        ),
        Some(ErrorCode::DatabaseCorrupt) => PortError::new(
            Failure::Permanent,
            what,
            format!("it is damaged ({error}); move it away and analyse the logs again"),
        ),
        Some(ErrorCode::DiskFull) => PortError::new(
            Failure::Transient,
            what,
            format!("the disk is full ({error}); free some space and try again"),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            PortError::new(Failure::Denied, what, format!("{error}; it and its folder must be readable and writable"))
        }
        Some(ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => PortError::new(Failure::Transient, what, error),
        _ => PortError::new(Failure::Permanent, what, error),
    }
}
