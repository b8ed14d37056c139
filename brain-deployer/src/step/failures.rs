//! Tasks of the new version that failed by themselves, and what ECS said of it.

use super::Context;
use crate::cloud::{self, Service, Task};
use brain_core::{
    deployment::{SERVICE_EVENTS_KEPT, ServiceEvent, TaskFailure},
    time::Timestamp,
};

/// Stop codes with which ECS tells that a task was ended on purpose.
const ENDED_ON_PURPOSE: [&str; 3] = ["UserInitiated", "SpotInterruption", "TerminationNotice"];
/// The stop code of the service's scheduler, both when it scales in and when a health check failed; the reason tells which.
const BY_SCHEDULER: &str = "ServiceSchedulerInitiated";
/// How the reason begins when the scheduler scaled in. AWS gives no code for it.
const SCALED_IN: &str = "Scaling activity initiated by";
/// Events that come with every start of tasks that succeeds. What ECS says otherwise is reason enough to look at the tasks
/// that have stopped; nothing else is ever concluded from an event's text.
const STARTS: &str = "has started ";
const EXPECTED: [&str; 3] = ["registered ", "has reached a steady state", "was unable to place a task"];

/// Whether tasks may have failed, to be told from the service alone; 0: nothing says so. The number grows with what says so.
pub(super) fn suspicion(context: &Context, service: &Service) -> u32 {
    let (raised, news) = context.looks.raised(service, context.step_began_ms);
    let (mut started, mut others) = (0, 0);
    for message in &news {
        let text = text_of(message);
        if text.starts_with(STARTS) {
            started += text.matches("(task ").count().max(1);
        } else if !is_expected(text) {
            others += 1;
        }
    }
    let started = u32::try_from(started).unwrap_or(u32::MAX);
    started.saturating_sub(raised).saturating_add(others)
}

/// Whether ECS says that of a service whose tasks start well too.
pub(super) fn is_usual(message: &str) -> bool {
    let text = text_of(message);
    text.starts_with(STARTS) || is_expected(text)
}

/// Of `(service NAME) TEXT` the text.
fn text_of(message: &str) -> &str {
    message.split_once(") ").map_or(message, |(_, text)| text)
}

fn is_expected(text: &str) -> bool {
    EXPECTED.iter().any(|expected| text.starts_with(expected))
}

/// Tasks that failed by themselves since then, whichever step had started them; oldest first.
pub(super) fn failures(since_ms: i64, stopped: &[Task]) -> Vec<TaskFailure> {
    let at = |task: &Task| task.stopped.as_ref().map(|stopped| stopped.at_ms);
    let mut failed: Vec<(Option<i64>, TaskFailure)> = stopped
        .iter()
        .filter(|task| at(task).is_some_and(|at| at >= since_ms))
        .filter_map(|task| Some((at(task), failure(task)?)))
        .collect();
    failed.sort_by_key(|(at, _)| *at);
    failed.into_iter().map(|(_, failure)| failure).collect()
}

/// What ECS has said of the service since the step began, oldest first.
pub(super) fn events(context: &Context, service: &Service) -> Vec<ServiceEvent> {
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
        let many: Vec<Task> = (0..30).map(|task| stopped(&task.to_string(), 1_000)).collect();
        assert_eq!(failures(1_000, &many).len(), 30, "all count, however few are kept");
        let tasks = [stopped("later", 3_000), stopped("before", 999), stopped("first", 1_000)];
        let failed: Vec<String> = failures(1_000, &tasks).into_iter().map(|failure| failure.task).collect();
        assert_eq!(failed, ["first", "later"]);
    }
}
