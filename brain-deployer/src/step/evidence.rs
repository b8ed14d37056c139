//! What a step has found of the new version, or its gate has read, and not yet told. It is told as it is found, once each: AWS
//! forgets it, and the step may be broken off by its timeout, or by a person, at any time.

use super::failures::is_usual;
use brain_core::{
    deployment::{SERVICE_EVENTS_KEPT, ServiceEvent, TASK_FAILURES_KEPT, TaskFailure},
    gate::Reading,
};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// Reports of a step about what was found, at most: a crash loop under a generous policy would fill the log.
const REPORTS_MAX: u32 = 100;

/// Failures and events that one report tells of.
pub(crate) type News = (Vec<TaskFailure>, Vec<ServiceEvent>);

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Evidence(Mutex<Found>);

#[derive(Debug, Default)]
struct Found {
    reading: Option<Reading>,
    failures: Vec<TaskFailure>,
    events: Vec<ServiceEvent>,
    known_tasks: BTreeSet<String>,
    known_events: BTreeSet<ServiceEvent>,
    reports: u32,
}

impl Evidence {
    /// A look has found this, part of it for the first time. Answers how many tasks are known to have failed, those that AWS has
    /// forgotten since among them.
    pub(super) fn found(&self, failures: &[TaskFailure], events: &[ServiceEvent]) -> usize {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = &mut *guard;
        for failure in failures {
            if found.known_tasks.insert(failure.task.clone()) {
                found.failures.push(failure.clone());
            }
        }
        for event in events {
            if found.known_events.insert(event.clone()) {
                found.events.push(event.clone());
            }
        }
        found.known_tasks.len()
    }

    /// What the step's gate has read.
    pub(super) fn read(&self, reading: Reading) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reading = Some(reading);
    }

    /// What the step's gate has read at its latest look.
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).reading.take()
    }

    /// What has to be told now. What ECS says of every start waits for something else to be told, and when the step `ends` its
    /// last report tells as much as one can.
    pub(crate) fn news(&self, ends: bool) -> Vec<News> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = if ends { TASK_FAILURES_KEPT } else { 0 };
        let unusual = !ends && found.events.iter().any(|event| !is_usual(&event.message));
        let mut news = Vec::new();
        while (found.failures.len() > last || (unusual && !found.events.is_empty())) && found.reports < REPORTS_MAX {
            let failures = found.failures.len().min(TASK_FAILURES_KEPT);
            let events = found.events.len().min(SERVICE_EVENTS_KEPT);
            news.push((found.failures.drain(..failures).collect(), found.events.drain(..events).collect()));
            found.reports += 1;
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_core::time::Timestamp;

    fn failure(task: u32) -> TaskFailure {
        TaskFailure { task: task.to_string(), reason: "exit code 1".into(), exit_code: Some(1) }
    }

    fn event(message: &str) -> ServiceEvent {
        ServiceEvent { at: Timestamp(1), message: format!("(service user-ecs-service-0-0-5) {message}") }
    }

    #[test]
    fn what_is_found_is_told_once_and_what_is_usual_only_beside_it() {
        let evidence = Evidence::default();
        let started = event("has started 1 tasks: (task 1).");
        evidence.found(&[], std::slice::from_ref(&started));
        assert_eq!(evidence.news(false), []);
        evidence.found(&[failure(1)], std::slice::from_ref(&started));
        assert_eq!(evidence.news(false), [(vec![failure(1)], vec![started.clone()])]);
        let ill = event("deregistered 1 targets");
        evidence.found(&[failure(1)], &[started, ill.clone()]);
        assert_eq!(evidence.news(false), [(vec![], vec![ill])]);
        assert_eq!(evidence.news(false), []);
    }

    #[test]
    fn many_failures_are_told_in_parts_of_which_the_last_report_takes_one() {
        let evidence = Evidence::default();
        let failures: Vec<TaskFailure> = (0..45).map(failure).collect();
        assert_eq!(evidence.found(&failures, &[]), 45);
        let told: Vec<usize> = evidence.news(true).iter().map(|(failures, _)| failures.len()).collect();
        assert_eq!(told, [20, 20], "the other 5 are told with the end");
        for round in 0..200 {
            evidence.found(&[failure(100 + round)], &[]);
            evidence.news(false);
        }
        assert!(evidence.0.lock().unwrap().reports <= REPORTS_MAX);
    }
}
