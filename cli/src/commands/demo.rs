//! `cloudvigil demo`: the samples below, through the same pipeline as everything else.
//!
//! The samples tell of one morning, the first of March 2026. An account's trail is switched off and its guards with it;
//! a web shop is probed; a host is broken into. The clock stands at noon of that day, so that the output is the same in
//! every run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::{Level, Message};
use cloudvigil_core::pipeline::{Options, Pipeline, SourceStats};
use cloudvigil_core::ports::{Chunks, Clock, Failure, Object, ObjectId, ObjectStore, PortError, PortResult};
use cloudvigil_local::{EmbeddedState, Outbox};
use cloudvigil_notify::channels::email::{Email, Envelope};
use cloudvigil_notify::{Deliverer, Limits, Outcome, Report, SourceSummary};
use jiff::Timestamp;

use crate::analysis::{self, Run};
use crate::arguments::{Demo, FindingsOutput};
use crate::destination::Destination;
use crate::ending::Ending;
use crate::sources::{Input, Source};
use crate::{output, parallel, terminal};
use std::borrow::Cow;
use std::ops::ControlFlow;

const SAMPLES: [(&str, &[u8]); 7] = [
    ("samples/access.log", include_bytes!("../../samples/access.log")),
    ("samples/application.log", include_bytes!("../../samples/application.log")),
    ("samples/auth.log", include_bytes!("../../samples/auth.log")),
    ("samples/cloudtrail.json", include_bytes!("../../samples/cloudtrail.json")),
    ("samples/eve.json", include_bytes!("../../samples/eve.json")),
    ("samples/inventory.ndjson", include_bytes!("../../samples/inventory.ndjson")),
    ("samples/vpcflow.log", include_bytes!("../../samples/vpcflow.log")),
];

const SENDER: &str = "cloudvigil@example.com";
const RECIPIENT: &str = "security@example.com";
/// What the names of this demo's mails begin with: the clock's time.
const MAIL_PREFIX: &str = "20260301T120000Z-";

/// The clock, at 2026-03-01T12:00:00Z.
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::constant(1_772_366_400, 0)
    }
}

/// Runs it.
pub fn run(arguments: &Demo) -> Result<Ending> {
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let clock: Arc<dyn Clock> = Arc::new(Noon);
    let runtime = analysis::runtime()?;
    let (catalogue, problems) = Catalogue::built_in();
    for problem in &problems {
        terminal::warning(&problem.to_string());
    }
    let state = Arc::new(EmbeddedState::in_memory(Arc::clone(&clock))?);

    let store: Arc<dyn ObjectStore> = Arc::new(Samples);
    let (listed, _) = runtime.block_on(store.list(""))?;
    let sources: Vec<Source> = listed
        .into_iter()
        .map(|id| Source { name: id.source.clone(), input: Input::Object(store.clone(), id) })
        .collect();
    let jobs = parallel::processors();
    let mut run = Run::new(&catalogue, None, clock.as_ref(), runtime.handle()).by(jobs);
    let pipeline = Pipeline::new(&catalogue, Options { modified: clock.now(), ..Options::default() });
    analysis::in_order(&sources, &pipeline, jobs, runtime.handle(), |outcome| {
        run.take(outcome);
        ControlFlow::Continue(())
    });
    let mut finished = run.finish(Level::Informational);

    let mut to = Destination::open(None)?;
    let read =
        output::findings(FindingsOutput::Table, &finished.findings, finished.is_complete(), &catalogue, jobs, &mut to)?;
    let messages: Vec<Message> = finished.findings.messages().map(Cow::into_owned).collect();
    let outbox = folder.join("outbox");
    let written = remove_earlier(&outbox)
        .and_then(|()| mail(&messages, &outbox, &state, &clock, runtime.handle()))
        .and_then(|mails| write_report(&messages, &finished.stats.sources, folder).map(|page| (mails, page)));
    match written {
        Err(error) => finished.fail(&error),
        Ok((mails, page)) if read => {
            to.write(|writer| {
                writeln!(writer)?;
                writeln!(writer, "Report:  {}", terminal::line(&page.display().to_string()))?;
                let outbox = terminal::line(&outbox.display().to_string());
                writeln!(
                    writer,
                    "Mails:   {outbox}: {mails}, one for each finding from high up; the others wait for the daily digest"
                )?;
                writeln!(writer)?;
                writeln!(writer, "Next:    cloudvigil scan /var/log             your own logs")?;
                writeln!(writer, "         cloudvigil scan s3://BUCKET/PREFIX   logs in S3")?;
                writeln!(
                    writer,
                    "         cloudvigil trail                     who tampered with logging in your account"
                )?;
                writeln!(writer, "         cloudvigil rules list                what is looked for")
            })?;
            to.flush()?;
        }
        Ok(_) => {}
    }
    finished.tell();
    Ok(finished.ending(None))
}

