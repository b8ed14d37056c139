//! Names that people and agents choose, each its own type.

use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// Longest project id. AWS resource names are made of it and of a suffix of at most 20 characters.
pub const PROJECT_ID_MAX: usize = 40;
/// Longest agent name.
pub const AGENT_NAME_MAX: usize = 100;

/// A name that breaks the rule of its kind.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct InvalidId(&'static str);

/// Id of a project: 1 to 40 lower-case letters, digits and hyphens, a letter first, no hyphen last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProjectId(Arc<str>);

impl ProjectId {
    /// Checks and takes the text.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        let ok = (1..=PROJECT_ID_MAX).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId(
                "a project id is 1 to 40 lower-case letters, digits and hyphens, begins with a letter and does not end with a hyphen",
            ))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Name of a watcher or deployer: 1 to 100 printable ASCII characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AgentName(Arc<str>);

impl AgentName {
    /// Checks and takes the text.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        if (1..=AGENT_NAME_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId("an agent name is 1 to 100 printable ASCII characters without spaces"))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
text_conversions!(ProjectId, AgentName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_id_that_aws_names_cannot_hold_is_refused() {
        for bad in ["", "User", "1user", "user-", "us_er", "us er", "ü", &"a".repeat(41)] {
            assert!(ProjectId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["u", "user", "splashpage-api", &"a".repeat(40)] {
            assert!(ProjectId::parse(good).is_ok(), "{good:?} was refused");
        }
    }
}
