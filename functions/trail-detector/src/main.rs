//! Watches the trails: `CloudTrail` events as they come, and on a schedule the event history and the trails' status.

#[cfg(test)]
mod account;
mod aftermath;
mod context;
mod delivery;
mod handler;
mod integrity;
mod lease;
mod reasons;
mod silence;
#[cfg(test)]
mod stage;
mod sweep;
mod trail_status;
mod watched_services;

use std::time::{Duration, SystemTime};

use cloudvigil_lambda::{Environment, telemetry};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tokio::sync::Mutex;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context = &Mutex::new(context::Context::from_environment(&Environment::of_process())?);
    run(service_fn(async move |event: LambdaEvent<serde_json::Value>| {
        // Lambda gives a process one event at a time, so nobody waits here.
        let mut context = context.lock().await;
        context.detector.refresh().await;
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        handler::handle(event.payload, left, &context).await.map_err(Error::from)
    }))
    .await
}
