//! What rsigma matches records with: made when a record of the rule's log source is first met, which most rules never see.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use rsigma_eval::CompiledRule;
use rsigma_eval::compiler::compile_to_compiled;
use rsigma_ir::{IrCondition, IrDetection, IrMatcher, IrRule, IrRuleMetadata, LowerOptions, lower_rule};
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

    /// Puts a matcher of no content in place of each regular expression; whether there was any.
    fn take_expressions(&mut self) -> bool {
        self.detections.values_mut().map(take_from_detection).fold(false, bool::max)
    }
}

fn take_from_detection(detection: &mut IrDetection) -> bool {
    let from_all = |parts: &mut Vec<IrDetection>| parts.iter_mut().map(take_from_detection).fold(false, bool::max);
    match detection {
        IrDetection::AllOf(items) => {
            items.iter_mut().map(|item| take_from_matcher(&mut item.matcher)).fold(false, bool::max)
        }
        IrDetection::AnyOf(parts) | IrDetection::And(parts) => from_all(parts),
        IrDetection::Keywords(matcher) => take_from_matcher(matcher),
        IrDetection::ArrayMatch { body, .. } => take_from_detection(body),
        IrDetection::Conditional { named, .. } => named.values_mut().map(take_from_detection).fold(false, bool::max),
    }
}

fn take_from_matcher(matcher: &mut IrMatcher) -> bool {
    match matcher {
        IrMatcher::Regex { .. } => {
            *matcher = IrMatcher::Exists(true);
            true
        }
        IrMatcher::AnyOf(parts) | IrMatcher::AllOf(parts) => {
            parts.iter_mut().map(take_from_matcher).fold(false, bool::max)
        }
        IrMatcher::Not(inner) | IrMatcher::TimestampPart { inner, .. } => take_from_matcher(inner),
        _ => false,
    }
}

/// A rule's compiled form, there or to be made.
#[derive(Debug, Clone)]
pub(super) struct Compiled {
    whole: OnceLock<CompiledRule>,
    outline: OnceLock<CompiledRule>,
    /// A [`Lowered`] in JSON.
    lowered: &'static str,
}

impl Compiled {
    /// To be made of this [`Lowered`] in JSON.
    pub(super) fn later(lowered: &'static str) -> Self {
        Self { whole: OnceLock::new(), outline: OnceLock::new(), lowered }
    }

    pub(super) fn get(&self) -> &CompiledRule {
        self.whole.get_or_init(|| compiled(self.read()))
    }

    /// The rule as the index looks at it, which asks nothing of regular expressions: where it has some, which take longer
    /// to compile than all else, another matcher stands for each until a record may match the rule.
    pub(super) fn outline(&self) -> &CompiledRule {
        if let Some(whole) = self.whole.get() {
            return whole;
        }
        if let Some(outline) = self.outline.get() {
            return outline;
        }
        let mut lowered = self.read();
        let has_expressions = lowered.as_mut().is_some_and(Lowered::take_expressions);
        let place = if has_expressions { &self.outline } else { &self.whole };
        place.get_or_init(|| compiled(lowered))
    }

    fn read(&self) -> Option<Lowered> {
        serde_json::from_str(self.lowered).ok()
    }
}

/// What is embedded can be read and compiled: a test does so with each.
fn compiled(lowered: Option<Lowered>) -> CompiledRule {
    lowered.and_then(|lowered| lowered.compile().ok()).unwrap_or_else(never)
}

#[cfg(test)]
impl Compiled {
    pub(super) fn is_whole(&self) -> bool {
        self.whole.get().is_some()
    }

    pub(super) fn is_made(&self) -> bool {
        self.whole.get().is_some() || self.outline.get().is_some()
    }
}

impl From<CompiledRule> for Compiled {
    fn from(rule: CompiledRule) -> Self {
        Self { whole: OnceLock::from(rule), outline: OnceLock::new(), lowered: "" }
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
