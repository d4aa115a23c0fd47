//! Analyses logs: S3 objects that arrive through a queue, and log events of `CloudWatch` Logs subscriptions.

mod context;
mod handler;
mod message;
mod refused;
mod subscription;

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
        handler::handle(event.payload, &context).await.map_err(Error::from)
    }))
    .await
}
