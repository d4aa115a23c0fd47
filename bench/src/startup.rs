//! How large the functions are, and how long they take to ask for their first invocation.
//!
//! A stub stands in for the
//! [Runtime API](https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html): it notes when the first request for
//! an invocation arrives and never answers it. The clock starts just before the process is made, so that fork and exec
//! are in the figure, and with them the dynamic linker. Lambda's own work (the sandbox, fetching the package) is not.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, value_parser};

/// The first request of a runtime that is ready.
const FIRST_POLL: &str = "GET /2018-06-01/runtime/invocation/next ";
/// How long a function may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How often it is seen whether the function still runs, while its request is waited for.
const LOOK: Duration = Duration::from_millis(100);

/// What Lambda sets for every function.
const OF_LAMBDA: [(&str, &str); 11] = [
    ("AWS_REGION", "eu-central-1"),
    ("AWS_DEFAULT_REGION", "eu-central-1"),
    ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "bench-has-none"),
    ("AWS_LAMBDA_FUNCTION_NAME", "bench"),
    ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
    ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
    ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
    ("AWS_LAMBDA_LOG_GROUP_NAME", "/cloudvigil/bench"),
    ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/03/01/[$LATEST]bench"),
    ("TZ", ":UTC"),
];

/// What the template sets for every function.
const OF_ALL: [(&str, &str); 6] = [
    ("STACK_NAME", "bench"),
    ("STATE_TABLE", "bench-state"),
    ("RUST_LOG", "info"),
    ("OWN_ROLES", "arn:aws:iam::123456789012:role/bench-log-analyzer"),
    ("OWN_LOG_GROUPS", "/cloudvigil/bench/log-analyzer"),
    ("OWN_PREFIXES", ""),
];

const TOPIC: (&str, &str) = ("FINDINGS_TOPIC_ARN", "arn:aws:sns:eu-central-1:123456789012:bench-findings");

/// Each function's binary, and what the template sets for it alone.
const FUNCTIONS: [(&str, &[(&str, &str)]); 4] = [
    ("inventory-scanner", &[TOPIC, ("REGIONS", "")]),
    ("trail-detector", &[TOPIC, ("LOOKUP_DAYS", "7")]),
    ("log-analyzer", &[TOPIC, ("MAX_OBJECT_MIB", "1024")]),
    (
        "notifier",
        &[
            ("SENDER", "vigil@example.com"),
            ("RECIPIENT", "oncall@example.com"),
            ("SES_REGION", "eu-central-1"),
            ("MAILS_PER_RULE_PER_HOUR", "10"),
            ("MAILS_PER_HOUR", "60"),
            ("MAILS_KEPT_FOR_CRITICAL", "20"),
        ],
    ),
];

#[derive(Args)]
#[group(id = "startup")]
pub struct Arguments {
    /// Where cargo-lambda put the functions, each as NAME/bootstrap: target/lambda
    #[arg(long, value_name = "DIR")]
    binaries: PathBuf,
    /// Start each this often
    #[arg(long, value_name = "N", default_value_t = 21, value_parser = value_parser!(u32).range(1..=1000))]
    runs: u32,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let Arguments { binaries, runs } = arguments;
    println!("Milliseconds from just before the process is made (fork and exec included) to its first request for an");
    println!(
        "invocation; median of {runs} starts after one that is not counted; wall clock, files in the page cache\n"
    );
    println!("{:<18} {:>8} {:>8} {:>8} {:>8}", "function", "MB", "median", "min", "max");
    let mut found = false;
    for (name, variables) in FUNCTIONS {
        let binary = binaries.join(name).join("bootstrap");
        let Ok(metadata) = binary.metadata() else {
            println!("{name:<18} not there");
            continue;
        };
        found = true;
        let times = repeated(*runs, || first_poll(&binary, variables))?;
        print_row(name, &megabytes(metadata.len()), &times);
    }
    ensure!(found, "{} holds none of the functions; .ci/release builds them", binaries.display());
    let times = repeated(*runs, || start_to_end(Path::new("/bin/true")))?;
    print_row("/bin/true, to end", "", &times);
    Ok(())
}

