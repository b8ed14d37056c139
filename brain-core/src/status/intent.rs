//! The sentences about what people intend: what is held, what it holds back, and what that waits for.

use super::Sentence;
use crate::{deployment::Deployment, hold::Holds, line::Moment, state::ProjectState, time::Timestamp};

/// Quarantines that are named one by one.
const QUARANTINES_NAMED: usize = 3;

pub(super) fn sentences(project: &ProjectState, moment: &Moment) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    sentences.extend(line(project, moment));
    sentences.extend(held_back(project, moment));
    sentences.extend(given_up(project));
    sentences.extend(holds(project));
    sentences
}

/// What a deployment that has not begun waits for, once the projects that it needs are there.
pub(super) fn waits_to_begin(deployment: &Deployment, image: &str) -> Option<Sentence> {
    let missing = deployment.approvals_missing();
    let since = deployment.created;
    if missing > 0 {
        let others = people(missing, "more");
        return Some(Sentence {
            text: format!("{image} deploy waits until {others} approved it"),
            since,
            waits_for: format!("approval by somebody other than {}", deployment.requested_by),
            freed_by: "whoever may approve".into(),
        });
    }
    let why = deployment.waiting.as_deref().unwrap_or("the server is about to let it begin");
    Some(Sentence {
        text: format!("{image} deploy has all that it needs and waits to begin: {why}"),
        since,
        waits_for: "what forbids it to be lifted".into(),
        freed_by: "whoever deploys the project".into(),
    })
}

/// `1 more person has`, `2 other people have`.
fn people(count: u32, which: &str) -> String {
    if count == 1 { format!("1 {which} person has") } else { format!("{count} {which} people have") }
}

/// The line is stopped, for this project as for all.
fn line(project: &ProjectState, moment: &Moment) -> Option<Sentence> {
    let held = moment.line.stopped.as_ref()?;
    let paused = if held.hold.pause_running { " and what was under way is paused" } else { "" };
    Some(Sentence {
        text: format!(
            "{}: the line is stopped, nothing new begins{paused}, {}",
            project.spec.image_repository,
            held.whence()
        ),
        since: held.since,
        waits_for: "somebody to release the line".into(),
        freed_by: "whoever runs brain".into(),
    })
}

/// What the policy would deploy, were it not held.
fn held_back(project: &ProjectState, moment: &Moment) -> Option<Sentence> {
    let (tag, barrier) = project.held_back(moment)?;
    let since = project.images.get(tag).map(|image| image.since).unwrap_or_default();
    Some(Sentence {
        text: format!("{} is not deployed automatically: {barrier}", project.spec.image_repository.with_tag(tag)),
        since,
        waits_for: "the hold to be lifted".into(),
        freed_by: "whoever deploys the project".into(),
    })
}

/// What the policy does not deploy again by itself, because it would fail for the same reason.
fn given_up(project: &ProjectState) -> Option<Sentence> {
    let failed = project.given_up()?;
    let image = project.spec.image_repository.with_tag(&failed.tag);
    let reason = failed.reason.as_deref().unwrap_or_default();
    Some(Sentence {
        text: format!(
            "{image} is not deployed automatically again: not the version failed deployment {} but what is around it: \
             {reason}; a person may deploy it again, or lift the version for policy to do so",
            failed.number
        ),
        since: failed.ended.unwrap_or(failed.created),
        waits_for: "a person to deploy it again, or to lift the version".into(),
        freed_by: "whoever mends what the reason names".into(),
    })
}

/// What must not be deployed, who said so, and how it is lifted. Of quarantines the newest.
fn holds(project: &ProjectState) -> Vec<Sentence> {
    let Holds { pin, freeze, quarantines, windows, approvals } = &project.holds;
    let title = &project.spec.image_repository;
    let sentence = |text: String, since: Timestamp, waits_for: String| Sentence {
        text,
        since,
        waits_for,
        freed_by: "whoever deploys the project".into(),
    };
    let mut sentences = Vec::new();
    if let Some(held) = pin {
        let text = format!("{title} is pinned to {}, {}", held.hold.tag, held.whence());
        sentences.push(sentence(text, held.since, "somebody to unpin it".into()));
    }
    if let Some(held) = freeze {
        let text = format!("{title} is frozen{}, {}", held.hold, held.whence());
        let by_itself = held.hold.until.map(|until| format!("{until}, or ")).unwrap_or_default();
        sentences.push(sentence(text, held.since, format!("{by_itself}somebody to thaw it")));
    }
    if let Some(held) = windows {
        let listed: Vec<String> = held.hold.iter().map(ToString::to_string).collect();
        let text = format!("{title} is deployed inside of {} only, set {}", listed.join(" and "), held.whence());
        sentences.push(sentence(text, held.since, "somebody to change the windows".into()));
    }
    if let Some(held) = approvals {
        let text = format!("{title} is deployed once {} approved, set {}", people(held.hold, "other"), held.whence());
        sentences.push(sentence(text, held.since, "somebody to change how many approve".into()));
    }
    for held in quarantines.iter().rev().take(QUARANTINES_NAMED) {
        let text = format!("{} is quarantined, {}", title.with_tag(&held.hold.tag), held.whence());
        sentences.push(sentence(text, held.since, "a newer version, or somebody to lift the quarantine".into()));
    }
    sentences
}
