//! Traffic by weights: behind an application load balancer one rule forwards to two target groups, each a part of all
//! requests. A version's tasks are in one group, and the next version's in the other.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a project's load balancer. It is chosen when the project is created: AWS moves no service from one kind to
/// the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LoadBalancerKind {
    /// A classic one: a version's share is its share of healthy instances.
    #[default]
    Classic,
    /// An application load balancer: a version's share is the weight of its target group.
    Application,
}

impl LoadBalancerKind {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One of a project's two target groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the variants")]
pub enum TargetGroup {
    A,
    B,
}

impl TargetGroup {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// The letter at the end of its name.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::A => 'a',
            Self::B => 'b',
        }
    }
}

impl fmt::Display for TargetGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.letter())
    }
}

/// Weights of the two groups, as the rule has them. AWS allows 0 to 999 each; brain sets percents that add up to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Weights {
    pub a: u32,
    pub b: u32,
}

impl Weights {
    /// So many percent for a group, and the rest for the other.
    #[must_use]
    pub fn percent(group: TargetGroup, percent: u32) -> Self {
        let (own, rest) = (percent.min(100), 100 - percent.min(100));
        match group {
            TargetGroup::A => Self { a: own, b: rest },
            TargetGroup::B => Self { a: rest, b: own },
        }
    }

    /// The weight of a group.
    #[must_use]
    pub fn of(self, group: TargetGroup) -> u32 {
        match group {
            TargetGroup::A => self.a,
            TargetGroup::B => self.b,
        }
    }
}

impl fmt::Display for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a {}, b {}", self.a, self.b)
    }
}

/// By which group a service gets its requests, and what that group's part of them is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The group.
    pub group: TargetGroup,
    /// Its weight, as observed; 0 to 999.
    pub weight: u32,
}
