//! Analyses logs: S3 objects that arrive through a queue, and log events of `CloudWatch` Logs subscriptions.

mod context;
mod handler;
mod message;
mod refused;
mod subscription;

use cloudvigil_lambda::{Environment, telemetry};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let context = context::Context::from_environment(&Environment::of_process())?;
    let context = &context;
    run(service_fn(async move |event: LambdaEvent<serde_json::Value>| {
        handler::handle(event.payload, context).await.map_err(Error::from)
    }))
    .await
}
