//! State in memory, for tests.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use cloudvigil_core::ports::{Failure, Item, PortError, PortResult, StateStore};
use jiff::Timestamp;

/// Partition and sort key, to body and expiry.
type Items = BTreeMap<(String, String), (Vec<u8>, Timestamp)>;

/// A state store that counts its writes, and fails when told to.
#[derive(Default)]
pub struct Memory {
    pub items: Mutex<Items>,
    pub writes: Mutex<usize>,
    pub broken: bool,
}

impl Memory {
    pub fn keys(&self) -> Vec<(String, String)> {
        self.items.lock().unwrap().keys().cloned().collect()
    }

    fn check(&self) -> PortResult<()> {
        if self.broken { Err(PortError::new(Failure::Transient, "read the state", "broken")) } else { Ok(()) }
    }
}

#[async_trait]
impl StateStore for Memory {
    async fn get(&self, partition: &str, sort: &str) -> PortResult<Option<Item>> {
        self.check()?;
        let items = self.items.lock().unwrap();
        Ok(items.get(&(partition.to_owned(), sort.to_owned())).map(|(body, _)| Item { body: body.clone(), version: 1 }))
    }

    async fn query(&self, partition: &str) -> PortResult<Vec<(String, Item)>> {
        self.check()?;
        let items = self.items.lock().unwrap();
        let of_partition = items.iter().filter(|((of, _), _)| of == partition);
        Ok(of_partition.map(|((_, sort), (body, _))| (sort.clone(), Item { body: body.clone(), version: 1 })).collect())
    }

    async fn put(&self, partition: &str, sort: &str, body: Vec<u8>, expires: Timestamp) -> PortResult<()> {
        self.check()?;
        *self.writes.lock().unwrap() += 1;
        self.items.lock().unwrap().insert((partition.to_owned(), sort.to_owned()), (body, expires));
        Ok(())
    }

    async fn put_if(
        &self,
        partition: &str,
        sort: &str,
        body: Vec<u8>,
        expires: Timestamp,
        _expected: Option<u64>,
    ) -> PortResult<bool> {
        self.put(partition, sort, body, expires).await.map(|()| true)
    }

    async fn delete(&self, partition: &str, sort: &str) -> PortResult<()> {
        self.check()?;
        self.items.lock().unwrap().remove(&(partition.to_owned(), sort.to_owned()));
        Ok(())
    }
}
