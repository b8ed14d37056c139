//! A project's definition: what a person writes, checked whole, and what brain keeps.

use crate::{
    dependency::Dependency,
    gate::Gate,
    id::ProjectId,
    image::ImageRepository,
    names::hash_hex,
    policy::{OnFailure, Preset, RolloutPolicy},
    traffic::LoadBalancerKind,
    version::VersionPart,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

mod rules;

/// Grace period of a target that names none: by then most programs answer. AWS's own default is none, by which ECS ends a task
/// after two checks that fail, 20 s. What it costs: only tasks that ECS has ended count as failed, so where a version never
/// answers, each of the three that a step may lose by default lives 40 s longer. That is noticed two minutes later, and still
/// within the ten of a step's timeout. Tasks that crash or cannot be pulled end, and are noticed, as soon as ever.
pub const GRACE_PERIOD_DEFAULT: Duration = Duration::from_secs(60);
/// Longest grace period.
pub const GRACE_PERIOD_MAX: Duration = Duration::from_hours(2);

/// One fault of a request, by the path of its field as the API names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `project.target.host_port`.
    pub field: String,
    /// What is wrong, and what would be right.
    pub description: String,
}

/// A project as a person defines it: nothing is checked, nothing is filled in.
#[derive(Debug, Clone, Default)]
pub struct ProjectDraft {
    /// Project id, without "projects/".
    pub id: String,
    /// Clone address.
    pub git_url: String,
    /// Branch; empty: master.
    pub branch: String,
    /// Part of the version that every head is tagged with; `None`: people tag.
    pub auto_tag: Option<VersionPart>,
    /// Image repository.
    pub image_repository: String,
    /// The AWS side; `None` when it was left out.
    pub target: Option<TargetDraft>,
    /// The rollout policy; `None`: the default.
    pub rollout_policy: Option<RolloutPolicyDraft>,
    /// Projects that have to run first.
    pub depends_on: Vec<DependencyDraft>,
    /// Who asks for deployments.
    pub deploy: DeployMode,
}

/// [`Dependency`] as a person defines it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Dependency`")]
pub struct DependencyDraft {
    /// Project id, without "projects/".
    pub project: String,
    pub version: String,
}

/// [`Target`] as a person defines it; zero and empty mean "left out".
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Target`")]
pub struct TargetDraft {
    pub region: String,
    pub host_port: u32,
    pub container_port: u32,
    pub desired_count: u32,
    pub max_instances: u32,
    pub instance_type: String,
    pub memory_mib: u32,
    pub cpu_units: u32,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub listener_port: u32,
    pub certificate_arn: String,
    pub health_check_path: String,
    pub vpc_id: String,
    pub subnet_ids: Vec<String>,
    pub services_security_group_id: String,
    pub ssh_cidrs: Vec<String>,
    pub instance_profile: String,
    pub ami_id: String,
    pub ecs_agent_settings: BTreeMap<String, String>,
    pub registry_credential: String,
    pub role_arn: String,
    pub launch_kind: LaunchKind,
    pub load_balancer_kind: LoadBalancerKind,
    /// Milliseconds; `None`: the default. Negative ones are refused.
    pub health_check_grace_period_ms: Option<i64>,
}

/// [`RolloutPolicy`] as a person defines it. What is left out is as the preset has it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `RolloutPolicy`")]
pub struct RolloutPolicyDraft {
    pub preset: Option<Preset>,
    pub steps: Vec<RolloutStepDraft>,
    pub floor_percent: Option<u32>,
    pub surge: Option<u32>,
    /// Milliseconds; `None`: the default. Negative ones are refused.
    pub step_timeout_ms: Option<i64>,
    pub max_task_failures: u32,
    pub on_failure: Option<OnFailure>,
    pub keep_services: Option<u32>,
    pub keep_task_definitions: Option<u32>,
}

/// [`crate::policy::RolloutStep`] as a person defines it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `RolloutStep`")]
pub struct RolloutStepDraft {
    pub size: Option<SizeDraft>,
    /// Milliseconds. Negative ones are refused.
    pub bake_ms: i64,
    pub gates: Vec<GateDraft>,
    pub hold: bool,
}

/// [`crate::gate::Gate`] as a person defines it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Gate`")]
pub struct GateDraft {
    pub name: String,
    pub source: Option<GateSourceDraft>,
    pub condition: String,
    /// 0: the default.
    pub failures: u32,
}

