//! A function's diagnostics: one JSON object a line on the standard output, as Lambda's JSON log format wants them
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>).

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// The variable that holds the level: Lambda sets it from the function's logging configuration.
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
/// Crates that write requests, bodies or events into their own diagnostics at low levels: those never get there.
const QUIET: [&str; 6] = [
    "aws_smithy_runtime=warn",
    "aws_smithy_runtime_api=warn",
    "aws_config=warn",
    "aws_sdk_s3=warn",
    "hyper_util=warn",
    "lambda_runtime=info",
];

/// Starts the diagnostics, at the level that `AWS_LAMBDA_LOG_LEVEL` names, else `info`. Calling it again does nothing.
///
/// Values of fields are escaped by the JSON that they stand in.
pub fn init() {
    let mut filter =
        EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).with_env_var(LEVEL).from_env_lossy();
    for directive in QUIET {
        if let Ok(directive) = directive.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let subscriber = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(true).with_span_list(false);
    // Only a subscriber that is already there can be in the way.
    let _ = subscriber.with_env_filter(filter).try_init();
}