fn print_row(name: &str, size: &str, times: &[Duration]) {
    let at = |number: usize| times.get(number).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0);
    let (median, min, max) = (at(times.len() / 2), at(0), at(times.len().saturating_sub(1)));
    println!("{name:<18} {size:>8} {median:>8.2} {min:>8.2} {max:>8.2}");
}

/// Bytes in MB (10^6 bytes), with two digits after the point.
fn megabytes(bytes: u64) -> String {
    format!("{}.{:02}", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

/// The times of `runs` starts, shortest first.
fn repeated(runs: u32, mut start: impl FnMut() -> anyhow::Result<Duration>) -> anyhow::Result<Vec<Duration>> {
    start()?;
    let mut times = (0..runs).map(|_| start()).collect::<anyhow::Result<Vec<_>>>()?;
    times.sort();
    Ok(times)
}

/// The floor: a process that does nothing, to its end.
fn start_to_end(program: &Path) -> anyhow::Result<Duration> {
    let mut command = quiet(program);
    let start = Instant::now();
    let status = command.status().with_context(|| format!("cannot run {}", program.display()))?;
    let taken = start.elapsed();
    ensure!(status.success(), "{} ended with {status}", program.display());
    Ok(taken)
}

/// Starts a function and ends it when it has asked for its first invocation.
fn first_poll(binary: &Path, variables: &[(&str, &str)]) -> anyhow::Result<Duration> {
    let stub = Stub::start()?;
    let mut command = quiet(binary);
    command.envs(OF_LAMBDA).envs(OF_ALL).envs(variables.iter().copied());
    command.env("AWS_LAMBDA_RUNTIME_API", stub.address.to_string());
    let start = Instant::now();
    let mut function = Running(command.spawn().with_context(|| format!("cannot run {}", binary.display()))?);
    while start.elapsed() < LIMIT {
        match stub.polls.recv_timeout(LOOK) {
            Ok((arrived, _connection)) => return Ok(arrived.duration_since(start)),
            Err(RecvTimeoutError::Disconnected) => bail!("the stub of the Runtime API stopped listening"),
            Err(RecvTimeoutError::Timeout) => {
                if let Some(status) = function.0.try_wait()? {
                    bail!(
                        "{} ended with {status} before it asked for an invocation; to see why, run {command:?}",
                        binary.display()
                    );
                }
            }
        }
    }
    bail!("{} has not asked for an invocation within {} s", binary.display(), LIMIT.as_secs())
}

/// A command with no environment, nothing to read and nobody to listen to it.
fn quiet(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A process that does not outlive its measurement.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The Runtime API, as far as it is needed here.
struct Stub {
    address: SocketAddr,
    /// When the first request for an invocation came, with its connection, which stays open while this is kept.
    polls: Receiver<(Instant, TcpStream)>,
}

impl Stub {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let (sender, polls) = channel();
        // The thread ends with the first poll. If none comes, the measurement has failed, and with it the program.
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let Ok(connection) = connection else { return };
                let mut line = String::new();
                let read = BufReader::new(&connection).read_line(&mut line);
                let arrived = Instant::now();
                if read.is_ok() && line.starts_with(FIRST_POLL) {
                    let _ = sender.send((arrived, connection));
                    return;
                }
            }
        });
        Ok(Self { address, polls })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_variables_are_those_of_the_template() {
        let template = include_str!("../../infra/template.yaml");
        let own = FUNCTIONS.iter().flat_map(|(_, variables)| variables.iter());
        for (name, _) in OF_ALL.iter().chain(own) {
            assert!(template.contains(&format!("{name}: ")), "{name} is not in the template");
        }
    }

    #[test]
    fn the_stub_notes_a_request_for_an_invocation_and_no_other() {
        let stub = Stub::start().unwrap();
        TcpStream::connect(stub.address).unwrap().write_all(b"GET /favicon.ico HTTP/1.1\r\n").unwrap();
        let mut connection = TcpStream::connect(stub.address).unwrap();
        assert!(stub.polls.try_recv().is_err());
        connection.write_all(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n").unwrap();
        assert!(stub.polls.recv_timeout(LIMIT).is_ok());
    }

    #[test]
    fn a_program_that_ends_without_asking_is_an_error() {
        let error = first_poll(Path::new("/bin/false"), &[]).unwrap_err().to_string();
        assert!(error.contains("/bin/false ended with"), "{error}");
    }
}
