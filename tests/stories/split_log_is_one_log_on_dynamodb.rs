//! The property of exactness on DynamoDB: a log that is cut into objects, taken up by two workers at once, in any order,
//! some of it twice, some by a worker that dies and is run again, ends with the findings of one pass over the whole. The
//! embedded state has the same test with more cases.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cloudvigil_aws::Clients;
use cloudvigil_aws::clients::retries;
use cloudvigil_core::correlate::{Closing, SETTLED, settled};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::ports::Clock;
use cloudvigil_lambda::DynamoState;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::harness::aws::Aws;
use crate::harness::emulator::{ACCOUNT, Emulator, REGION};
use crate::harness::story::Story;

#[path = "../../shared/local/tests/splitting/mod.rs"]
mod splitting;

use splitting::{START, Settled, Told, Work, Workers, cases, catalogue, compared};

/// How many random cases run with each way of closing windows: rules, a log, its cuts and a schedule.
const CASES: u32 = 4;

pub fn story(story: &Story) -> Result<()> {
    let emulator = Emulator::start(story, &[])?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().context("start threads")?;
    let ground = Ground {
        root: &emulator.root,
        clients: Arc::new(Clients::with_config(config(&emulator.root))),
        runtime,
        tables: AtomicI64::new(0),
    };
    for (closing, seed) in [(Closing::WallClock, 21), (Closing::EndOfInput, 22)] {
        let mut findings = 0;
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
        let mut runner = TestRunner::new_with_rng(Config::default(), random);
        for _ in 0..CASES {
            let case = cases().new_tree(&mut runner).map_err(|reason| anyhow!("make a case: {reason}"))?.current();
            let catalogue = catalogue(&case.rules);
            let whole = ground.run(&catalogue, &case.whole(), closing)?;
            let cut = ground.run(&catalogue, &case.cut(), closing)?;
            ensure!(cut == whole, "{closing:?}, {case:?}: {cut:?} is not {whole:?}");
            findings += whole.len();
        }
        ensure!(findings > 50, "{findings} findings show little");
        eprintln!("{CASES} cases on DynamoDB, {findings} findings, {closing:?}");
    }
    Ok(())
}

/// The emulator's SDK configuration.
fn config(root: &Aws) -> SdkConfig {
    let credentials = Credentials::new(ACCOUNT, "test", None, None, "story");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(retries())
        .endpoint_url(root.endpoint())
        .build()
}

struct Ground<'e> {
    root: &'e Aws,
    clients: Arc<Clients>,
    runtime: tokio::runtime::Runtime,
    tables: AtomicI64,
}

impl Ground<'_> {
    /// What a table of its own holds when a log was worked off.
    fn run(
        &self,
        catalogue: &Catalogue,
        (objects, schedule): &(Vec<Vec<String>>, Vec<Work>),
        closing: Closing,
    ) -> Result<Settled> {
        let table = format!("state-{}", self.tables.fetch_add(1, Ordering::Relaxed));
        let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
        let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        self.root.dynamodb(
            "CreateTable",
            &json!({"TableName": table, "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
                "AttributeDefinitions": [attribute("pk"), attribute("sk")]}),
        )?;
        let clock = Arc::new(Told(AtomicI64::new(START)));
        let state = DynamoState::new(Arc::clone(&self.clients), &table, Arc::clone(&clock) as Arc<dyn Clock>);
        let workers = Workers { catalogue, state: &state, clock: &clock, closing, runtime: self.runtime.handle() };
        let published = workers.run(objects, schedule, 1);
        let settled = self.settled(&table)?;
        match closing {
            Closing::WallClock => ensure!(published == settled, "published {published:?}, settled {settled:?}"),
            Closing::EndOfInput => {
                ensure!(settled.keys().all(|id| published.contains_key(id)), "settled and never published");
            }
        }
        self.root.dynamodb("DeleteTable", &json!({"TableName": table}))?;
        Ok(settled)
    }

    /// The settled findings of a table.
    fn settled(&self, table: &str) -> Result<Settled> {
        let mut found = Settled::new();
        let mut from = Value::Null;
        loop {
            let mut question = json!({"TableName": table, "ConsistentRead": true});
            if !from.is_null() {
                question["ExclusiveStartKey"] = from;
            }
            let page = self.root.dynamodb("Scan", &question)?;
            for item in page["Items"].as_array().into_iter().flatten() {
                let text = |name: &str, kind: &str| item[name][kind].as_str().unwrap_or_default();
                if text("sk", "S") == SETTLED {
                    let body = BASE64.decode(text("body", "B")).context("read an item's body")?;
                    found.extend(settled(&body, text("pk", "S"))?.map(compared));
                }
            }
            from = page["LastEvaluatedKey"].clone();
            if from.is_null() {
                return Ok(found);
            }
        }
    }
}
