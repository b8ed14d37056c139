//! The port to launch templates and auto-scaling groups.

use super::{Result, Tags};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What instances are launched from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct LaunchSettings {
    pub image: String,
    pub instance_type: String,
    pub instance_profile: String,
    pub security_groups: Vec<String>,
    /// Base64.
    pub user_data: String,
}

/// A launch template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct LaunchTemplate {
    pub id: String,
    pub tags: Tags,
    pub default_version: i64,
    /// The latest version and its settings.
    pub latest: (i64, LaunchSettings),
}

/// An auto-scaling group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Group {
    pub desired: u32,
    #[serde(default)]
    pub min: u32,
    pub max: u32,
    pub instances: Vec<String>,
    /// Those of them that are not in service: on their way in or out, or standing by.
    #[serde(default)]
    pub passing: BTreeSet<String>,
    pub subnets: Vec<String>,
    pub rebalances: bool,
    /// By what its instances are found ill, as AWS names it.
    #[serde(default = "by_ec2")]
    pub health_check: String,
    /// Classic load balancers that its instances are registered with.
    #[serde(default)]
    pub load_balancers: Vec<String>,
    pub tags: Tags,
    /// What its instances are launched from; `None` where that is neither template nor configuration.
    pub launch: Option<Launch>,
    /// Id of that template: another template of the same name is not the group's.
    pub template_id: Option<String>,
}

/// How brain has a group's instances checked: by EC2 alone. One without a task is not ill, and one whose task is ill is ECS's
/// business.
pub const BY_EC2: &str = "EC2";

fn by_ec2() -> String {
    BY_EC2.to_owned()
}

/// What instances are launched from, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as AWS names them")]
pub enum Launch {
    Template(String),
    Configuration(String),
}

/// What a new group is made of.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct NewGroup {
    pub name: String,
    pub launch: Launch,
    /// Classic load balancer that its instances are attached to; `None`: ECS registers them with a target group.
    pub load_balancer: Option<String>,
    pub subnets: Vec<String>,
    pub desired: u32,
    pub max: u32,
    pub tags: Tags,
}

/// Launch templates and auto-scaling groups.
#[async_trait]
pub trait GroupPort: Send + Sync {
    /// AWS's ECS-optimized machine image.
    async fn ecs_image(&self) -> Result<String>;
    /// The launch template of that name.
    async fn launch_template(&self, name: &str) -> Result<Option<LaunchTemplate>>;
    /// Makes one.
    async fn create_launch_template(&self, name: &str, settings: &LaunchSettings, tags: &Tags) -> Result<()>;
    /// Adds a version to one.
    async fn create_launch_template_version(&self, id: &str, settings: &LaunchSettings) -> Result<()>;
    /// Makes a version the default.
    async fn set_default_version(&self, id: &str, version: i64) -> Result<()>;
    /// The launch configuration of that name.
    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchSettings>>;
    /// Makes one.
    async fn create_launch_configuration(&self, name: &str, settings: &LaunchSettings) -> Result<()>;
    /// Sets what a group launches its instances from, from the next one on.
    async fn set_group_launch(&self, group: &str, launch: &Launch) -> Result<()>;
    /// The group of that name.
    async fn group(&self, name: &str) -> Result<Option<Group>>;
    /// Makes one.
    async fn create_group(&self, group: &NewGroup) -> Result<()>;
    /// Raises the upper bound.
    async fn set_group_max(&self, name: &str, max: u32) -> Result<()>;
    /// Has the group register its instances with a classic load balancer, those too that are there already.
    async fn attach_load_balancer(&self, name: &str, balancer: &str) -> Result<()>;
    /// Lets a group have no instance at the least, and has them checked [`BY_EC2`]; where subnets are given, it has these.
    async fn settle_group(&self, name: &str, subnets: &[String]) -> Result<()>;
    /// Keeps the group from moving instances between zones, which would end live tasks.
    async fn suspend_rebalancing(&self, name: &str) -> Result<()>;
    /// Sets the number of instances.
    async fn set_group_desired(&self, name: &str, desired: u32) -> Result<()>;
    /// Ends one instance and lowers the number by it.
    async fn terminate(&self, instance: &str) -> Result<()>;
    /// Ends one instance, in whose place the group starts another.
    async fn replace(&self, instance: &str) -> Result<()>;
}
