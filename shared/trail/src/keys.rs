//! Public keys from a file, and what they say of a signature.

use std::collections::BTreeMap;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cloudvigil_core::ports::{PortResult, PublicKey, PublicKeys};
use jiff::Timestamp;
use serde::Deserialize;

/// A file of keys that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not what `aws cloudtrail list-public-keys` prints.
    #[error("it is not the JSON that `aws cloudtrail list-public-keys` prints: {0}")]
    Malformed(#[from] serde_json::Error),
    /// The key with this fingerprint is not base64, or no RSA key of 2048 bits or more.
    #[error("the key with the fingerprint {0} is no RSA public key in DER, in base64")]
    NoKey(String),
    /// There is no key in it.
    #[error("there is no key in it: give --start-time and --end-time of the digests to list-public-keys")]
    Empty,
}

/// Keys that were fetched before: what `aws cloudtrail list-public-keys` has printed.
#[derive(Debug, Clone, Default)]
pub struct KeyRing(BTreeMap<String, PublicKey>);

#[derive(Deserialize)]
struct Printed {
    #[serde(rename = "PublicKeyList", alias = "publicKeyList")]
    keys: Vec<PrintedKey>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PrintedKey {
    value: String,
    fingerprint: String,
}

impl KeyRing {
    /// Adds the keys of a file: one such document, or several one after the other, since each region has its own keys.
    pub fn add(&mut self, file: &[u8]) -> Result<(), KeyFileError> {
        let mut any = false;
        for printed in serde_json::Deserializer::from_slice(file).into_iter::<Printed>() {
            for PrintedKey { value, fingerprint } in printed?.keys {
                let der = BASE64_STANDARD.decode(value.trim()).ok().filter(|der| parse(der).is_some());
                let der = der.ok_or_else(|| KeyFileError::NoKey(fingerprint.clone()))?;
                self.0.insert(fingerprint.clone(), PublicKey { fingerprint, der });
                any = true;
            }
        }
        if any { Ok(()) } else { Err(KeyFileError::Empty) }
    }
}

#[async_trait::async_trait]
impl PublicKeys for KeyRing {
    async fn between(&self, _: &str, _: Timestamp, _: Timestamp) -> PortResult<Vec<PublicKey>> {
        Ok(self.0.values().cloned().collect())
    }
}

fn parse(der: &[u8]) -> Option<ParsedPublicKey> {
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()
}

/// Whether `signature`, in hexadecimal, is the key's over `text`: RSASSA-PKCS1-v1_5 with SHA-256.
pub(crate) fn is_signed(key: &PublicKey, text: &str, signature: &str) -> bool {
    parse(&key.der)
        .zip(unhex(signature))
        .is_some_and(|(key, signature)| key.verify_sig(text.as_bytes(), &signature).is_ok())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    // `from_str_radix` alone would take a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let bytes = pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    (rest.is_empty() && digits).then(|| bytes.collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An RSA public key of 2048 bits in PKCS #1, made for this test.
    fn printed(list: &str, value: &str) -> String {
        format!(r#"{{"{list}": [{{"Value": "{value}", "ValidityStartTime": 1.0, "Fingerprint": "f1"}}]}}"#)
    }

    fn key() -> String {
        use aws_lc_rs::rsa::{KeyPair, KeySize};
        use aws_lc_rs::signature::KeyPair as _;

        BASE64_STANDARD.encode(KeyPair::generate(KeySize::Rsa2048).unwrap().public_key())
    }

    #[test]
    fn what_the_cli_prints_is_read_for_several_regions_too() {
        let key = key();
        for file in [
            printed("PublicKeyList", &key),
            printed("publicKeyList", &key),
            format!("{}\n{}", printed("PublicKeyList", &key), r#"{"PublicKeyList": []}"#),
        ] {
            let mut ring = KeyRing::default();
            ring.add(file.as_bytes()).unwrap();
            assert_eq!(ring.0.len(), 1);
        }
    }

    #[test]
    fn what_is_no_key_file_says_why() {
        let mut ring = KeyRing::default();
        assert!(matches!(ring.add(b"{}"), Err(KeyFileError::Malformed(_))));
        assert!(matches!(ring.add(b"not json"), Err(KeyFileError::Malformed(_))));
        assert!(matches!(ring.add(b""), Err(KeyFileError::Empty)));
        assert!(matches!(ring.add(br#"{"PublicKeyList": []}"#), Err(KeyFileError::Empty)));
        for value in ["*", "AAAA", ""] {
            let error = ring.add(printed("PublicKeyList", value).as_bytes()).unwrap_err();
            assert!(error.to_string().contains("f1"), "{error}");
        }
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(unhex("0aFF"), Some(vec![10, 255]));
        for text in ["0", "0g", "+1", "é"] {
            assert_eq!(unhex(text), None, "{text}");
        }
    }
}
