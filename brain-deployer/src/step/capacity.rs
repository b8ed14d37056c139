//! Capacity: one task to an instance, because all versions use the same host port. So instances come before tasks, and go
//! only when they are empty. One that never joins the cluster holds nobody up: its group starts another in its place.

use super::{Context, Observed, blocked, done, wait};
use crate::cloud::{ErrorKind, Group, Host, HostStatus, Result};
use brain_core::time::Timestamp;
use std::time::Duration;
use tracing::warn;

#[cfg(test)]
mod tests;

/// Time within which an instance has joined, at the least. It takes a minute or two to boot, and a step's ten minutes leave room
/// for another.
const JOINS_WITHIN: Duration = Duration::from_mins(5);
/// Instances that are replaced before the fault is taken to lie in what all of them are launched from.
const REPLACED_MAX: u32 = 3;

/// Instances enough for a task each have joined the cluster, or the arithmetic that says why they cannot.
pub(super) async fn capacity(context: &Context, instances: u32) -> Result<Observed> {
    let name = &context.names.auto_scaling_group;
    let Some(group) = context.group_known().await? else {
        return Ok(wait(format!("auto-scaling group {name} does not show yet")));
    };
    if group.desired < instances {
        let more = instances - group.desired;
        if group.max < instances {
            context.looks.forget_capacity();
            let wanted = context.target().max_instances;
            let remedy = if instances <= wanted {
                format!("deploy with repair_drift to raise it to {wanted}, which target.max_instances says")
            } else {
                "raise target.max_instances".to_owned()
            };
            return Ok(blocked(format!(
                "needs {more} more instances: {name} has {}, and its maximum is {}; {remedy}",
                group.desired, group.max
            )));
        }
        return Ok(context.ready(format!("grow {name} from {} to {instances}", group.desired), |context| async move {
            let grown = context.cloud.set_group_desired(&context.names.auto_scaling_group, instances).await;
            match &grown {
                Ok(()) => context.looks.grown(instances),
                Err(_) => context.looks.forget_capacity(),
            }
            grown
        }));
    }
    if context.looks.just_grown() {
        return Ok(wait(format!("{instances} instances were asked for")));
    }
    let hosts = match context.hosts_known() {
        Some(known) if usable(context, &known) >= instances => known,
        // Names alone cost one call, and tell whether there is something new to see.
        Some(known)
            if joined(&known).count() == known.len()
                && context.cloud.host_count(&context.names.cluster).await? == known.len() =>
        {
            known
        }
        _ => context.hosts().await?,
    };
    let here = usable(context, &hosts);
    if here >= instances {
        return Ok(done());
    }
    // A host that an earlier return of capacity left draining, and that is wanted again.
    let mut draining = hosts.iter().filter(|host| host.status == HostStatus::Draining);
    if let Some(host) = draining.find(|host| fits(context, host)) {
        return Ok(set_draining(context, host.arn.clone(), &host.instance, false));
    }
    if let Some(why) = too_small(context, instances, &hosts).await? {
        return Ok(blocked(why));
    }
    awaited(context, instances, here).await
}

/// Why those that are still to come are too few, because a task fits on some hosts not.
async fn too_small(context: &Context, instances: u32, hosts: &[Host]) -> Result<Option<String>> {
    let Some(small) = joined(hosts).find(|host| !fits(context, host)) else { return Ok(None) };
    let Some(group) = context.group().await? else { return Ok(None) };
    let there = joined(hosts).filter(|host| group.instances.contains(&host.instance)).count();
    let coming = group.desired.saturating_sub(u32::try_from(there).unwrap_or(u32::MAX));
    let usable = usable(context, hosts).saturating_add(coming);
    if usable >= instances {
        return Ok(None);
    }
    let target = context.target();
    Ok(Some(format!(
        "needs {instances} instances for a task of {} MiB and {} CPU units, and only {usable} can take one: instance {} \
         offers {} MiB and {}; set target.instance_type or target.memory_mib, or end that instance",
        target.memory_mib, target.cpu_units, small.instance, small.memory_mib, small.cpu_units
    )))
}

/// Waits for instances, and has one replaced that will never join.
async fn awaited(context: &Context, instances: u32, here: u32) -> Result<Observed> {
    let name = &context.names.auto_scaling_group;
    let mut why = format!("{here} of {instances} instances have joined the cluster");
    let replaced = context.looks.replacements();
    if replaced > 0 {
        let cluster = &context.names.cluster;
        why += &format!(
            "; {replaced} had not joined {cluster} {} s after their launch and were replaced: look at the user data, the \
             machine image, the instance profile and the network that instances of {name} are launched with",
            joins_within(context).as_secs()
        );
    }
    // What was asked for here boots still; what others have left there is looked for once that time is over.
    if context.looks.grown_within(joins_within(context)) {
        return Ok(wait(why));
    }
    let Some(group) = context.group().await? else { return Ok(wait(why)) };
    let hosts = context.hosts().await?;
    let Some(instance) = never_joined(context, &group, &hosts).await?.into_iter().next() else { return Ok(wait(why)) };
    if replaced >= REPLACED_MAX {
        return Ok(blocked(format!("{why}; {instance} has not joined either")));
    }
    let what =
        format!("replace instance {instance} of {name}, which has not joined in {} s", joins_within(context).as_secs());
    Ok(context.ready(what, |context| async move {
        let replaced = context.cloud.replace(&instance).await;
        match &replaced {
            Ok(()) => context.looks.replaced(),
            Err(_) => context.looks.forget_capacity(),
        }
        replaced
    }))
}

/// Whoever gives steps more time has images that take longer.
fn joins_within(context: &Context) -> Duration {
    JOINS_WITHIN.max(context.spec.rollout_policy.step_timeout / 2)
}

