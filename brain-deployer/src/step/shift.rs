//! The shift of traffic: desired counts, set only while enough other tasks are healthy, and seen to be reached.

use super::{Context, Findings, Observed, blocked, wait};
use crate::cloud::{
    self, Cloud, CloudError, ErrorKind, Result, Service, ServiceStatus, TAG_PROJECT, TAG_VERSION, Task,
};
use brain_core::{
    deployment::{SERVICE_EVENTS_KEPT, ServiceEvent, TASK_FAILURES_KEPT, TaskFailure},
    names::ResourceNames,
    production::ServiceState,
    time::Timestamp,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// Stop codes with which ECS tells that a task was ended on purpose.
const ENDED_ON_PURPOSE: [&str; 3] = ["UserInitiated", "SpotInterruption", "TerminationNotice"];
/// The stop code of the service's scheduler, both when it scales in and when a health check failed; the reason tells which.
const BY_SCHEDULER: &str = "ServiceSchedulerInitiated";
/// How the reason begins when the scheduler scaled in. AWS gives no code for it.
const SCALED_IN: &str = "Scaling activity initiated by";

async fn healthy_among(cloud: &dyn Cloud, names: &ResourceNames, tasks: &[Task]) -> Result<BTreeSet<String>> {
    let running: Vec<&Task> = tasks.iter().filter(|task| task.running).collect();
    if running.is_empty() {
        return Ok(BTreeSet::new());
    }
    let hosts: BTreeSet<String> = running.iter().filter_map(|task| task.host.clone()).collect();
    let instances = cloud.instances_of(&names.cluster, &hosts).await?;
    let in_service = cloud.healthy_instances(&names.load_balancer).await?;
    let is_healthy = |task: &&&Task| {
        let instance = task.host.as_ref().and_then(|host| instances.get(host));
        instance.is_some_and(|instance| in_service.contains(instance))
    };
    Ok(running.iter().filter(is_healthy).map(|task| task.id.clone()).collect())
}

/// What was seen of a project's production at a time.
#[derive(Debug, Clone)]
pub struct Look {
    /// When the look began: what happened later may be missing.
    pub began: Instant,
    /// Every service of the project's cluster that brain made and that has a task or wants one.
    pub services: Vec<ServiceState>,
}

/// Looks at what runs in production.
pub async fn production(cloud: &dyn Cloud, names: &ResourceNames, project: &str) -> Result<Look> {
    let began = Instant::now();
    let services = ours(cloud.services(&names.cluster, None).await?, project);
    if services.is_empty() {
        return Ok(Look { began, services: Vec::new() });
    }
    let tasks = cloud.tasks(&names.cluster, None, false).await?;
    let healthy = healthy_among(cloud, names, &tasks).await?;
    Ok(Look { began, services: states(services, &tasks, &healthy) })
}

/// Those services that are the project's, and have a task or want one.
fn ours(services: Vec<Service>, project: &str) -> Vec<Service> {
    let ours = |service: &Service| service.tags.get(TAG_PROJECT).is_some_and(|owner| owner == project);
    let busy = |service: &Service| service.desired > 0 || service.running > 0 || service.pending > 0;
    services.into_iter().filter(|service| ours(service) && busy(service)).collect()
}

fn states(services: Vec<Service>, tasks: &[Task], healthy: &BTreeSet<String>) -> Vec<ServiceState> {
    let state = |service: Service| {
        let is_healthy = |task: &&Task| task.service == service.name && healthy.contains(&task.id);
        ServiceState {
            version: service.tags.get(TAG_VERSION).cloned().unwrap_or_default(),
            desired: service.desired,
            running: service.running,
            healthy: u32::try_from(tasks.iter().filter(is_healthy).count()).unwrap_or(u32::MAX),
            service: service.name,
        }
    };
    services.into_iter().map(state).collect()
}

/// The desired count is set. Lowering waits until the floor holds without the tasks that go; of a service that may be `idle`
/// they go at once when none of them is healthy.
pub(super) async fn scale(context: &Context, name: &str, desired: u32, floor: u32, idle: bool) -> Result<Observed> {
    let service = match active(context, name).await? {
        Ok(service) => service,
        Err(observed) => return Ok(observed),
    };
    if service.desired == desired {
        return Ok(super::done());
    }
    if desired < service.desired && desired < floor {
        let others = production(&*context.cloud, &context.names, context.spec.id.as_str()).await?;
        let (own, others): (Vec<&ServiceState>, Vec<&ServiceState>) =
            others.services.iter().partition(|other| other.service == name);
        let serves = own.iter().any(|own| own.healthy > 0);
        let others: u32 = others.iter().map(|other| other.healthy).sum();
        if others + desired < floor && (serves || !idle) {
            return Ok(wait(format!(
                "{others} healthy tasks of other services and {desired} of {name} are fewer than the floor of {floor}"
            )));
        }
    }
    let name = name.to_owned();
    Ok(context.ready(format!("scale {name} from {} to {desired}", service.desired), |context| async move {
        context.cloud.set_desired(&context.names.cluster, &name, desired).await
    }))
}

/// Exactly so many tasks run, all healthy; or too many have failed.
pub(super) async fn verify(context: &Context, name: &str, healthy: u32, max_task_failures: u32) -> Result<Observed> {
    let began = Instant::now();
    let services = context.cloud.services(&context.names.cluster, Some(name)).await?;
    let service = match active_of(services.iter().find(|service| service.name == name).cloned(), name) {
        Ok(service) => service,
        Err(observed) => return Ok(observed),
    };
    let settled = service.desired == healthy && service.running == healthy && service.pending == 0;
    // Tasks are looked at when ECS says that they are there: before, there is nothing to see in them.
    let (mut live, mut well, mut look) = (service.running, (service.running == 0).then_some(0), None);
    if settled {
        let tasks = context.cloud.tasks(&context.names.cluster, None, false).await?;
        let seen = healthy_among(&*context.cloud, &context.names, &tasks).await?;
        let own: Vec<&Task> = tasks.iter().filter(|task| task.service == name).collect();
        live = u32::try_from(own.len()).unwrap_or(u32::MAX);
        well = u32::try_from(own.iter().filter(|task| seen.contains(&task.id)).count()).ok();
        let services = states(ours(services, context.spec.id.as_str()), &tasks, &seen);
        look = Some(Look { began, services });
    }
    let reached = settled && live == healthy && well == Some(healthy);
    if reached && healthy > 0 && max_task_failures == 0 {
        return Ok(Observed::Done(Findings { production: look, ..Findings::default() }));
    }
    let looked = context.looks_for_failures();
    let stopped = context.cloud.tasks(&context.names.cluster, Some(name), true).await?;
    if max_task_failures > 0 {
        looked();
    }
    let failures = failures(context.failures_since_ms, &stopped);
    // Of the old version there is nothing to find out.
    let service_events = if max_task_failures > 0 { events(context, &service) } else { Vec::new() };
    if reached {
        // A task on its way out holds its port until it is gone.
        let draining = stopped.iter().filter(|task| task.is_stopping()).count();
        if healthy == 0 && draining > 0 {
            return Ok(wait(format!("tasks of {name} that still drain: {draining}")));
        }
        // Those of another version than the new one say nothing of the new one.
        let task_failures = if max_task_failures > 0 { failures } else { Vec::new() };
        return Ok(Observed::Done(Findings { task_failures, service_events, production: look }));
    }
    if max_task_failures > 0 && failures.len() >= max_task_failures as usize {
        let last = failures.last().map(|failure| failure.reason.clone()).unwrap_or_default();
        let why = format!("{} tasks of {name} failed; the last one: {last}", failures.len());
        return Ok(Observed::Blocked(why, Findings { task_failures: failures, service_events, production: look }));
    }
    let mut why = if live > healthy || healthy == 0 {
        format!("tasks running: {live}, to stay: {healthy}")
    } else if let Some(well) = well {
        format!("{well} of {healthy} tasks healthy, {} running", service.running)
    } else {
        format!("{} of {healthy} tasks running", service.running)
    };
    let no_room = service.events.first().filter(|event| event.message.contains("unable to place"));
    let no_room = no_room.filter(|_| service.running < healthy);
    if let Some(event) = no_room {
        why += &format!("; ECS says: {}", event.message);
    }
    if let Some(failure) = failures.last() {
        why += &format!("; {} failed, the last one: {}", failures.len(), failure.reason);
    }
    // A version whose tasks fail is at fault, whatever else is missing.
    Ok(if no_room.is_some() && failures.is_empty() { Observed::NoRoom(why) } else { wait(why) })
}

/// The service has run so many healthy tasks for a while, all the time: once one of them is not, the while begins again. Tasks
/// that failed in that time are told, or fail the step.
pub(super) async fn bake(
    context: &Context,
    name: &str,
    healthy: u32,
    duration: Duration,
    max_task_failures: u32,
) -> Result<Observed> {
    match verify(context, name, healthy, max_task_failures).await? {
        Observed::Done(_) if context.well_for() < duration => {
            Ok(wait(format!("watching {healthy} healthy tasks of {name} for {} s", duration.as_secs())))
        }
        Observed::Wait(why) => {
            context.is_unwell();
            Ok(wait(format!("{why}; the {} s in which {name} is watched begin again", duration.as_secs())))
        }
        Observed::NoRoom(why) => {
            context.is_unwell();
            Ok(Observed::NoRoom(why))
        }
        other => Ok(other),
    }
}

async fn active(context: &Context, name: &str) -> Result<Result<Service, Observed>> {
    let found = context.cloud.service(&context.names.cluster, name).await?;
    Ok(active_of(found, name))
}

fn active_of(found: Option<Service>, name: &str) -> Result<Service, Observed> {
    match found {
        Some(service) if service.status == ServiceStatus::Active => Ok(service),
        // It existed when it was planned with: either ECS does not show it yet, or somebody deleted it.
        None => Err(wait(format!("service {name} does not show"))),
        Some(_) => Err(blocked(format!("service {name} was deleted by somebody else"))),
    }
}

/// Tasks that failed by themselves since then, whichever step had started them; oldest first.
fn failures(since_ms: i64, stopped: &[Task]) -> Vec<TaskFailure> {
    let at = |task: &Task| task.stopped.as_ref().map(|stopped| stopped.at_ms);
    let mut failed: Vec<(Option<i64>, TaskFailure)> = stopped
        .iter()
        .filter(|task| at(task).is_some_and(|at| at >= since_ms))
        .filter_map(|task| Some((at(task), failure(task)?)))
        .collect();
    failed.sort_by_key(|(at, _)| *at);
    let excess = failed.len().saturating_sub(TASK_FAILURES_KEPT);
    failed.into_iter().skip(excess).map(|(_, failure)| failure).collect()
}

/// What ECS has said of the service since the step began, oldest first.
fn events(context: &Context, service: &Service) -> Vec<ServiceEvent> {
    let fresh = service.events.iter().filter(|event| event.at_ms >= context.step_began_ms).take(SERVICE_EVENTS_KEPT);
    let kept =
        |event: &cloud::ServiceEvent| ServiceEvent { at: Timestamp(event.at_ms), message: event.message.clone() };
    let mut events: Vec<ServiceEvent> = fresh.map(kept).collect();
    events.reverse();
    events
}

fn failure(task: &Task) -> Option<TaskFailure> {
    let stopped = task.stopped.as_ref()?;
    let scaled_in = stopped.code == BY_SCHEDULER && stopped.reason.starts_with(SCALED_IN);
    if scaled_in || ENDED_ON_PURPOSE.contains(&stopped.code.as_str()) || stopped.code.is_empty() {
        return None;
    }
    let mut reason = stopped.reason.clone();
    if let Some(code) = stopped.exit_code {
        reason += &format!(" (exit code {code})");
    }
    if let Some(container) = stopped.container_reason.as_ref().filter(|container| !stopped.reason.contains(*container))
    {
        reason += &format!(": {container}");
    }
    Some(TaskFailure { task: task.id.clone(), reason, exit_code: stopped.exit_code })
}

/// Whether a call is worth repeating.
#[must_use]
pub fn is_passing(error: &CloudError) -> bool {
    matches!(error.kind, ErrorKind::Throttled | ErrorKind::Limited | ErrorKind::Transient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Stopped;

    fn task(code: &str, reason: &str, exit_code: Option<i32>) -> Task {
        Task {
            id: "t".into(),
            service: "s".into(),
            running: false,
            host: None,
            created_ms: 0,
            stopped: Some(Stopped {
                at_ms: 0,
                code: code.into(),
                reason: reason.into(),
                exit_code,
                container_reason: None,
            }),
            ended: true,
        }
    }

    #[test]
    fn only_tasks_that_ended_by_themselves_have_failed() {
        let crashed =
            failure(&task("EssentialContainerExited", "Essential container in task exited", Some(1))).unwrap();
        assert_eq!(crashed.reason, "Essential container in task exited (exit code 1)");
        assert!(failure(&task("TaskFailedToStart", "CannotPullContainerError: not found", None)).is_some());
        assert!(
            failure(&task(BY_SCHEDULER, "Task failed ELB health checks in (elb user-ecs-lb)", Some(143))).is_some()
        );
        assert!(
            failure(&task(BY_SCHEDULER, "Scaling activity initiated by (deployment ecs-svc/1)", Some(143))).is_none()
        );
        assert!(failure(&task("UserInitiated", "stopped by hand", Some(0))).is_none());
    }

    #[test]
    fn a_task_that_an_earlier_step_started_fails_in_the_step_in_which_it_stops() {
        let stopped = |id: &str, at_ms| {
            let mut task = task("EssentialContainerExited", "Essential container in task exited", Some(1));
            task.id = id.into();
            task.stopped.as_mut().unwrap().at_ms = at_ms;
            task
        };
        let tasks = [stopped("later", 3_000), stopped("before", 999), stopped("first", 1_000)];
        let failed: Vec<String> = failures(1_000, &tasks).into_iter().map(|failure| failure.task).collect();
        assert_eq!(failed, ["first", "later"]);
    }
}
