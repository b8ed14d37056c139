//! What there is in the account, and its control loop: scheduler, agents, scaling and health checks.

use super::{Chance, Pace};
use crate::cloud::{
    Application, Front, Group, HostStatus, LaunchSettings, LaunchTemplate, LoadBalancer, RequestRule, SecurityGroup,
    Service, ServiceStatus, Stopped, Tags, Targets, TaskDefinition,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

mod schedule;

/// Time for which stopped tasks are remembered.
const REMEMBERED_MS: i64 = 3_600_000;
/// Requests that a healthy task answers in a metric's period.
const REQUESTS: f64 = 60.0;
/// Memory of an instance that is too small for any task.
const SMALL_MIB: u32 = 256;
/// Time for which a task that leaks is well.
const LEAKED_MS: i64 = 45_000;
/// Tasks that turn sick do so one after the other, so far apart.
const APART_MS: i64 = 5_000;
/// When an instance joins whose boot has failed.
const NEVER_MS: i64 = i64::MAX;

/// How an image's tasks behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the variants")]
pub enum Behaviour {
    #[default]
    Good,
    Crashes,
    NeverHealthy,
    CannotBePulled,
    /// Healthy to whoever asks for its health, while half of its answers are errors.
    Errs,
    /// Healthy for a while, until it is killed for its memory.
    Leaks,
}

/// A service, as it is shown and what else is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct ServiceState {
    pub shown: Service,
    pub cluster: String,
    pub client_token: String,
    /// When it was deleted.
    pub deleted_ms: Option<i64>,
}

/// An instance, with its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct HostState {
    pub arn: String,
    pub cluster: String,
    #[serde(default)]
    pub launched_ms: i64,
    pub joins_ms: i64,
    pub joined: bool,
    pub status: HostStatus,
    /// Whether it is too small for any task, as one that somebody else has started may be.
    #[serde(default)]
    pub small: bool,
}

/// Life of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the variants")]
pub enum TaskStage {
    Pending,
    Running,
    Stopping,
    Ended,
}

/// A task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct TaskState {
    pub service: String,
    pub instance: String,
    pub stage: TaskStage,
    pub since_ms: i64,
    pub created_ms: i64,
    pub behaviour: Behaviour,
    pub healthy: bool,
    pub stopped: Option<Stopped>,
}

/// Everything in the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "named by the fields")]
pub struct World {
    pub security_groups: BTreeMap<String, SecurityGroup>,
    pub balancers: BTreeMap<String, LoadBalancer>,
    /// Application load balancers by name.
    pub applications: BTreeMap<String, Application>,
    /// Target groups by name.
    pub targets: BTreeMap<String, Targets>,
    /// Listeners by ARN, each with its load balancer.
    pub fronts: BTreeMap<String, (String, Front)>,
    /// Rules by ARN, each with its listener.
    pub rules: BTreeMap<String, (String, RequestRule)>,
    pub templates: BTreeMap<String, LaunchTemplate>,
    pub configurations: BTreeMap<String, LaunchSettings>,
    pub groups: BTreeMap<String, Group>,
    pub clusters: BTreeMap<String, Tags>,
    pub definitions: Vec<(String, TaskDefinition)>,
    /// Revisions that were taken out of use.
    pub deregistered: BTreeSet<String>,
    /// Tags of revisions.
    pub definition_tags: BTreeMap<String, Tags>,
    pub services: BTreeMap<String, ServiceState>,
    /// By instance.
    pub hosts: BTreeMap<String, HostState>,
    /// By id.
    pub tasks: BTreeMap<String, TaskState>,
    /// How long things take.
    pub pace: Pace,
    /// Whether instances are too small for any task.
    pub small_hosts: bool,
    /// So many of the instances that are launched next never join their cluster.
    #[serde(default)]
    pub stillborn: u32,
    /// How images behave that are not good, by a part of their reference.
    pub images: BTreeMap<String, Behaviour>,
    /// Services whose version has turned sick, with how their tasks behave since.
    #[serde(default)]
    pub sick: BTreeMap<String, Behaviour>,
    /// What AWS chooses as it likes.
    #[serde(default)]
    pub chance: Chance,
    made: u64,
}

impl World {
    /// Healthy tasks of each service: in service behind the load balancer, and not on their way out.
    #[must_use]
    pub fn healthy(&self) -> BTreeMap<String, u32> {
        let mut healthy = BTreeMap::new();
        for task in self.tasks.values().filter(|task| task.stage == TaskStage::Running && task.healthy) {
            *healthy.entry(task.service.clone()).or_insert(0) += 1;
        }
        healthy
    }

