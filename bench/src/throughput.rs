//! How many bytes a second of processor time takes through `cloudvigil scan`, the whole process of it, beside the floors:
//! what merely reading the same bytes costs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, value_parser};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::formats;
use cloudvigil_core::pipeline::{Options, Pipeline, Totals};
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::corpus::{Corpus, KINDS, Kind, MODIFIED};
use crate::floors::{Floors, PIECE};
use crate::process::{Taken, measured};

const MIB: u64 = 1024 * 1024;
/// How many of the first bytes are looked at to recognise a format.
const HEAD: usize = 64 * 1024;

#[derive(Args)]
#[group(id = "throughput")]
pub struct Arguments {
    /// Make this many MiB of each kind, uncompressed
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = value_parser!(u64).range(1..=4096))]
    mib: u64,
    /// Make the kind that is one large object this large
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value_parser!(u64).range(1..=4096))]
    large_mib: u64,
    /// Make them from this seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Let this many of a hundred records be ones that rules look for, whatever the kind
    #[arg(long, value_name = "PERCENT", value_parser = value_parser!(u8).range(0..=100))]
    candidates: Option<u8>,
    /// Measure this kind alone; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Read the files of this folder instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["mib", "large_mib", "seed", "candidates", "kind"])]
    folder: Option<PathBuf>,
    /// Measure each this often; the median is shown
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=1000))]
    runs: u32,
    /// Only take the corpora through the pipeline in this process, this often: for a profile
    #[arg(long, value_name = "N")]
    profile: Option<u32>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (catalogue, problems) = Catalogue::built_in();
    if let Some(problem) = problems.first() {
        bail!("a built-in rule was not loaded: {problem}");
    }
    let corpora = corpora(arguments)?;
    if let Some(times) = arguments.profile {
        for corpus in corpora {
            let corpus = corpus?;
            let (totals, _) = count(&catalogue, &corpus, times);
            println!("{:<24} {} records, {times} times", corpus.name, totals.records_in);
        }
        return Ok(());
    }
    println!(
        "{} built-in rules; MB are 10^6 bytes, uncompressed; median of {} runs",
        catalogue.rules().len(),
        arguments.runs
    );
    println!("candidates: share of the records that at least one rule matches, as counted by the pipeline itself");
    println!(
        "scan: MB for each second of processor time of the whole process 'cloudvigil scan --jobs 1', its start and its findings included"
    );
    println!(
        "floors, on one thread: inflate; read = inflate and five fields of each JSON value, or inflate and the ends of lines; search = 30 literals, whatever their case"
    );
    println!(
        "x read: how many times the processor time of reading the scan takes; peak: memory of the scan with --jobs 2; speedup: wall clock of --jobs 1 over that of --jobs 2, for the objects and for one gzip of all of them; at 0 % and 50 %: the scan where so many records are candidates\n"
    );
    println!(
        "{:<24} {:>7} {:>7} {:>9} {:>10} {:>7} {:>15} {:>8} {:>7} {:>7} {:>7} {:>9} {:>8} {:>8} {:>7} {:>7}",
        "kind",
        "objects",
        "MB",
        "records",
        "candidates",
        "scan",
        "(min-max)",
        "inflate",
        "read",
        "search",
        "x read",
        "peak MiB",
        "speedup",
        "one gzip",
        "at 0 %",
        "at 50 %"
    );
    for corpus in corpora {
        let corpus = corpus?;
        let kind = KINDS.iter().find(|kind| corpus.made.is_some() && kind.name == corpus.name);
        let beside = |share: u8| -> anyhow::Result<String> {
            let Some(kind) = kind.filter(|_| arguments.candidates.is_none()) else { return Ok("-".to_owned()) };
            let corpus = made(kind, arguments, share)?;
            let (totals, _) = count(&catalogue, &corpus, 1);
            let (_, median, _) =
                rates(totals.bytes, &scanned(&corpus, &stored(&corpus.objects)?, "1", arguments.runs)?);
            Ok(format!("{median:.0}"))
        };
        print_row(&catalogue, &corpus, arguments.runs, beside)?;
    }
    Ok(())
}

type Corpora<'a> = Box<dyn Iterator<Item = anyhow::Result<Corpus>> + 'a>;

fn corpora(arguments: &Arguments) -> anyhow::Result<Corpora<'_>> {
    if let Some(folder) = &arguments.folder {
        println!("Files of {}", folder.display());
        return Ok(Box::new(read(folder)?.into_iter().map(Ok)));
    }
    for wanted in &arguments.kind {
        ensure!(
            KINDS.iter().any(|kind| kind.name == wanted),
            "there is no kind {wanted}; there are {}",
            KINDS.map(|kind| kind.name).join(", ")
        );
    }
    println!(
        "Made from seed {}, {} MiB of each kind, {} MiB of the one large object",
        arguments.seed, arguments.mib, arguments.large_mib
    );
    let wanted = |kind: &&Kind| arguments.kind.is_empty() || arguments.kind.iter().any(|name| name == kind.name);
    Ok(Box::new(
        KINDS.iter().filter(wanted).map(|kind| made(kind, arguments, arguments.candidates.unwrap_or(kind.candidates))),
    ))
}

/// A corpus of which so many of a hundred records are candidates.
fn made(kind: &Kind, arguments: &Arguments, candidates: u8) -> anyhow::Result<Corpus> {
    let mib = if kind.is_one_object { arguments.large_mib } else { arguments.mib };
    kind.make(arguments.seed, mib * MIB, candidates)
}

