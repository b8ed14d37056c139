//! The way back: the plan that undoes another, from wherever that one was left.

use super::{
    Plan, ServiceCount, Step, earlier,
    known::{beginning, counts_of, serving_at},
    shifting::{Shifting, unproven},
    weighing::{Weighing, restored},
};
use crate::{policy::RolloutPolicy, project::ProjectSpec};

/// The plan that undoes `failed` after its steps up to `cursor` were carried out and that one was begun: the old services
/// back to their counts, traffic first, the new service to 0. Has no steps when nothing was touched that needs undoing.
#[must_use]
pub fn rollback(spec: &ProjectSpec, policy: &RolloutPolicy, failed: &Plan, cursor: usize) -> Plan {
    if !failed.settles {
        return earlier::rollback(spec, policy, failed, cursor);
    }
    let made = failed.makes().unwrap_or_default();
    let to = restored(failed.from.clone(), made, spec.target.desired_count);
    let mut back = back_to(spec, policy, failed, cursor, to);
    let moved = |step: &Step| matches!(step, Step::Capacity { .. } | Step::Scale { .. } | Step::Weigh { .. });
    if !failed.steps.iter().take(cursor + 1).any(moved) {
        // No instance was asked for, and no count or weight changed: there is nothing to undo.
        back.steps.clear();
        back.to.clone_from(&failed.from);
    }
    back
}

/// The plan that goes on with a way back which failed at `cursor`, from where that left the services.
#[must_use]
pub fn rollback_again(spec: &ProjectSpec, policy: &RolloutPolicy, back: &Plan, cursor: usize) -> Plan {
    back_to(spec, policy, back, cursor, back.to.clone())
}

fn back_to(spec: &ProjectSpec, policy: &RolloutPolicy, failed: &Plan, cursor: usize, to: Vec<ServiceCount>) -> Plan {
    let desired = spec.target.desired_count;
    let serving = serving_at(failed, cursor);
    let from = beginning(&serving, policy.floor(desired));
    let total: u32 = to.iter().map(|count| count.count).sum();
    // Of what was there, only what was seen healthy can be waited for.
    let sure: u32 = to.iter().map(|count| count.count.min(count.known().healthy)).sum();
    let floor = policy.floor(desired).min(total);
    let shifting = Shifting {
        floor,
        keeps: floor.min(sure),
        ceiling: policy.ceiling(desired.max(total)),
        watched: String::new(),
        weighing: Weighing::back_to(&to, &from, &unproven(&serving)),
        unproven: unproven(&serving),
        max_task_failures: 0,
        bears_the_sick: failed.edition >= 2,
    };
    let mut steps = Vec::new();
    if let Some(weighing) = &shifting.weighing {
        // Traffic first.
        weighing.relieve(&mut steps, &serving, shifting.floor);
    }
    shifting.settle(&mut steps, &from);
    let mut target = counts_of(&to);
    for count in &from {
        target.entry(count.service.clone()).or_insert(0);
    }
    shifting.append(&mut steps, &counts_of(&from), &target, 100);
    let original = counts_of(&to);
    for service in target.keys().filter(|service| !original.contains_key(*service)) {
        shifting.close(&mut steps, service, 0, total);
    }
    let changed = |service: &String, steps: &[Step]| {
        let touches = |step: &Step| matches!(step, Step::Scale { service: scaled, .. } if scaled == service);
        let sees = |step: &Step| matches!(step, Step::Verify { service: seen, .. } if seen == service);
        let before = failed.steps.iter().take(cursor + 1).any(touches);
        // What an attempt before was to see and did not is seen by this one.
        before || steps.iter().any(touches) || (failed.makes().is_none() && failed.steps.iter().any(sees))
    };
    for (service, count) in original.iter().filter(|(service, _)| !shifting.gives(service)) {
        if changed(service, &steps) {
            shifting.close(&mut steps, service, *count, total);
        }
    }
    steps.push(Step::ReturnCapacity { instances: if total == 0 { desired } else { total } });
    Plan {
        names: failed.names.clone(),
        from,
        to,
        steps,
        step_timeout: failed.step_timeout,
        set_up: failed.set_up,
        adopt: failed.adopt,
        settles: true,
        edition: failed.edition,
    }
}

impl Plan {
    /// The service of the version that it brings; `None` of a way back.
    pub(super) fn makes(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Service { service, .. } => Some(service.as_str()),
            _ => None,
        })
    }
}
