//! How many bytes a second of processor time takes through the pipeline, beside the floors: what merely decompressing
//! the same bytes costs, and cutting them into lines or JSON values.

use std::borrow::Cow;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, value_parser};
use cloudvigil_core::decode::Decoder;
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::formats::{self, Format, Framing};
use cloudvigil_core::framing::{Frame, Framer};
use cloudvigil_core::pipeline::{Options, Pipeline, Totals};
use walkdir::WalkDir;

use crate::corpus::{Corpus, KINDS, MODIFIED};
use crate::processor_time::processor_time;

const MIB: u64 = 1024 * 1024;
/// Objects are read in pieces of this size, in bytes.
const PIECE: usize = 256 * 1024;
/// How many of the first bytes are looked at to recognise a format.
const HEAD: usize = 64 * 1024;
/// A run repeats its corpus until it has taken this long: a clock that ticks every 10 ms then errs by 1 % at most.
const RUN: Duration = Duration::from_secs(1);

#[derive(Args)]
pub struct Arguments {
    /// Make this many MiB of each kind, uncompressed
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u64).range(1..=4096))]
    mib: u64,
    /// Make them from this seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Let this many of a hundred records be ones that rules look for
    #[arg(long, value_name = "PERCENT", default_value_t = 1, value_parser = value_parser!(u8).range(0..=100))]
    candidates: u8,
    /// Read the files of this folder instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["mib", "seed", "candidates"])]
    folder: Option<PathBuf>,
    /// Measure this kind alone; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<String>,
    /// Leave the floors out: for a profile of the pipeline alone
    #[arg(long)]
    no_floors: bool,
    /// Measure each this often
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..=1000))]
    runs: u32,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let (catalogue, problems) = Catalogue::built_in();
    if let Some(problem) = problems.first() {
        bail!("a built-in rule was not loaded: {problem}");
    }
    match &arguments.folder {
        Some(folder) => println!("Files of {}", folder.display()),
        None => println!(
            "Made from seed {}, {} MiB of each kind; {} % of the records are candidates",
            arguments.seed, arguments.mib, arguments.candidates
        ),
    }
    println!(
        "{} built-in rules; one thread; MB (10^6 bytes, uncompressed) for each second of processor time; median of {} runs",
        catalogue.rules().len(),
        arguments.runs
    );
    println!("candidates: records that at least one rule matches, as counted by the pipeline itself");
    println!(
        "pipeline: decompress, frame, parse, enrich, match, collect contributions; findings are not settled, nothing is stored"
    );
    println!("floor: decompress and cut (lines with memchr; JSON with the pipeline's own framing), and no more");
    println!("x floor: how many times the floor's processor time the pipeline takes\n");
    println!(
        "{:<11} {:>7} {:>7} {:>9} {:>10} {:>9} {:>15} {:>9} {:>9} {:>9} {:>8} {:>9}",
        "kind",
        "objects",
        "MB",
        "records",
        "candidates",
        "pipeline",
        "(min-max)",
        "inflate",
        "cut",
        "floor",
        "x floor",
        "records/s"
    );
    if let Some(folder) = &arguments.folder {
        for corpus in read(folder)? {
            print_row(&catalogue, &corpus, arguments.runs, arguments.no_floors)?;
        }
    } else {
        let wanted = |name: &str| arguments.kind.is_empty() || arguments.kind.iter().any(|kind| kind == name);
        for kind in KINDS.iter().filter(|kind| wanted(kind.format.name())) {
            let corpus = kind.make(arguments.seed, arguments.mib * MIB, arguments.candidates)?;
            print_row(&catalogue, &corpus, arguments.runs, arguments.no_floors)?;
        }
    }
    Ok(())
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
        let plain = plain(&stored).with_context(|| format!("cannot decompress {}", path.display()))?;
        let Some(format) = formats::recognise(&plain[..plain.len().min(HEAD)]) else {
            eprintln!("{}: its format is not known; left out", path.display());
            continue;
        };
        match corpora.iter_mut().find(|corpus| corpus.format.name() == format.name()) {
            Some(corpus) => corpus.objects.push(stored),
            None => corpora.push(Corpus { format, objects: vec![stored], made: None }),
        }
    }
    ensure!(!corpora.is_empty(), "{} holds no file of a format that is known", folder.display());
    Ok(corpora)
}

