//! The function that a schedule invokes: what does the account have, and which of it is exposed?
//!
//! Every resource becomes one line of JSON on the standard output and a record for the inventory rules, whose findings
//! go to the findings topic.

mod context;
mod flow_logs;
mod handler;

use cloudvigil_lambda::{Environment, telemetry};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::context::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    telemetry::init();
    let context = &Mutex::new(Context::from_environment(&Environment::of_process())?);
    let invoked = service_fn(|event: LambdaEvent<Value>| async move {
        // Lambda gives a process one event at a time, so nobody waits here.
        let mut context = context.lock().await;
        context.detector.refresh().await;
        handler::handle(event.payload, &context)
            .await
            .map_err(|error| Diagnostic { error_type: "InventoryScan".to_owned(), error_message: format!("{error:#}") })
    });
    lambda_runtime::run(invoked).await.map_err(anyhow::Error::from_boxed)
}
