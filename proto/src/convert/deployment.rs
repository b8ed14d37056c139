//! Deployments and what is reported of their steps.

use super::{
    ConvertError,
    drift::{drift_from_proto, drift_to_proto},
    gate::{reading_from_proto, reading_to_proto},
    project::policy_to_proto,
    timestamp_from_proto, timestamp_to_proto,
};
use crate::{
    name,
    v1::{self, step_report},
};
use brain_core::{
    deployment::{
        Cause, Deployment, Outcome, Pause, Phase, SERVICE_EVENTS_KEPT, ServiceEvent, StepTimes, TASK_FAILURES_KEPT,
        TaskFailure,
        beginning::Approval,
        control::{Control, ControlUsed},
    },
    gate::Reading,
    plan::{Plan, Step},
    project::ProjectSpec,
};
use std::collections::BTreeMap;

/// Longest reason that is kept, in characters.
const REASON_MAX: usize = 2_000;
/// Longest "why" of a waiting step, or of a gate's reading, that is kept, in characters.
pub(super) const WHY_MAX: usize = 500;

/// A deployment as people see it.
#[must_use]
pub fn deployment_to_proto(spec: &ProjectSpec, deployment: &Deployment) -> v1::Deployment {
    v1::Deployment {
        name: name::deployment(&spec.id, deployment.number),
        version: deployment.tag.clone(),
        docker_image: spec.image_repository.with_tag(&deployment.tag),
        image_digest: deployment.digest.to_string(),
        phase: phase_to_proto(deployment.phase).into(),
        headline: headline(deployment),
        reason: deployment.reason.clone().unwrap_or_default(),
        waiting: deployment.waiting.clone().unwrap_or_default(),
        steps: steps_to_proto(&deployment.plan, &deployment.times, &deployment.readings),
        rollback_steps: deployment
            .rollback
            .as_ref()
            .map(|rollback| steps_to_proto(&rollback.plan, &rollback.times, &BTreeMap::new()))
            .unwrap_or_default(),
        task_failures: deployment.task_failures.iter().map(task_failure_to_proto).collect(),
        deployer: deployment.lease.as_ref().map(|lease| lease.agent.to_string()).unwrap_or_default(),
        generation: deployment.generation,
        requested_by: deployment.requested_by.clone(),
        create_time: Some(timestamp_to_proto(deployment.created)),
        end_time: deployment.ended.map(timestamp_to_proto),
        pause: deployment.paused.as_ref().map(pause_to_proto),
        controls: deployment.controls.iter().map(control_to_proto).collect(),
        step: u32::try_from(deployment.cursor + 1).unwrap_or(u32::MAX),
        rollout_policy: deployment.policy.as_ref().map(policy_to_proto),
        awaits: deployment.awaits.iter().map(ToString::to_string).collect(),
        approvals_required: deployment.approvals_required,
        approvals: deployment.approvals.iter().map(approval_to_proto).collect(),
        outside_windows: deployment.outside_windows.clone().unwrap_or_default(),
        failure_cause: deployment.cause.map_or(v1::FailureCause::Unspecified, cause_to_proto).into(),
        service_events: deployment.service_events.iter().map(service_event_to_proto).collect(),
        drift: deployment.drift.iter().map(drift_to_proto).collect(),
        request_reason: deployment.why.clone(),
        step_deadline_time: deployment.deadline().map(timestamp_to_proto),
    }
}

fn approval_to_proto(approval: &Approval) -> v1::DeploymentApproval {
    let Approval { at, by, why } = approval.clone();
    v1::DeploymentApproval { time: Some(timestamp_to_proto(at)), requested_by: by, reason: why }
}

fn pause_to_proto(pause: &Pause) -> v1::DeploymentPause {
    let Pause { by, why, since, failed: _, line } = pause.clone();
    v1::DeploymentPause { paused_by: by, reason: why, pause_time: Some(timestamp_to_proto(since)), line }
}

fn control_to_proto(used: &ControlUsed) -> v1::DeploymentControl {
    let ControlUsed { at, by, why, control, request_id: _ } = used.clone();
    let what = match control {
        Control::Pause => "pause",
        Control::Resume => "resume",
        Control::Promote { to_end: false, .. } => "promote",
        Control::Promote { to_end: true, .. } => "promote to the end",
        Control::Cancel { rollback: false } => "cancel",
        Control::Cancel { rollback: true } => "cancel with a rollback",
    };
    v1::DeploymentControl { time: Some(timestamp_to_proto(at)), requested_by: by, reason: why, what: what.to_owned() }
}