/// The files of a folder and of those in it, by format. What is not recognised is named and left out.
fn read(folder: &Path) -> anyhow::Result<Vec<Corpus>> {
    let mut corpora: Vec<Corpus> = Vec::new();
    for entry in WalkDir::new(folder).sort_by_file_name() {
        let entry = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        if !entry.file_type().is_file() {
            continue;
        }
        let path = entry.path();
        let stored = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let head = crate::floors::plain(&stored).with_context(|| format!("cannot decompress {}", path.display()))?;
        let Some(format) = formats::recognise(formats::FORMATS, &head[..head.len().min(HEAD)]) else {
            eprintln!("{}: its format is not known; left out", path.display());
            continue;
        };
        drop(head);
        match corpora.iter_mut().find(|corpus| corpus.format.name() == format.name()) {
            Some(corpus) => corpus.objects.push(stored),
            None => corpora.push(Corpus { name: format.name(), format, objects: vec![stored], made: None }),
        }
    }
    ensure!(!corpora.is_empty(), "{} holds no file of a format that is known", folder.display());
    Ok(corpora)
}

/// `beside`: the figure where so many of a hundred records are candidates.
fn print_row(
    catalogue: &Catalogue,
    corpus: &Corpus,
    runs: u32,
    beside: impl Fn(u8) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let name = corpus.name;
    let (totals, candidates) = count(catalogue, corpus, 1);
    ensure!(totals.errors == 0, "{name}: {} objects are damaged, so their bytes are not comparable", totals.errors);
    if let Some(made) = corpus.made {
        ensure!(
            (totals.parsed, candidates) == (made.records, made.candidates),
            "{name}: {made:?} was made, and {} records with {candidates} candidates were found",
            totals.parsed
        );
    }
    let floors = Floors::measure(corpus.format, &corpus.objects)?;
    let scan = |folder: &TempDir, jobs: &str| scanned(corpus, folder, jobs, runs);
    let folder = stored(&corpus.objects)?;
    let (one, two) = (scan(&folder, "1")?, scan(&folder, "2")?);
    drop(folder);
    let together = stored(&[corpus.together()?])?;
    let together = (scan(&together, "1")?, scan(&together, "2")?);
    let (least, median, most) = rates(totals.bytes, &one);
    let shortest = |runs: &[(Taken, Duration)]| runs.iter().map(|(_, wall)| *wall).min().unwrap_or_default();
    let speedup = |one: &[(Taken, Duration)], two| shortest(one).as_secs_f64() / shortest(two).as_secs_f64();
    let peak = two.iter().chain(&together.1).map(|(taken, _)| taken.peak).max().unwrap_or_default();
    println!(
        "{name:<24} {:>7} {:>7.1} {:>9} {:>8.2} % {median:>7.0} {:>15} {:>8} {:>7.0} {:>7.0} {:>7.1} {:>9} {:>8.2} {:>8.2} {:>7} {:>7}",
        corpus.objects.len(),
        megabytes(totals.bytes),
        totals.records_in,
        100.0 * ratio(candidates, totals.parsed),
        format!("({least:.0}-{most:.0})"),
        floors.inflate.map_or_else(|| "-".to_owned(), |inflate| format!("{inflate:.0}")),
        floors.read,
        floors.search,
        floors.read / median,
        peak / MIB,
        speedup(&one, &two),
        speedup(&together.0, &together.1),
        beside(0)?,
        beside(50)?,
    );
    if totals.unparsed > 0 {
        println!("{:<24} {} records of them are not of the format", "", totals.unparsed);
    }
    Ok(())
}

/// What scans of a corpus in a folder take.
fn scanned(corpus: &Corpus, folder: &TempDir, jobs: &str, runs: u32) -> anyhow::Result<Vec<(Taken, Duration)>> {
    let words = ["scan", "--format", corpus.format.name(), "--jobs", jobs, "--output", "json"];
    (0..runs)
        .map(|_| {
            let start = std::time::Instant::now();
            measured(&words, folder.path()).map(|taken| (taken, start.elapsed()))
        })
        .collect()
}

/// MB for each second of processor time: the least, the median, the most.
fn rates(bytes: u64, scans: &[(Taken, Duration)]) -> (f64, f64, f64) {
    let mut rates: Vec<f64> = scans.iter().map(|(taken, _)| rate(bytes, taken.time)).collect();
    rates.sort_by(f64::total_cmp);
    let at = |number: usize| rates.get(number).copied().unwrap_or_default();
    (at(0), at(rates.len() / 2), at(rates.len().saturating_sub(1)))
}

/// Writes objects into a folder.
fn stored(objects: &[Vec<u8>]) -> anyhow::Result<TempDir> {
    let folder = TempDir::new().context("cannot make a folder for a corpus")?;
    for (number, object) in objects.iter().enumerate() {
        let path = folder.path().join(format!("{number:06}"));
        std::fs::write(&path, object).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(folder)
}

/// What the pipeline counts, and how many records at least one rule matched.
fn count(catalogue: &Catalogue, corpus: &Corpus, times: u32) -> (Totals, u64) {
    let options = Options { matches: true, format: Some(corpus.format), modified: MODIFIED, ..Options::default() };
    let pipeline = Pipeline::new(catalogue, options);
    let mut totals = Totals::default();
    let mut candidates = 0;
    for _ in 0..times {
        for object in &corpus.objects {
            let mut analysis = pipeline.analysis("bench", "bench".to_owned(), None);
            for piece in object.chunks(PIECE) {
                analysis.push(piece);
            }
            let report = analysis.finish();
            totals += &report.stats;
            candidates += report.matches.records().count() as u64;
        }
    }
    (totals, candidates)
}

/// MB for each second.
pub fn rate(bytes: u64, time: Duration) -> f64 {
    megabytes(bytes) / time.as_secs_f64().max(0.001)
}

fn megabytes(bytes: u64) -> f64 {
    ratio(bytes, 1_000_000)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which no corpus reaches")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
