//! The ports to the cloud: what the steps need to see and do, in their own words.
//!
//! Everything that reads may be repeated at will. Everything that acts is made so that doing it twice is harmless, or is
//! guarded by what its step observes before.

use async_trait::async_trait;
use brain_core::{
    gate::metrics::{Ask, Points},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use thiserror::Error;

mod application;
mod balancer;
mod group;
mod instances;
mod network;
mod tagging;

pub use application::{Application, ApplicationPort, Forward, Front, NewTargets, RequestRule, TargetCheck, Targets};
pub use balancer::{BalancerPort, CHECKS, DRAINING_SECONDS, Listener, LoadBalancer, checks_text, health_check_text};
pub use group::{BY_EC2, Group, GroupPort, Launch, LaunchSettings, LaunchTemplate, NewGroup};
pub use instances::InstancePort;
pub use network::{EVERY_PROTOCOL, Network, NetworkPort, Rule, SecurityGroup};
pub use tagging::{TagPort, Tagged};

/// Tag with the project's id, on everything that brain makes.
pub const TAG_PROJECT: &str = "brain:project";
/// Tag with the version, on task definitions and services.
pub const TAG_VERSION: &str = "brain:version";
/// Tag that says who made it.
pub const TAG_MANAGED_BY: &str = "brain:managed-by";

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// A call to the cloud that did not succeed, or whose success is not known.
#[derive(Debug, Clone, Error)]
#[error("{action}: {code}: {message}")]
pub struct CloudError {
    /// Name of the call.
    pub action: &'static str,
    /// AWS's error code, or what became of the connection.
    pub code: String,
    /// AWS's message.
    pub message: String,
    /// What to do about it.
    pub kind: ErrorKind,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The limits of the account: try again, more slowly.
    Throttled,
    /// It was not sent, to stay within those limits: try again.
    Limited,
    /// It may have been done or not: look, and try again.
    Transient,
    /// It will fail again; a person has to change something.
    Terminal,
}

impl ErrorKind {
    /// Its name, for machines.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Limited => "limited",
            Self::Transient => "transient",
            Self::Terminal => "terminal",
        }
    }
}

tokio::task_local! {
    static IDLE: ();
}

/// Calls made in `look` are for observation that nobody waits for: an adapter lets them use a small part of its limits, and
/// everybody else go first.
pub async fn idle<T>(look: impl Future<Output = T>) -> T {
    IDLE.scope((), look).await
}

/// Whether this call is for observation that nobody waits for.
#[must_use]
pub fn is_idle() -> bool {
    IDLE.try_with(|()| ()).is_ok()
}

/// Result of a call.
pub type Result<T, E = CloudError> = std::result::Result<T, E>;

/// An instance that has joined a cluster.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Host {
    pub arn: String,
    pub instance: String,
    pub status: HostStatus,
    pub connected: bool,
    pub tasks: u32,
    /// All that it offers to tasks.
    pub memory_mib: u32,
    pub cpu_units: u32,
    /// What is left of that.
    pub memory_left_mib: u32,
    pub cpu_left_units: u32,
    /// TCP ports in use, the host's own among them.
    pub ports: BTreeSet<u16>,
}

/// What a cluster holds, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct ClusterCounts {
    pub name: String,
    pub services: u32,
    pub running: u32,
    pub pending: u32,
    pub hosts: u32,
}

/// Whether tasks are placed on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as ECS names them")]
pub enum HostStatus {
    Active,
    Draining,
    Other,
}

/// A task definition, in the parts that brain sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct TaskDefinition {
    pub family: String,
    pub container: String,
    pub image: String,
    pub host_port: u16,
    pub container_port: u16,
    pub memory_mib: u32,
    pub cpu_units: u32,
    pub command: Vec<String>,
    pub environment: BTreeMap<String, String>,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Cluster {
    pub arn: String,
    pub tags: Tags,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Service {
    pub name: String,
    pub arn: String,
    pub status: ServiceStatus,
    pub desired: u32,
    pub running: u32,
    pub pending: u32,
    pub task_definition: String,
    /// Name of the target group that it is in; `None` behind a classic load balancer.
    pub target_group: Option<String>,
    #[serde(default)]
    pub health_check_grace_seconds: u32,
    pub tags: Tags,
    /// ECS's newest events, newest first.
    pub events: Vec<ServiceEvent>,
}

/// What ECS says of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct ServiceEvent {
    /// Milliseconds since 1970.
    pub at_ms: i64,
    pub message: String,
}

/// Life of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as ECS names them")]
pub enum ServiceStatus {
    Active,
    Draining,
    Inactive,
}

/// What a new service is made of.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct NewService {
    pub cluster: String,
    pub name: String,
    pub task_definition: String,
    pub behind: Behind,
    pub container: String,
    pub container_port: u16,
    pub health_check_grace_seconds: u32,
    pub client_token: String,
    pub tags: Tags,
}

/// What sends requests to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "by name")]
pub enum Behind {
    LoadBalancer(String),
    TargetGroup(String),
}

impl Behind {
    /// The target group.
    #[must_use]
    pub fn target_group(&self) -> Option<&String> {
        match self {
            Self::LoadBalancer(_) => None,
            Self::TargetGroup(name) => Some(name),
        }
    }
}