    /// A point of the metrics `Requests` and `Errors` of a service; `None`: it has no healthy task that would count any.
    #[must_use]
    pub fn metric(&self, name: &str, service: &str) -> Option<f64> {
        let healthy = self.healthy().get(service).copied().filter(|healthy| *healthy > 0)?;
        let requests = f64::from(healthy) * REQUESTS;
        let errs = self.behaviour(&self.services.get(service)?.shown.task_definition) == Behaviour::Errs;
        match name {
            "Requests" => Some(requests),
            // It is published only when there is something to count.
            "Errors" => errs.then_some(requests / 2.0),
            _ => None,
        }
    }

    /// Tasks on an instance that have not ended.
    pub fn tasks_on<'a>(&'a self, instance: &'a str) -> impl Iterator<Item = (&'a String, &'a TaskState)> {
        self.tasks.iter().filter(move |(_, task)| task.instance == instance && task.stage != TaskStage::Ended)
    }

    /// Memory of every instance that the account starts.
    #[must_use]
    pub fn host_memory_mib(&self) -> u32 {
        if self.small_hosts { SMALL_MIB } else { 3_900 }
    }

    /// Memory of a host.
    pub(super) fn memory_of(&self, host: &HostState) -> u32 {
        if host.small { SMALL_MIB } else { self.host_memory_mib() }
    }

    /// Ports that tasks hold on an instance.
    #[must_use]
    pub fn ports_on(&self, instance: &str) -> BTreeSet<u16> {
        let definition = |task: &TaskState| {
            let arn = &self.services.get(&task.service)?.shown.task_definition;
            self.definitions.iter().find(|(known, _)| known == arn)
        };
        self.tasks_on(instance).filter_map(|(_, task)| Some(definition(task)?.1.host_port)).collect()
    }

    /// An instance is no more, and its tasks with it.
    pub fn end_host(&mut self, instance: &str, now_ms: i64) {
        self.hosts.remove(instance);
        for task in self.tasks.values_mut().filter(|task| task.instance == instance && task.stage != TaskStage::Ended) {
            if task.stopped.is_none() {
                task.stop("TerminationNotice", "Host EC2 (instance) terminated.", None, now_ms);
            }
            task.enter(TaskStage::Ended, now_ms);
        }
    }

    /// An instance dies by itself; its group will replace it.
    pub fn kill_host(&mut self, instance: &str, now_ms: i64) {
        for group in self.groups.values_mut() {
            group.instances.retain(|other| other != instance);
        }
        self.end_host(instance, now_ms);
    }

    /// A task ends by itself.
    pub fn kill_task(&mut self, id: &str, now_ms: i64) {
        if let Some(task) = self.tasks.get_mut(id).filter(|task| task.stopped.is_none()) {
            task.stop("EssentialContainerExited", "Essential container in task exited", Some(137), now_ms);
            task.enter(TaskStage::Ended, now_ms);
        }
    }

    /// A version turns sick: the tasks of its service that are there, and those that start from now on.
    pub fn sicken(&mut self, service: &str, behaviour: Behaviour, now_ms: i64) {
        self.sick.insert(service.to_owned(), behaviour);
        self.sicken_tasks(service, behaviour, usize::MAX, now_ms);
    }

    /// Tasks of a service that run turn sick, so many at the most. Whatever is started in their place is as the version is.
    pub fn sicken_tasks(&mut self, service: &str, behaviour: Behaviour, most: usize, now_ms: i64) {
        let running = |task: &&mut TaskState| task.service == service && task.stage == TaskStage::Running;
        let mut since_ms = now_ms;
        for task in self.tasks.values_mut().filter(running).take(most) {
            task.behaviour = behaviour;
            task.healthy &= behaviour == Behaviour::Leaks;
            task.since_ms = since_ms;
            since_ms += APART_MS;
        }
    }

    /// A version is well again, and so are its tasks.
    pub fn heal(&mut self, service: &str) {
        self.sick.remove(service);
        let Some(known) = self.services.get(service) else { return };
        let behaviour = self.behaviour(&known.shown.task_definition);
        for task in self.tasks.values_mut().filter(|task| task.service == service) {
            task.behaviour = behaviour;
        }
    }

    /// A person deletes a service, whatever runs in it.
    pub fn delete_service(&mut self, name: &str, now_ms: i64) {
        if let Some(service) = self.services.get_mut(name) {
            service.shown.desired = 0;
            (service.shown.status, service.deleted_ms) = (ServiceStatus::Draining, Some(now_ms));
        }
    }

    /// Whatever is due by now happens.
    pub(super) fn tick(&mut self, now_ms: i64) {
        self.scale_groups(now_ms);
        for host in self.hosts.values_mut().filter(|host| host.joins_ms <= now_ms) {
            host.joined = true;
        }
        for task in self.tasks.values_mut().filter(|task| task.stage != TaskStage::Ended) {
            let service = self.services.get(&task.service);
            let grace_ms = service.map_or(0, |service| i64::from(service.shown.health_check_grace_seconds) * 1_000);
            task.tick(now_ms, &self.pace, grace_ms);
        }
        self.tasks.retain(|_, task| task.stage != TaskStage::Ended || now_ms - task.since_ms < REMEMBERED_MS);
        self.schedule(now_ms);
        for service in self.services.values_mut() {
            if service.deleted_ms.is_some_and(|deleted| now_ms - deleted >= self.pace.deleted_ms) {
                service.shown.status = ServiceStatus::Inactive;
            }
        }
    }

    fn scale_groups(&mut self, now_ms: i64) {
        let mut ended = Vec::new();
        for (name, group) in &mut self.groups {
            while group.instances.len() < group.desired as usize {
                self.made += 1;
                let instance = format!("i-{:04}", self.made);
                let cluster = name.replace("-ecs-asg", "-ecs-cluster");
                let arn = format!("arn:host/{instance}");
                let fails = self.stillborn > 0;
                self.stillborn -= u32::from(fails);
                let joins_ms = if fails { NEVER_MS } else { now_ms + self.pace.boot_ms };
                let (launched_ms, status) = (now_ms, HostStatus::Active);
                let host = HostState { arn, cluster, launched_ms, joins_ms, joined: false, status, small: false };
                self.hosts.insert(instance.clone(), host);
                group.instances.push(instance);
            }
            // A lower desired count lets AWS choose, and it asks nobody.
            while group.instances.len() > group.desired as usize {
                ended.push(group.instances.remove(self.chance.choose(group.instances.len())));
            }
        }
        for instance in ended {
            self.end_host(&instance, now_ms);
        }
    }

    fn behaviour(&self, definition: &str) -> Behaviour {
        let found = self.definitions.iter().find(|(arn, _)| arn == definition);
        let image = found.map(|(_, definition)| definition.image.as_str()).unwrap_or_default();
        let bad = self.images.iter().find(|(part, _)| image.contains(part.as_str()));
        bad.map(|(_, behaviour)| *behaviour).unwrap_or_default()
    }
}