/// What a gate reads, as a person defines it.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the fields are those of `Check`")]
pub enum GateSourceDraft {
    Prometheus {
        server: String,
        query: String,
        old_query: String,
        sample_query: String,
        minimum_samples: u32,
        /// Milliseconds; `None`: the default.
        window_ms: Option<i64>,
    },
    Alarms {
        names: Vec<String>,
    },
    Metrics(MetricsDraft),
    Tasks(TasksDraft),
}

/// [`crate::gate::tasks::Tasks`] as a person defines it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Tasks`")]
pub struct TasksDraft {
    pub figure: String,
    /// Milliseconds; `None`: the default.
    pub window_ms: Option<i64>,
}

/// [`crate::gate::metrics::Metrics`] as a person defines it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Metrics`")]
pub struct MetricsDraft {
    pub metrics: Vec<MetricDraft>,
    /// Empty: the only metric.
    pub figure: String,
    pub sample_figure: String,
    pub minimum_samples: u32,
    /// Milliseconds; `None`: the default.
    pub window_ms: Option<i64>,
    /// Milliseconds; `None`: the default.
    pub period_ms: Option<i64>,
    /// Milliseconds; `None`: the default.
    pub delay_ms: Option<i64>,
}

/// [`crate::gate::metrics::Metric`] as a person defines it.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the fields are those of `Metric`")]
pub struct MetricDraft {
    pub id: String,
    pub namespace: String,
    pub name: String,
    pub dimensions: BTreeMap<String, String>,
    pub statistic: String,
    pub zero_when_missing: bool,
}

/// [`crate::policy::Size`] as a person defines it.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "the variants are those of `Size`")]
pub enum SizeDraft {
    Percent(u32),
    Count(u32),
}

/// A project's definition, checked and complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectSpec {
    /// Project id.
    pub id: ProjectId,
    /// Git repository and branch.
    pub source: Source,
    /// Image repository.
    pub image_repository: ImageRepository,
    /// The AWS side.
    pub target: Target,
    /// How traffic moves.
    pub rollout_policy: RolloutPolicy,
    /// Projects that have to run first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Dependency>,
    /// Who asks for deployments.
    #[serde(default, skip_serializing_if = "DeployMode::is_default")]
    pub deploy: DeployMode,
}

/// Who asks for deployments. By default people do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DeployMode {
    /// Brain deploys the newest version as soon as it has an image.
    pub automatic: bool,
}

impl DeployMode {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A git repository and its branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Clone address over HTTP(S) or of a local path, without credentials.
    pub git_url: String,
    /// Branch.
    pub branch: String,
    /// Part of the version that every head is tagged with; `None`: people tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_tag: Option<VersionPart>,
}

