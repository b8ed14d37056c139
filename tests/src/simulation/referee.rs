//! Sees every act, every change of the cloud and every commit, and holds them against the invariants.

mod end;
mod floor;
mod gates;
mod lowering;
mod presence;
mod weights;

use super::{
    faults::{Deliberate, Faults},
    house::BEGIN_MS,
    knowledge::Knowledge,
    leases::Leases,
};
use brain_core::{
    deployment::{Deployment, Phase},
    drift::SetUp,
    line::{Line, Moment},
    plan::Step,
    state::ProjectState,
    time::Timestamp,
};
use brain_deployer::{
    cloud::{TAG_PROJECT, Tags, is_idle},
    simulated::{Act, Director, ServiceState, TaskStage, Treatment, World},
};
use floor::Health;
use gates::Exits;
use lowering::Lowerings;
use presence::Presence;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

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
    /// Shared with whoever asks for it, which is often.
    state: Option<Arc<ProjectState>>,
    line: Line,
    leases: Leases,
    floor: u32,
    health: Health,
    lowerings: Lowerings,
    exits: Exits,
    presence: Presence,
    /// Services whose version was sick at some time.
    sick: BTreeSet<String>,
    /// Services that a person has deleted.
    deleted: BTreeSet<String>,
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
    pub fn state(&self) -> Option<Arc<ProjectState>> {
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

    /// A service's version turns sick: what is healthy of it is not brain's to keep.
    pub fn sick(&self, service: &str) {
        self.lock().sick.insert(service.to_owned());
    }

    /// A person deletes a service: what it served is not brain's to keep.
    pub fn deleted(&self, service: &str) {
        self.lock().deleted.insert(service.to_owned());
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
        self.check_exits(&state);
        let mut inner = self.lock();
        if let Some(deployment) = state.active() {
            inner.presence.committed(deployment);
            inner.lowerings.committed(deployment, &state.spec);
            let before: u32 = deployment.plan.from.iter().map(|count| count.count).sum();
            inner.floor = deployment.policy(&state.spec).floor(state.spec.target.desired_count).min(before);
        }
        inner.leases.committed(&state, leases);
        inner.state = Some(Arc::new(state));
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
            Act::CreateListener { name, .. }
            | Act::SetHealthCheck { name, .. }
            | Act::SetAttributes { name }
            | Act::SetBalancerGroups { name, .. }
            | Act::DeleteListeners { name, .. } => (true, format!("load balancer {name}")),
            Act::SuspendRebalancing { name }
            | Act::AttachLoadBalancer { name, .. }
            | Act::SetGroupMax { name, .. }
            | Act::SettleGroup { name, .. } => (true, format!("auto-scaling group {name}")),
            Act::CreateLoadBalancer { name, .. } => (false, format!("load balancer {name}")),
            _ => match weights::set_up(act, world) {
                Some(set_up) => set_up,
                None => return,
            },
        };
        let what = {
            let inner = self.lock();
            let Some(active) = inner.state.as_deref().and_then(ProjectState::active) else { return };
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

    /// Whether the step that is under way sets a count.
    fn sets_a_count(&self) -> bool {
        let inner = self.lock();
        let active = inner.state.as_deref().and_then(ProjectState::active);
        matches!(active.and_then(Deployment::current_step), Some(Step::Scale { .. }))
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
}

impl Director for Referee {
    fn treat(&self, process: &str, call: &'static str, acting: bool) -> Treatment {
        let idle = is_idle();
        let mut treatment = self.faults.treat(process, acting, idle);
        let hasty = self.faults.deliberate == Some(Deliberate::IgnoresRecovery);
        treatment.credulous |= hasty && !idle && self.sets_a_count();
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
        if let Act::Replace { instance } = act
            && world.hosts.get(instance).is_some_and(|host| host.joined)
        {
            self.violated(format!("{instance} is replaced, and it has joined"));
        }
        let ended = match act {
            Act::SetDesired { service, desired } => return self.check_floor(service, *desired, world),
            Act::Terminate { instance } | Act::Replace { instance } => vec![instance.clone()],
            // AWS chooses which of them go, and it asks nobody.
            Act::SetGroupDesired { name, desired } => {
                let instances = world.groups.get(name).map(|group| group.instances.clone()).unwrap_or_default();
                if instances.len() > *desired as usize { instances } else { Vec::new() }
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
        let Inner { health, exits, deleted, .. } = &mut *inner;
        health.look(world, deleted, now);
        exits.look(world);
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
            (Self::ReplacesJoined, Act::Replace { .. }) => {
                if let Some((joined, _)) = world.hosts.iter().find(|(_, host)| host.joined) {
                    acts = vec![Act::Replace { instance: joined.clone() }];
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
