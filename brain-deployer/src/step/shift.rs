//! The shift of traffic: desired counts, set only while enough other tasks are healthy, and seen to be reached.
//!
//! The cheapest look comes first. A description of the services says how many tasks run and what ECS has to say; health is
//! asked for when those counts are right, and the tasks that have stopped when something says that some have, or from time
//! to time.

use super::{
    Context, Findings, Observed, blocked,
    failures::{events, failures, suspicion},
    health::{self, Health},
    wait,
};
use crate::cloud::{Result, Service, ServiceStatus};
use brain_core::deployment::{Cause, TaskFailure};
use std::time::Duration;
use tokio::time::Instant;

/// The desired count is set. Lowering waits until the floor holds without the tasks that go; of a service that may be `idle`
/// they go at once when none of them is healthy.
pub(super) async fn scale(context: &Context, name: &str, desired: u32, floor: u32, idle: bool) -> Result<Observed> {
    let (began, services) = context.services(name).await?;
    let service = match active_of(&services, name) {
        Ok(service) => service,
        Err(observed) => return Ok(observed),
    };
    let before = service.desired;
    if before == desired {
        return Ok(super::done());
    }
    if desired < before && desired < floor {
        let health = health::health(context, began, &services).await?;
        let seen = health::look(context, began, services, &health).await?;
        let healthy_of = |own: bool| -> u32 {
            let those = seen.services.iter().filter(|service| (service.service == name) == own);
            those.map(|service| service.healthy).sum()
        };
        let (serves, others) = (healthy_of(true) > 0, healthy_of(false));
        if others + desired < floor && (serves || !idle) {
            return Ok(wait(format!(
                "{others} healthy tasks of other services and {desired} of {name} are fewer than the floor of {floor}"
            )));
        }
    }
    let name = name.to_owned();
    Ok(context.ready(format!("scale {name} from {before} to {desired}"), move |context| async move {
        let answer = context.cloud.set_desired(&context.names.cluster, &name, desired).await;
        match answer {
            Ok(service) => context.looks.scaled(before, service),
            Err(error) => {
                context.looks.forget_services();
                return Err(error);
            }
        }
        Ok(())
    }))
}

/// Exactly so many tasks run, all healthy, or `at_most` so many in whatever state; or too many have failed.
pub(super) async fn verify(
    context: &Context,
    name: &str,
    healthy: u32,
    max_task_failures: u32,
    at_most: bool,
) -> Result<Observed> {
    let (began, services) = context.services(name).await?;
    let service = match active_of(&services, name) {
        Ok(service) => service.clone(),
        Err(observed) => return Ok(observed),
    };
    let settled = service.desired == healthy && service.running == healthy && service.pending == 0;
    // Tasks are looked at when ECS says that they are there: before, there is nothing to see in them.
    let (mut live, mut well, mut look) = (service.running, (service.running == 0).then_some(0), None);
    if settled {
        let health = health_of(context, began, &services, max_task_failures > 0).await?;
        let (own, own_well) = health.of(name);
        (live, well) = (own, Some(own_well));
        look = Some(health::look(context, began, services, &health).await?);
    }
    let reached = match at_most {
        true => service.desired == healthy && service.running <= healthy,
        false => settled && live == healthy && well == Some(healthy),
    };
    if reached && healthy == 0 {
        // A task on its way out holds its port until it is gone.
        let stopped = context.stopped().await?;
        let draining = stopped.iter().filter(|task| task.service == name && task.is_stopping()).count();
        if draining > 0 {
            return Ok(wait(format!("tasks of {name} that still drain: {draining}")));
        }
    }
    // Of the old version there is nothing to find out.
    let suspicion = if max_task_failures > 0 { suspicion(context, &service) } else { 0 };
    let stopped = context.stopped_of(name, suspicion, max_task_failures > 0).await?;
    let failures = failures(context.failures_since_ms, &stopped);
    let service_events = if max_task_failures > 0 { events(context, &service) } else { Vec::new() };
    if max_task_failures > 0 {
        context.evidence.found(&failures, &service_events);
    }
    if reached {
        // Those of another version than the new one say nothing of the new one.
        let task_failures = if max_task_failures > 0 { failures } else { Vec::new() };
        return Ok(Observed::Done(Findings { task_failures, service_events, production: look }));
    }
    if max_task_failures > 0 && failures.len() >= max_task_failures as usize {
        let last = failures.last().map(|failure| failure.reason.clone()).unwrap_or_default();
        let why = format!("{} tasks of {name} failed; the last one: {last}", failures.len());
        return Ok(Observed::Blocked(why, Findings { task_failures: failures, service_events, production: look }));
    }
    let seen = Seen { live, well, failures: &failures, fresh_ms: context.step_began_ms.saturating_sub(SAID_BEFORE_MS) };
    Ok(not_yet(&service, healthy, &seen))
}

