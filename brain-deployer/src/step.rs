//! Steps: `observe → Done | Ready | Wait | Blocked`. A step looks at the cloud and says what is so; the worker acts, waits,
//! and looks again. No step waits itself, and none remembers: what it needs to know, it sees, and what one has just seen
//! serves the next ([`looks`]).

use crate::{
    cloud::{Cloud, Result, TAG_MANAGED_BY, TAG_PROJECT, TAG_VERSION, Tags, TaskDefinition},
    config::Credentials,
    prometheus::PrometheusPort,
};
use brain_core::{
    deployment::{Cause, ServiceEvent, TaskFailure},
    drift::{Drift, Remedy, SetUp},
    gate::Services,
    names::ResourceNames,
    plan::{Step, Watching},
    project::{ProjectSpec, Target},
    time::Timestamp,
    traffic::LoadBalancerKind,
};
use futures::future::BoxFuture;
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

pub(crate) mod application;
mod balancer;
pub(crate) mod capacity;
pub(crate) mod evidence;
mod failures;
mod gate;
pub mod health;
pub(crate) mod looks;
mod network;
mod preflight;
mod resource;
#[cfg(test)]
mod sample;
mod setup;
pub mod shift;
mod version;
pub(crate) mod watch;
mod weigh;

use evidence::Evidence;
use watch::Watch;

/// What is so.
pub enum Observed {
    /// The goal is reached.
    Done(Findings),
    /// The goal is reached but for what is told and left.
    Told(Vec<Drift>),
    /// Something is to be done, once.
    Ready(Act),
    /// Nothing can be done but wait.
    Wait(String),
    /// The same, while the service is watched, which was seen well or not: then that begins again.
    Watched {
        /// Why; of a hold empty while all is well.
        why: String,
        /// What is at fault.
        cause: Cause,
        /// Whether it was seen well.
        well: bool,
    },
    /// The same, and a look that comes sooner would see the same again.
    Hold {
        /// Why.
        why: String,
        /// How long to wait before the next one, at the least.
        again: Duration,
    },
    /// Nothing can be done but wait for an instance with room: the version is not at fault.
    NoRoom(String),
    /// The goal seems out of reach. It is, once so many looks in a row have said so.
    Failing {
        /// Why.
        why: String,
        /// Looks that have to say so.
        looks: u32,
        /// How long to wait before the next one.
        again: Duration,
    },
    /// The goal cannot be reached; why, and what a person can do.
    Blocked(String, Findings),
}

/// What was found of the new version on the way.
#[derive(Default)]
pub struct Findings {
    /// Tasks that failed.
    pub task_failures: Vec<TaskFailure>,
    /// What ECS said of the service.
    pub service_events: Vec<ServiceEvent>,
    /// What was seen of production with it.
    pub production: Option<health::Look>,
    /// What differs, and is a part of why the goal cannot be reached.
    pub drift: Vec<Drift>,
}

/// Something to do.
pub struct Act {
    /// In a few words, for the log.
    pub what: String,
    /// What differs, and what it does about it.
    pub drift: Vec<Drift>,
    /// Does it.
    pub run: BoxFuture<'static, Result<()>>,
}

/// What a step needs to know.
#[derive(Clone)]
pub struct Context {
    /// The cloud of the project's region.
    pub cloud: Arc<dyn Cloud>,
    /// The project.
    pub spec: Arc<ProjectSpec>,
    /// Names of its resources.
    pub names: Arc<ResourceNames>,
    /// The Prometheuses that this deployer knows.
    pub prometheus: Arc<dyn PrometheusPort>,
    /// Registry credentials of this deployer.
    pub credentials: Arc<Credentials>,
    /// Tells the time.
    pub now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// Names of the services that the plan is about.
    pub(crate) services: Arc<[String]>,
    /// Those of them that are to have tasks when it is done.
    pub(crate) wanted: Arc<[String]>,
    /// Whether the plan makes a service: that of the new version. A way back makes none.
    pub(crate) makes: bool,
    /// What its steps have seen.
    pub(crate) looks: Arc<looks::Looks>,
    /// When traffic began to move in this deployment.
    pub first_shifted: Option<Timestamp>,
    /// When it had moved last.
    pub shifted: Option<Timestamp>,
    /// Whether the services that a gate compares with still serve.
    pub old_serves: bool,
    /// What a hold watches; `None`: nothing, or it is another step.
    pub watching: Option<Watching>,
    /// When the step began, milliseconds since 1970.
    pub step_began_ms: i64,
    /// Tasks that failed since then are the step's own, milliseconds since 1970: those too that failed in the steps before it
    /// after anybody had last looked.
    pub failures_since_ms: i64,
    /// When this worker last looked for tasks that failed, milliseconds since 1970; 0: it has not.
    pub stopped_seen_ms: Arc<AtomicI64>,
    /// For how long what the step watches has been well.
    pub(crate) watch: Arc<Watch>,
    /// What the step has found of the new version.
    pub(crate) evidence: Arc<Evidence>,
    /// What set-up does with differences.
    pub set_up: SetUp,
    /// Whether resources that are not brain's become so.
    pub adopt: bool,
    /// Resources whose making or change was begun in this deployment and has to be finished.
    pub made: BTreeSet<String>,
    /// Whether what was deployed before comes back: no change of somebody else's keeps that from moving traffic.
    pub goes_back: bool,
    /// Whether a kept service of the version has the definition with which it has served.
    pub keeps_definition: bool,
}

