//! The port to classic load balancers.

use super::{Result, Tags};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A classic load balancer, in the parts that brain sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct LoadBalancer {
    pub listeners: BTreeSet<Listener>,
    /// In the words of [`health_check_text`].
    pub health_check: String,
    pub draining: bool,
    /// Seconds that requests under way may take when an instance is taken out.
    #[serde(default = "draining_seconds")]
    pub draining_seconds: u32,
    pub cross_zone: bool,
    #[serde(default)]
    pub security_groups: BTreeSet<String>,
    #[serde(default)]
    pub subnets: BTreeSet<String>,
    pub tags: Tags,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Listener {
    /// Port of the load balancer.
    pub port: u16,
    /// Port of the instance.
    pub instance_port: u16,
    /// Certificate, for HTTPS.
    pub certificate: Option<String>,
}

/// How brain has instances checked: seconds between two checks, seconds that one may take, and checks in a row until an
/// instance counts as well, or as ill.
pub const CHECKS: [i32; 4] = [10, 5, 2, 2];

/// Seconds for which brain lets requests under way go on when an instance is taken out.
pub const DRAINING_SECONDS: u32 = 30;

fn draining_seconds() -> u32 {
    DRAINING_SECONDS
}

/// A health check in words.
#[must_use]
pub fn health_check_text(target: &str, checks: [i32; 4]) -> String {
    format!("{target} {}", checks_text(checks))
}

/// How often a health check is made, in words.
#[must_use]
pub fn checks_text([every, within, well, ill]: [i32; 4]) -> String {
    format!("every {every} s, answered within {within} s, well after {well}, ill after {ill}")
}

/// Classic load balancers.
#[async_trait]
pub trait BalancerPort: Send + Sync {
    /// The load balancer of that name.
    async fn load_balancer(&self, name: &str) -> Result<Option<LoadBalancer>>;
    /// Makes one.
    async fn create_load_balancer(
        &self,
        name: &str,
        listener: &Listener,
        subnets: &[String],
        group: &str,
        tags: &Tags,
    ) -> Result<()>;
    /// Adds a listener.
    async fn create_listener(&self, name: &str, listener: &Listener) -> Result<()>;
    /// Removes the listeners on these ports.
    async fn delete_listeners(&self, name: &str, ports: &BTreeSet<u16>) -> Result<()>;
    /// Gives it these security groups, and no others.
    async fn set_balancer_groups(&self, name: &str, groups: &[String]) -> Result<()>;
    /// Adds subnets.
    async fn attach_subnets(&self, name: &str, subnets: &[String]) -> Result<()>;
    /// Sets the health check to a target, `HTTP:6041/path` or `TCP:6041`, by [`CHECKS`].
    async fn set_health_check(&self, name: &str, target: &str) -> Result<()>;
    /// Switches connection draining, for [`DRAINING_SECONDS`], and cross-zone balancing on.
    async fn set_attributes(&self, name: &str) -> Result<()>;
    /// Instances in service.
    async fn healthy_instances(&self, name: &str) -> Result<BTreeSet<String>>;
}
