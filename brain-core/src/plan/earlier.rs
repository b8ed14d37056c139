//! The way back as earlier releases planned it. Their plans stand in the log without their way back, and what was reported of
//! its steps has to fit when the log is read.

use super::{Plan, ServiceCount, Step, known::counts_of, serving_at, shifting::Shifting};
use crate::{policy::RolloutPolicy, project::ProjectSpec, shift::Counts};

pub(super) fn rollback(spec: &ProjectSpec, policy: &RolloutPolicy, failed: &Plan, cursor: usize) -> Plan {
    let original = counts_of(&failed.from);
    let reached = counts_at(failed, cursor);
    let mut steps = Vec::new();
    let mut counts = reached.begun.clone();
    for (service, count) in &reached.begun {
        let verified = reached.verified.get(service).copied().unwrap_or(0);
        if *count > verified && !original.contains_key(service) {
            steps.push(Step::Scale { service: service.clone(), desired: verified, floor: 0, idle: false });
            counts.insert(service.clone(), verified);
        }
    }
    let old_total: u32 = original.values().sum();
    let floor = policy.floor(spec.target.desired_count).min(old_total);
    let shifting = Shifting {
        floor,
        keeps: floor,
        ceiling: policy.ceiling(spec.target.desired_count.max(old_total)),
        watched: String::new(),
        unproven: Vec::new(),
        max_task_failures: 0,
        bears_the_sick: false,
        weighing: None,
    };
    let mut target = original.clone();
    for service in counts.keys() {
        target.entry(service.clone()).or_insert(0);
    }
    shifting.append(&mut steps, &counts, &target, 100);
    for service in reached.begun.keys().filter(|service| !original.contains_key(*service)) {
        shifting.verify(&mut steps, service, 0);
    }
    for (service, count) in &original {
        shifting.verify(&mut steps, service, *count);
    }
    let moved = |step: &Step| matches!(step, Step::Capacity { .. } | Step::Scale { .. });
    if failed.steps.iter().take(cursor + 1).any(moved) {
        let instances = if old_total == 0 { spec.target.desired_count } else { old_total };
        steps.push(Step::ReturnCapacity { instances });
    } else {
        steps.clear();
    }
    let from: Vec<ServiceCount> = serving_at(failed, cursor);
    let Plan { names, step_timeout, set_up, adopt, .. } = failed.clone();
    Plan { names, from, to: failed.from.clone(), steps, step_timeout, set_up, adopt, settles: false, edition: 0 }
}

/// Counts during and after the steps of a plan.
struct Reached {
    /// As set, the step at the cursor taken to be carried out.
    begun: Counts,
    /// As seen healthy.
    verified: Counts,
}

fn counts_at(plan: &Plan, cursor: usize) -> Reached {
    let mut begun = counts_of(&plan.from);
    let mut verified = begun.clone();
    for (index, step) in plan.steps.iter().enumerate().take(cursor + 1) {
        match step {
            Step::Service { service, .. } => {
                begun.entry(service.clone()).or_insert(0);
            }
            Step::Scale { service, desired, .. } => {
                begun.insert(service.clone(), *desired);
                if verified.get(service).is_some_and(|count| count > desired) {
                    verified.insert(service.clone(), *desired);
                }
            }
            Step::Verify { service, healthy, .. } if index < cursor => {
                verified.insert(service.clone(), *healthy);
            }
            _ => {}
        }
    }
    Reached { begun, verified }
}
