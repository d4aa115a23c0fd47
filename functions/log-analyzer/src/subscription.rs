//! Log events of a `CloudWatch` Logs subscription,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html#LambdaFunctionExample>.

use aws_lambda_events::event::cloudwatch_logs::{LogData, LogEntry};
use cloudvigil_core::formats::application::Application;
use cloudvigil_core::pipeline::{Entry, Options, Pipeline, Report};
use cloudvigil_core::silence::{Kind, Source};
use jiff::Timestamp;

use crate::context::Context;

/// What became of a delivery.
pub enum Delivery {
    /// It was analysed.
    Analysed(Box<Report>),
    /// cloudvigil wrote these events itself.
    Own(u64),
    /// A message by which the service tries the subscription.
    Control,
}

/// Analyses a delivery's log events.
pub fn analyse(data: &LogData, context: &Context) -> Delivery {
    if data.message_type != "DATA_MESSAGE" {
        return Delivery::Control;
    }
    if context.own_log_groups.contains(&data.log_group) {
        return Delivery::Own(data.log_events.len() as u64);
    }
    // A log group was subscribed on purpose: lines that no format claims are an application's.
    let options = Options { fallback: Some(&Application), ..context.options() };
    let source = format!("log group {}, stream {}", data.log_group, data.log_stream);
    let pipeline = Pipeline::new(context.detector.catalogue(), options);
    Delivery::Analysed(Box::new(pipeline.entries(&source, None, data.log_events.iter().map(entry))))
}

/// The source of a delivery, and the time of its latest event.
pub fn heard(data: &LogData) -> Option<(Source, Timestamp)> {
    let latest = data.log_events.iter().map(|event| event.timestamp).max()?;
    let account = Some(data.owner.clone()).filter(|owner| !owner.is_empty());
    let source = Source { kind: Kind::LogGroup, resource: data.log_group.clone(), account, region: None };
    Some((source, Timestamp::from_millisecond(latest).ok()?))
}

fn entry(event: &LogEntry) -> Entry<'_> {
    let time = Timestamp::from_millisecond(event.timestamp).ok();
    Entry { key: Some(&event.id), time, bytes: event.message.as_bytes() }
}
