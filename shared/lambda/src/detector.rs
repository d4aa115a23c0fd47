//! What every function that makes findings works with: the ports, the rules, the configuration, and the way from a report
//! to published findings.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};

use cloudvigil_aws::{Clients, S3Objects};
use cloudvigil_core::config::is_role_arn;
use cloudvigil_core::correlate::{Closing, Corroboration, Marks, Partition, SettleError, Settler};
use cloudvigil_core::detect::{Catalogue, Problem, Rule, idle};
use cloudvigil_core::enrich::OwnResources;
use cloudvigil_core::finding::Finding;
use cloudvigil_core::pipeline::{Damage, Options, Pipeline, Report};
use cloudvigil_core::ports::{Clock, FindingSink, StateStore, SystemClock};
use cloudvigil_core::suppression::{Suppressing, Suppressions};

use crate::configuration::{Configuration, News, PROBLEMS};
use crate::{Counters, DynamoState, Environment, EnvironmentError, SnsFindings, clients, tampering_calls};

/// The ports, the rules and the configuration of a function that makes findings. Making it asks nothing of AWS and
/// compiles nothing: that waits for the first event.
pub struct Detector {
    /// The name under which the function counts.
    pub function: String,
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
    configuration: Option<Configuration>,
    /// What the stack says of cloudvigil's own, beside which stands what the configuration says.
    stack: Own,
    /// The files of the rules that are not built in.
    own_files: HashSet<String>,
    /// Rules that were not loaded.
    problems: Vec<String>,
    /// The suppressions of which it was told that they do nothing.
    told: BTreeSet<String>,
}

/// What is cloudvigil's own, and who deploys it.
#[derive(Debug, Clone, Default)]
struct Own {
    resources: OwnResources,
    deploying_roles: Vec<String>,
}

