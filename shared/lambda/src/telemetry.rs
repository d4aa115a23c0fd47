//! A function's diagnostics: one JSON object a line on the standard output, as Lambda's JSON log format wants them
//! (<https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html>).

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The variable that holds the level: Lambda sets it from the function's logging configuration.
const LEVEL: &str = "AWS_LAMBDA_LOG_LEVEL";
/// Crates that write requests, bodies or events into their own diagnostics, and from which level on: those never get
/// there.
const QUIET: [(&str, LevelFilter); 6] = [
    ("aws_smithy_runtime", LevelFilter::WARN),
    ("aws_smithy_runtime_api", LevelFilter::WARN),
    ("aws_config", LevelFilter::WARN),
    ("aws_sdk_s3", LevelFilter::WARN),
    ("hyper_util", LevelFilter::WARN),
    ("lambda_runtime", LevelFilter::INFO),
];

/// Starts the diagnostics, at the level that `AWS_LAMBDA_LOG_LEVEL` names, else `info`. Calling it again does nothing.
///
/// Values of fields are escaped by the JSON that they stand in.
#[allow(
    clippy::disallowed_methods,
    reason = "diagnostics start before the environment is read, and tell what is wrong with it"
)]
pub fn init() {
    let filter = filter(std::env::var(LEVEL).ok().as_deref());
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(true);
    // Only a subscriber that is already there can be in the way.
    let _ = tracing_subscriber::registry().with(lines.with_span_list(false)).with(filter).try_init();
}

fn filter(level: Option<&str>) -> Targets {
    let level = match level {
        // Lambda's, and nobody else's.
        Some("FATAL") => LevelFilter::ERROR,
        Some(level) => level.parse().unwrap_or(LevelFilter::INFO),
        None => LevelFilter::INFO,
    };
    Targets::new().with_default(level).with_targets(QUIET.map(|(target, most)| (target, level.min(most))))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn crates_that_tell_too_much_stay_quiet_at_any_level() {
        let debugging = filter(Some("DEBUG"));
        assert!(debugging.would_enable("log_analyzer", &Level::DEBUG));
        assert!(!debugging.would_enable("aws_smithy_runtime::client::orchestrator", &Level::DEBUG));
        assert!(!debugging.would_enable("lambda_runtime", &Level::DEBUG));
    }

    #[test]
    fn the_level_is_the_one_that_lambda_names() {
        let usual = filter(None);
        assert!(usual.would_enable("notifier", &Level::INFO) && !usual.would_enable("notifier", &Level::DEBUG));
        let warnings = filter(Some("WARN"));
        assert!(
            !warnings.would_enable("notifier", &Level::INFO) && !warnings.would_enable("lambda_runtime", &Level::INFO)
        );
        let fatal = filter(Some("FATAL"));
        assert!(fatal.would_enable("notifier", &Level::ERROR) && !fatal.would_enable("notifier", &Level::WARN));
    }
}
