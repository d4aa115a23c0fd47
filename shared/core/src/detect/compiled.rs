//! What rsigma matches records with: made when a record of the rule's log source is first met, which most rules never see.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rsigma_eval::CompiledRule;
use rsigma_eval::compiler::compile_to_compiled;
use rsigma_ir::{IrCondition, IrDetection, IrRule, IrRuleMetadata, LowerOptions, lower_rule};
use rsigma_parser::{LogSource, SigmaRule};
use serde::{Deserialize, Serialize};

/// A rule's selections and conditions with their modifiers worked in: all that matching needs, and far cheaper to read
/// than the rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Lowered {
    detections: HashMap<String, IrDetection>,
    conditions: Vec<IrCondition>,
}

impl Lowered {
    pub(super) fn of(rule: &SigmaRule) -> Result<Self, String> {
        let rule = lower_rule(rule, &LowerOptions::default()).map_err(|error| error.to_string())?;
        Ok(Self { detections: rule.detections, conditions: rule.conditions })
    }

    pub(super) fn compile(self) -> Result<CompiledRule, String> {
        let rule = IrRule {
            metadata: IrRuleMetadata::default(),
            logsource: LogSource::default(),
            sigma_version: None,
            detections: self.detections,
            conditions: self.conditions,
        };
        compile_to_compiled(&rule).map_err(|error| error.to_string())
    }
}

/// A rule's compiled form, there or to be made.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    rule: OnceLock<CompiledRule>,
    /// A [`Lowered`] in JSON.
    lowered: &'static str,
}

impl Compiled {
    /// To be made of this [`Lowered`] in JSON.
    pub(super) fn later(lowered: &'static str) -> Self {
        Self { rule: OnceLock::new(), lowered }
    }

    pub(super) fn get(&self) -> &CompiledRule {
        self.rule.get_or_init(|| {
            let lowered: Result<Lowered, _> = serde_json::from_str(self.lowered);
            // What is embedded compiles: a test does so with each.
            lowered.ok().and_then(|lowered| lowered.compile().ok()).unwrap_or_else(never)
        })
    }
}

#[cfg(test)]
impl Compiled {
    pub(super) fn is_made(&self) -> bool {
        self.rule.get().is_some()
    }
}

impl From<CompiledRule> for Compiled {
    fn from(rule: CompiledRule) -> Self {
        Self { rule: OnceLock::from(rule), lowered: "" }
    }
}

/// A rule without a condition, which matches nothing.
fn never() -> CompiledRule {
    CompiledRule {
        title: String::new(),
        id: None,
        level: None,
        tags: Vec::new(),
        description: None,
        falsepositives: Vec::new(),
        logsource: LogSource::default(),
        detections: HashMap::new(),
        conditions: Vec::new(),
        include_event: false,
        custom_attributes: Arc::default(),
    }
}
