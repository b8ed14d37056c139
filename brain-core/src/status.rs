//! The sentences of the board, all from one pure function.

use crate::{
    deployment::{Pause, Phase},
    hold::Holds,
    release::Release,
    state::ProjectState,
    time::Timestamp,
};

/// Releases without an image that are named one by one; a repository with years of tags and no images would fill the board.
const WAITING_NAMED: usize = 3;
/// Quarantines that are named one by one.
const QUARANTINES_NAMED: usize = 3;

/// One project on the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The image repository, by which people know the project.
    pub title: String,
    /// Production shares.
    pub production: String,
    /// What is going on, most urgent first.
    pub sentences: Vec<Sentence>,
}

/// Something a person may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// The sentence.
    pub text: String,
    /// Since when it is so.
    pub since: Timestamp,
    /// What it waits for.
    pub waits_for: String,
    /// Who can free it.
    pub freed_by: String,
}

/// The project's status.
#[must_use]
pub fn status(project: &ProjectState) -> Status {
    let mut sentences = Vec::new();
    sentences.extend(deployment(project));
    sentences.extend(held_back(project));
    sentences.extend(given_up(project));
    sentences.extend(holds(project));
    sentences.extend(poll_failures(project));
    sentences.extend(source_moved(project));
    sentences.extend(tag_failure(project));
    sentences.extend(image_moved(project));
    sentences.extend(waiting_for_images(project));
    sentences.extend(untagged_commits(project));
    Status {
        title: project.spec.image_repository.to_string(),
        production: project.production.as_ref().map(|production| production.summary()).unwrap_or_default(),
        sentences,
    }
}

fn deployment(project: &ProjectState) -> Option<Sentence> {
    let latest = project.deployments.back()?;
    let image = project.spec.image_repository.with_tag(&latest.tag);
    let reason = latest.reason.clone().unwrap_or_default();
    if let Some(Pause { by, why, since, .. }) = &latest.paused {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        return Some(Sentence {
            text: format!("{image} deploy is paused by {by}{why}"),
            since: *since,
            waits_for: "somebody to promote, resume or cancel it".into(),
            freed_by: "whoever deploys the project".into(),
        });
    }
    if let (Phase::Pending, Some(first)) = (latest.phase, latest.awaits.first()) {
        return Some(Sentence {
            text: format!("{image} deploy waits for {first}"),
            since: latest.created,
            waits_for: first.to_string(),
            freed_by: format!("whoever deploys projects/{}", first.project),
        });
    }
    let sentence = match latest.phase {
        Phase::Succeeded => return None,
        Phase::Pending => Sentence {
            text: format!("{image} deploy is in process"),
            since: latest.created,
            waits_for: "a deployer to take it".into(),
            freed_by: "whoever runs the deployers".into(),
        },
        Phase::Running => Sentence {
            text: format!("{image} deploy is in process"),
            since: latest.created,
            waits_for: step_and_wait(latest),
            freed_by: "the deployer".into(),
        },
        Phase::RollingBack => Sentence {
            text: format!("{image} deploy failed and is rolled back: {reason}"),
            since: latest.created,
            waits_for: step_and_wait(latest),
            freed_by: "the deployer".into(),
        },
        Phase::Failed => Sentence {
            text: format!("{image} deploy failed: {reason}"),
            since: latest.ended.unwrap_or(latest.created),
            waits_for: "another deployment".into(),
            freed_by: if latest.failed_by_surroundings() {
                "whoever mends what the reason names".into()
            } else {
                "whoever mends the version".into()
            },
        },
        Phase::Cancelled => Sentence {
            text: format!("{image} deploy was {reason}"),
            since: latest.ended.unwrap_or(latest.created),
            waits_for: "another deployment".into(),
            freed_by: "whoever deploys the project".into(),
        },
    };
    Some(sentence)
}

/// What the policy would deploy, were it not held.
fn held_back(project: &ProjectState) -> Option<Sentence> {
    let (tag, barrier) = project.held_back()?;
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
             {reason}; CreateDeployment deploys it again, LiftQuarantine lets policy do so",
            failed.number
        ),
        since: failed.ended.unwrap_or(failed.created),
        waits_for: "a person to deploy it again, or to call LiftQuarantine".into(),
        freed_by: "whoever mends what the reason names".into(),
    })
}