impl Detector {
    /// The detector that the environment describes: `STATE_TABLE`, `FINDINGS_TOPIC_ARN`, `OWN_ROLES`, `OWN_RESOURCES`,
    /// `DEPLOYING_ROLE`, and where the [`Configuration`] lies.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        const OWN: (&str, &str) = ("OWN_RESOURCES", "ARNs or names of the stack's resources, with commas between");
        const DEPLOYING: (&str, &str) = ("DEPLOYING_ROLE", "nothing, or the ARN of a role");
        let malformed = |(name, expects)| EnvironmentError::Malformed { name, expects };
        let table = environment.required("STATE_TABLE", "the name of the DynamoDB table that holds the state")?;
        let topic = environment.required("FINDINGS_TOPIC_ARN", "the ARN of the SNS topic of findings")?;
        let resources = OwnResources::new(environment.list(OWN.0)).map_err(|_| malformed(OWN))?;
        let deploying_roles = environment.list(DEPLOYING.0);
        if !deploying_roles.iter().all(|role| is_role_arn(role)) {
            return Err(malformed(DEPLOYING));
        }
        let clients = Arc::new(clients::configured(environment));
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = Arc::new(DynamoState::new(Arc::clone(&clients), table, Arc::clone(&clock)));
        let sink = Arc::new(SnsFindings::new(Arc::clone(&clients), topic));
        let objects = Arc::new(S3Objects::new(Arc::clone(&clients)));
        let mut detector = Self::new(clients, state, sink, clock);
        environment.function_name().clone_into(&mut detector.function);
        detector.options.own_roles = environment.list("OWN_ROLES");
        detector.stack = Own { resources, deploying_roles };
        Ok(detector.configured(Configuration::from_environment(environment, objects)))
    }

    /// A detector on these ports, with the built-in rules and without a configuration.
    pub fn new(
        clients: Arc<Clients>,
        state: Arc<dyn StateStore>,
        sink: Arc<dyn FindingSink>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            function: crate::metrics::NAMESPACE.to_owned(),
            clients,
            state,
            sink,
            clock,
            options: Options { whole: Some(tampering_calls::is_of_calls), ..Options::recognising(&[]) },
            catalogue: OnceLock::new(),
            configuration: None,
            stack: Own::default(),
            own_files: HashSet::new(),
            problems: Vec::new(),
            told: BTreeSet::new(),
        }
    }

    /// With these rules instead of the built-in ones.
    #[must_use]
    pub fn with_catalogue(self, catalogue: Catalogue) -> Self {
        Self { catalogue: OnceLock::from(catalogue), ..self }
    }

    /// With this configuration, which [`Self::refresh`] reads.
    #[must_use]
    pub fn configured(mut self, configuration: Configuration) -> Self {
        self.configuration = Some(configuration);
        self.apply();
        self
    }

    /// Reads the configuration again, if it is time to; to be called before an event is looked at, and at no other time:
    /// what was made with one catalogue is settled with it. What fails changes nothing, is told, and counted.
    pub async fn refresh(&mut self) {
        let now = self.clock.now();
        let Some(configuration) = &mut self.configuration else { return };
        let Some(news) = configuration.read(now).await else { return };
        let News { document_changed, files, problems, failures } = news;
        for failure in &failures {
            tracing::error!(failure, "the configuration was not read; what was read before holds");
        }
        if let Some(files) = files {
            self.own_files = files.iter().map(|file| file.name.clone()).collect();
            let all = Catalogue::built_in_files_without_tests().into_iter().chain(files).collect();
            let (catalogue, unloaded) = Catalogue::load_with(all, &configuration.config().placeholders);
            self.problems = problems.iter().chain(&unloaded).map(Problem::to_string).collect();
            for problem in problems.iter().chain(&unloaded) {
                if problem.is_harmless {
                    tracing::warn!(%problem, "something in a rule file has no effect, or another than was meant");
                } else {
                    tracing::error!(%problem, "a rule was not loaded; the others run");
                }
            }
            tracing::info!(rules = catalogue.rules().len(), "rules loaded");
            let own = catalogue.rules().iter().filter(|rule| self.own_files.contains(&rule.file));
            if let Some(idle) = idle(own) {
                tracing::warn!(idle, "some rules of the configuration's never run");
            }
            self.catalogue = OnceLock::from(catalogue);
        }
        if document_changed {
            self.apply();
        }
        self.tell_useless_suppressions();
        let problems = self.problems.len() + failures.len();
        if problems > 0 {
            let mut counters = Counters::default();
            counters.count(PROBLEMS, problems as u64);
            counters.emit(&self.function, self.clock.as_ref());
        }
    }

    /// Takes over what the configuration says of cloudvigil's own.
    fn apply(&mut self) {
        let Own { resources, mut deploying_roles } = self.stack.clone();
        let own =
            self.configuration.as_ref().map(|configuration| configuration.config().own.clone()).unwrap_or_default();
        deploying_roles.extend(own.deploying_roles);
        self.options.own_resources = resources.and(&own.resources);
        self.options.deploying_roles = deploying_roles;
    }

    /// Tells of each suppression once that it has expired, or that its rule is not there.
    fn tell_useless_suppressions(&mut self) {
        let Some(configuration) = &self.configuration else { return };
        let suppressions = &configuration.config().suppressions;
        let expired = suppressions.expired(self.clock.now());
        let expired = expired.map(|one| format!("{}: expired at {}, and no longer holds", one.told(), one.expires));
        let lost =
            suppressions.without_rule(self.catalogue()).map(|one| format!("{}: there is no such rule", one.told()));
        let useless: Vec<String> = expired.chain(lost).collect();
        for told in useless {
            if !self.told.contains(&told) {
                tracing::warn!(suppression = told, "a suppression does nothing");
                self.told.insert(told);
            }
        }
    }

    /// Whether a rule of the catalogue is built in, and not one of the configuration's.
    pub fn is_built_in(&self, rule: &Rule) -> bool {
        !self.own_files.contains(&rule.file)
    }

    /// The rules: those that were read last, else the built-in ones, compiled on first use.
    pub fn catalogue(&self) -> &Catalogue {
        self.catalogue.get_or_init(|| {
            let (catalogue, problems) = Catalogue::built_in();
            for problem in problems {
                tracing::error!(%problem, "a built-in rule was not loaded");
            }
            catalogue
        })
    }

    /// The pipeline with these rules and options, for entries whose format is known.
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
        let touched = self.settler().put(&object, contributions).await?;
        Ok((touched, damage))
    }

    /// Adds what bears a finding out that people were told of. Nobody is told again.
    pub async fn corroborate(
        &self,
        finding: &Finding,
        corroboration: Corroboration<'_>,
        counters: &mut Counters,
    ) -> Result<(), SettleError> {
        let Some((object, contributions)) = corroboration.of(finding, self.catalogue()) else { return Ok(()) };
        let touched = self.settler().put(&object, contributions).await?;
        self.settle(&touched, counters).await
    }

    /// Publishes what moved in the partitions, or because time has passed, and counts it.
    pub async fn settle(&self, touched: &BTreeSet<Partition>, counters: &mut Counters) -> Result<(), SettleError> {
        self.settle_from(touched, Marks::default(), counters).await
    }

    async fn settle_from(
        &self,
        touched: &BTreeSet<Partition>,
        marks: Marks,
        counters: &mut Counters,
    ) -> Result<(), SettleError> {
        let none = Suppressions::default();
        let config = self.configuration.as_ref().map(Configuration::config);
        let suppressions = config.map_or(&none, |config| &config.suppressions);
        let sink = Suppressing::new(self.sink.as_ref(), suppressions, self.clock.as_ref());
        let settler = Settler { sink: &sink, ..self.settler() };
        let mut settled = settler.settle_from(touched, marks).await;
        if let Ok(findings) = &mut settled {
            match settler.settle_due().await {
                Ok(due) => *findings += due,
                Err(error) => {
                    counters.findings += *findings as u64;
                    settled = Err(error);
                }
            }
        }
        for (finding, suppression) in sink.into_held() {
            tracing::info!(finding, suppression = suppression.told(), "a finding was held back");
            counters.count("Suppressed", 1);
        }
        counters.findings += settled? as u64;
        Ok(())
    }

    /// Both for one report, whose calls are told with what they take from what watches. Returns what was wrong with its
    /// source.
    pub async fn conclude(&self, mut report: Report, counters: &mut Counters) -> Result<Vec<Damage>, SettleError> {
        let (settler, state, now) = (self.settler(), self.state.as_ref(), self.clock.now());
        let explained = tampering_calls::foretell(&mut report, self.catalogue(), state, now).await;
        let explained = explained.unwrap_or_else(|error| {
            tracing::warn!(%error, "what calls take from what watches is not known beforehand; they are told all the same");
            Vec::new()
        });
        let few = report.contributions.iter().take(Marks::MOST + 1);
        let few: BTreeSet<Partition> = few.map(|(partition, _)| partition.clone()).collect();
        let (marks, (touched, damage)) = futures::try_join!(settler.marks(&few), self.put(report, counters))?;
        self.settle_from(&touched, marks, counters).await?;
        // Nobody waits for a note to be told.
        let calls = tampering_calls::findings_of(&touched, self.catalogue());
        tampering_calls::note(calls, &explained, state, now).await?;
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

#[cfg(test)]
mod tests;