/// The AWS side of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// AWS region.
    pub region: String,
    /// Port on the instance, unique among the projects of one account and region.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Healthy tasks at full strength, one per instance.
    pub desired_count: u32,
    /// The group's upper bound.
    pub max_instances: u32,
    /// EC2 instance type.
    pub instance_type: String,
    /// Memory of a task, MiB.
    pub memory_mib: u32,
    /// CPU units of a task; 0: no reservation.
    pub cpu_units: u32,
    /// Command; empty: the image's own.
    pub command: Vec<String>,
    /// Environment of the container.
    pub environment: BTreeMap<String, String>,
    /// Port of the load balancer.
    pub listener_port: u16,
    /// Certificate for HTTPS; `None`: HTTP.
    pub certificate_arn: Option<String>,
    /// Path of the health check; `None`: a TCP connection.
    pub health_check_path: Option<String>,
    /// VPC; `None`: the default one.
    pub vpc_id: Option<String>,
    /// Subnets; empty: the VPC's default ones.
    pub subnet_ids: Vec<String>,
    /// Security group of all services; `None`: none.
    pub services_security_group_id: Option<String>,
    /// Networks that may connect by SSH; empty: the VPC's own.
    pub ssh_cidrs: Vec<String>,
    /// Instance profile.
    pub instance_profile: String,
    /// Machine image; `None`: AWS's ECS-optimized one.
    pub ami_id: Option<String>,
    /// Further lines of /etc/ecs/ecs.config.
    pub ecs_agent_settings: BTreeMap<String, String>,
    /// Name of the registry credential at the deployer; `None`: public images.
    pub registry_credential: Option<String>,
    /// Role that the deployer takes; `None`: its own credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// What instances are launched from.
    #[serde(default)]
    pub launch_kind: LaunchKind,
    /// Kind of the load balancer.
    #[serde(default, skip_serializing_if = "LoadBalancerKind::is_default")]
    pub load_balancer_kind: LoadBalancerKind,
    /// Time after a task's start in which ECS does not end it for its health checks, in whole seconds.
    #[serde(default = "grace_period")]
    pub health_check_grace_period: Duration,
}

/// Targets that were stored before they said how long their tasks are spared.
fn grace_period() -> Duration {
    GRACE_PERIOD_DEFAULT
}

/// What instances are launched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum LaunchKind {
    /// A launch template.
    #[default]
    Template,
    /// A launch configuration, which AWS lets only older accounts make.
    Configuration,
}

impl ProjectSpec {
    /// A short text that changes whenever the definition does.
    #[must_use]
    pub fn etag(&self) -> String {
        // `Debug` of a struct that holds no hash maps is the same for the same value.
        let mut etag = hash_hex(&format!("{self:?}"));
        etag.truncate(16);
        etag
    }

    /// Whether watchers have to look elsewhere by the other definition.
    #[must_use]
    pub fn is_polled_otherwise(&self, other: &Self) -> bool {
        (&self.source, &self.image_repository) != (&other.source, &other.image_repository)
    }
}

/// What two addresses of one git repository have in common: host and path, without ".git", in lower case. `None` for what
/// is no address.
#[must_use]
pub fn repository_key(address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    let path = url.path().trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{}{port}/{path}", url.host_str().unwrap_or_default()).to_lowercase())
}

impl ProjectDraft {
    /// Checks the whole definition and fills in what was left out. `claim_port` is asked for the host port: for the given
    /// one, or for a free one when none was given. All faults are answered at once.
    pub fn validate(
        self,
        claim_port: impl FnOnce(Option<u16>) -> Result<u16, String>,
    ) -> Result<ProjectSpec, Vec<Violation>> {
        rules::check(self, claim_port)
    }
}

impl RolloutPolicyDraft {
    /// Checks a policy for one deployment to `target`.
    pub fn validate_for(self, target: &Target) -> Result<RolloutPolicy, Vec<Violation>> {
        rules::check_override(self, target)
    }
}

impl GateDraft {
    /// Checks a gate by itself.
    pub fn validate(self) -> Result<Gate, Vec<Violation>> {
        rules::check_gate(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_repository_have_one_key() {
        let key = repository_key("https://github.com/FlowCommerce/User.git").unwrap();
        assert_eq!(key, "github.com/flowcommerce/user");
        assert_eq!(repository_key("https://github.com/flowcommerce/user/"), Some(key));
        assert_eq!(repository_key("http://127.0.0.1:80/user").as_deref(), Some("127.0.0.1/user"));
        assert_eq!(repository_key("http://127.0.0.1:81/user").as_deref(), Some("127.0.0.1:81/user"));
        assert_eq!(repository_key("user"), None);
    }
}
