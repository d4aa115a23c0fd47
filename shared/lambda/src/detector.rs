//! What every function that makes findings works with: the ports, the rules, and the way from a report to published
//! findings.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use cloudvigil_aws::Clients;
use cloudvigil_core::correlate::{Closing, Partition, SettleError, Settler};
use cloudvigil_core::detect::Catalogue;
use cloudvigil_core::pipeline::{Damage, Options, Pipeline, Report};
use cloudvigil_core::ports::{Clock, FindingSink, StateStore, SystemClock};

use crate::{Counters, DynamoState, Environment, EnvironmentError, SnsFindings};

/// The ports and the rules of a function that makes findings. Making it asks nothing of AWS and compiles nothing: that
/// waits for the first event.
pub struct Detector {
    /// AWS.
    pub clients: Arc<Clients>,
    /// Contributions, marks, watermarks, snapshots.
    pub state: Arc<dyn StateStore>,
    /// Where findings go.
    pub sink: Arc<dyn FindingSink>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How input is analysed.
    pub options: Options,
    catalogue: OnceLock<Catalogue>,
}

impl Detector {
    /// The detector that the environment describes: `STATE_TABLE`, `FINDINGS_TOPIC_ARN`, `OWN_ROLES`.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let table = environment.required("STATE_TABLE", "the name of the DynamoDB table that holds the state")?;
        let topic = environment.required("FINDINGS_TOPIC_ARN", "the ARN of the SNS topic of findings")?;
        let clients = Arc::new(Clients::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = Arc::new(DynamoState::new(Arc::clone(&clients), table, Arc::clone(&clock)));
        let sink = Arc::new(SnsFindings::new(Arc::clone(&clients), topic));
        let mut detector = Self::new(clients, state, sink, clock);
        detector.options.own_roles = environment.list("OWN_ROLES");
        Ok(detector)
    }

    /// A detector on these ports, with the built-in rules.
    pub fn new(
        clients: Arc<Clients>,
        state: Arc<dyn StateStore>,
        sink: Arc<dyn FindingSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { clients, state, sink, clock, options: Options::default(), catalogue: OnceLock::new() }
    }

    /// With these rules instead of the built-in ones.
    #[must_use]
    pub fn with_catalogue(self, catalogue: Catalogue) -> Self {
        Self { catalogue: OnceLock::from(catalogue), ..self }
    }

    /// The rules, compiled on first use.
    pub fn catalogue(&self) -> &Catalogue {
        self.catalogue.get_or_init(|| {
            let (catalogue, problems) = Catalogue::built_in();
            for problem in problems {
                tracing::error!(%problem, "a built-in rule was not loaded");
            }
            catalogue
        })
    }

    /// The pipeline with these rules and options.
    pub fn pipeline(&self) -> Pipeline<'_> {
        Pipeline::new(self.catalogue(), self.options.clone())
    }

    /// Counts a report and puts what it contributes into the state. [`Self::settle`] is to follow.
    pub async fn put(
        &self,
        report: Report,
        counters: &mut Counters,
    ) -> Result<(BTreeSet<Partition>, Vec<Damage>), SettleError> {
        let Report { object, stats, refused, damage, contributions, .. } = report;
        *counters += Counters {
            records_in: stats.records_in,
            parsed: stats.parsed,
            unparsed: stats.unparsed,
            skipped: stats.skipped,
            refused,
            ..Counters::default()
        };
        Ok((self.settler().put(&object, contributions).await?, damage))
    }

    /// Publishes what moved in the partitions, or because time has passed, and counts it.
    pub async fn settle(&self, touched: &BTreeSet<Partition>, counters: &mut Counters) -> Result<(), SettleError> {
        let settler = self.settler();
        counters.findings += settler.settle(touched).await? as u64;
        counters.findings += settler.settle_due().await? as u64;
        Ok(())
    }

    /// Both for one report. Returns what was wrong with its source.
    pub async fn conclude(&self, report: Report, counters: &mut Counters) -> Result<Vec<Damage>, SettleError> {
        let (touched, damage) = self.put(report, counters).await?;
        self.settle(&touched, counters).await?;
        Ok(damage)
    }

    fn settler(&self) -> Settler<'_> {
        Settler {
            catalogue: self.catalogue(),
            state: self.state.as_ref(),
            sink: self.sink.as_ref(),
            clock: self.clock.as_ref(),
            closing: Closing::WallClock,
        }
    }
}