/// Mails of an earlier demo would stand beside the new ones.
fn remove_earlier(outbox: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(outbox) else { return Ok(()) };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(MAIL_PREFIX) && name.ends_with(".eml") {
            let path = entry.path();
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Delivers the findings as the notifier does. Returns how many were mailed at once.
fn mail(
    messages: &[Message],
    outbox: &Path,
    state: &Arc<EmbeddedState>,
    clock: &Arc<dyn Clock>,
    runtime: &tokio::runtime::Handle,
) -> Result<usize> {
    fs::create_dir_all(outbox).with_context(|| format!("cannot make the folder {}", outbox.display()))?;
    let mailer = Arc::new(Outbox::new(outbox, Arc::clone(clock)));
    let email = Arc::new(Email::new(mailer, Envelope::parse(SENDER, RECIPIENT)?));
    let deliverer = Deliverer::new(state.clone(), email, Arc::clone(clock), Limits::default(), "demo");
    let mut sent = 0;
    for message in messages {
        sent += usize::from(runtime.block_on(deliverer.deliver(message))? == Outcome::Sent);
    }
    Ok(sent)
}

fn write_report(messages: &[Message], sources: &[SourceStats], folder: &Path) -> Result<std::path::PathBuf> {
    let sources = sources.iter().map(|source| SourceSummary {
        source: source.source.clone(),
        format: source.format.map(str::to_owned),
        records_in: source.records_in,
        parsed: source.parsed,
        unparsed: source.unparsed,
        skipped: source.skipped,
        bytes: source.bytes,
        errors: source.errors.clone(),
    });
    let report = Report { generated: Noon.now(), findings: messages.to_vec(), sources: sources.collect() };
    let path = folder.join("report.html");
    fs::write(&path, report.render()?).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// The samples as an object store.
struct Samples;

#[async_trait]
impl ObjectStore for Samples {
    async fn list(&self, _: &str) -> PortResult<(Vec<ObjectId>, Vec<PortError>)> {
        let id = |(name, _): &(&str, &[u8])| ObjectId {
            source: (*name).to_owned(),
            bucket: String::new(),
            key: (*name).to_owned(),
            version: None,
        };
        Ok((SAMPLES.iter().map(id).collect(), Vec::new()))
    }

    async fn open(&self, id: &ObjectId) -> PortResult<Object> {
        let sample = SAMPLES.iter().find(|(name, _)| *name == id.key);
        let (name, content) =
            sample.ok_or_else(|| PortError::new(Failure::NotFound, format!("read {}", id.source), "no such sample"))?;
        Ok(Object {
            version: (*name).to_owned(),
            modified: Some(Noon.now()),
            size: Some(content.len() as u64),
            metadata: BTreeMap::new(),
            content: Box::new(Whole(Some(Bytes::from_static(content)))),
        })
    }
}

/// Content in one piece.
struct Whole(Option<Bytes>);

#[async_trait]
impl Chunks for Whole {
    async fn next(&mut self) -> PortResult<Option<Bytes>> {
        Ok(self.0.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_at_noon() {
        assert_eq!(Noon.now().to_string(), "2026-03-01T12:00:00Z");
        assert!(MAIL_PREFIX.starts_with(&Noon.now().strftime("%Y%m%dT%H%M%SZ").to_string()));
    }

    #[test]
    fn samples_are_in_the_order_of_their_names() {
        assert!(SAMPLES.is_sorted_by_key(|(name, _)| *name));
    }
}
