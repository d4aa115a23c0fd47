//! The keys of a chain, asked for once.

use std::collections::{HashMap, HashSet};

use cloudvigil_core::ports::{Failure, ObjectId, PublicKey, PublicKeys};
use jiff::{SignedDuration, Timestamp};

use crate::chain::Chain;
use crate::digest::Loaded;
use crate::keys::is_signed;
use crate::walk::Step;

/// How far around a time keys are asked for: they change at some instant.
const KEY_MARGIN: SignedDuration = SignedDuration::from_hours(2);

/// The keys of a chain.
#[derive(Default)]
pub(crate) struct Ring {
    /// By fingerprint.
    pub keys: HashMap<String, PublicKey>,
    /// For which time they were asked.
    asked: Option<(Timestamp, Timestamp)>,
    /// Whether they could not be had, and whether a record says so.
    pub failed: bool,
    pub told: bool,
    /// Fingerprints that no key has, which a record has named.
    pub unknown: HashSet<String>,
    /// A digest that has said an untrue thing of the one before it.
    pub refuted: Option<ObjectId>,
}

impl Ring {
    /// Asks for the keys of a digest's time, once for a whole chain.
    pub async fn ask(&mut self, keys: &dyn PublicKeys, chain: &Chain, digest: &Loaded, step: &mut Step) {
        if self.asked.is_some_and(|(from, to)| (from..=to).contains(&digest.signed)) {
            return;
        }
        let last = chain.digests.last().map_or(digest.signed, |(name, _)| name.end).max(digest.signed);
        let from = digest.signed.saturating_sub(KEY_MARGIN).unwrap_or(Timestamp::MIN);
        let to = last.saturating_add(KEY_MARGIN).unwrap_or(Timestamp::MAX);
        self.asked = Some((digest.signed, last));
        match keys.between(&chain.region, from, to).await {
            Ok(keys) => self.keys.extend(keys.into_iter().map(|key| (key.fingerprint.clone(), key))),
            Err(error) => {
                self.failed = true;
                step.errors.push(error.to_string());
                step.transient |= error.failure == Failure::Transient;
            }
        }
    }

    /// Whether a digest has a signature that is not its own, or a key that is nobody's.
    pub fn is_forged(&self, loaded: &Loaded) -> bool {
        let Ok(digest) = &loaded.content else { return false };
        let Some(key) = self.keys.get(&digest.digest_public_key_fingerprint) else { return !self.failed };
        let hash = loaded.hash.as_deref().unwrap_or_default();
        let stored = loaded.signature.as_ref();
        stored.is_some_and(|stored| !is_signed(key, &digest.signed_text(hash), &stored.signature))
    }
}
