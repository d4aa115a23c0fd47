//! What the command line takes.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use cloudvigil_core::finding::Level;
use cloudvigil_core::formats::FORMATS;
use cloudvigil_local::Files;

/// Finds tampering, exposures and attacks in the logs of AWS accounts and servers.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 110, arg_required_else_help = true, subcommand_required = true)]
#[command(after_help = "Begin with: cloudvigil demo\n\n\
    Exit codes: 0 done · 1 --fail-on was reached · 2 wrong usage or configuration, nothing was read · \
    3 some input could not be read or parsed")]
pub struct Arguments {
    /// What is to be done
    #[command(subcommand)]
    pub command: Command,

    /// Tell what happens inside, on the standard error
    #[arg(long, short, global = true)]
    pub verbose: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what cloudvigil does: built-in samples through the whole pipeline, without a network
    Demo(Demo),
    /// Analyse logs: files, folders, gzip, the standard input, S3
    Scan(Scan),
    /// List the findings of a state file
    Findings(Findings),
    /// Collect and check what an AWS account has
    Inventory(Inventory),
    /// Who tampered with logging in an AWS account, and is every trail alive?
    Trail(Trail),
    /// List, show, check and test rules
    #[command(subcommand)]
    Rules(Rules),
    /// Messages to people
    #[command(subcommand)]
    Notify(Notify),
}

/// `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// The folder that gets report.html and outbox/*.eml
    #[arg(long = "out", short = 'o', value_name = "DIR", default_value = "cloudvigil-demo")]
    pub folder: PathBuf,
}

/// Which rules run.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Rules")]
pub struct RuleOptions {
    /// Rules of your own, beside the built-in ones: a folder (*.yml, *.yaml), `s3://bucket/prefix` or a file; repeatable
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,

    /// Leave the built-in rules out
    #[arg(long)]
    pub no_default_rules: bool,

    /// The configuration: what placeholders in rules stand for, what is cloudvigil's own, which findings are suppressed;
    /// cloudvigil.toml, if it is there
    #[arg(long = "config", value_name = "FILE")]
    pub configuration: Option<PathBuf>,
}

/// What becomes of findings.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ReportOptions {
    /// Leave out what is below this level
    #[arg(long, value_name = "LEVEL", value_parser = level(), default_value = "informational")]
    pub min_level: Level,

    /// Write into this file instead of the standard output
    #[arg(long = "out", short = 'o', value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Write counters for each source into this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,

    /// End with exit code 1 if a finding of at least this level is reported
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub fail_on: Option<Level>,
}

/// `scan`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cloudvigil scan /var/log/nginx\n  \
    cloudvigil scan --since 24h --min-level high s3://my-trail/AWSLogs/\n  \
    zcat access.log.gz | cloudvigil scan - --format access --output json")]
pub struct Scan {
    /// Files and folders, `-` for the standard input, `s3://bucket/prefix`
    #[arg(required = true, value_name = "PATH", value_parser = path())]
    pub paths: Vec<String>,

    /// Read everything as this format, instead of recognising it
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(FORMATS.iter().map(|format| format.name())))]
    pub format: Option<String>,

    /// Put aside what happened before: a time (RFC 3339), a date, or an age such as 24h or 7d
    #[arg(long, value_name = "T")]
    pub since: Option<String>,

    /// Put aside what happened at or after: a time (RFC 3339), a date (its midnight), or an age
    #[arg(long, value_name = "T")]
    pub until: Option<String>,

    /// The zone of times that name none: an IANA name or an offset
    #[arg(long, value_name = "TZ", default_value = "UTC")]
    pub timezone: String,

    /// How many files are read at once, up to 256 [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Keep what was seen in this file, so that findings span runs; safe for several processes at once. What is
    /// reported is then what is new or has grown
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// What is written: findings, or with `matches` one line for each record and rule
    #[arg(long, value_enum, default_value_t = ScanOutput::Table, help_heading = "Output")]
    pub output: ScanOutput,

    #[command(flatten)]
    pub report: ReportOptions,

    #[command(flatten)]
    pub rules: RuleOptions,
}

/// What `scan` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScanOutput {
    /// For people
    Table,
    /// One finding a line
    Json,
    /// One finding a line, as OCSF 2004 or 2003
    Ocsf,
    /// For spreadsheets
    Csv,
    /// One line for each record that a rule matched
    Matches,
}

/// How findings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FindingsOutput {
    /// For people
    Table,
    /// One finding a line
    Json,
    /// One finding a line, as OCSF 2004 or 2003
    Ocsf,
    /// For spreadsheets
    Csv,
}

/// Text for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOutput {
    /// For people
    Table,
    /// For programs
    Json,
}

/// `findings`.
#[derive(Debug, Args)]
pub struct Findings {
    /// The state file
    #[arg(long, value_name = "FILE")]
    pub state: PathBuf,

    /// How they are written [default: table on a terminal, json elsewhere]
    #[arg(long, value_enum)]
    pub output: Option<FindingsOutput>,

    /// Leave out what is below this level
    #[arg(long, value_name = "LEVEL", value_parser = level(), default_value = "informational")]
    pub min_level: Level,

    /// Write into this file instead of the standard output
    #[arg(long = "out", short = 'o', value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// `inventory`.
#[derive(Debug, Args)]
#[cfg_attr(not(feature = "inventory"), allow(dead_code, reason = "read by the feature alone"))]
pub struct Inventory {
    /// Only this region; repeatable [default: all that are enabled]
    #[arg(long, value_name = "REGION")]
    pub region: Vec<String>,

