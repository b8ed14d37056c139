//! Sees every act, every change of the cloud and every commit, and holds them against the invariants.

mod weights;

use super::{
    faults::{Deliberate, Faults},
    house::BEGIN_MS,
    knowledge::Knowledge,
    leases::Leases,
    past,
};
use brain_core::{
    deployment::{Deployment, Phase},
    drift::SetUp,
    line::{Line, Moment},
    plan::{ServiceCount, Step},
    state::ProjectState,
    time::Timestamp,
};
use brain_deployer::{
    cloud::{TAG_PROJECT, Tags, is_idle},
    simulated::{Act, Behaviour, Director, ServiceState, TaskStage, Treatment, World},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// Time for which a task that was lost to a fault still counts as healthy: what brain saw may be so old.
const SEEN_MS: u128 = 12_000;

/// The referee of one run. It hands out the faults too, so that it knows of them.
#[derive(Debug)]
pub struct Referee {
    begun: Instant,
    /// What goes wrong.
    pub faults: Faults,
    /// What the server knows of sources.
    pub knowledge: Knowledge,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    violations: Vec<String>,
    history: Vec<String>,
    state: Option<ProjectState>,
    line: Line,
    leases: Leases,
    floor: u32,
    /// When each task was last seen healthy.
    healthy: BTreeMap<String, (String, u128)>,
}

impl Referee {
    /// A referee of a run that begins now.
    #[must_use]
    pub fn new(faults: Faults) -> Self {
        Self { begun: Instant::now(), faults, knowledge: Knowledge::default(), inner: Mutex::default() }
    }

    /// What was violated.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    /// What happened, a line each.
    #[must_use]
    pub fn history(&self) -> Vec<String> {
        self.lock().history.clone()
    }

    /// The project as it is stored.
    #[must_use]
    pub fn state(&self) -> Option<ProjectState> {
        self.lock().state.clone()
    }

    /// The line as it is stored.
    #[must_use]
    pub fn stopped_line(&self) -> Line {
        self.lock().line.clone()
    }

    /// The line as it is stored from now on.
    pub fn line(&self, line: Line) {
        self.lock().line = line;
    }

    /// Tells the history of something.
    pub fn note(&self, what: impl Into<String>) {
        let at = self.begun.elapsed().as_millis();
        self.lock().history.push(format!("{at:>9} ms  {}", what.into()));
    }

    /// Something is not as it must be.
    pub fn violated(&self, what: String) {
        self.note(format!("VIOLATED: {what}"));
        self.lock().violations.push(what);
    }

    /// A commit is durable: the project is so from now on, and with it a deployment was leased if `leases`.
    pub fn committed(&self, state: ProjectState, leases: bool) {
        self.knowledge.committed(&state);
        if state.spec.id.as_str() != "user" {
            return;
        }
        let active = state.deployments.iter().filter(|deployment| !deployment.phase.is_final()).count();
        if active > 1 {
            self.violated(format!("{active} deployments are active"));
        }
        self.check_intent(&state);
        let mut inner = self.lock();
        if let Some(deployment) = state.active() {
            let before: u32 = deployment.plan.from.iter().map(|count| count.count).sum();
            inner.floor = deployment.policy(&state.spec).floor(state.spec.target.desired_count).min(before);
        }
        inner.leases.committed(&state, leases);
        inner.state = Some(state);
    }

    /// After everything has ended: what must be so in the cloud.
    pub fn at_end(&self, world: &World) {
        let Some(state) = self.state() else { return self.violated("nothing is stored".to_owned()) };
        for deployment in state.deployments.iter().filter(|deployment| !deployment.phase.is_final()) {
            let waiting = deployment.current_step().map(ToString::to_string).unwrap_or_default();
            self.violated(format!("deployment {} has no end: it is at {waiting:?}", deployment.number));
        }
        self.nothing_doubled(world);
        for deployment in &state.deployments {
            self.no_gate_passed_wrongly(deployment, world);
        }
        self.nothing_half_made(&state, world);
        self.house_is_kept(&state, world);
        let Some(last) = state.deployments.back() else { return };
        let expected = expected(last);
        self.balancer_at_end(&state, expected.as_deref(), world);
        let Some(expected) = expected else { return };
        let healthy = world.healthy();
        for (name, service) in &world.services {
            let left = expected.iter().find(|count| count.service == *name);
            let count = left.map_or(0, |left| left.count);
            let healthy = healthy.get(name).copied().unwrap_or(0);
            let desired = service.shown.desired;
            // Of what no deployment has succeeded with nobody knows whether it can be healthy.
            let as_it_was = left.is_some_and(|left| !left.known().proven) && healthy <= count;
            if desired != count || (healthy != count && !as_it_was) {
                let phase = last.phase;
                self.violated(format!("{phase:?}: {name} has {healthy} healthy tasks of {desired}, not of {count}"));
            }
        }
        let total: u32 = expected.iter().map(|count| count.count).sum();
        for (name, group) in &world.groups {
            let right = if total == 0 { state.spec.target.desired_count } else { total };
            if group.desired != right {
                self.violated(format!("{name} has {} instances, not {right}", group.desired));
            }
        }
    }

    /// A version that errs is stopped by its gate, unless a person passes that over.
    fn no_gate_passed_wrongly(&self, deployment: &Deployment, world: &World) {
        let errs = |(image, behaviour): (&String, &Behaviour)| {
            *behaviour == Behaviour::Errs && deployment.digest.to_string().contains(image)
        };
        let mut steps = deployment.plan.steps.iter().enumerate();
        let gate = steps.find(|(index, step)| matches!(step, Step::Gate { .. }) && *index >= deployment.promoted);
        if deployment.phase == Phase::Succeeded && gate.is_some() && world.images.iter().any(errs) {
            self.violated(format!(
                "deployment {} has passed its gate with half of its answers errors",
                deployment.number
            ));
        }
    }

    fn nothing_doubled(&self, world: &World) {
        let active: Vec<&String> = world
            .definitions
            .iter()
            .filter(|(arn, _)| !world.deregistered.contains(arn))
            .map(|(_, definition)| &definition.image)
            .collect();
        let images: std::collections::BTreeSet<&&String> = active.iter().collect();
        if images.len() != active.len() {
            self.violated(format!("{} task definitions for {} images", active.len(), images.len()));
        }
        for template in world.templates.values().filter(|template| template.latest.0 > 1) {
            self.violated(format!("{} has {} versions", template.id, template.latest.0));
        }
    }

    /// A load balancer that was removed and made again is whole once a set-up is done.
    fn nothing_half_made(&self, state: &ProjectState, world: &World) {
        let set_up = state.deployments.back().is_some_and(Deployment::has_set_up);
        for (name, balancer) in world.balancers.iter().filter(|_| set_up) {
            if !balancer.draining || !balancer.cross_zone || balancer.health_check.is_empty() {
                self.violated(format!("{name} is half made"));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what begins or goes on with this commit is let by what people intend.
    fn check_intent(&self, state: &ProjectState) {
        let at = Timestamp(BEGIN_MS).plus(self.begun.elapsed());
        let (before, line) = {
            let inner = self.lock();
            (inner.state.clone(), inner.line.clone())
        };
        let known = |number| before.as_ref().and_then(|before| before.deployment(number));
        let Some(active) = state.active().filter(|active| !active.back) else { return };
        let begins = !active.held && known(active.number).is_none_or(|known| known.held);
        let taken = active.generation > 0 && known(active.number).is_some_and(|known| known.generation == 0);
        let goes_on = known(active.number).is_some_and(|known| known.paused.as_ref().is_some_and(|pause| pause.line));
        if goes_on && active.paused.is_none() && active.phase == Phase::Running && line.pauses().is_some() {
            self.violated(format!("deployment {} goes on though the line is stopped", active.number));
        }
        if !begins && !taken {
            return;
        }
        let moment = Moment { at, line };
        let barrier = match active.outside_windows {
            Some(_) => state.holds.barrier_outside_windows(&active.tag, &active.digest, &moment),
            None => state.holds.barrier(&active.tag, &active.digest, &moment),
        };
        if let Some(barrier) = barrier {
            let (by, what) = (&active.requested_by, if begins { "begins" } else { "lets a deployer take" });
            self.violated(format!("{by} {what} deployment {} though {barrier}", active.number));
        }
        if !begins {
            return;
        }
        let required = state.holds.approvals.as_ref().map_or(0, |held| held.hold);
        let others: BTreeSet<&str> = active.approvals.iter().map(|approval| &*approval.by).collect();
        let others = others.into_iter().filter(|by| *by != active.requested_by).count();
        if others < required as usize {
            self.violated(format!("deployment {} begins with {others} approvals of {required}", active.number));
        }
    }

    /// Whether set-up does what its plan lets it: what exists is changed only when that was asked for, and what is made is
    /// on record before.
    fn check_set_up(&self, act: &Act, world: &World) {
        let (changes, name) = match act {
            Act::CreateListener { name, .. } | Act::SetHealthCheck { name, .. } | Act::SetAttributes { name } => {
                (true, format!("load balancer {name}"))
            }
            Act::SuspendRebalancing { name } | Act::AttachLoadBalancer { name, .. } | Act::SetGroupMax { name, .. } => {
                (true, format!("auto-scaling group {name}"))
            }
            Act::CreateLoadBalancer { name, .. } => (false, format!("load balancer {name}")),
            _ => match weights::set_up(act, world) {
                Some(set_up) => set_up,
                None => return,
            },
        };
        let what = {
            let inner = self.lock();
            let Some(active) = inner.state.as_ref().and_then(ProjectState::active) else { return };
            let may = active.plan.set_up == SetUp::Make || active.makes().contains(&name);
            (!may).then(|| format!("{} changes {name} (exists: {changes}) though nobody asked", act.name()))
        };
        // A second of two equal acts changes nothing.
        let again = matches!(act, Act::CreateLoadBalancer { name, .. } if world.balancers.contains_key(name));
        if let Some(what) = what.filter(|_| !again) {
            self.violated(what);
        }
    }

    /// Whether what is removed may go: it is the project's, nothing lives in it, and nobody names it.
    fn check_removal(&self, act: &Act, world: &World) {
        let ours = |tags: Option<&Tags>| tags.is_some_and(|tags| tags.contains_key(TAG_PROJECT));
        let (name, why) = match act {
            Act::DeleteService { name } => {
                let service = world.services.get(name);
                let tasks = world.tasks.values().filter(|task| task.service == *name && task.stage != TaskStage::Ended);
                let live = tasks.count() > 0 || service.is_some_and(|service| service.shown.desired > 0);
                let foreign = !ours(service.map(|service| &service.shown.tags));
                (name, [(live, "lives"), (foreign, "is not brain's"), (self.is_named(name), "is named")])
            }
            Act::DeregisterTaskDefinition { arn } => {
                let uses =
                    |service: &ServiceState| service.deleted_ms.is_none() && service.shown.task_definition == *arn;
                let used = world.services.values().any(uses);
                (arn, [(used, "is used"), (!ours(world.definition_tags.get(arn)), "is not brain's"), (false, "")])
            }
            _ => return,
        };
        for (_, why) in why.iter().filter(|(so, _)| *so) {
            self.violated(format!("{name} is removed and {why}"));
        }
    }

    /// Whether a service serves, or the latest deployment that a deployer has had knows it.
    fn is_named(&self, service: &str) -> bool {
        let Some(state) = self.state() else { return false };
        let begun = |deployment: &&Deployment| deployment.generation > 0;
        let latest = state.deployments.iter().rev().find(begun);
        let mut named = state
            .serving
            .iter()
            .chain(latest.into_iter().flat_map(|latest| latest.plan.from.iter().chain(&latest.plan.to)));
        named.any(|count| count.service == service)
    }

    /// What may go is gone in the end, and what is not brain's is there.
    fn house_is_kept(&self, state: &ProjectState, world: &World) {
        if world.services.get(past::FOREIGN).is_none_or(|foreign| foreign.deleted_ms.is_some()) {
            self.violated("the service that is not brain's is gone".to_owned());
        }
        let Some(keep) = state.keep() else { return };
        for (name, service) in &world.services {
            let ours = service.shown.tags.contains_key(TAG_PROJECT) && service.deleted_ms.is_none();
            if ours && service.shown.desired == 0 && !keep.services.contains(name) {
                self.violated(format!("{name} was never removed"));
            }
        }
    }

    fn check_floor(&self, service: &str, desired: u32, world: &World) {
        let now = self.begun.elapsed().as_millis();
        let what = {
            let inner = self.lock();
            let seen = inner.healthy.values().filter(|(_, at)| now.saturating_sub(*at) <= SEEN_MS);
            let (mut mine, mut others) = (0u32, 0u32);
            for (owner, _) in seen {
                *(if owner == service { &mut mine } else { &mut others }) += 1;
            }
            let after = others + mine.min(desired);
            let current = world.services.get(service).map_or(0, |service| service.shown.desired);
            let falls = desired < current && after < others + mine && after < inner.floor;
            falls.then(|| format!("{service} is lowered to {desired}: {after} healthy, floor {}", inner.floor))
        };
        if let Some(what) = what {
            self.violated(what);
        }
    }
}

/// What a deployment that is over must have left behind; `None`: whatever a person wanted to be left.
fn expected(deployment: &Deployment) -> Option<Vec<ServiceCount>> {
    match (deployment.phase, &deployment.rollback) {
        (Phase::Succeeded, _) => Some(deployment.plan.to.clone()),
        // Where both target groups were in use, one has all.
        (Phase::Failed, Some(rollback)) => Some(rollback.plan.to.clone()),
        (Phase::Failed, None) => Some(deployment.plan.from.clone()),
        // A rollback may be cancelled in its turn.
        (_, Some(rollback)) if deployment.cursor >= rollback.plan.steps.len() => Some(rollback.plan.to.clone()),
        _ => None,
    }
}

impl Director for Referee {
    fn treat(&self, process: &str, call: &'static str, acting: bool) -> Treatment {
        let treatment = self.faults.treat(process, acting, is_idle());
        if treatment.refused.is_some() || treatment.lost {
            self.note(format!("{process}: {call} fails, {:?}, lost: {}", treatment.refused, treatment.lost));
        }
        treatment
    }

    fn acts(&self, _: &str, act: Act, world: &World) -> Vec<Act> {
        self.faults.deliberate.map_or_else(|| vec![act.clone()], |deliberate| deliberate.acts(&act, world))
    }

    fn acting(&self, process: &str, act: &Act, world: &World) {
        self.note(format!("{process}: {act:?}").chars().take(160).collect::<String>());
        let wrong = self.lock().leases.acts(process);
        if let Some(wrong) = wrong {
            self.violated(format!("{wrong}: {}", act.name()));
        }
        self.check_set_up(act, world);
        self.check_removal(act, world);
        self.check_weights(act, world);
        let removes = matches!(act, Act::DeleteService { .. } | Act::DeregisterTaskDefinition { .. });
        if world.small_hosts && !removes {
            self.violated(format!("{process} acts where there is room for no task: {}", act.name()));
        }
        let ended = match act {
            Act::SetDesired { service, desired } => return self.check_floor(service, *desired, world),
            Act::Terminate { instance } | Act::Replace { instance } => vec![instance.clone()],
            Act::SetGroupDesired { name, desired } => {
                let instances = world.groups.get(name).map(|group| group.instances.clone()).unwrap_or_default();
                let excess = instances.len().saturating_sub(*desired as usize);
                instances.into_iter().take(excess).collect()
            }
            _ => return,
        };
        for instance in ended {
            if let Some((task, _)) = world.tasks_on(&instance).next() {
                self.violated(format!("{instance} is ended with {task} on it"));
            }
        }
    }

    fn changed(&self, world: &World) {
        let now = self.begun.elapsed().as_millis();
        let mut inner = self.lock();
        for (id, task) in &world.tasks {
            if task.healthy && task.stage == TaskStage::Running {
                inner.healthy.insert(id.clone(), (task.service.clone(), now));
            }
            // Who was scaled in is no longer counted; who was lost is, for a while.
            if task.stopped.as_ref().is_some_and(|stopped| stopped.reason.starts_with("Scaling activity")) {
                inner.healthy.remove(id);
            }
        }
    }
}

impl Deliberate {
    /// What a deployer with this fault does in place of an act.
    fn acts(self, act: &Act, world: &World) -> Vec<Act> {
        let mut acts = vec![act.clone()];
        match (self, act) {
            (Self::IgnoresFloor, Act::SetDesired { service, desired }) if *desired > 0 => {
                let busy = |name: &&String| *name != service && world.services[*name].shown.desired > 0;
                if let Some(other) = world.services.keys().find(busy) {
                    let less = world.services[other].shown.desired - 1;
                    acts.push(Act::SetDesired { service: other.clone(), desired: less });
                }
            }
            (Self::EndsUndrained, Act::SetDraining { draining: true, .. }) => {
                if let Some((name, group)) = world.groups.iter().next() {
                    acts = vec![Act::SetGroupDesired { name: name.clone(), desired: group.desired - 1 }];
                }
            }
            (Self::ForgetsToRestore, Act::SetDesired { service, desired }) => {
                let raised = world.services.get(service).is_some_and(|service| service.shown.desired < *desired);
                if raised && service.contains("0-0-4") && world.services.len() > 1 {
                    acts.clear();
                }
            }
            (Self::RepairsUnasked, Act::SetDesired { .. }) => {
                let moving = world.groups.iter().find(|(_, group)| group.rebalances);
                acts.extend(moving.map(|(name, _)| Act::SuspendRebalancing { name: name.clone() }));
            }
            (Self::RemovesUnseen, Act::DeleteService { .. }) => {
                let busy = world.services.iter().find(|(_, service)| service.shown.desired > 0);
                if let Some((name, _)) = busy {
                    acts = vec![Act::DeleteService { name: name.clone() }];
                }
            }
            (Self::RegistersTwice, Act::RegisterTaskDefinition { .. }) => acts.push(act.clone()),
            (Self::WeighsUnseen, Act::SetDesired { desired, .. }) if *desired > 0 => {
                acts.extend(super::weights::unseen(act, world));
            }
            _ => {}
        }
        acts
    }
}
