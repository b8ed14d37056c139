//! Projects behind an application load balancer: which runs are of one, how requests move in them, and what must be so of weights.

use super::{Setting, Way};
use brain_core::traffic::LoadBalancerKind;
use brain_deployer::{
    cloud::{RequestRule, Tags, TargetCheck},
    simulated::{Act, World},
};
use brain_proto::{
    convert::duration_to_proto,
    v1::{RolloutPolicy, RolloutStep, rollout_step::Size},
};
use std::time::Duration;

/// A rule of somebody else on brain's listener.
const THEIRS: &str = "theirs";

/// What the project of a run is behind: in a third of the seeds, and where the way says so, an application load balancer.
pub(super) fn kind(setting: Setting) -> LoadBalancerKind {
    let weighted = match setting.way {
        Some(way) => way == Way::Weighted,
        None => of_seed(setting.seed),
    };
    if weighted { LoadBalancerKind::Application } else { LoadBalancerKind::Classic }
}

/// Whether a seed's project is behind one. What else the seed draws stays as it is without.
pub(super) fn of_seed(seed: u64) -> bool {
    dice(seed).u32(0..3) == 0
}

fn dice(seed: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed ^ 0x0A1B_10AD)
}

/// Steps of exactly these percentages.
pub(super) fn exactly(percents: &[u32], bake: Duration, hold: bool) -> RolloutPolicy {
    let step = |percent: &u32| {
        let (size, bake) = (Some(Size::Percent(*percent)), Some(duration_to_proto(bake)));
        RolloutStep { size, bake, hold, gates: Vec::new() }
    };
    RolloutPolicy { steps: percents.iter().map(step).collect(), ..RolloutPolicy::default() }
}

/// The policy of a seed, in half of them as all others have it.
pub(super) fn policy(setting: Setting) -> Option<RolloutPolicy> {
    let mut dice = dice(setting.seed.wrapping_mul(31));
    let percents: &[u32] = match dice.u32(0..6) {
        0 => &[10, 34],
        1 => &[1, 50, 99],
        2 => &[25],
        _ => return None,
    };
    let policy = exactly(percents, Duration::from_secs(dice.u64(0..20)), dice.bool());
    (kind(setting) == LoadBalancerKind::Application).then_some(policy)
}

/// Somebody who is not brain puts a rule of their own on the listener, once there is one.
pub(super) fn somebody_adds_a_rule(world: &mut World) {
    let Some(front) = world.fronts.keys().next().cloned() else { return };
    world.rules.entry(THEIRS.to_owned()).or_insert_with(|| (front, theirs()));
}

fn theirs() -> RequestRule {
    let forward = [("their-targets".to_owned(), 1)].into();
    RequestRule { arn: THEIRS.to_owned(), priority: Some(7), everything: false, forward, tags: Tags::new() }
}

/// Somebody who is not brain changes the health checks.
pub(super) fn somebody_changes_checks(world: &mut World) {
    for targets in world.targets.values_mut() {
        targets.check = TargetCheck { path: "/theirs".to_owned(), codes: "200".to_owned() };
    }
}

/// Whether that rule is no longer as it was.
pub(super) fn somebodys_rule_has_changed(world: &World) -> bool {
    world.rules.get(THEIRS).is_some_and(|(_, rule)| *rule != theirs())
}

/// Somebody in brain's place sends everything to the version that is raised, before any of its tasks is healthy.
pub(super) fn unseen(act: &Act, world: &World) -> Option<Act> {
    let Act::SetDesired { service, .. } = act else { return None };
    let group = world.services.get(service)?.shown.target_group.clone()?;
    let rule = world.rules.values().map(|(_, rule)| rule).find(|rule| rule.forward.contains_key(&group))?;
    let forward = rule.forward.keys().map(|other| (other.clone(), if *other == group { 100 } else { 0 })).collect();
    Some(Act::SetForward { rule: rule.arn.clone(), forward })
}

/// What of it an interrupted run has in common with an uninterrupted one.
pub(super) fn lasting(world: &World) -> String {
    let mut text = String::new();
    for (name, balancer) in &world.applications {
        text += &format!("{name} {:?}\n", balancer.tags);
    }
    for (name, targets) in &world.targets {
        text += &format!("{name} {} {} s {:?}\n", targets.check, targets.draining_seconds, targets.tags);
    }
    for (balancer, front) in world.fronts.values() {
        text += &format!("{balancer} listens on {} {:?} {:?}\n", front.port, front.certificate, front.tags);
    }
    for (front, rule) in world.rules.values() {
        text += &format!("{front}: {:?} {} {:?} {:?}\n", rule.priority, rule.everything, rule.forward, rule.tags);
    }
    for (name, service) in world.services.iter().filter(|(_, service)| service.deleted_ms.is_none()) {
        text += &format!("{name} is in {:?}\n", service.shown.target_group);
    }
    text
}
