//! The port to application load balancers: target groups, a listener ("front"), and one rule whose weights say which group
//! gets how many of all requests.

use super::{CHECKS, Result, Tags};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// An application load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Application {
    pub arn: String,
    #[serde(default)]
    pub security_groups: BTreeSet<String>,
    #[serde(default)]
    pub subnets: BTreeSet<String>,
    pub tags: Tags,
}

/// A target group, in the parts that brain sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Targets {
    pub arn: String,
    pub check: TargetCheck,
    /// As [`CHECKS`] has it.
    #[serde(default = "checks")]
    pub checks: [i32; 4],
    /// Seconds that requests under way may take when a target is taken out.
    pub draining_seconds: u32,
    pub tags: Tags,
}

fn checks() -> [i32; 4] {
    CHECKS
}

/// Health check of a target group, by HTTP at the port of each target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetCheck {
    /// Path.
    pub path: String,
    /// Status codes that count as healthy, "200" or "200-499".
    pub codes: String,
}

impl fmt::Display for TargetCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {} answered by {}", self.path, self.codes)
    }
}

/// What a new target group is made of.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct NewTargets {
    pub name: String,
    pub vpc: String,
    /// Port of the targets.
    pub port: u16,
    pub check: TargetCheck,
    pub tags: Tags,
}

/// A listener of an application load balancer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Front {
    /// ARN.
    pub arn: String,
    /// Port of the load balancer.
    pub port: u16,
    /// Certificate, for HTTPS.
    pub certificate: Option<String>,
    /// Tags.
    pub tags: Tags,
}

/// To which target groups a rule forwards: names and weights, 0 to 999.
pub type Forward = BTreeMap<String, u32>;

/// A rule of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRule {
    /// ARN.
    pub arn: String,
    /// Its place, 1 to 50,000: lower ones are asked first. `None`: the listener's default.
    pub priority: Option<u32>,
    /// Whether it takes every request that comes to it.
    pub everything: bool,
    /// To where it forwards; empty for one that does something else.
    pub forward: Forward,
    /// Tags.
    pub tags: Tags,
}

/// Application load balancers.
#[async_trait]
pub trait ApplicationPort: Send + Sync {
    /// The load balancer of that name.
    async fn application(&self, name: &str) -> Result<Option<Application>>;
    /// Makes one, in one subnet of each zone.
    async fn create_application(&self, name: &str, subnets: &[String], group: &str, tags: &Tags) -> Result<()>;
    /// Gives one, by its ARN, these security groups, and no others.
    async fn set_application_groups(&self, arn: &str, groups: &[String]) -> Result<()>;
    /// Moves one, by its ARN, to these subnets, of one zone each.
    async fn set_application_subnets(&self, arn: &str, subnets: &[String]) -> Result<()>;
    /// The target group of that name.
    async fn targets(&self, name: &str) -> Result<Option<Targets>>;
    /// Makes one.
    async fn create_targets(&self, targets: &NewTargets) -> Result<()>;
    /// Sets a group's health check, by [`CHECKS`].
    async fn set_target_check(&self, name: &str, check: &TargetCheck) -> Result<()>;
    /// Sets how long requests under way may take when a target is taken out.
    async fn set_target_draining(&self, name: &str, seconds: u32) -> Result<()>;
    /// Targets of a group that are healthy: EC2 instances.
    async fn healthy_targets(&self, name: &str) -> Result<BTreeSet<String>>;
    /// Listeners of a load balancer, by its name.
    async fn fronts(&self, balancer: &str) -> Result<Vec<Front>>;
    /// Makes one that answers 503 to what no rule takes.
    async fn create_front(&self, balancer: &str, port: u16, certificate: Option<&str>, tags: &Tags) -> Result<()>;
    /// Sets port and certificate of a listener.
    async fn set_front(&self, front: &str, port: u16, certificate: Option<&str>) -> Result<()>;
    /// Removes a listener, with its rules.
    async fn delete_front(&self, front: &str) -> Result<()>;
    /// Rules of a listener.
    async fn rules(&self, front: &str) -> Result<Vec<RequestRule>>;
    /// The rule behind that load balancer which is tagged as the project's, as it is now.
    async fn rule(&self, balancer: &str, project: &str) -> Result<Option<RequestRule>>;
    /// Makes a rule that takes every request.
    async fn create_rule(&self, front: &str, priority: u32, forward: &Forward, tags: &Tags) -> Result<()>;
    /// Sets to where a rule forwards, and that it takes every request.
    async fn set_forward(&self, rule: &str, forward: &Forward) -> Result<()>;
}
