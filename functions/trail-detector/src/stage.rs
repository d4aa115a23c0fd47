//! For tests: a context on an embedded state, a stubbed CloudTrail and a clock that stands until it is set.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cloudvigil_aws::Clients;
use cloudvigil_aws::trails::{Selectors, Trail, TrailStatus};
use cloudvigil_core::ports::Clock;
use cloudvigil_lambda::Detector;
use cloudvigil_local::{Collected, EmbeddedState};
use cloudvigil_stub::{Reply, Stub};
use jiff::Timestamp;

use crate::context::Context;

struct Set(Mutex<Timestamp>);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// A context, and what belongs to it. The function's own region is `us-east-1`.
pub struct Stage {
    pub context: Context,
    pub findings: Arc<Collected>,
    /// Ends with the stage.
    _stub: Stub,
    clock: Arc<Set>,
}

impl Stage {
    /// One that is never answered.
    pub fn at(now: &str) -> Self {
        Self::on(now, Stub::with(|_| Reply::error(500, "Unexpected", "nothing should be asked")))
    }

    /// One whose AWS is this stub.
    pub fn on(now: &str, stub: Stub) -> Self {
        let clock = Arc::new(Set(Mutex::new(now.parse().unwrap())));
        let state = Arc::new(EmbeddedState::in_memory(clock.clone()).unwrap());
        let findings = Arc::new(Collected::new());
        let clients = stub.clients(Clients::with_config);
        let detector = Detector::new(clients, state, findings.clone(), clock.clone());
        let mut context = Context::for_test(detector);
        (context.lookup_interval, context.control_interval) = (Duration::ZERO, Duration::ZERO);
        Self { context, findings, _stub: stub, clock }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn set(&self, now: &str) {
        *self.clock.0.lock().unwrap() = now.parse().unwrap();
    }
}

/// A trail that records everything everywhere since long ago.
pub fn trail() -> Trail {
    let status = TrailStatus {
        is_logging: true,
        started: Some("2025-01-01T00:00:00Z".parse().unwrap()),
        ..TrailStatus::default()
    };
    Trail {
        arn: "arn:aws:cloudtrail:eu-central-1:111122223333:trail/main".to_owned(),
        name: "main".to_owned(),
        home_region: "eu-central-1".to_owned(),
        account: Some("111122223333".to_owned()),
        multi_region: true,
        organization: false,
        global_services: true,
        insights: false,
        s3_bucket: Some("logs".to_owned()),
        s3_prefix: None,
        log_group: None,
        log_role: None,
        sns_topic: None,
        kms_key: None,
        validation: true,
        status: Ok(status),
        elsewhere: BTreeMap::new(),
        selectors: Ok(Selectors::untouched()),
    }
}
