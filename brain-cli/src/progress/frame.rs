//! What a terminal shows of a deployment under way: the share of each version, the current step, and what it waits for.

use super::{Progress, has_ended};
use crate::{name::short_deployment, output::time};
use brain_proto::v1::{Deployment, DeploymentPhase, Production, StepStatus, VersionProduction};
use console::{Style, pad_str};
use jiff::Timestamp;

/// Cells of a bar.
const BAR: usize = 30;
/// Columns of the words that begin a line.
const LABEL: usize = 9;

/// The lines, without the terminal's width: whoever draws them cuts them.
pub(super) fn lines(progress: &Progress, now: Timestamp) -> Vec<String> {
    let deployment = &progress.deployment;
    if deployment.name.is_empty() {
        return vec![progress.lost.clone().map_or_else(|| "connecting".to_owned(), |why| lost(&why))];
    }
    if has_ended(deployment) {
        return Vec::new();
    }
    let mut lines = vec![title(deployment, now)];
    lines.extend(
        progress.production.as_ref().map(|production| shares(production, &deployment.version)).unwrap_or_default(),
    );
    lines.extend(step(deployment, now));
    lines.extend(waits(deployment));
    lines.extend(progress.lost.as_deref().map(lost));
    lines.push(dim("Ctrl-C stops watching; the deployment goes on"));
    lines
}

fn title(deployment: &Deployment, now: Timestamp) -> String {
    let Deployment { name, docker_image, requested_by, create_time, .. } = deployment;
    let by = if requested_by.is_empty() { String::new() } else { format!(" by {requested_by}") };
    let image = Style::new().bold().apply_to(docker_image);
    format!("{image}  {}, asked for{by} {} ago", short_deployment(name), time::age(*create_time, now))
}

/// A bar for each version, with the counts behind it.
fn shares(production: &Production, new: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        production.versions.iter().map(|version| share(version, version.version == new)).collect();
    if let Some(unobserved) = &production.unobserved {
        lines.push(labelled("unseen", &Style::new().yellow().apply_to(&unobserved.reason).to_string()));
    }
    lines
}

fn share(of: &VersionProduction, is_new: bool) -> String {
    let VersionProduction { version, desired, running, healthy, share_percent, .. } = of;
    let color = if is_new { Style::new().green() } else { Style::new().cyan() };
    let bar = color.apply_to(bar(*share_percent)).to_string() + &dim(&"░".repeat(BAR - filled(*share_percent)));
    let mut counts = format!("{healthy} of {desired} healthy");
    if running != healthy {
        counts += &format!(", {running} running");
    }
    // What a narrow terminal cuts is the end.
    labelled(version, &format!("{share_percent:>3}% {bar}  {counts}"))
}

fn filled(percent: u32) -> usize {
    let percent = usize::try_from(percent.min(100)).unwrap_or(0);
    // A version that serves anything shows something.
    (percent * BAR).div_ceil(100)
}

fn bar(percent: u32) -> String {
    "█".repeat(filled(percent))
}

/// The step that is under way, with how long it has taken, and the one after it.
fn step(deployment: &Deployment, now: Timestamp) -> Vec<String> {
    let steps = plan(deployment);
    let Some(index) = usize::try_from(deployment.step).ok().and_then(|step| step.checked_sub(1)) else {
        return vec![labelled("step", &deployment.headline)];
    };
    if deployment.phase() == DeploymentPhase::Pending {
        return vec![labelled("pending", &deployment.headline)];
    }
    let Some(current) = steps.get(index) else { return vec![labelled("step", &deployment.headline)] };
    let took = current.start_time.map(|start| format!("  {}", time::between(time::of(start), now))).unwrap_or_default();
    let left = deployment.step_deadline_time.map(time::of).filter(|deadline| *deadline > now);
    let left = left.map(|deadline| format!(", {} left", time::between(now, deadline))).unwrap_or_default();
    let took = dim(&format!("{took}{left}"));
    let label = if deployment.phase() == DeploymentPhase::RollingBack { "back" } else { "step" };
    let mut lines = vec![labelled(label, &format!("{} of {}: {}{took}", index + 1, steps.len(), current.description))];
    if let Some(next) = steps.get(index + 1) {
        lines.push(dim(&labelled("then", &next.description)));
    }
    lines
}

/// The steps of the plan that is being carried out.
pub(super) fn plan(deployment: &Deployment) -> &[StepStatus] {
    // A deployment that goes back may have a rollback plan, or have ended by it.
    if deployment.rollback_steps.is_empty() { &deployment.steps } else { &deployment.rollback_steps }
}