fn phase_to_proto(phase: Phase) -> v1::DeploymentPhase {
    match phase {
        Phase::Pending => v1::DeploymentPhase::Pending,
        Phase::Running => v1::DeploymentPhase::Running,
        Phase::RollingBack => v1::DeploymentPhase::RollingBack,
        Phase::Succeeded => v1::DeploymentPhase::Succeeded,
        Phase::Failed => v1::DeploymentPhase::Failed,
        Phase::Cancelled => v1::DeploymentPhase::Cancelled,
    }
}

fn headline(deployment: &Deployment) -> String {
    let steps = deployment.active_plan().steps.len();
    let step = || {
        let what = deployment.current_step().map(ToString::to_string).unwrap_or_default();
        format!("step {} of {steps}: {what}", deployment.cursor + 1)
    };
    if let Some(pause) = &deployment.paused {
        return format!("paused by {}, {}", pause.by, step());
    }
    match deployment.phase {
        Phase::Pending => match (deployment.awaits.first(), deployment.approvals_missing(), &deployment.waiting) {
            (Some(first), _, Some(why)) => format!("waiting for {first}; {why}"),
            (Some(first), _, None) => format!("waiting for {first}"),
            (None, 1.., _) => {
                let (has, needs) = (deployment.approvals.len(), deployment.approvals_required);
                format!("waiting for approvals: {has} of {needs}")
            }
            (None, 0, Some(why)) if deployment.held => format!("held back: {why}"),
            (None, 0, _) => "waiting for a deployer".to_owned(),
        },
        Phase::Running => step(),
        Phase::RollingBack => format!("rolling back, {}", step()),
        Phase::Succeeded => match &deployment.reason {
            Some(left) => format!("{} has all traffic; {left}", deployment.tag),
            None => format!("{} has all traffic", deployment.tag),
        },
        Phase::Failed => "failed".to_owned(),
        Phase::Cancelled => "cancelled".to_owned(),
    }
}

fn steps_to_proto(plan: &Plan, times: &[StepTimes], readings: &BTreeMap<usize, Reading>) -> Vec<v1::StepStatus> {
    let status = |(index, (step, times)): (usize, (&Step, &StepTimes))| v1::StepStatus {
        description: step.to_string(),
        start_time: times.started.map(timestamp_to_proto),
        end_time: times.ended.map(timestamp_to_proto),
        gate_reading: readings.get(&index).map(reading_to_proto),
    };
    plan.steps.iter().zip(times).enumerate().map(status).collect()
}

/// A task that failed.
#[must_use]
pub fn task_failure_to_proto(failure: &TaskFailure) -> v1::TaskFailure {
    let TaskFailure { task, reason, exit_code } = failure.clone();
    v1::TaskFailure { task, reason, exit_code }
}

fn task_failures_from_proto(failures: Vec<v1::TaskFailure>) -> Vec<TaskFailure> {
    let convert = |failure: v1::TaskFailure| {
        let v1::TaskFailure { task, reason, exit_code } = failure;
        TaskFailure { task: cut(task, WHY_MAX), reason: cut(reason, WHY_MAX), exit_code }
    };
    failures.into_iter().take(TASK_FAILURES_KEPT).map(convert).collect()
}

fn service_event_to_proto(event: &ServiceEvent) -> v1::ServiceEvent {
    let ServiceEvent { at, message } = event.clone();
    v1::ServiceEvent { time: Some(timestamp_to_proto(at)), message }
}

fn service_events_from_proto(events: Vec<v1::ServiceEvent>) -> Vec<ServiceEvent> {
    let convert = |event: v1::ServiceEvent| {
        let v1::ServiceEvent { time, message } = event;
        ServiceEvent { at: time.map(timestamp_from_proto).unwrap_or_default(), message: cut(message, WHY_MAX) }
    };
    events.into_iter().take(SERVICE_EVENTS_KEPT).map(convert).collect()
}

