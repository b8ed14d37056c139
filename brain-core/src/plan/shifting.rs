//! How traffic is shifted: the steps that set counts and see them reached, and who gives way first.

use super::{
    ServiceCount, Step,
    known::{Known, counts_of},
    weighing::Weighing,
};
use crate::{
    policy::Stage,
    shift::{Counts, Move, moves},
};

/// How one shift is carried out.
pub(super) struct Shifting {
    /// Tasks below which it does not go by its own counts.
    pub(super) floor: u32,
    /// Healthy tasks without which none is taken away.
    pub(super) keeps: u32,
    pub(super) ceiling: u32,
    /// The new service, whose failing tasks count.
    pub(super) watched: String,
    /// Services that give way first, in this order, and whose health nobody waits for: no deployment has succeeded with them, or,
    /// where a plan goes forward, none of their tasks was healthy.
    pub(super) unproven: Vec<String>,
    pub(super) max_task_failures: u32,
    /// Whether health is waited for only of the new service and at the end. In between, each count is lowered only while enough
    /// others are healthy; and a version that is sick by itself keeps neither the next one away nor the one before.
    pub(super) bears_the_sick: bool,
    /// How requests move where they are weighted.
    pub(super) weighing: Option<Weighing>,
}

impl Shifting {
    /// Sets every count that was not certain to the one that the plan begins from, before anything waits for health. What
    /// goes, goes first and makes room.
    pub(super) fn settle(&self, steps: &mut Vec<Step>, from: &[ServiceCount]) {
        let total = from.iter().map(|count| count.count).sum();
        let (rise, fall): (Vec<&ServiceCount>, Vec<&ServiceCount>) =
            from.iter().filter(|count| count.known.is_some()).partition(|count| count.count >= count.known().most);
        for ServiceCount { service, count, .. } in fall {
            steps.push(self.scale(service, *count, self.keeps));
            if *count == 0 {
                self.verify(steps, service, 0);
            }
        }
        if rise.iter().any(|count| count.count > count.known().least) {
            steps.push(Step::Capacity { instances: total });
        }
        for ServiceCount { service, count, .. } in rise {
            steps.push(self.scale(service, *count, self.keeps));
        }
        // The new version, of an earlier deployment that did not succeed, is the one that is waited for.
        let begun = from.iter().find(|count| count.service == self.watched && count.known.is_some());
        if let Some(begun) = begun.filter(|begun| begun.count > 0) {
            self.verify(steps, &begun.service, begun.count);
        }
    }

    /// Moves counts from some to others. Where requests are weighted, `share` percent of them are the gaining side's at the end,
    /// and on the way as many as it has tasks.
    pub(super) fn append(&self, steps: &mut Vec<Step>, from: &Counts, to: &Counts, share: u32) {
        let floor = self.floor.min(from.values().sum());
        let moves = moves(from, to, floor, self.ceiling, &self.unproven);
        let loses = |step: &Move| {
            !step.raises() && self.weighing.as_ref().is_some_and(|weighing| weighing.loses(&step.service))
        };
        let last = moves.iter().rposition(loses);
        let mut counts = from.clone();
        for (index, step) in moves.iter().enumerate() {
            counts.insert(step.service.clone(), step.to);
            if step.raises() {
                steps.push(Step::Capacity { instances: step.total });
            }
            if let Some(weighing) = self.weighing.as_ref().filter(|_| loses(step))
                && let Some((part, healthy)) = weighing.part(&counts, share)
            {
                let arrives = Some(index) == last && moves[index..].iter().all(|step| !step.raises());
                weighing.weigh(steps, if arrives { share } else { part }, healthy);
            }
            let keeps = if step.raises() { 0 } else { self.keeps.min(floor) };
            steps.push(self.scale(&step.service, step.to, keeps));
            if step.to == 0 || step.service == self.watched || !(self.bears_the_sick || self.gives(&step.service)) {
                self.verify(steps, &step.service, step.to);
            } else if !step.raises() && !self.gives(&step.service) {
                self.see(steps, &step.service, step.to, true);
            }
        }
        if let Some(weighing) = &self.weighing
            && let Some((_, healthy)) = weighing.part(&counts, share)
        {
            weighing.weigh(steps, share, healthy);
        }
    }

    /// Empties a target group: all requests and tasks are `keeps`' alone, as many as are wanted. Answers the counts then.
    pub(super) fn evacuate(
        &mut self,
        steps: &mut Vec<Step>,
        serving: &[ServiceCount],
        from: &[ServiceCount],
        keeps: &ServiceCount,
        desired: u32,
    ) -> Counts {
        let weighing = Weighing::back_to(std::slice::from_ref(keeps), from, &self.unproven);
        if let Some(weighing) = &weighing {
            weighing.relieve(steps, serving, self.floor);
        }
        self.weighing = weighing;
        self.settle(steps, from);
        let counts = counts_of(from);
        let mut target: Counts = counts.keys().map(|service| (service.clone(), 0)).collect();
        let total: u32 = counts.values().sum();
        target.insert(keeps.service.clone(), keeps.count.max(total.min(desired)));
        self.append(steps, &counts, &target, 100);
        let left: Vec<&String> = target.iter().filter(|(_, count)| **count == 0).map(|(service, _)| service).collect();
        for service in left {
            self.close(steps, service, 0, total);
        }
        self.weighing = None;
        target
    }

