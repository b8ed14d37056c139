//! The shift of traffic: desired counts, set only while enough other tasks are healthy, and seen to be reached.
//!
//! The cheapest look comes first. A description of the services says how many tasks run and what ECS has to say; health is
//! asked for when those counts are right, and the tasks that have stopped when something says that some have, or from time
//! to time.
//!
//! A service that somebody has deleted has no task. Taking tasks away from it is done, and tasks of it are not waited for:
//! that it is gone is told, and the other steps go on. Only what is there to have tasks in the end, the new version, is
//! missed at once; and where nothing else serves, what does is kept.

use super::{
    Context, Findings, Observed, blocked,
    failures::{events, failures, suspicion},
    health::{self, Health},
    wait,
};
use crate::cloud::{Result, Service, ServiceStatus};
use brain_core::{
    deployment::{Cause, TaskFailure},
    drift::{Drift, Remedy},
    plan::Watching,
    time::Timestamp,
};
use std::time::Duration;
use tokio::time::Instant;

/// Time for which a version that is sick in part is given to recover before tasks of it are taken away.
const RECOVERS_WITHIN: Duration = Duration::from_mins(1);

/// The desired count is set. Lowering waits until the floor holds without the tasks that go; of a service that may be `idle`
/// they go at once when none of them is healthy.
pub(super) async fn scale(context: &Context, name: &str, desired: u32, floor: u32, idle: bool) -> Result<Observed> {
    let (began, services) = context.services(name).await?;
    let service = match standing(context, &services, name) {
        Standing::Active(service) => service,
        Standing::Gone(observed) if desired > 0 => return Ok(observed),
        Standing::Gone(_) => return Ok(super::done()),
        Standing::Unclear(why) => return Ok(wait(why)),
    };
    let before = service.desired;
    if before == desired {
        return Ok(super::done());
    }
    if desired < before && desired < floor {
        let missing = missing(context, &services);
        let health = health::health(context, began, &services).await?;
        let seen = health::look(context, began, services, &health).await?;
        let healthy_of = |own: bool| -> u32 {
            let those = seen.services.iter().filter(|service| (service.service == name) == own);
            those.map(|service| service.healthy).sum()
        };
        let (own, others) = (healthy_of(true), healthy_of(false));
        let serves = own > 0;
        if others + desired < floor && (serves || !idle) {
            let why = format!(
                "{others} healthy tasks of other services and {desired} of {name} are fewer than the floor of {floor}"
            );
            return Ok(match missing {
                Some(missing) => {
                    let why = format!("{why}, and service {missing} was {DELETED}: {name} stays as it is");
                    Observed::Blocked(why, Findings { drift: vec![deleted(&missing)], ..Findings::default() })
                }
                None => wait(why),
            });
        }
        // ECS may take those that are healthy and leave those that are not, which may become so within a while.
        let left = own.saturating_sub(before - desired);
        let waited = (context.now)().since(Timestamp(context.step_began_ms));
        let recovers_within = RECOVERS_WITHIN.min(context.spec.rollout_policy.step_timeout / 2);
        if serves && own < before && !idle && others + left < floor && waited < recovers_within {
            return Ok(wait(format!("{own} of {before} tasks of {name} are healthy: the others may become so")));
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
    let service = match standing(context, &services, name) {
        Standing::Active(service) => service.clone(),
        Standing::Gone(_) if healthy == 0 || at_most => {
            return Ok(draining(context, name).await?.unwrap_or_else(super::done));
        }
        Standing::Gone(observed) => return Ok(observed),
        Standing::Unclear(why) => return Ok(wait(why)),
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
    if reached
        && healthy == 0
        && let Some(observed) = draining(context, name).await?
    {
        return Ok(observed);
    }
    let watched = max_task_failures > 0;
    // Of the old version there is nothing to find out.
    let suspicion = if watched { suspicion(context, &service) } else { 0 };
    let stopped = context.stopped_of(name, suspicion, watched).await?;
    let failures = failures(context.failures_since_ms, &stopped);
    // Those of another version than the new one say nothing of the new one.
    let (task_failures, service_events) =
        if watched { (failures.clone(), events(context, &service)) } else { (Vec::new(), Vec::new()) };
    let failed = context.evidence.found(&task_failures, &service_events);
    let findings = Findings { task_failures, service_events, production: look, drift: Vec::new() };
    if reached {
        return Ok(Observed::Done(findings));
    }
    if watched && failed >= max_task_failures as usize {
        return Ok(too_many(name, failed, findings));
    }
    let seen = Seen { live, well, failures: &failures, fresh_ms: context.step_began_ms.saturating_sub(SAID_BEFORE_MS) };
    Ok(not_yet(&service, healthy, &seen))
}

/// What is found of the new version while something else is waited for; or too many of its tasks have failed.
pub(super) async fn found(context: &Context, name: &str, max_task_failures: u32) -> Result<Result<Findings, Observed>> {
    let (_, services) = context.services(name).await?;
    // Whoever looks at its figures says that it is not there.
    let service = services.iter().find(|service| service.name == name);
    let Some(service) = service.filter(|_| max_task_failures > 0) else { return Ok(Ok(Findings::default())) };
    let stopped = context.stopped_of(name, suspicion(context, service), true).await?;
    let task_failures = failures(context.failures_since_ms, &stopped);
    let service_events = events(context, service);
    let failed = context.evidence.found(&task_failures, &service_events);
    let findings = Findings { task_failures, service_events, ..Findings::default() };
    Ok(if failed >= max_task_failures as usize { Err(too_many(name, failed, findings)) } else { Ok(findings) })
}

fn too_many(name: &str, failed: usize, findings: Findings) -> Observed {
    let last = findings.task_failures.last().map(|failure| failure.reason.clone()).unwrap_or_default();
    Observed::Blocked(format!("{failed} tasks of {name} failed; the last one: {last}"), findings)
}

/// A task on its way out holds its port until it is gone.
async fn draining(context: &Context, name: &str) -> Result<Option<Observed>> {
    let stopped = context.stopped().await?;
    let draining = stopped.iter().filter(|task| task.service == name && task.is_stopping()).count();
    Ok((draining > 0).then(|| wait(format!("tasks of {name} that still drain: {draining}"))))
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
    if context.watching.is_some() {
        // A hold decides nothing by it, and may last for days.
        return health::glance(&*context.cloud, &context.names, began, services).await;
    }
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

/// A person is waited for, and the new version is watched meanwhile. Tasks that fail may fail the step; that fewer are healthy than
/// are to be is told, and fails nothing.
pub(super) async fn hold(context: &Context) -> Result<Observed> {
    let watched = |why: String, well: bool| Observed::Watched { why, cause: Cause::Version, well };
    let Some(Watching { service, healthy, max_task_failures }) = &context.watching else {
        return Ok(watched(String::new(), true));
    };
    // However many are healthy in the place of those that failed.
    if let Err(failed) = found(context, service, *max_task_failures).await? {
        return Ok(failed);
    }
    Ok(match verify(context, service, *healthy, *max_task_failures, false).await? {
        Observed::Done(_) => watched(String::new(), true),
        Observed::Wait(why) | Observed::NoRoom(why) => watched(why, false),
        other => other,
    })
}

/// Time for which a service does not show until it is taken to be gone: what was just made shows within seconds.
const GONE_AFTER: Duration = Duration::from_secs(30);
const DELETED: &str = "deleted by somebody else";

/// Whether a service is there: every one existed when it was planned with, or was made since.
enum Standing<'a> {
    Active(&'a Service),
    /// Somebody has deleted it; what that is to a step which wants tasks of it.
    Gone(Observed),
    /// ECS does not show it yet, or it is gone.
    Unclear(String),
}

fn standing<'a>(context: &Context, services: &'a [Service], name: &str) -> Standing<'a> {
    let shown = services.iter().find(|service| service.name == name);
    if let Some(service) = shown.filter(|service| service.status == ServiceStatus::Active) {
        context.looks.is_there(name);
        return Standing::Active(service);
    }
    if context.looks.is_absent(name) < GONE_AFTER {
        return Standing::Unclear(format!("service {name} does not show"));
    }
    if context.makes && context.wanted.iter().any(|wanted| wanted == name) {
        return Standing::Gone(blocked(format!("service {name} was {DELETED}")));
    }
    Standing::Gone(Observed::Told(vec![deleted(name)]))
}

fn deleted(name: &str) -> Drift {
    Drift { resource: format!("service {name}"), difference: DELETED.to_owned(), remedy: Remedy::Told }
}

/// What is told of a service that is gone; `None`: it is there, as far as anybody knows.
pub(super) async fn gone(context: &Context, name: &str) -> Result<Option<Observed>> {
    let (_, services) = context.services(name).await?;
    Ok(match standing(context, &services, name) {
        Standing::Gone(observed) => Some(observed),
        Standing::Active(_) | Standing::Unclear(_) => None,
    })
}

/// A service that a way back was to bring back and that is gone.
fn missing(context: &Context, services: &[Service]) -> Option<String> {
    let is_gone = |name: &&String| matches!(standing(context, services, name), Standing::Gone(_));
    context.wanted.iter().filter(|_| !context.makes).find(is_gone).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cloud::ServiceEvent,
        step::sample::{Sample, told},
    };

    async fn scaled(sample: &Sample, name: &str, desired: u32) -> String {
        told(scale(&sample.context, name, desired, 3, true).await).await
    }

    async fn verified(sample: &Sample, name: &str, healthy: u32) -> String {
        told(verify(&sample.context, name, healthy, 0, false).await).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_is_gone_has_no_tasks_to_take_away_and_none_to_wait_for() {
        let mut sample = Sample::new();
        sample.service("old", 3);
        sample.service("new", 0);
        sample.context.wanted = ["new".to_owned()].into();
        sample.deleted("old");
        assert_eq!(scaled(&sample, "old", 2).await, "waits: service old does not show");
        sample.later(31).await;
        let gone = "service old: deleted by somebody else";
        assert_eq!([scaled(&sample, "old", 2).await, verified(&sample, "old", 2).await], [gone, gone]);
        assert_eq!([scaled(&sample, "old", 0).await, verified(&sample, "old", 0).await], ["done", "done"]);
        assert_eq!(scaled(&sample, "new", 1).await, "scale new from 0 to 1");
        sample.deleted("new");
        sample.later(1).await;
        assert_eq!(verified(&sample, "new", 1).await, "waits: service new does not show");
        sample.later(31).await;
        assert_eq!(verified(&sample, "new", 1).await, "blocked: service new was deleted by somebody else");
    }

    #[tokio::test(start_paused = true)]
    async fn on_a_way_back_to_what_is_gone_the_only_one_that_serves_stays() {
        let mut sample = Sample::new();
        sample.group(1).await;
        sample.service("new", 1);
        sample.later(60).await;
        sample.service("old", 3);
        sample.deleted("old");
        (sample.context.makes, sample.context.wanted) = (false, ["old".to_owned()].into());
        assert_eq!(scaled(&sample, "old", 3).await, "waits: service old does not show");
        sample.later(31).await;
        assert_eq!(scaled(&sample, "old", 3).await, "service old: deleted by somebody else");
        let kept = "blocked: 0 healthy tasks of other services and 0 of new are fewer than the floor of 3, and service old \
                    was deleted by somebody else: new stays as it is, told: service old: deleted by somebody else";
        assert_eq!(scaled(&sample, "new", 0).await, kept);
        let now = (sample.context.now)().0;
        sample.cloud.with(|world| {
            let host = world.hosts.keys().next().cloned().unwrap();
            world.kill_host(&host, now);
        });
        sample.later(1).await;
        assert_eq!(scaled(&sample, "new", 0).await, "scale new from 1 to 0", "it serves nobody");
    }

    #[tokio::test(start_paused = true)]
    async fn at_a_hold_tasks_that_fail_count_though_others_are_healthy_in_their_place() {
        let mut sample = Sample::new();
        sample.group(3).await;
        sample.service("old", 2);
        sample.service("new", 1);
        sample.later(60).await;
        assert_eq!(told(hold(&sample.context).await).await, "", "there is nothing to watch");
        sample.context.watching = Some(Watching { service: "new".to_owned(), healthy: 1, max_task_failures: 2 });
        assert_eq!(told(hold(&sample.context).await).await, "");
        sample.fails("new");
        sample.later(1).await;
        let exit = "the last one: Essential container in task exited (exit code 137)";
        let unwell = format!("0 of 1 tasks healthy, 0 running; 1 failed, {exit}");
        assert_eq!(told(hold(&sample.context).await).await, unwell);
        // ECS remembers what has stopped for an hour.
        sample.later(4_000).await;
        assert_eq!(told(hold(&sample.context).await).await, "");
        sample.fails("new");
        sample.later(30).await;
        assert_eq!(told(hold(&sample.context).await).await, format!("blocked: 2 tasks of new failed; {exit}"));
    }

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