/// How a step stands, as an agent reports it. Texts and lists are cut to their bounds.
pub fn outcome_from_proto(outcome: Option<step_report::Outcome>) -> Result<Outcome, ConvertError> {
    Ok(match outcome.ok_or_else(|| ConvertError::missing("report.outcome"))? {
        step_report::Outcome::Done(v1::StepDone { task_failures, service_events }) => Outcome::Done {
            task_failures: task_failures_from_proto(task_failures),
            service_events: service_events_from_proto(service_events),
        },
        step_report::Outcome::Evidence(v1::StepEvidence { task_failures, service_events }) => Outcome::Evidence {
            task_failures: task_failures_from_proto(task_failures),
            service_events: service_events_from_proto(service_events),
        },
        step_report::Outcome::Found(v1::StepFound { drift }) => Outcome::Found { drift: drift_from_proto(drift) },
        step_report::Outcome::Waiting(v1::StepWaiting { why, cause, watched, gate_reading }) => {
            let (why, cause) = (cut(why, WHY_MAX), cause_from_proto(cause));
            if let Some(reading) = gate_reading {
                return Ok(Outcome::Read { why, cause, reading: reading_from_proto(reading)? });
            }
            match v1::WatchedState::try_from(watched) {
                Ok(v1::WatchedState::Well) => Outcome::Watched { why, cause, well: true },
                Ok(v1::WatchedState::Unwell) => Outcome::Watched { why, cause, well: false },
                _ => Outcome::Waiting { why, cause },
            }
        }
        step_report::Outcome::Failed(v1::StepFailed { reason, task_failures, service_events, cause }) => {
            Outcome::Failed {
                reason: cut(reason, REASON_MAX),
                task_failures: task_failures_from_proto(task_failures),
                service_events: service_events_from_proto(service_events),
                cause: cause_from_proto(cause),
            }
        }
    })
}

/// How a step stands, for the wire.
#[must_use]
pub fn outcome_to_proto(outcome: &Outcome) -> step_report::Outcome {
    let failures = |failures: &[TaskFailure]| failures.iter().map(task_failure_to_proto).collect();
    match outcome {
        Outcome::Done { task_failures, service_events } => step_report::Outcome::Done(v1::StepDone {
            task_failures: failures(task_failures),
            service_events: service_events.iter().map(service_event_to_proto).collect(),
        }),
        Outcome::Evidence { task_failures, service_events } => step_report::Outcome::Evidence(v1::StepEvidence {
            task_failures: failures(task_failures),
            service_events: service_events.iter().map(service_event_to_proto).collect(),
        }),
        Outcome::Found { drift } => {
            step_report::Outcome::Found(v1::StepFound { drift: drift.iter().map(drift_to_proto).collect() })
        }
        Outcome::Waiting { why, cause } => waiting(why, *cause, v1::WatchedState::Unspecified),
        Outcome::Read { why, cause, reading } => step_report::Outcome::Waiting(v1::StepWaiting {
            why: why.clone(),
            cause: cause_to_proto(*cause).into(),
            watched: v1::WatchedState::Unspecified.into(),
            gate_reading: Some(reading_to_proto(reading)),
        }),
        Outcome::Watched { why, cause, well: true } => waiting(why, *cause, v1::WatchedState::Well),
        Outcome::Watched { why, cause, well: false } => waiting(why, *cause, v1::WatchedState::Unwell),
        Outcome::Failed { reason, task_failures, service_events, cause } => {
            step_report::Outcome::Failed(v1::StepFailed {
                reason: reason.clone(),
                task_failures: failures(task_failures),
                service_events: service_events.iter().map(service_event_to_proto).collect(),
                cause: cause_to_proto(*cause).into(),
            })
        }
    }
}

fn waiting(why: &str, cause: Cause, watched: v1::WatchedState) -> step_report::Outcome {
    let cause = cause_to_proto(cause).into();
    step_report::Outcome::Waiting(v1::StepWaiting {
        why: why.to_owned(),
        cause,
        watched: watched.into(),
        gate_reading: None,
    })
}

/// An agent of an earlier release does not tell: what it reported was held against the version.
fn cause_from_proto(cause: i32) -> Cause {
    match v1::FailureCause::try_from(cause) {
        Ok(v1::FailureCause::Surroundings) => Cause::Surroundings,
        _ => Cause::Version,
    }
}

fn cause_to_proto(cause: Cause) -> v1::FailureCause {
    match cause {
        Cause::Version => v1::FailureCause::Version,
        Cause::Surroundings => v1::FailureCause::Surroundings,
    }
}

pub(super) fn cut(text: String, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}
