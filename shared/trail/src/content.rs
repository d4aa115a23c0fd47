//! Content, decompressed and hashed while it is read. `CloudTrail` hashes what is inside the gzip file, of log files and
//! of digests alike: the file's own header is not covered, and says nothing.

use aws_lc_rs::digest::{Context, SHA256};
use cloudvigil_core::decode::{DecodeError, Decoder};
use cloudvigil_core::ports::{Object, ObjectId, ObjectStore, PortError};

/// Why content could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// The store failed.
    #[error(transparent)]
    Port(#[from] PortError),
    /// It is no sound gzip file. That is a change, whatever else it may be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("it has more than {0} bytes")]
    TooLarge(usize),
}

/// A SHA-256, in lower-case hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    hex(aws_lc_rs::digest::digest(&SHA256, content).as_ref())
}

/// The hash of an object's content, in constant memory.
pub(crate) async fn hash(store: &dyn ObjectStore, id: &ObjectId) -> Result<String, ContentError> {
    let mut object = store.open(id).await?;
    let mut context = Context::new(&SHA256);
    decode(&mut object, |bytes| {
        context.update(bytes);
        true
    })
    .await?;
    Ok(hex(context.finish().as_ref()))
}

/// An object's content, up to `limit` bytes.
pub(crate) async fn read(object: &mut Object, limit: usize) -> Result<Vec<u8>, ContentError> {
    let mut content = Vec::new();
    let mut fits = true;
    let decoded = decode(object, |bytes| {
        fits = content.len() + bytes.len() <= limit;
        if fits {
            content.extend_from_slice(bytes);
        }
        fits
    })
    .await;
    if !fits {
        return Err(ContentError::TooLarge(limit));
    }
    decoded.map(|()| content)
}

/// Hands over what an object decodes to, until `sink` wants no more.
async fn decode(object: &mut Object, mut sink: impl FnMut(&[u8]) -> bool + Send) -> Result<(), ContentError> {
    let mut decoder = Decoder::default();
    let mut wanted = true;
    while let Some(bytes) = object.content.next().await? {
        decoder.push(&bytes, &mut |bytes| wanted = wanted && sink(bytes))?;
        if !wanted {
            return Ok(());
        }
    }
    decoder.finish(&mut |bytes| wanted = wanted && sink(bytes))?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