/// A task.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Task {
    pub id: String,
    pub service: String,
    pub running: bool,
    pub host: Option<String>,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    pub stopped: Option<Stopped>,
    /// Whether it has really ended.
    pub ended: bool,
}

impl Task {
    /// Whether it is on its way out and not gone yet.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stopped.is_some() && !self.ended
    }
}

/// How a task stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Stopped {
    /// When it ended or was told to, milliseconds since 1970.
    pub at_ms: i64,
    pub code: String,
    pub reason: String,
    pub exit_code: Option<i32>,
    pub container_reason: Option<String>,
}

/// An alarm.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct Alarm {
    pub name: String,
    pub state: AlarmState,
    /// Since when it is in that state; `None` where that is not known.
    pub since: Option<Timestamp>,
    /// Time that one evaluation looks back on; `None` for one that is composed of others.
    pub window: Option<Duration>,
}

/// State of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as CloudWatch names them")]
pub enum AlarmState {
    Ok,
    Alarm,
    InsufficientData,
}

/// ECS.
#[async_trait]
pub trait ContainerPort: Send + Sync {
    /// The cluster of that name.
    async fn cluster(&self, name: &str) -> Result<Option<Cluster>>;
    /// What these clusters hold, as far as they exist: the cheapest look there is at many of them.
    async fn cluster_counts(&self, names: &[String]) -> Result<Vec<ClusterCounts>>;
    /// Makes one.
    async fn create_cluster(&self, name: &str, tags: &Tags) -> Result<()>;
    /// Hosts of the cluster.
    async fn hosts(&self, cluster: &str) -> Result<Vec<Host>>;
    /// How many hosts the cluster has.
    async fn host_count(&self, cluster: &str) -> Result<usize>;
    /// Those of these hosts that there are.
    async fn hosts_named(&self, cluster: &str, arns: &BTreeSet<String>) -> Result<Vec<Host>>;
    /// EC2 instances by host; a host never changes its instance.
    async fn instances_of(&self, cluster: &str, hosts: &BTreeSet<String>) -> Result<BTreeMap<String, String>>;
    /// Lets a host drain, or takes it back; answers it.
    async fn set_draining(&self, cluster: &str, host: &str, draining: bool) -> Result<Host>;
    /// The newest revision of the family that equals `definition`, among the newest ones.
    async fn find_task_definition(&self, definition: &TaskDefinition) -> Result<Option<String>>;
    /// Registers a revision.
    async fn register_task_definition(&self, definition: &TaskDefinition, tags: &Tags) -> Result<()>;
    /// Active revisions of the family, newest first.
    async fn task_definitions(&self, family: &str) -> Result<Vec<String>>;
    /// A revision and its tags.
    async fn task_definition(&self, arn: &str) -> Result<(TaskDefinition, Tags)>;
    /// Takes a revision out of use. Tasks that run with it run on.
    async fn deregister_task_definition(&self, arn: &str) -> Result<()>;
    /// Services of the cluster as they are now; none for a cluster that does not exist. The list of their names may be some
    /// minutes old, as far as others make services; those in `also` are looked for in any case.
    async fn services(&self, cluster: &str, also: &[String]) -> Result<Vec<Service>>;
    /// The service of that name.
    async fn service(&self, cluster: &str, name: &str) -> Result<Option<Service>>;
    /// Makes one at desired count 0; answers it.
    async fn create_service(&self, service: &NewService) -> Result<Service>;
    /// Deletes one whose desired count is 0; one that wants tasks is refused. Its name is free once it no longer drains.
    async fn delete_service(&self, cluster: &str, name: &str) -> Result<()>;
    /// Sets the desired count; answers the service, its tags left out.
    async fn set_desired(&self, cluster: &str, service: &str, desired: u32) -> Result<Service>;
    /// Sets the task definition.
    async fn set_task_definition(&self, cluster: &str, service: &str, definition: &str) -> Result<()>;
    /// Sets the time after a task's start in which ECS does not end it for its health checks. Tasks stay as they are.
    async fn set_health_check_grace(&self, cluster: &str, service: &str, seconds: u32) -> Result<()>;
    /// Moves a service to another target group, by its name. Only for one that has no task: others would be replaced.
    async fn set_target_group(&self, cluster: &str, service: &str, group: &str, container: (&str, u16)) -> Result<()>;
    /// Tasks of a service, or of the whole cluster: those that are to run, or those that are not.
    async fn tasks(&self, cluster: &str, service: Option<&str>, stopped: bool) -> Result<Vec<Task>>;
}

/// CloudWatch.
#[async_trait]
pub trait WatchPort: Send + Sync {
    /// The alarms of these names that exist, of any kind.
    async fn alarms(&self, names: &[String]) -> Result<Vec<Alarm>>;
    /// The points of each query, in the queries' order.
    async fn metrics(&self, ask: &Ask) -> Result<Vec<Points>>;
}

/// All of it.
pub trait Cloud:
    NetworkPort + InstancePort + BalancerPort + ApplicationPort + GroupPort + ContainerPort + WatchPort + TagPort
{
}
impl<T: NetworkPort + InstancePort + BalancerPort + ApplicationPort + GroupPort + ContainerPort + WatchPort + TagPort>
    Cloud for T
{
}