    /// What is so at the end: the count, which is set if no step before has set it, and the tasks.
    pub(super) fn close(&self, steps: &mut Vec<Step>, name: &str, count: u32, instances: u32) {
        let set = steps.iter().rev().find_map(|step| match step {
            Step::Scale { service, desired, .. } if service == name => Some(*desired),
            _ => None,
        });
        if set != Some(count) {
            steps.extend([Step::Capacity { instances }, self.scale(name, count, self.keeps)]);
        }
        self.verify(steps, name, count);
    }

    pub(super) fn gives(&self, service: &str) -> bool {
        self.unproven.iter().any(|other| other == service)
    }

    fn scale(&self, service: &str, desired: u32, floor: u32) -> Step {
        Step::Scale { service: service.to_owned(), desired, floor, idle: self.gives(service) }
    }

    pub(super) fn verify(&self, steps: &mut Vec<Step>, service: &str, healthy: u32) {
        self.see(steps, service, healthy, false);
    }

    fn see(&self, steps: &mut Vec<Step>, service: &str, healthy: u32, at_most: bool) {
        let max_task_failures = if service == self.watched { self.max_task_failures } else { 0 };
        let step = Step::Verify { service: service.to_owned(), healthy, max_task_failures, at_most };
        // Weights change nothing of the tasks.
        let last = steps.iter().rev().find(|last| !matches!(last, Step::Weigh { .. }));
        if last != Some(&step) {
            steps.push(step);
        }
    }

    /// What has to be so before traffic moves on.
    pub(super) fn wait(&self, steps: &mut Vec<Step>, service: &str, old: Vec<String>, stage: Stage) {
        if !stage.bake.is_zero() {
            steps.push(Step::Bake {
                service: service.to_owned(),
                healthy: stage.count,
                duration: stage.bake,
                max_task_failures: self.max_task_failures,
            });
        }
        for gate in stage.gates {
            let max_task_failures = self.max_task_failures;
            steps.push(Step::Gate { gate, new: service.to_owned(), old: old.clone(), max_task_failures });
        }
        if stage.hold {
            steps.push(Step::Hold);
        }
    }
}

/// Services that give way first in a plan that goes forward: those that were seen to serve nobody, then those that no deployment
/// has succeeded with.
pub(super) fn giving(services: &[ServiceCount]) -> Vec<String> {
    in_order(services, |known| known.idle || !known.proven)
}

/// Services that no deployment has succeeded with, those with the fewest healthy tasks first.
pub(super) fn unproven(services: &[ServiceCount]) -> Vec<String> {
    in_order(services, |known| !known.proven)
}

fn in_order(services: &[ServiceCount], gives: impl Fn(Known) -> bool) -> Vec<String> {
    let mut giving: Vec<&ServiceCount> = services.iter().filter(|count| gives(count.known())).collect();
    giving.sort_by_key(|count| (!count.known().idle, count.known().healthy));
    giving.into_iter().map(|count| count.service.clone()).collect()
}

/// The services that the new one is compared with, the one with the most tasks first: those that still serve, or after the
/// last stage those that did. Those that no deployment has succeeded with are no measure where there are others.
pub(super) fn old_services(from: &[ServiceCount], counts: &Counts, new: &str) -> Vec<String> {
    let left = |old: &ServiceCount| counts.get(&old.service).copied().unwrap_or(0);
    let mut old: Vec<&ServiceCount> = from.iter().filter(|old| old.service != new && old.count > 0).collect();
    if old.iter().any(|old| old.known().proven) {
        old.retain(|old| old.known().proven);
    }
    if old.iter().any(|old| left(old) > 0) {
        old.retain(|old| left(old) > 0);
    }
    old.sort_by_key(|old| std::cmp::Reverse((left(old), old.count)));
    old.into_iter().map(|old| old.service.clone()).collect()
}

/// Counts when `stage` tasks are the new service's: the old ones share what is `left`. `unproven` ones are the first to
/// give, and of the others the first ones.
pub(super) fn stage_counts(counts: &Counts, service: &str, stage: u32, mut left: u32, unproven: &[String]) -> Counts {
    let mut keeping: Vec<(&String, u32)> =
        counts.iter().rev().filter(|(name, _)| *name != service).map(|(name, count)| (name, *count)).collect();
    let gives = |name: &String| unproven.iter().rev().position(|other| other == name).map(|place| place + 1);
    keeping.sort_by_key(|(name, _)| gives(name));
    let mut target = Counts::new();
    for (name, count) in keeping {
        let kept = left.min(count);
        left -= kept;
        target.insert(name.clone(), kept);
    }
    target.insert(service.to_owned(), stage);
    target
}