/// What ECS said so long before the step began is of it too: it looks for room as soon as the count is set, one step before, and
/// seldom says a second time that there is none.
const SAID_BEFORE_MS: i64 = 30_000;

/// What was seen of a service's tasks.
struct Seen<'a> {
    live: u32,
    well: Option<u32>,
    failures: &'a [TaskFailure],
    /// What ECS said before is old news.
    fresh_ms: i64,
}

fn not_yet(service: &Service, healthy: u32, seen: &Seen<'_>) -> Observed {
    let Seen { live, well, failures, fresh_ms } = *seen;
    let mut why = if live > healthy || healthy == 0 {
        format!("tasks running: {live}, to stay: {healthy}")
    } else if let Some(well) = well {
        format!("{well} of {healthy} tasks healthy, {} running", service.running)
    } else {
        format!("{} of {healthy} tasks running", service.running)
    };
    let said = service.events.first().filter(|event| event.at_ms >= fresh_ms);
    let no_room = said.filter(|event| event.message.contains("unable to place"));
    let no_room = no_room.filter(|_| service.running < healthy);
    if let Some(event) = no_room {
        why += &format!("; ECS says: {}", event.message);
    }
    if let Some(failure) = failures.last() {
        why += &format!("; {} failed, the last one: {}", failures.len(), failure.reason);
    }
    // A version whose tasks fail is at fault, whatever else is missing.
    if no_room.is_some() && failures.is_empty() { Observed::NoRoom(why) } else { wait(why) }
}

/// The health of the services. Of the old version it is known already where tasks have only gone since it was seen: whether
/// more of them may go is decided by a look of its own.
async fn health_of(context: &Context, began: Instant, services: &[Service], watched: bool) -> Result<Health> {
    if !watched && context.looks.still_well(services) {
        return Ok(Health::all(began, services));
    }
    health::health(context, began, services).await
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
    match verify(context, name, healthy, max_task_failures, false).await? {
        Observed::Done(_) if context.watch.well() < duration => {
            let why = format!("watching {healthy} healthy tasks of {name} for {} s", duration.as_secs());
            Ok(Observed::Watched { why, cause: Cause::Version, well: true })
        }
        Observed::Wait(why) => Ok(unwell(context, &why, name, duration, Cause::Version)),
        Observed::NoRoom(why) => Ok(unwell(context, &why, name, duration, Cause::Surroundings)),
        other => Ok(other),
    }
}

fn unwell(context: &Context, why: &str, name: &str, duration: Duration, cause: Cause) -> Observed {
    context.watch.unwell();
    let why = format!("{why}; the {} s in which {name} is watched begin again", duration.as_secs());
    Observed::Watched { why, cause, well: false }
}

fn active_of<'a>(services: &'a [Service], name: &str) -> Result<&'a Service, Observed> {
    match services.iter().find(|service| service.name == name) {
        Some(service) if service.status == ServiceStatus::Active => Ok(service),
        // It existed when it was planned with: either ECS does not show it yet, or somebody deleted it.
        None => Err(wait(format!("service {name} does not show"))),
        Some(_) => Err(blocked(format!("service {name} was deleted by somebody else"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::ServiceEvent;

    #[test]
    fn what_ecs_said_long_before_the_step_explains_nothing() {
        let message = "(service user) was unable to place a task because no container instance met its requirements";
        let service = Service {
            name: "user".into(),
            arn: "arn".into(),
            status: ServiceStatus::Active,
            desired: 1,
            running: 0,
            pending: 1,
            task_definition: "user:1".into(),
            target_group: None,
            health_check_grace_seconds: 0,
            tags: [].into(),
            events: vec![ServiceEvent { at_ms: 1_000, message: message.into() }],
        };
        let look = |fresh_ms| not_yet(&service, 1, &Seen { live: 0, well: Some(0), failures: &[], fresh_ms });
        assert!(matches!(look(1_000), Observed::NoRoom(why) if why.contains("unable to place")));
        assert!(matches!(look(1_001), Observed::Wait(why) if !why.contains("ECS says")));
    }
}