/// What must not be deployed, who said so, and how it is lifted. Of quarantines the newest.
fn holds(project: &ProjectState) -> Vec<Sentence> {
    let Holds { pin, freeze, quarantines } = &project.holds;
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
        sentences.push(sentence(text, held.since, "somebody to call UnpinProject".into()));
    }
    if let Some(held) = freeze {
        let text = format!("{title} is frozen{}, {}", held.hold, held.whence());
        let by_itself = held.hold.until.map(|until| format!("{until}, or ")).unwrap_or_default();
        sentences.push(sentence(text, held.since, format!("{by_itself}somebody to call ThawProject")));
    }
    for held in quarantines.iter().rev().take(QUARANTINES_NAMED) {
        let text = format!("{} is quarantined, {}", title.with_tag(&held.hold.tag), held.whence());
        sentences.push(sentence(text, held.since, "a newer version, or somebody to call LiftQuarantine".into()));
    }
    sentences
}

fn step_and_wait(deployment: &crate::deployment::Deployment) -> String {
    let step = deployment.current_step().map(ToString::to_string).unwrap_or_default();
    match (&deployment.waiting, &deployment.lease) {
        (Some(why), _) => format!("{step}: {why}"),
        (None, None) => format!("a deployer to go on with: {step}"),
        (None, Some(_)) => step,
    }
}

fn poll_failures(project: &ProjectState) -> impl Iterator<Item = Sentence> {
    let title = project.spec.image_repository.to_string();
    project.poll_failures.iter().map(move |(target, failure)| Sentence {
        text: format!("{title}: the {target} cannot be polled: {}", failure.why),
        since: failure.since,
        waits_for: format!("the {target} to answer"),
        freed_by: "whoever runs the watchers, or the host".into(),
    })
}

fn source_moved(project: &ProjectState) -> Option<Sentence> {
    let (to, since) = project.source_moved.as_ref()?;
    Some(Sentence {
        text: format!("{}: the git repository has moved to {to}", project.spec.image_repository),
        since: *since,
        waits_for: "the project's git_url to follow".into(),
        freed_by: "whoever defines the project".into(),
    })
}

fn tag_failure(project: &ProjectState) -> Option<Sentence> {
    let failure = project.tag_failure.as_ref()?;
    Some(Sentence {
        text: format!(
            "{}: the head cannot be tagged as {}: {}",
            project.spec.image_repository, failure.tag, failure.why
        ),
        since: failure.since,
        waits_for: "the git host to take the tag; it is tried again".into(),
        freed_by: "whoever runs the watchers, or the git host".into(),
    })
}

/// What the latest deployment brought is no longer what its tag names.
fn image_moved(project: &ProjectState) -> Option<Sentence> {
    let latest = project.deployments.back()?;
    let image = project.images.get(&latest.tag).filter(|image| image.digest != latest.digest)?;
    let name = project.spec.image_repository.with_tag(&latest.tag);
    Some(Sentence {
        text: format!("{name} now names another image than the one that was deployed"),
        since: image.since,
        waits_for: format!("a deployment of {name}, or another tag"),
        freed_by: "whoever moved the tag".into(),
    })
}

/// Versions newer than the newest one that has an image.
fn waiting_for_images(project: &ProjectState) -> Vec<Sentence> {
    let waiting = |release: &Release<'_>| {
        let image = project.spec.image_repository.with_tag(release.tag);
        Sentence {
            text: format!("{image} waiting on docker image"),
            since: release.since(),
            waits_for: format!("image {image}"),
            freed_by: "whoever builds the image".into(),
        }
    };
    let releases = project.releases();
    let newer = releases.iter().take_while(|release| release.is_version() && release.image.is_none());
    newer.take(WAITING_NAMED).map(waiting).collect()
}

fn untagged_commits(project: &ProjectState) -> Option<Sentence> {
    let head = project.head.as_ref()?;
    let latest = project.latest_tag();
    if !head.is_ahead(latest) {
        return None;
    }
    let title = &project.spec.image_repository;
    let branch = &project.spec.source.branch;
    let after = latest.map(|(name, _)| format!(" after {name}")).unwrap_or_default();
    Some(Sentence {
        text: format!("{title} has commits on {branch} that are not yet tagged"),
        since: head.since,
        waits_for: format!("a tag{after}"),
        freed_by: "whoever releases the project".into(),
    })
}