    /// Keep what was seen in this file, so that the next run knows what is new
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// Write the inventory into this file, one resource a line
    #[arg(long = "out", short = 'o', value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// How findings are written
    #[arg(long, value_enum, default_value_t = FindingsOutput::Table)]
    pub output: FindingsOutput,

    /// Leave out what is below this level
    #[arg(long, value_name = "LEVEL", value_parser = level(), default_value = "informational")]
    pub min_level: Level,

    /// End with exit code 1 if a finding of at least this level is reported
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub fail_on: Option<Level>,

    #[command(flatten)]
    pub rules: RuleOptions,
}

/// `trail`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Trail {
    #[command(subcommand)]
    pub command: Option<TrailCommand>,

    /// How far to look back; the event history has 90 days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=90))]
    pub days: u16,

    /// Only this region; repeatable [default: all that are enabled]
    #[arg(long, value_name = "REGION")]
    pub region: Vec<String>,

    /// Remember the trails in this file, and tell what has changed since the last time
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,

    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOutput::Table)]
    pub output: TextOutput,

    /// Leave out what is below this level
    #[arg(long, value_name = "LEVEL", value_parser = level(), default_value = "informational")]
    pub min_level: Level,

    /// End with exit code 1 if a finding of at least this level is reported
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub fail_on: Option<Level>,

    #[command(flatten)]
    pub rules: RuleOptions,
}

/// `trail`, and what else it can do.
#[derive(Debug, Subcommand)]
pub enum TrailCommand {
    /// Are the log files still what CloudTrail delivered? By its signed digests
    Verify(TrailVerify),
}

/// `trail verify`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cloudvigil trail verify s3://my-trail/AWSLogs/\n  \
    aws s3 sync s3://my-trail/AWSLogs/ logs/\n  \
    aws cloudtrail list-public-keys --start-time 2026-03-01 --end-time 2026-04-01 > keys.json\n  \
    cloudvigil trail verify logs/ --keys keys.json --fail-on high\n\n\
    A copy lacks the metadata of its objects, in which the newest digest's signature is. It is read from DIGEST.metadata.json,\n\
    which this writes: aws s3api head-object --bucket BUCKET --key DIGEST --query Metadata > DIGEST.metadata.json")]
pub struct TrailVerify {
    /// A folder into which a trail's bucket was copied, or `s3://bucket/prefix`
    #[arg(value_name = "PATH")]
    pub path: String,

    /// Public keys, as `aws cloudtrail list-public-keys` prints them; repeatable, since each region has its own
    /// [default: ask CloudTrail]
    #[arg(long, value_name = "FILE")]
    pub keys: Vec<PathBuf>,

    /// Leave out what was delivered before: a time (RFC 3339), a date, or an age such as 24h or 7d
    #[arg(long, value_name = "T")]
    pub since: Option<String>,

    /// Leave out what was delivered after: a time (RFC 3339), a date (its midnight), or an age
    #[arg(long, value_name = "T")]
    pub until: Option<String>,

    /// How it is written
    #[arg(long, value_enum, default_value_t = TextOutput::Table)]
    pub output: TextOutput,

    /// Leave out findings below this level
    #[arg(long, value_name = "LEVEL", value_parser = level(), default_value = "informational")]
    pub min_level: Level,

    /// End with exit code 1 if a finding of at least this level is reported
    #[arg(long, value_name = "LEVEL", value_parser = level())]
    pub fail_on: Option<Level>,

    #[command(flatten)]
    pub rules: RuleOptions,
}

/// `rules`.
#[derive(Debug, Subcommand)]
pub enum Rules {
    /// List the rules
    List {
        /// How they are written
        #[arg(long, value_enum, default_value_t = TextOutput::Table)]
        output: TextOutput,

        #[command(flatten)]
        rules: RuleOptions,
    },
    /// Show all of a rule, its runbook too
    Show {
        /// The rule's id, or the first digits of it
        id: String,

        #[command(flatten)]
        rules: RuleOptions,
    },
    /// Say what rules lack
    Lint {
        /// A folder or a file of rules [default: the built-in ones]
        dir: Option<PathBuf>,
    },
    /// Run the rules' own tests
    Test {
        /// A folder or a file of rules [default: the built-in ones]
        dir: Option<PathBuf>,
    },
    /// Which ATT&CK techniques the rules find, or which calls of a list their tests show to be covered
    Coverage {
        /// Calls to look for: a CSV file with the columns `event_source` and `event_name` (and, if it has them,
        /// `severity` and `condition`), or lines such as cloudtrail.amazonaws.com:StopLogging
        #[arg(long, value_name = "FILE")]
        list: Option<PathBuf>,

        /// Write the techniques into this file, as a layer of ATT&CK Navigator (format 4.5)
        #[arg(long, value_name = "FILE", conflicts_with = "list")]
        layer: Option<PathBuf>,

        #[command(flatten)]
        rules: RuleOptions,
    },
}

/// `notify`.
#[derive(Debug, Subcommand)]
pub enum Notify {
    /// Send a test message through every configured channel
    Test {
        /// The configuration
        #[arg(long, value_name = "FILE", default_value = "cloudvigil.toml")]
        config: PathBuf,
    },
}

/// A path, which need not be UTF-8: what lies in a folder is named by whoever writes there.
fn path() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().map(|path| Files::root(&path))
}

fn level() -> impl TypedValueParser<Value = Level> {
    let words = PossibleValuesParser::new(Level::ALL.map(Level::as_str));
    words.try_map(|word| word.parse::<Level>())
}
