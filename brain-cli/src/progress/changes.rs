//! What is new between two states of a deployment, a line for each change, and its end.

use super::{Progress, frame::plan, has_ended};
use crate::{name::short_deployment, output::time};
use brain_proto::{
    convert::gate_told,
    v1::{Deployment, DeploymentPhase, Drift, StepStatus, TaskFailure},
};
use console::Style;

/// Task failures that the end of a deployment shows.
const FAILURES_SHOWN: usize = 5;

/// Lines for a pipe or a log.
pub(super) fn lines(before: &Progress, now: &Progress) -> Vec<String> {
    let (old, new) = (&before.deployment, &now.deployment);
    let mut lines = Vec::new();
    match (&before.lost, &now.lost) {
        (None, Some(why)) => lines.push(format!("lost: {why}; trying again")),
        (Some(_), None) => lines.push("connected again".to_owned()),
        _ => {}
    }
    if new.name.is_empty() {
        return lines;
    }
    if old.name.is_empty() {
        let by =
            if new.requested_by.is_empty() { String::new() } else { format!(", asked for by {}", new.requested_by) };
        lines.push(format!("{} {}{by}", short_deployment(&new.name), new.docker_image));
    }
    lines.extend(passed(old, new));
    if old.headline != new.headline && !has_ended(new) {
        lines.push(new.headline.clone());
    }
    if old.reason != new.reason && !new.reason.is_empty() && !has_ended(new) {
        lines.push(format!("why: {}", new.reason));
    }
    if old.waiting != new.waiting && !new.waiting.is_empty() && !new.headline.contains(&new.waiting) {
        lines.push(format!("waits: {}", new.waiting));
    }
    lines.extend(findings(old, new));
    lines.extend(production(before, now));
    lines
}

/// Lines that a terminal keeps above what is drawn in place: what is done, and what was found.
pub(super) fn for_terminal(before: &Progress, now: &Progress) -> Vec<String> {
    let (old, new) = (&before.deployment, &now.deployment);
    // What was done before somebody looked is no news.
    if old.name.is_empty() || new.name.is_empty() {
        return Vec::new();
    }
    let mut lines = Vec::new();
    let same_plan = old.rollback_steps.is_empty() == new.rollback_steps.is_empty();
    let done_before = |index: usize| same_plan && plan(old).get(index).is_some_and(|step| step.end_time.is_some());
    if !same_plan {
        lines.push(Style::new().red().apply_to(format!("✗ {}", new.reason)).to_string());
    }
    for (index, step) in plan(new).iter().enumerate() {
        if let StepStatus { description, start_time, end_time: Some(end), .. } = step
            && !done_before(index)
        {
            let took = start_time.map(|start| time::between(time::of(start), time::of(*end))).unwrap_or_default();
            let read = gate_told(step).map(|told| format!("  {told}")).unwrap_or_default();
            let took = Style::new().dim().apply_to(format!("{took}{read}"));
            lines.push(format!("{} {description}  {took}", Style::new().green().apply_to("✓")));
        }
    }
    lines.extend(findings(old, new));
    lines
}

/// What gates have read that have passed since. What was so before somebody looked is no news.
fn passed(old: &Deployment, new: &Deployment) -> Vec<String> {
    if old.name.is_empty() {
        return Vec::new();
    }
    let passed = |(index, step): (usize, &StepStatus)| {
        step.end_time.filter(|_| old.steps.get(index).is_none_or(|step| step.end_time.is_none()))?;
        Some(format!("{}: {}", step.description, gate_told(step)?))
    };
    new.steps.iter().enumerate().filter_map(passed).collect()
}

/// Failed tasks, differences and what people did that were not known before.
fn findings(old: &Deployment, new: &Deployment) -> Vec<String> {
    let mut lines = Vec::new();
    let failures = new.task_failures.iter().filter(|failure| !old.task_failures.contains(failure));
    lines.extend(failures.map(task_failure));
    let drift = new.drift.iter().filter(|drift| !old.drift.contains(drift));
    lines.extend(drift.map(|Drift { resource, difference, .. }| format!("drift: {resource}: {difference}")));
    for control in new.controls.iter().filter(|control| !old.controls.contains(control)) {
        let why = if control.reason.is_empty() { String::new() } else { format!(": {}", control.reason) };
        lines.push(format!("{} by {}{why}", control.what, control.requested_by));
    }
    for approval in new.approvals.iter().filter(|approval| !old.approvals.contains(approval)) {
        lines.push(format!("approved by {}", approval.requested_by));
    }
    lines
}