fn waits(deployment: &Deployment) -> Vec<String> {
    let yellow = Style::new().yellow();
    let mut lines = Vec::new();
    if let Some(pause) = &deployment.pause {
        let why = if pause.reason.is_empty() { String::new() } else { format!(": {}", pause.reason) };
        let how = if pause.line {
            "brain line release".to_owned()
        } else {
            format!("brain resume {}", short_deployment(&deployment.name))
        };
        lines.push(labelled("paused", &yellow.apply_to(format!("by {}{why}; {how}", pause.paused_by)).to_string()));
    }
    let waits = |what: &str| labelled("waits", &yellow.apply_to(what).to_string());
    lines.extend(deployment.awaits.iter().map(|what| waits(&format!("for {what}"))));
    if !deployment.waiting.is_empty() {
        lines.push(waits(&deployment.waiting));
    }
    if deployment.phase() == DeploymentPhase::RollingBack && !deployment.reason.is_empty() {
        lines.push(labelled("why", &Style::new().red().apply_to(&deployment.reason).to_string()));
    }
    lines
}

fn lost(why: &str) -> String {
    labelled("lost", &Style::new().yellow().apply_to(format!("{why}; trying again")).to_string())
}

fn labelled(label: &str, text: &str) -> String {
    format!("  {} {text}", pad_str(label, LABEL, console::Alignment::Left, None))
}

fn dim(text: &str) -> String {
    Style::new().dim().apply_to(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use brain_proto::v1::DeploymentPause;

    fn at(seconds: i64) -> Option<prost_types::Timestamp> {
        Some(prost_types::Timestamp { seconds, nanos: 0 })
    }

    fn shifting() -> Progress {
        let step = |description: &str, start_time| StepStatus {
            description: description.to_owned(),
            start_time,
            end_time: None,
            gate_reading: None,
        };
        let version = |version: &str, desired, running, healthy, share_percent| VersionProduction {
            version: version.to_owned(),
            desired,
            running,
            healthy,
            share_percent,
            ..Default::default()
        };
        let deployment = Deployment {
            name: "projects/user/deployments/2".to_owned(),
            version: "0.0.5".to_owned(),
            docker_image: "flowcommerce/user:0.0.5".to_owned(),
            phase: DeploymentPhase::Running.into(),
            requested_by: "ann".to_owned(),
            create_time: at(100),
            step: 1,
            steps: vec![step("scale user to 1", at(110)), step("see 1 healthy task", None)],
            waiting: "1 of 2 instances has joined".to_owned(),
            step_deadline_time: at(710),
            ..Default::default()
        };
        let versions = vec![version("0.0.4", 2, 2, 2, 67), version("0.0.5", 2, 2, 1, 33)];
        Progress { deployment, production: Some(Production { versions, ..Default::default() }), lost: None }
    }

    #[test]
    fn a_shift_shows_shares_the_step_and_what_it_waits_for() {
        console::set_colors_enabled(false);
        let expected = [
            "flowcommerce/user:0.0.5  user/2, asked for by ann 12 s ago",
            "  0.0.4      67% █████████████████████░░░░░░░░░  2 of 2 healthy",
            "  0.0.5      33% ██████████░░░░░░░░░░░░░░░░░░░░  1 of 2 healthy, 2 running",
            "  step      1 of 2: scale user to 1  2.0 s, 10 min left",
            "  then      see 1 healthy task",
            "  waits     1 of 2 instances has joined",
            "Ctrl-C stops watching; the deployment goes on",
        ];
        assert_eq!(lines(&shifting(), Timestamp::from_second(112).unwrap()), expected);
    }

    #[test]
    fn a_pause_and_a_broken_connection_are_told() {
        console::set_colors_enabled(false);
        let mut progress = shifting();
        let pause = DeploymentPause { paused_by: "bob".to_owned(), reason: "to look".to_owned(), ..Default::default() };
        progress.deployment.pause = Some(pause);
        progress.lost = Some("the connection broke".to_owned());
        let lines = lines(&progress, Timestamp::from_second(112).unwrap());
        assert!(lines.contains(&"  paused    by bob: to look; brain resume user/2".to_owned()), "{lines:#?}");
        assert!(lines.contains(&"  lost      the connection broke; trying again".to_owned()), "{lines:#?}");
    }

    #[test]
    fn a_version_that_serves_anything_shows_something() {
        assert_eq!([0, 1, 50, 100].map(filled), [0, 1, 15, BAR]);
    }
}
