//! Sources through the pipeline: read by several threads, taken up in order, settled at the end.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError, mpsc};

use anyhow::{Context as _, Result};
use cloudvigil_core::correlate::{Closing, Held, Partition, Settler};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::finding::{Finding, Level};
use cloudvigil_core::formats::Unrecognised;
use cloudvigil_core::pipeline::{Damage, Pipeline, Report, Screening, SourceStats, Stats};
use cloudvigil_core::ports::{Clock, FindingSink, StateStore};
use cloudvigil_core::suppression::{Suppressing, Suppressions};
use cloudvigil_local::Collected;
use tokio::runtime::Handle;

use crate::ending::Ending;
use crate::findings::{Findings, Told};
use crate::sources::{Input, Source};
use crate::{parallel, terminal};

/// How far workers may be ahead of what has been taken up, for each of them: results wait in memory.
const AHEAD: usize = 16;
/// Of how many sources, or of how many bytes, a worker hands over the results at once: to wake up whoever takes them
/// costs as much as a small file.
const HANDED_OVER: (usize, u64) = (8, 1024 * 1024);
/// How many partitions a thread computes findings of at a time.
const PARTITIONS: usize = 64;

/// Analyses sources with `jobs` threads and hands over each result in the sources' order. `Break` ends it early. Threads
/// that find no more sources help with those that others still read.
pub fn in_order(
    sources: &[Source],
    pipeline: &Pipeline<'_>,
    jobs: usize,
    runtime: &Handle,
    mut each: impl FnMut(Outcome) -> ControlFlow<()>,
) {
    let next = AtomicUsize::new(0);
    let (taken, screening) = (Taken::default(), Screening::default());
    let pipeline = &pipeline.screened_by(&screening);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        let _ends = Ends(&taken, &screening);
        for _ in 0..jobs.max(1) {
            let (sender, next, taken, screening) = (sender.clone(), &next, &taken, &screening);
            scope.spawn(move || {
                let mut results = Results { held: Vec::new(), bytes: 0, sender };
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(source) = sources.get(number) else { break };
                    if !taken.is_near(number, jobs * AHEAD) {
                        // It may be these that are waited for.
                        results.hand_over();
                        if !taken.wait_until(number, jobs * AHEAD) {
                            return;
                        }
                    }
                    results.take(number, analyse(source, pipeline, runtime));
                }
                // Nothing more will come of this thread itself.
                drop(results);
                screening.help(pipeline);
            });
        }
        drop(sender);
        let mut waiting = BTreeMap::new();
        let mut due = 0;
        for results in receiver {
            waiting.extend(results);
            while let Some(outcome) = waiting.remove(&due) {
                due += 1;
                if each(outcome).is_break() {
                    return;
                }
                taken.advance(due);
            }
        }
    });
}

/// What came of a source: a report, or counters that name why there is none.
pub type Outcome = Result<Report, SourceStats>;

fn analyse(source: &Source, pipeline: &Pipeline<'_>, runtime: &Handle) -> Outcome {
    let failed = |errors: Vec<String>| SourceStats { source: source.name.clone(), errors, ..SourceStats::default() };
    let (store, id) = match &source.input {
        Input::Object(store, id) => (store, id),
        Input::Missing(reasons) => return Err(failed(reasons.clone())),
    };
    // One input must not take the others down with it.
    let analysed = catch_unwind(AssertUnwindSafe(|| runtime.block_on(pipeline.object(store.as_ref(), id))));
    match analysed {
        Ok(report) => report.map_err(|error| failed(vec![error.source.to_string()])),
        Err(_) => Err(failed(vec!["it could not be analysed, by a defect of cloudvigil; please report it".to_owned()])),
    }
}

/// Results of a worker that it has not handed over yet.
struct Results {
    held: Vec<(usize, Outcome)>,
    /// What was read for them.
    bytes: u64,
    sender: mpsc::Sender<Vec<(usize, Outcome)>>,
}

impl Results {
    fn take(&mut self, number: usize, outcome: Outcome) {
        self.bytes += outcome.as_ref().map_or(0, |report| report.stats.bytes);
        self.held.push((number, outcome));
        if self.held.len() >= HANDED_OVER.0 || self.bytes >= HANDED_OVER.1 {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.bytes = 0;
        if !self.held.is_empty() {
            // Whoever takes them no longer wants any: the next call of `wait_until` says so.
            let _ = self.sender.send(std::mem::take(&mut self.held));
        }
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        self.hand_over();
    }
}

/// Sends the threads home once nothing more is wanted of them, however that comes about.
struct Ends<'a>(&'a Taken, &'a Screening);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end();
        self.1.close();
    }
}

