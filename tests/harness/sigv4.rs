//! Signature Version 4, as the emulator checks it with IAM enforced:
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// What S3 is told instead of an object's hash: a debug build takes seconds for a function's.
pub const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// An access key.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Its id. Twelve digits: the emulator takes them for that account's root user.
    pub access_key: String,
    /// Its secret.
    pub secret: String,
}

/// What is signed of a request.
pub struct Request<'a> {
    /// The service, as credential scopes name it.
    pub service: &'a str,
    /// The region.
    pub region: &'a str,
    /// `GET` and so on.
    pub method: &'a str,
    /// The path, encoded once, as it is sent.
    pub path: &'a str,
    /// The query, not yet encoded.
    pub query: &'a [(String, String)],
    /// `Host`'s value.
    pub host: &'a str,
    /// `X-Amz-Date`'s value: `20260301T100000Z`.
    pub date: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// `Authorization`'s value.
pub fn authorization(credentials: &Credentials, request: &Request<'_>) -> String {
    let day = &request.date[..8];
    let scope = format!("{day}/{}/{}/aws4_request", request.region, request.service);
    // S3 signs the path as it is sent, every other service the path encoded once more.
    let path = if request.service == "s3" { request.path.to_owned() } else { encode(request.path, true) };
    let payload = if request.service == "s3" { UNSIGNED.to_owned() } else { hex(&Sha256::digest(request.body)) };
    let canonical = format!(
        "{}\n{path}\n{}\nhost:{}\nx-amz-date:{}\n\nhost;x-amz-date\n{}",
        request.method,
        canonical_query(request.query),
        request.host,
        request.date,
        payload,
    );
    let to_sign =
        format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", request.date, hex(&Sha256::digest(canonical.as_bytes())));
    let key = [day, request.region, request.service, "aws4_request"]
        .iter()
        .fold(format!("AWS4{}", credentials.secret).into_bytes(), |key, part| hmac(&key, part.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders=host;x-amz-date, Signature={}",
        credentials.access_key,
        hex(&hmac(&key, to_sign.as_bytes())),
    )
}

/// The query, encoded and sorted.
pub fn canonical_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<String> =
        query.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false))).collect();
    pairs.sort();
    pairs.join("&")
}

/// `text` percent-encoded, all but RFC 3986's unreserved characters and, where `keep_slash`, `/`.
pub fn encode(text: &str, keep_slash: bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keep_slash && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    encoded
}

/// `bytes` in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        write!(digits, "{byte:02x}").ok();
        digits
    })
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 64;
    let hashed;
    let key = if key.len() > BLOCK {
        hashed = Sha256::digest(key);
        hashed.as_slice()
    } else {
        key
    };
    let pad = |with: u8| {
        let mut block = [with; BLOCK];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}
