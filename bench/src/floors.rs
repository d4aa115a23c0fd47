//! What could not be had for less: the least that any program does with the same bytes, by checked calls of the same
//! libraries, on one thread.

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Duration;

use aho_corasick::AhoCorasick;
use anyhow::Context as _;
use cloudvigil_core::decode::Decoder;
use cloudvigil_core::formats::{Format, Framing};
use serde::Deserialize;

use crate::processor_time::processor_time;
use crate::throughput::rate;

/// Objects are read in pieces of this size, in bytes.
pub const PIECE: usize = 256 * 1024;
/// A floor is measured over and over until it has taken this long: a clock that ticks every 10 ms then errs by 1 % at most.
const RUN: Duration = Duration::from_millis(600);

/// Literals as rules for such logs have them.
const LITERALS: [&str; 30] = [
    "stoplogging",
    "deletetrail",
    "updatetrail",
    "failed password",
    "invalid user",
    "accepted",
    "root",
    "reject",
    "union select",
    "../..",
    "/etc/passwd",
    "<script",
    "sqlmap",
    "nikto",
    "wp-login",
    "phpmyadmin",
    "cmd.exe",
    "powershell",
    "alert",
    "trojan",
    "malware",
    "exploit",
    "overflow",
    "shellcode",
    "accessdenied",
    "consolelogin",
    "createaccesskey",
    "putbucketpolicy",
    "deletebucket",
    "assumerole",
];

/// MB/s of the least that is done with some bytes; `None` where it does not apply.
pub struct Floors {
    /// Decompression alone.
    pub inflate: Option<f64>,
    /// Decompression, and five fields of each JSON value; or decompression and the ends of lines.
    pub read: f64,
    /// A search for 30 literals, whatever their case, in the plain bytes.
    pub search: f64,
}

impl Floors {
    pub fn measure(format: &dyn Format, objects: &[Vec<u8>]) -> anyhow::Result<Self> {
        let plain: Vec<Cow<'_, [u8]>> = objects.iter().map(|object| plain(object)).collect::<Result<_, _>>()?;
        let bytes = plain.iter().map(|object| object.len() as u64).sum();
        let compressed = plain.iter().any(|object| matches!(object, Cow::Owned(_)));
        let inflating = measured(bytes, || objects.iter().map(|object| inflate(object)).sum())?;
        let reading = measured(bytes, || match format.framing() {
            Framing::Lines => plain.iter().map(|object| memchr::memchr_iter(b'\n', object).count()).sum(),
            Framing::Json => plain.iter().map(|object| five_fields(object)).sum(),
        })?;
        let finder = AhoCorasick::builder().ascii_case_insensitive(true).build(LITERALS)?;
        let search = measured(bytes, || plain.iter().map(|object| finder.find_iter(object.as_ref()).count()).sum())?;
        // Seconds for a megabyte add up.
        let read = if compressed { 1.0 / (1.0 / inflating + 1.0 / reading) } else { reading };
        Ok(Self { inflate: compressed.then_some(inflating), read, search })
    }
}

/// MB/s of a pass over some bytes.
fn measured(bytes: u64, mut pass: impl FnMut() -> usize) -> anyhow::Result<f64> {
    black_box(pass());
    let start = processor_time()?;
    let mut passes = 0;
    loop {
        black_box(pass());
        passes += 1;
        let spent = processor_time()?.saturating_sub(start);
        if spent >= RUN {
            return Ok(rate(bytes * passes, spent));
        }
    }
}

fn inflate(object: &[u8]) -> usize {
    let mut length = 0;
    let mut decoder = Decoder::default();
    let mut take = |bytes: &[u8]| length += black_box(bytes).len();
    for piece in object.chunks(PIECE) {
        if decoder.push(piece, &mut take).is_err() {
            return 0;
        }
    }
    if decoder.finish(&mut take).is_ok() { length } else { 0 }
}

/// An object's bytes, decompressed if they are compressed.
pub fn plain(object: &[u8]) -> anyhow::Result<Cow<'_, [u8]>> {
    let mut plain = Vec::new();
    let mut decoder = Decoder::default();
    let mut take = |bytes: &[u8]| plain.extend_from_slice(bytes);
    for piece in object.chunks(PIECE) {
        decoder.push(piece, &mut take).context("a corpus is damaged")?;
    }
    decoder.finish(&mut take).context("a corpus is damaged")?;
    Ok(if plain == object { Cow::Borrowed(object) } else { Cow::Owned(plain) })
}

/// Five fields of a record, borrowed where they stand; everything else is validated and passed over.
#[derive(Deserialize)]
struct Five<'r> {
    #[serde(borrow, rename = "eventName", alias = "event_type")]
    _name: Option<Cow<'r, str>>,
    #[serde(borrow, rename = "eventSource", alias = "proto")]
    _source: Option<Cow<'r, str>>,
    #[serde(borrow, rename = "eventTime", alias = "timestamp")]
    _time: Option<Cow<'r, str>>,
    #[serde(borrow, rename = "sourceIPAddress", alias = "src_ip")]
    _address: Option<Cow<'r, str>>,
    #[serde(borrow, rename = "eventID", alias = "dest_ip")]
    _id: Option<Cow<'r, str>>,
}

/// How many records there are in `Records`, or one after the other.
fn five_fields(object: &[u8]) -> usize {
    #[derive(Deserialize)]
    struct File<'r> {
        #[serde(borrow, rename = "Records")]
        records: Vec<Five<'r>>,
    }
    if let Ok(file) = serde_json::from_slice::<File<'_>>(object) {
        return black_box(file.records).len();
    }
    let values = serde_json::Deserializer::from_slice(object).into_iter::<Five<'_>>();
    values.map_while(Result::ok).fold(0, |count, five| {
        black_box(five);
        count + 1
    })
}