fn print_row(catalogue: &Catalogue, corpus: &Corpus, runs: u32, no_floors: bool) -> anyhow::Result<()> {
    let name = corpus.format.name();
    let (totals, candidates) = count(catalogue, corpus);
    ensure!(totals.errors == 0, "{name}: {} objects are damaged, so their bytes are not comparable", totals.errors);
    if let Some(made) = corpus.made {
        ensure!(
            (totals.parsed, candidates) == (made.records, made.candidates),
            "{name}: {made:?} was made, and {} records with {candidates} candidates were found",
            totals.parsed
        );
    }
    let mut plain_objects = Vec::new();
    for object in &corpus.objects {
        plain_objects.push(plain(object)?);
    }
    let compressed = plain_objects.iter().any(|object| matches!(object, Cow::Owned(_)));

    let pipeline = Pipeline::new(catalogue, options(corpus.format));
    let whole = measure(totals.bytes, runs, || {
        for object in &corpus.objects {
            black_box(analyse(&pipeline, object));
        }
    })?;
    if no_floors {
        println!("{name:<11} {:.1} MB/s", whole.median);
        return Ok(());
    }
    let inflating = measure(totals.bytes, runs, || {
        for object in &corpus.objects {
            black_box(
                decode(object, &mut |bytes| {
                    black_box(bytes);
                })
                .is_ok(),
            );
        }
    })?;
    let cutting = measure(totals.bytes, runs, || {
        for object in &plain_objects {
            black_box(cut(corpus.format.framing(), object));
        }
    })?;
    // Seconds for a megabyte: those of the two floors add up.
    let floor = if compressed { 1.0 / (1.0 / inflating.median + 1.0 / cutting.median) } else { cutting.median };
    let inflate = if compressed { format!("{:.0}", inflating.median) } else { "-".to_owned() };
    let megabytes = megabytes(totals.bytes);
    println!(
        "{name:<11} {:>7} {megabytes:>7.1} {:>9} {:>8.2} % {:>9.1} {:>15} {inflate:>9} {:>9.0} {floor:>9.0} {:>8.1} {:>9.0}",
        corpus.objects.len(),
        totals.records_in,
        100.0 * ratio(candidates, totals.parsed),
        whole.median,
        format!("({:.1}-{:.1})", whole.min, whole.max),
        cutting.median,
        floor / whole.median,
        whole.median * ratio(totals.records_in, 1) / megabytes,
    );
    if totals.unparsed > 0 {
        println!("{:<11} {} records of them are not of the format", "", totals.unparsed);
    }
    Ok(())
}

fn options(format: &'static dyn Format) -> Options {
    Options { format: Some(format), modified: MODIFIED, ..Options::default() }
}

/// Takes one object through the pipeline; whether it was sound.
fn analyse(pipeline: &Pipeline<'_>, object: &[u8]) -> bool {
    let mut analysis = pipeline.analysis("bench", "bench".to_owned(), None);
    let sound = object.chunks(PIECE).all(|piece| analysis.push(piece));
    black_box(analysis.finish()).damage.is_empty() && sound
}

/// What the pipeline counts, and how many records at least one rule matched.
fn count(catalogue: &Catalogue, corpus: &Corpus) -> (Totals, u64) {
    let pipeline = Pipeline::new(catalogue, Options { matches: true, ..options(corpus.format) });
    let mut totals = Totals::default();
    let mut candidates = 0;
    for object in &corpus.objects {
        let mut analysis = pipeline.analysis("bench", "bench".to_owned(), None);
        for piece in object.chunks(PIECE) {
            analysis.push(piece);
        }
        let report = analysis.finish();
        totals += &report.stats;
        candidates += report.matches.chunk_by(|one, next| one.record == next.record).count() as u64;
    }
    (totals, candidates)
}

/// Cuts bytes into frames and counts them.
fn cut(framing: Framing, bytes: &[u8]) -> usize {
    match framing {
        Framing::Lines => memchr::memchr_iter(b'\n', bytes).count(),
        Framing::Json => {
            let mut count = 0;
            let mut framer = Framer::new(framing);
            for piece in bytes.chunks(PIECE) {
                framer.push(piece, &mut |_: u64, frame: Frame<'_>| {
                    black_box(frame);
                    count += 1;
                });
            }
            framer.finish(&mut |_: u64, _: Frame<'_>| count += 1);
            count
        }
    }
}

fn decode(object: &[u8], sink: &mut dyn FnMut(&[u8])) -> anyhow::Result<()> {
    let mut decoder = Decoder::default();
    for piece in object.chunks(PIECE) {
        decoder.push(piece, sink)?;
    }
    Ok(decoder.finish(sink)?)
}

/// An object's bytes, decompressed if they are compressed.
fn plain(object: &[u8]) -> anyhow::Result<Cow<'_, [u8]>> {
    let mut plain = Vec::new();
    decode(object, &mut |bytes| plain.extend_from_slice(bytes))?;
    Ok(if plain == object { Cow::Borrowed(object) } else { Cow::Owned(plain) })
}

/// Megabytes for each second of processor time.
struct Rate {
    min: f64,
    median: f64,
    max: f64,
}

/// Measures a pass over `bytes` bytes, after one that warms up.
fn measure(bytes: u64, runs: u32, mut pass: impl FnMut()) -> anyhow::Result<Rate> {
    pass();
    let mut rates = Vec::new();
    for _ in 0..runs {
        let start = processor_time()?;
        let mut passes = 0;
        let spent = loop {
            pass();
            passes += 1;
            let spent = processor_time()?.saturating_sub(start);
            if spent >= RUN {
                break spent;
            }
        };
        rates.push(megabytes(bytes * passes) / spent.as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let at = |number: usize| rates.get(number).copied().unwrap_or_default();
    Ok(Rate { min: at(0), median: at(rates.len() / 2), max: at(rates.len().saturating_sub(1)) })
}

fn megabytes(bytes: u64) -> f64 {
    ratio(bytes, 1_000_000)
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53, which no corpus reaches")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}