impl Context {
    /// Tasks that failed are looked for now; answers what has to be told once that look has succeeded.
    fn looks_for_failures(&self) -> impl FnOnce() + use<> {
        let (seen, now) = (Arc::clone(&self.stopped_seen_ms), (self.now)().0);
        move || seen.store(now, Ordering::Relaxed)
    }
}

impl Observed {
    /// The same act, which tells what differs before it is done.
    fn telling(mut self, drift: Vec<Drift>) -> Self {
        if let Self::Ready(act) = &mut self {
            act.drift = drift;
        }
        self
    }
}

/// Looks whether a step's goal is reached.
pub async fn observe(context: &Context, step: &Step) -> Result<Observed> {
    match step {
        Step::Preflight { instances, max_instances, serving } => {
            preflight::preflight(context, *instances, *max_instances, *serving).await
        }
        Step::SecurityGroup => network::security_group(context).await,
        Step::LoadBalancer => match context.target().load_balancer_kind {
            LoadBalancerKind::Classic => balancer::load_balancer(context).await,
            LoadBalancerKind::Application => application::load_balancer(context).await,
        },
        Step::Rule { group, settled } => application::rule(context, *group, *settled).await,
        Step::LaunchTemplate => setup::launch(context).await,
        Step::AutoScalingGroup { instances, max_instances } => {
            setup::auto_scaling_group(context, *instances, *max_instances).await
        }
        Step::Cluster => setup::cluster(context).await,
        Step::TaskDefinition { version, image } => version::task_definition(context, version, image).await,
        Step::Service { service, version, image, client_token, group } => {
            version::service(context, service, version, image, client_token, *group).await
        }
        Step::Capacity { instances } => capacity::capacity(context, *instances).await,
        Step::Scale { service, desired, floor, idle } => shift::scale(context, service, *desired, *floor, *idle).await,
        Step::Weigh { service, group, percent, healthy, follows_health } => {
            let goal = weigh::Goal { group: *group, percent: *percent, healthy: *healthy };
            weigh::weigh(context, service, goal, *follows_health).await
        }
        Step::Verify { service, healthy, max_task_failures, at_most } => {
            shift::verify(context, service, *healthy, *max_task_failures, *at_most).await
        }
        Step::Bake { service, healthy, duration, max_task_failures } => {
            shift::bake(context, service, *healthy, *duration, *max_task_failures).await
        }
        Step::Gate { gate, new, old, max_task_failures } => {
            gate::gate(context, gate, Services { new, old }, *max_task_failures).await
        }
        Step::Hold => shift::hold(context).await,
        Step::ReturnCapacity { instances } => capacity::return_capacity(context, *instances).await,
    }
}

impl Context {
    /// What was begun to be made or changed is finished, whatever set-up does with differences.
    pub(crate) fn remember(&mut self, drift: &[Drift]) {
        let begun = drift.iter().filter(|drift| matches!(drift.remedy, Remedy::Made | Remedy::Followed));
        self.made.extend(begun.map(|drift| drift.resource.clone()));
    }

    fn target(&self) -> &Target {
        &self.spec.target
    }

    /// Tags of the project's resources.
    fn tags(&self) -> Tags {
        let project = self.spec.id.to_string();
        [(TAG_PROJECT.to_owned(), project), (TAG_MANAGED_BY.to_owned(), "brain".to_owned())].into()
    }

    /// Tags of a version's resources.
    fn version_tags(&self, version: &str) -> Tags {
        let mut tags = self.tags();
        tags.insert(TAG_VERSION.to_owned(), version.to_owned());
        tags
    }

    /// The task definition that runs `image`.
    fn definition(&self, image: &str) -> TaskDefinition {
        let target = self.target();
        TaskDefinition {
            family: self.names.task_family.clone(),
            container: self.names.container.clone(),
            image: image.to_owned(),
            host_port: target.host_port,
            container_port: target.container_port,
            memory_mib: target.memory_mib,
            cpu_units: target.cpu_units,
            command: target.command.clone(),
            environment: target.environment.clone(),
        }
    }

    /// An act with a clone of this context.
    fn ready<F>(&self, what: impl Into<String>, act: impl FnOnce(Self) -> F) -> Observed
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        Observed::Ready(Act { what: what.into(), drift: Vec::new(), run: Box::pin(act(self.clone())) })
    }
}

fn done() -> Observed {
    Observed::Done(Findings::default())
}

fn wait(why: impl Into<String>) -> Observed {
    Observed::Wait(why.into())
}

fn blocked(why: impl Into<String>) -> Observed {
    Observed::Blocked(why.into(), Findings::default())
}
