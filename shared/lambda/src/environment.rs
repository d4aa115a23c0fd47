//! A function's environment, read once, into whatever its configuration needs.

use std::collections::HashMap;
use std::str::FromStr;

/// A variable that is missing or malformed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// It is not set, or empty.
    #[error("the environment variable {name} is missing: it must hold {expects}")]
    Missing {
        /// Its name.
        name: &'static str,
        /// What it must hold.
        expects: &'static str,
    },
    /// It holds something else than it must.
    #[error("the environment variable {name} is malformed: it must hold {expects}")]
    Malformed {
        /// Its name.
        name: &'static str,
        /// What it must hold.
        expects: &'static str,
    },
}

/// The environment's variables. An empty variable counts as one that is not set.
#[derive(Debug, Default)]
pub struct Environment(HashMap<String, String>);

impl Environment {
    /// The environment of this process. Variables that are no Unicode are left out.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable, if it is set.
    pub fn optional(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The variables that are set and whose names begin so, with their values.
    pub fn beginning_with(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .keys()
            .filter(move |key| key.starts_with(name))
            .filter_map(|key| Some((key.as_str(), self.optional(key)?)))
    }

    /// The function's name in its account and region, under which it counts. Lambda sets it; outside of Lambda, the
    /// product's.
    pub fn function_name(&self) -> &str {
        self.optional("AWS_LAMBDA_FUNCTION_NAME").unwrap_or(crate::metrics::NAMESPACE)
    }

    /// A variable that must be set.
    pub fn required(&self, name: &'static str, expects: &'static str) -> Result<&str, EnvironmentError> {
        self.optional(name).ok_or(EnvironmentError::Missing { name, expects })
    }

    /// A variable's items, separated by commas; none if it is not set.
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.optional(name).unwrap_or_default().split(',').map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A number, or `default` if it is not set.
    pub fn number<T: FromStr>(
        &self,
        name: &'static str,
        expects: &'static str,
        default: T,
    ) -> Result<T, EnvironmentError> {
        match self.optional(name) {
            None => Ok(default),
            Some(value) => value.parse().map_err(|_| EnvironmentError::Malformed { name, expects }),
        }
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_malformed_is_named_with_what_it_must_hold() {
        let environment = Environment::from([("LIMIT", "many"), ("EMPTY", " "), ("LIST", "a, b,,")]);
        let missing = environment.required("EMPTY", "a table's name").unwrap_err().to_string();
        assert_eq!(missing, "the environment variable EMPTY is missing: it must hold a table's name");
        let malformed = environment.number("LIMIT", "a number of MiB", 1_u64).unwrap_err().to_string();
        assert_eq!(malformed, "the environment variable LIMIT is malformed: it must hold a number of MiB");
        assert_eq!(environment.number("ABSENT", "a number", 7_u64), Ok(7));
        assert_eq!(environment.list("LIST"), ["a", "b"]);
    }
}