impl TaskState {
    fn enter(&mut self, stage: TaskStage, now_ms: i64) {
        (self.stage, self.since_ms) = (stage, now_ms);
        self.healthy &= stage == TaskStage::Running;
    }

    fn stop(&mut self, code: &str, reason: &str, exit_code: Option<i32>, now_ms: i64) {
        let (code, reason) = (code.to_owned(), reason.to_owned());
        self.stopped = Some(Stopped { at_ms: now_ms, code, reason, exit_code, container_reason: None });
        self.enter(TaskStage::Stopping, now_ms);
    }

    fn tick(&mut self, now_ms: i64, pace: &Pace, grace_ms: i64) {
        let age = now_ms - self.since_ms;
        match (self.stage, self.behaviour) {
            (TaskStage::Pending, Behaviour::CannotBePulled) if age >= pace.start_ms => {
                self.stop("TaskFailedToStart", "CannotPullContainerError: not found", None, now_ms);
                self.enter(TaskStage::Ended, now_ms);
            }
            (TaskStage::Pending, _) if age >= pace.start_ms => self.enter(TaskStage::Running, now_ms),
            (TaskStage::Running, Behaviour::Crashes) if age >= pace.crash_ms => {
                self.stop("EssentialContainerExited", "Essential container in task exited", Some(1), now_ms);
                self.enter(TaskStage::Ended, now_ms);
            }
            (TaskStage::Running, Behaviour::Leaks) if age >= LEAKED_MS => {
                self.stop("EssentialContainerExited", "Essential container in task exited", Some(137), now_ms);
                self.enter(TaskStage::Ended, now_ms);
            }
            (TaskStage::Running, Behaviour::NeverHealthy) if age >= pace.unhealthy_ms.max(grace_ms) => {
                self.stop("ServiceSchedulerInitiated", "Task failed ELB health checks", Some(143), now_ms);
            }
            (TaskStage::Running, Behaviour::Good | Behaviour::Errs | Behaviour::Leaks) if age >= pace.healthy_ms => {
                self.healthy = true;
            }
            (TaskStage::Stopping, _) if age >= pace.drain_ms => self.enter(TaskStage::Ended, now_ms),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