fn task_failure(failure: &TaskFailure) -> String {
    let TaskFailure { task, reason, exit_code } = failure;
    let code = exit_code.map(|code| format!(", exit code {code}")).unwrap_or_default();
    // The last part of an ARN tells tasks apart.
    let task = task.rsplit('/').next().unwrap_or(task);
    format!("task {task} failed: {reason}{code}")
}

fn production(before: &Progress, now: &Progress) -> Option<String> {
    let summary = |progress: &Progress| progress.production.as_ref().map(|production| production.summary.clone());
    let new = summary(now)?;
    // What runs may be known before the deployment is, of which it is then told.
    let known = !before.deployment.name.is_empty() && summary(before).as_ref() == Some(&new);
    (!known && !new.is_empty()).then(|| format!("production {new}"))
}

/// How a deployment ended, and why.
pub(crate) fn end(progress: &Progress) -> Vec<String> {
    let deployment = &progress.deployment;
    let Deployment { name, docker_image, reason, headline, create_time, end_time, task_failures, .. } = deployment;
    let took = match (create_time, end_time) {
        (Some(start), Some(end)) => format!(" after {}", time::between(time::of(*start), time::of(*end))),
        _ => String::new(),
    };
    let short = short_deployment(name);
    if deployment.phase() == DeploymentPhase::Succeeded {
        let text = format!("✓ {docker_image} succeeded{took}: {headline} ({short})");
        return vec![Style::new().green().apply_to(text).to_string()];
    }
    let what = if deployment.phase() == DeploymentPhase::Cancelled { "was cancelled" } else { "failed" };
    let text = format!("✗ {docker_image} {what}{took}: {reason} ({short})");
    let mut lines = vec![Style::new().red().apply_to(text).to_string()];
    let skipped = task_failures.len().saturating_sub(FAILURES_SHOWN);
    lines.extend(task_failures.iter().skip(skipped).map(|failure| format!("  {}", task_failure(failure))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::v1::Production;

    fn progress(headline: &str, summary: &str) -> Progress {
        let deployment = Deployment {
            name: "projects/user/deployments/2".to_owned(),
            docker_image: "flowcommerce/user:0.0.5".to_owned(),
            phase: DeploymentPhase::Running.into(),
            headline: headline.to_owned(),
            ..Default::default()
        };
        let production = Production { summary: summary.to_owned(), ..Default::default() };
        Progress { deployment, production: Some(production), lost: None }
    }

    #[test]
    fn a_change_is_told_once() {
        let (first, second) = (progress("step 1 of 2: x", "0.0.4: 100%"), progress("step 2 of 2: y", "0.0.4: 100%"));
        let begun = lines(&Progress::default(), &first);
        assert_eq!(begun, ["user/2 flowcommerce/user:0.0.5", "step 1 of 2: x", "production 0.0.4: 100%"]);
        assert_eq!(lines(&first, &second), ["step 2 of 2: y"]);
        assert!(lines(&second, &second).is_empty());
    }

    #[test]
    fn a_failed_task_is_told_by_its_id_and_exit_code() {
        let before = progress("step 1 of 2: x", "");
        let mut now = before.clone();
        let task = "arn:aws:ecs:us-east-1:1:task/user/0f".to_owned();
        now.deployment.task_failures =
            vec![TaskFailure { task, reason: "Essential container exited".to_owned(), exit_code: Some(7) }];
        assert_eq!(lines(&before, &now), ["task 0f failed: Essential container exited, exit code 7"]);
    }

    #[test]
    fn a_lost_connection_is_told_and_so_is_its_return() {
        let connected = progress("step 1 of 2: x", "");
        let lost = Progress { lost: Some("the connection broke".to_owned()), ..connected.clone() };
        assert_eq!(lines(&connected, &lost), ["lost: the connection broke; trying again"]);
        assert_eq!(lines(&lost, &connected), ["connected again"]);
    }
}