/// How many results have been taken up.
#[derive(Default)]
struct Taken {
    number: Mutex<usize>,
    moved: Condvar,
}

impl Taken {
    /// Whether result `number` is less than `ahead` away, and wanted.
    fn is_near(&self, number: usize, ahead: usize) -> bool {
        let taken = *self.number.lock().unwrap_or_else(PoisonError::into_inner);
        taken < usize::MAX && number < taken.saturating_add(ahead)
    }

    /// Waits until result `number` is less than `ahead` away. `false`: nothing more is wanted.
    fn wait_until(&self, number: usize, ahead: usize) -> bool {
        let held = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        let too_far = |taken: &mut usize| number >= taken.saturating_add(ahead);
        let held = self.moved.wait_while(held, too_far).unwrap_or_else(PoisonError::into_inner);
        *held < usize::MAX
    }

    fn advance(&self, to: usize) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.moved.notify_all();
    }

    fn end(&self) {
        self.advance(usize::MAX);
    }
}

/// Collects what the reports of a run come to: counters, errors, findings.
pub struct Run<'a> {
    catalogue: &'a Catalogue,
    contributed: Contributed<'a>,
    clock: &'a dyn Clock,
    runtime: &'a Handle,
    sources: Vec<SourceStats>,
    /// What failed apart from any one source.
    errors: Vec<String>,
    suppressions: Option<&'a Suppressions>,
    jobs: usize,
    has_words: bool,
}

/// Where contributions are kept until everything is read.
enum Contributed<'a> {
    /// With those of other runs: here is what this one touched.
    State(&'a dyn StateStore, BTreeSet<Partition>),
    /// Nowhere else.
    Memory(Box<Held>),
}

impl<'a> Run<'a> {
    /// A run that has read nothing yet; its findings are those of the state with what it reads, or, without a state, of
    /// what it reads alone.
    pub fn new(
        catalogue: &'a Catalogue,
        state: Option<&'a dyn StateStore>,
        clock: &'a dyn Clock,
        runtime: &'a Handle,
    ) -> Self {
        Self {
            catalogue,
            contributed: match state {
                Some(state) => Contributed::State(state, BTreeSet::new()),
                None => Contributed::Memory(Box::default()),
            },
            clock,
            runtime,
            sources: Vec::new(),
            errors: Vec::new(),
            suppressions: None,
            jobs: 1,
            has_words: true,
        }
    }

    /// Without the rules' words, which take longer to read than many findings to compute, unless these are wanted.
    #[must_use]
    pub fn with_words(self, has_words: bool) -> Self {
        Self { has_words, ..self }
    }

    /// With findings computed by so many threads.
    #[must_use]
    pub fn by(self, jobs: usize) -> Self {
        Self { jobs, ..self }
    }

    /// With these findings held back.
    #[must_use]
    pub fn suppressing(self, suppressions: &'a Suppressions) -> Self {
        Self { suppressions: Some(suppressions), ..self }
    }

    /// Takes up what came of a source.
    pub fn take(&mut self, outcome: Outcome) {
        let mut report = match outcome {
            Ok(report) => report,
            Err(stats) => return self.sources.push(stats),
        };
        if let [Damage::UnknownFormat(Unrecognised::Text)] = report.damage[..] {
            report.stats.errors.iter_mut().for_each(|error| error.push_str("; --format NAME reads it as one"));
        }
        self.sources.push(report.stats);
        if report.contributions.is_empty() {
            return;
        }
        match &mut self.contributed {
            Contributed::Memory(held) => held.take(self.catalogue, report.contributions),
            Contributed::State(state, touched) => {
                let nobody = Collected::new();
                let settler = settler(self.catalogue, *state, &nobody, self.clock);
                match self.runtime.block_on(settler.put(&report.object, report.contributions)) {
                    Ok(more) => touched.extend(more),
                    Err(error) => self.errors.push(error.to_string()),
                }
            }
        }
    }

    /// Notes what failed apart from any one source.
    pub fn failed(&mut self, error: &impl ToString) {
        self.errors.push(error.to_string());
    }

