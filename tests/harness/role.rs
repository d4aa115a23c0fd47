//! A role's inline policies: what they allow, and the same with one action less.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::aws::Aws;
use super::xml;

/// A role, and its policies as they were when it was read.
pub struct Role {
    aws: Aws,
    name: String,
    policies: Vec<(String, Value)>,
}

impl Role {
    /// Reads a role's policies.
    pub fn read(aws: &Aws, name: &str) -> Result<Self> {
        let listed = aws.query("iam", "ListRolePolicies", &[("RoleName", name)])?;
        let names = xml::blocks(&listed, "member").into_iter().map(str::to_owned);
        let policies = names.map(|policy| {
            let answer = aws.query("iam", "GetRolePolicy", &[("RoleName", name), ("PolicyName", &policy)])?;
            let document = decoded(&xml::text(&answer, "PolicyDocument"));
            let document = serde_json::from_str(&document)
                .with_context(|| format!("the policy {policy} of {name} is no JSON: {document}"))?;
            Ok((policy, document))
        });
        let policies: Vec<(String, Value)> = policies.collect::<Result<_>>()?;
        Ok(Self { aws: aws.clone(), name: name.to_owned(), policies })
    }

    /// Every action that some statement allows, as it is written there.
    pub fn actions(&self) -> BTreeSet<String> {
        let statements = self.policies.iter().flat_map(|(_, document)| one_or_many(&document["Statement"]));
        let allowed = statements.filter(|statement| statement["Effect"] == "Allow");
        allowed
            .flat_map(|statement| one_or_many(&statement["Action"]))
            .filter_map(|action| action.as_str().map(str::to_owned))
            .collect()
    }

    /// Does `work` while no statement allows `action`. Whatever comes of it, the policies are as before afterwards.
    pub fn without<T>(&self, action: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        ensure!(self.actions().contains(action), "{} does not hold {action}", self.name);
        for (policy, document) in &self.policies {
            self.put(policy, &lessened(document, action))?;
        }
        let outcome = work();
        for (policy, document) in &self.policies {
            self.put(policy, document)?;
        }
        outcome
    }

    fn put(&self, policy: &str, document: &Value) -> Result<()> {
        let text = document.to_string();
        let call = [("RoleName", self.name.as_str()), ("PolicyName", policy), ("PolicyDocument", &text)];
        self.aws.query("iam", "PutRolePolicy", &call).map(|_| ())
    }
}

/// The policy without `action`, and without a statement that allowed nothing else.
fn lessened(document: &Value, action: &str) -> Value {
    let statements = one_or_many(&document["Statement"]).into_iter().filter_map(|statement| {
        let left: Vec<Value> = one_or_many(&statement["Action"]).into_iter().filter(|one| *one != action).collect();
        let mut statement = statement;
        statement["Action"] = Value::Array(left);
        (statement["Action"] != Value::Array(Vec::new())).then_some(statement)
    });
    let statements = statements.collect();
    let mut document = document.clone();
    document["Statement"] = statements;
    document
}

/// Policies write a list of one as the one.
fn one_or_many(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(many) => many.clone(),
        Value::Null => Vec::new(),
        one => vec![one.clone()],
    }
}

/// Policy documents come percent-encoded (<https://docs.aws.amazon.com/IAM/latest/APIReference/API_GetRolePolicy.html>).
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(value) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(value);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
