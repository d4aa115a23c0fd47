//! `cloudvigil scan`.

use std::collections::{BTreeMap, HashSet};
use std::mem::ManuallyDrop;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use cloudvigil_core::detect::{Catalogue, Rule};
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Options, Pipeline, Report, Stats};
use cloudvigil_core::ports::{Clock, StateStore, SystemClock};
use cloudvigil_local::{EmbeddedState, Files};

use crate::analysis::{self, Run};
use crate::arguments::{FindingsOutput, Scan, ScanOutput};
use crate::destination::{self, Destination};
use crate::ending::Ending;
use crate::findings::Findings;
use crate::sources::{self, OwnFiles};
use crate::{output, parallel, rules, terminal, times};

/// Runs it.
pub fn run(arguments: &Scan) -> Result<Ending> {
    // First everything that can be wrong with what was asked; nothing is read or written before.
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    sources::check(&arguments.paths)?;
    let options = options(arguments, clock.as_ref())?;
    // As in Run::finish: the process ends after this, without giving back piece by piece what it held.
    let rules = ManuallyDrop::new(rules::load(&arguments.rules)?);
    let catalogue = &rules.catalogue;
    let report = &arguments.report;
    let (file, stats_file) = (report.file.as_deref(), report.stats.as_deref());
    destination::check(&[file, stats_file, arguments.state.as_deref()], &inputs(arguments))?;
    let runtime = analysis::runtime()?;
    let mut own = OwnFiles::default();
    let state = arguments.state.as_deref().map(|path| EmbeddedState::open(path, Arc::clone(&clock))).transpose()?;
    let mut to = Destination::open(file)?;
    let stats_to = stats_file.map(|path| Destination::open(Some(path))).transpose()?;
    // A shell sends the outputs to files, too.
    let shell = ["/dev/stdout", "/dev/stderr"].map(|path| Some(Path::new(path)));
    [file, stats_file].into_iter().chain(shell).flatten().for_each(|path| own.add(path));
    if let Some(path) = &arguments.state {
        own.add_state(path);
    }

    let all = sources::list(&arguments.paths, &own, runtime.handle());
    let bar = terminal::progress(all.len(), "sources");
    let matches = arguments.output == ScanOutput::Matches;
    // Rules of one's own are tried on what was logged: how often would they have fired?
    let mut fired = (matches && !arguments.rules.rules.is_empty()).then(|| Fired::new(catalogue));
    // Matches alone need no findings.
    let contributions = !matches || fired.is_some() || report.fail_on.is_some() || arguments.state.is_some();
    let kept = state.as_ref().map(|state| state as &dyn StateStore);
    let jobs = arguments.jobs.map_or_else(parallel::processors, usize::from);
    let mut run = Run::new(catalogue, kept, clock.as_ref(), runtime.handle())
        .suppressing(rules.suppressions(clock.as_ref()))
        .by(jobs)
        .with_words(arguments.output == ScanOutput::Ocsf);
    let mut nobody_reads = false;
    let mut write_error = None;
    let pipeline = Pipeline::new(catalogue, Options { contributions, ..rules.options(options) });
    analysis::in_order(&all, &pipeline, jobs, runtime.handle(), |outcome| {
        if matches && let Ok(found) = &outcome {
            match to.write(|writer| output::json::matches(found, catalogue, report.min_level, writer)) {
                Ok(true) => {}
                Ok(false) => nobody_reads = true,
                Err(error) => write_error = Some(error),
            }
            if let Some(fired) = &mut fired {
                fired.matched(found);
            }
        }
        run.take(outcome);
        bar.inc(1);
        if nobody_reads || write_error.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    let mut finished = run.finish(report.min_level);
    let kind = match arguments.output {
        ScanOutput::Table => Some(FindingsOutput::Table),
        ScanOutput::Json => Some(FindingsOutput::Json),
        ScanOutput::Ocsf => Some(FindingsOutput::Ocsf),
        ScanOutput::Csv => Some(FindingsOutput::Csv),
        ScanOutput::Matches => None,
    };
    let written = match (write_error, kind) {
        (Some(error), _) => Err(error),
        (None, Some(kind)) => {
            output::findings(kind, &finished.findings, finished.is_complete(), catalogue, jobs, &mut to)
        }
        (None, None) => to.flush(),
    };
    written.map_or_else(|error| finished.fail(&error), drop);
    if let Some(to) = stats_to {
        write_stats(&finished.stats, to).unwrap_or_else(|error| finished.fail(&error));
    }
    if let Some(fired) = fired.filter(|_| finished.stats.total.records_in > 0 && !nobody_reads) {
        fired.tell(&finished.findings);
    }
    finished.tell();
    let ending = if nobody_reads { Ending::Done } else { finished.ending(report.fail_on) };
    // As in Run::finish.
    std::mem::forget(finished);
    Ok(ending)
}

/// How often each rule matched.
struct Fired<'c> {
    catalogue: &'c Catalogue,
    /// By the rule's number.
    matches: Vec<u64>,
}

impl<'c> Fired<'c> {
    fn new(catalogue: &'c Catalogue) -> Self {
        Self { catalogue, matches: vec![0; catalogue.rules().len()] }
    }

    fn matched(&mut self, report: &Report) {
        for found in report.matches.iter() {
            self.matches[found.rule] += 1;
        }
    }

    /// Tells of each rule that was named, and of each built-in one that matched or found something, how often it did, on
    /// the standard error.
    fn tell(&self, findings: &Findings<'_>) {
        let mut found: BTreeMap<String, u64> = BTreeMap::new();
        for finding in findings.iter() {
            *found.entry(finding.rule.clone()).or_default() += 1;
        }
        let built_in: HashSet<String> = Catalogue::built_in_files().into_iter().map(|file| file.name).collect();
        let own = |rule: &Rule| !built_in.contains(&rule.file);
        let mut rows: Vec<(u64, u64, &Rule)> = self
            .catalogue
            .rules()
            .iter()
            .zip(&self.matches)
            .map(|(rule, matches)| (found.get(rule.id.as_str()).copied().unwrap_or_default(), *matches, rule))
            .filter(|(findings, matches, rule)| *findings > 0 || *matches > 0 || own(rule))
            .collect();
        rows.sort_by(|one, other| (other.0, other.1, &one.2.id).cmp(&(one.0, one.1, &other.2.id)));
        terminal::summary("How often each rule would have fired: findings, matches, level, rule");
        for (findings, matches, rule) in rows {
            let matches = if rule.leaves.is_empty() { matches.to_string() } else { "-".to_owned() };
            let (level, name) = (rule.level.to_string(), format!("{} ({})", rule.title, rule.id));
            terminal::summary(&format!("{findings:>9} {matches:>9} {level:<13} {name}"));
        }
    }
}

fn options(arguments: &Scan, clock: &dyn Clock) -> Result<Options> {
    let now = clock.now();
    let format = match &arguments.format {
        Some(name) => {
            Some(formats::by_name(name).with_context(|| format!("--format {name}: there is no such format"))?)
        }
        None => None,
    };
    let timezone = times::zone(&arguments.timezone)?;
    let time = |option: &str, text: &Option<String>| {
        text.as_deref().map(|text| times::time(option, text, &timezone, now)).transpose()
    };
    let since = time("--since", &arguments.since)?;
    let until = time("--until", &arguments.until)?;
    if let (Some(since), Some(until)) = (since, until)
        && since > until
    {
        bail!("--since {since} is after --until {until}: no record can be between them");
    }
    Ok(Options {
        format,
        matches: arguments.output == ScanOutput::Matches,
        since,
        until,
        timezone,
        modified: now,
        ..Options::default()
    })
}

/// The paths that are files of this host.
fn inputs(arguments: &Scan) -> Vec<PathBuf> {
    let is_path = |path: &&String| !path.starts_with("s3://") && *path != sources::STANDARD_INPUT;
    // A folder is no file that could be overwritten.
    arguments.paths.iter().filter(is_path).map(|path| Files::path(path)).filter(|path| path.is_file()).collect()
}

fn write_stats(stats: &Stats, mut to: Destination) -> Result<()> {
    to.write(|writer| {
        serde_json::to_writer(&mut *writer, stats)?;
        writeln!(writer)
    })?;
    to.flush().map(drop)
}