    /// Settles the findings, and leaves out those below `min_level`.
    pub fn finish(mut self, min_level: Level) -> Finished<'a> {
        let (none, collected) = (Suppressions::default(), Collected::new());
        let sink = Suppressing::new(&collected, self.suppressions.unwrap_or(&none), self.clock);
        let mut found = match self.contributed {
            Contributed::Memory(held) => {
                // The process is about to end: to give all of this back piece by piece takes as long as some of the reading.
                let held: &'a Held = Box::leak(held);
                let holds_back = |finding: &Finding| sink.holds_back(finding);
                let may_hold_back = self.suppressions.is_some_and(|suppressions| !suppressions.is_empty());
                let found = |partition: &Cow<'a, Partition>| {
                    let holds_back = may_hold_back.then_some(&holds_back as &dyn Fn(&Finding) -> bool);
                    let found = held.found(self.catalogue, partition, holds_back)?;
                    let partition: &'a Partition = match partition {
                        Cow::Borrowed(partition) => partition,
                        Cow::Owned(partition) => Box::leak(Box::new(partition.clone())),
                    };
                    Some(Told::Found(partition, found))
                };
                let found = |block: &[_]| block.iter().filter_map(found).collect::<Vec<_>>();
                let partitions = held.partitions(self.catalogue);
                let blocks: Vec<Vec<Told<'a>>> = parallel::blocks(self.jobs, &partitions, PARTITIONS, found).collect();
                drop(partitions);
                let mut found = Vec::with_capacity(blocks.iter().map(Vec::len).sum());
                for block in blocks {
                    found.extend(block);
                }
                found
            }
            Contributed::State(state, touched) => {
                let settler = settler(self.catalogue, state, &sink, self.clock);
                let settled = self.runtime.block_on(settler.settle(&touched));
                self.errors.extend(settled.err().map(|error| error.to_string()));
                Vec::new()
            }
        };
        let suppressed = suppressed(sink);
        found.extend(collected.into_sorted().into_iter().map(|message| Told::Message(Box::new(message))));
        let findings = Findings::new(self.catalogue, found, min_level, self.has_words);
        let mut stats: Stats = self.sources.into_iter().collect();
        stats.total.errors += self.errors.len() as u64;
        Finished { findings, stats, errors: self.errors, suppressed }
    }
}

fn settler<'s>(
    catalogue: &'s Catalogue,
    state: &'s dyn StateStore,
    sink: &'s dyn FindingSink,
    clock: &'s dyn Clock,
) -> Settler<'s> {
    Settler { catalogue, state, sink, clock, closing: Closing::EndOfInput }
}

/// What a run came to.
pub struct Finished<'a> {
    /// The findings.
    pub findings: Findings<'a>,
    /// The counters.
    pub stats: Stats,
    errors: Vec<String>,
    /// What nobody is told of: a line for each suppression, with how many.
    suppressed: Vec<String>,
}

/// How much of a source could not be parsed.
fn unparsed(source: &SourceStats) -> String {
    let SourceStats { source, format, records_in, unparsed, .. } = source;
    let format = format.map(|format| format!(" as {format}")).unwrap_or_default();
    format!("{source}: {unparsed} of {records_in} records cannot be parsed{format}")
}

/// How many findings each suppression has held back.
fn suppressed(sink: Suppressing<'_>) -> Vec<String> {
    let mut held: BTreeMap<String, usize> = BTreeMap::new();
    for suppression in sink.into_held().into_values() {
        *held.entry(format!("{} until {}", suppression.told(), suppression.expires)).or_default() += 1;
    }
    held.into_iter()
        .map(|(told, count)| {
            format!("{count} {} held back by the {told}", if count == 1 { "finding" } else { "findings" })
        })
        .collect()
}

impl Finished<'_> {
    /// Notes what failed after everything was read.
    pub fn fail(&mut self, error: &anyhow::Error) {
        self.errors.push(terminal::causes(error));
        self.stats.total.errors += 1;
    }

    /// Tells what went wrong, one line each, then the one line of counters, on the standard error.
    pub fn tell(&self) {
        for source in &self.stats.sources {
            for error in &source.errors {
                terminal::error(&format!("{}: {error}", source.source));
            }
            if source.unparsed > 0 {
                terminal::warning(&unparsed(source));
            }
        }
        for error in &self.errors {
            terminal::error(error);
        }
        for suppressed in &self.suppressed {
            terminal::summary(&terminal::line(suppressed));
        }
        let total = &self.stats.total;
        terminal::summary(&format!(
            "{} records, {} unparsed, {} skipped, {} errors",
            total.records_in, total.unparsed, total.skipped, total.errors
        ));
    }

    /// Whether everything could be read and parsed.
    pub fn is_complete(&self) -> bool {
        self.stats.total.errors == 0 && self.stats.total.unparsed == 0
    }

    /// How the run ended.
    pub fn ending(&self, fail_on: Option<Level>) -> Ending {
        let reached = |level| self.findings.levels().any(|of_one| of_one >= level);
        if fail_on.is_some_and(reached) {
            Ending::Reached
        } else if self.is_complete() {
            Ending::Done
        } else {
            Ending::Incomplete
        }
    }
}

/// The runtime that everything asynchronous runs on.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("cannot start threads")
}
