//! Gates: which of them a version has passed, held against what its tasks have done.

use super::{BEGIN_MS, Referee};
use crate::simulation::chaos::EXITS;
use brain_core::{
    deployment::{Deployment, Phase},
    plan::{Step, serving_at},
    state::ProjectState,
    time::Timestamp,
};
use brain_deployer::simulated::{Behaviour, World};
use std::{collections::BTreeMap, time::Duration};

/// Time by which what a gate sees may be older than its look.
const BEHIND: Duration = Duration::from_secs(2);

/// Tasks that have ended by themselves: their services, and when.
#[derive(Debug, Default)]
pub(super) struct Exits(BTreeMap<String, (String, Timestamp)>);

impl Exits {
    /// The world is so now.
    pub(super) fn look(&mut self, world: &World) {
        for (id, task) in &world.tasks {
            let Some(stopped) = task.stopped.as_ref().filter(|_| !self.0.contains_key(id)) else { continue };
            if stopped.code != "TerminationNotice" && !stopped.reason.starts_with("Scaling activity") {
                self.0.insert(id.clone(), (task.service.clone(), Timestamp(stopped.at_ms)));
            }
        }
    }

    fn of(&self, service: &str, from: Timestamp, until: Timestamp) -> u64 {
        let within = |(of, at): &&(String, Timestamp)| of == service && *at >= from && *at <= until;
        self.0.values().filter(within).count() as u64
    }

    /// What is wrong with a step of a deployment's plan that was passed now, if that is a gate on exits. Only exits of the new
    /// version count that the gate must have seen, and all of the old one that it may have seen.
    fn wrong(&self, deployment: &Deployment, index: usize, now: Timestamp) -> Option<String> {
        let Step::Gate { gate, new, old, .. } = deployment.plan.steps.get(index)? else { return None };
        let shifted = deployment.shifted().filter(|_| gate.name == EXITS)?;
        let at = deployment.readings.get(&index).map_or(now, |reading| reading.at);
        let exited = self.of(new, shifted.max(at.minus(gate.looks_back())), at.minus(BEHIND));
        let others: u64 = old.iter().map(|old| self.of(old, shifted.minus(BEHIND), at.plus(BEHIND))).sum();
        let counts = serving_at(&deployment.plan, index);
        let desired = |of: &dyn Fn(&String) -> bool| -> u64 {
            counts.iter().filter(|count| of(&count.service)).map(|count| u64::from(count.count)).sum()
        };
        let (wanted, others_wanted) = (desired(&|name| name == new), desired(&|name| old.contains(name)));
        let number = deployment.number;
        (exited * others_wanted > others * wanted).then(|| {
            format!(
                "deployment {number} has passed its gate on exits with {exited} of {wanted} tasks, and {others} of \
                 {others_wanted} before"
            )
        })
    }
}

impl Referee {
    /// Gates that a version has passed with this commit. What a person passed over is none.
    pub(super) fn check_exits(&self, state: &ProjectState) {
        let now = Timestamp(BEGIN_MS).plus(self.begun.elapsed());
        let wrong = {
            let inner = self.lock();
            let Some(before) = inner.state.as_deref().and_then(ProjectState::active) else { return };
            let Some(after) = state.deployment(before.number).filter(|after| after.rollback.is_none()) else { return };
            let mut passed = before.cursor.max(after.promoted)..after.cursor;
            passed.find_map(|index| inner.exits.wrong(after, index, now))
        };
        if let Some(wrong) = wrong {
            self.violated(wrong);
        }
    }

    /// A version that errs is stopped by its gate, unless a person passes that over.
    pub(super) fn no_gate_passed_wrongly(&self, deployment: &Deployment, world: &World) {
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
}