/// Instances that the group launched for the project long ago, and that are not in the cluster. When they were launched is asked
/// only of those that are missing there. Where brain may not ask that, none is known to be late.
async fn never_joined(context: &Context, group: &Group, hosts: &[Host]) -> Result<Vec<String>> {
    let is_missing = |instance: &&String| {
        !group.passing.contains(*instance) && !hosts.iter().any(|host| host.instance == **instance)
    };
    let missing: Vec<String> = group.instances.iter().filter(is_missing).cloned().collect();
    if missing.is_empty() || !context.is_ours(&group.tags) {
        return Ok(Vec::new());
    }
    let launched = match context.cloud.launched(context.spec.id.as_str(), &missing).await {
        Err(error) if error.kind == ErrorKind::Terminal => {
            warn!(%error, "it cannot be told which instances will never join: they are waited for");
            return Ok(Vec::new());
        }
        launched => launched?,
    };
    let (within, now) = (joins_within(context), (context.now)());
    let is_late = |instance: &String| launched.get(instance).is_some_and(|at| now.since(Timestamp(*at)) >= within);
    Ok(missing.into_iter().filter(is_late).collect())
}

/// How many hosts can take a task.
fn usable(context: &Context, hosts: &[Host]) -> u32 {
    u32::try_from(joined(hosts).filter(|host| fits(context, host)).count()).unwrap_or(u32::MAX)
}

fn joined(hosts: &[Host]) -> impl Iterator<Item = &Host> {
    hosts.iter().filter(|host| host.status == HostStatus::Active && host.connected)
}

fn fits(context: &Context, host: &Host) -> bool {
    host.memory_mib >= context.target().memory_mib && host.cpu_units >= context.target().cpu_units
}

/// How instances without a task are given back, one at a time, until the group has so many: first one that never joined.
pub(crate) enum Giving {
    /// Nothing is to be placed on a host any more, or it is wanted again.
    SetDraining { host: String, instance: String, draining: bool },
    /// An instance that drains and is seen empty, or that never joined, is ended.
    End { instance: String },
    /// Nothing can be given back yet.
    Wait(String),
    /// The group has so many.
    Done,
}

/// What is next until the group has `instances`.
///
/// A host is first set to drain, so that nothing is placed on it, and ended only when it is then seen empty: a lower desired
/// count alone would let AWS choose, and it may choose one with a live task.
pub(crate) async fn giving(context: &Context, instances: u32) -> Result<Giving> {
    let name = &context.names.auto_scaling_group;
    let Some(group) = context.group().await? else {
        return Ok(Giving::Wait(format!("auto-scaling group {name} does not show yet")));
    };
    let set_draining = |host: &Host, draining: bool| {
        let (host, instance) = (host.arn.clone(), host.instance.clone());
        Giving::SetDraining { host, instance, draining }
    };
    let hosts = context.hosts().await?;
    let ours = |host: &&Host| group.instances.contains(&host.instance);
    let draining = hosts.iter().filter(ours).find(|host| host.status == HostStatus::Draining);
    if group.desired <= instances {
        return Ok(draining.map_or(Giving::Done, |host| set_draining(host, false)));
    }
    // It was launched for the project, and no task was ever placed on it.
    if let Some(instance) = never_joined(context, &group, &hosts).await?.into_iter().next() {
        return Ok(Giving::End { instance });
    }
    if let Some(host) = draining {
        if host.tasks > 0 {
            return Ok(set_draining(host, false));
        }
        // A task that is being stopped is no longer counted, but may still be serving its last requests. It has its port and its
        // memory until it is gone, and this look shows the host as it has been since it drains: nothing new comes to it.
        if host.ports.contains(&context.target().host_port) || host.memory_left_mib < host.memory_mib {
            return Ok(Giving::Wait(format!("instance {} ends its last task", host.instance)));
        }
        return Ok(Giving::End { instance: host.instance.clone() });
    }
    let mut empty = hosts.iter().filter(ours).filter(|host| host.status == HostStatus::Active && host.tasks == 0);
    Ok(match empty.next() {
        Some(host) => set_draining(host, true),
        None => Giving::Wait(format!("{name} has {} instances, and none to give back is empty", group.desired)),
    })
}

/// Instances without a task are given back, one at a time, until the group has `instances`.
pub(super) async fn return_capacity(context: &Context, instances: u32) -> Result<Observed> {
    let name = &context.names.auto_scaling_group;
    Ok(match giving(context, instances).await? {
        Giving::SetDraining { host, instance, draining } => set_draining(context, host, &instance, draining),
        Giving::End { instance } => {
            let what = format!("end empty instance {instance} of {name}");
            context.ready(what, |context| async move { end(&context, &instance).await })
        }
        Giving::Wait(why) => wait(why),
        Giving::Done => done(),
    })
}

fn set_draining(context: &Context, host: String, instance: &str, draining: bool) -> Observed {
    let what = if draining { "drain" } else { "take back" };
    let set = move |context: Context| async move { drain(&context, &host, draining).await };
    context.ready(format!("{what} instance {instance}"), set)
}

/// Lets a host drain, or takes it back.
pub(crate) async fn drain(context: &Context, host: &str, draining: bool) -> Result<()> {
    let answer = context.cloud.set_draining(&context.names.cluster, host, draining).await;
    answer.map(|host| context.looks.host_answered(host)).inspect_err(|_| context.looks.forget_capacity())
}

/// Ends an instance; its group wants one less.
pub(crate) async fn end(context: &Context, instance: &str) -> Result<()> {
    let ended = context.cloud.terminate(instance).await;
    ended.map(|()| context.looks.ended(instance)).inspect_err(|_| context.looks.forget_capacity())
}
