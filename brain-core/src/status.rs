//! The sentences of the board, all from one pure function.

use crate::{
    deployment::{Pause, Phase},
    line::Moment,
    looks::Unobserved,
    production::Production,
    release::Release,
    state::ProjectState,
    time::Timestamp,
};

/// Releases without an image that are named one by one; a repository with years of tags and no images would fill the board.
const WAITING_NAMED: usize = 3;
/// Differences of the set-up that are named one by one.
const DRIFT_NAMED: usize = 3;

mod intent;

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
pub fn status(project: &ProjectState, moment: &Moment) -> Status {
    let mut sentences = Vec::new();
    sentences.extend(deployment(project));
    sentences.extend(unobserved(project));
    sentences.extend(intent::sentences(project, moment));
    sentences.extend(drift(project));
    sentences.extend(poll_failures(project));
    sentences.extend(source_moved(project));
    sentences.extend(tag_failure(project));
    sentences.extend(image_moved(project));
    sentences.extend(waiting_for_images(project));
    sentences.extend(untagged_commits(project));
    Status {
        title: project.spec.image_repository.to_string(),
        production: production_line(project.production.as_ref(), project.unobserved.as_ref()),
        sentences,
    }
}

/// Production shares as people read them: "0.0.4: 67% 0.0.5: 33%"; with since when they may be other ones.
#[must_use]
pub fn production_line(production: Option<&Production>, unobserved: Option<&Unobserved>) -> String {
    let shares = production.map(Production::summary).unwrap_or_default();
    match unobserved {
        Some(Unobserved { since, .. }) if !shares.is_empty() => format!("{shares} when last observed, before {since}"),
        _ => shares,
    }
}

fn deployment(project: &ProjectState) -> Option<Sentence> {
    let latest = project.deployments.back()?;
    let image = project.spec.image_repository.with_tag(&latest.tag);
    let reason = latest.reason.clone().unwrap_or_default();
    if let Some(Pause { by, why, since, line, .. }) = &latest.paused {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        let (with, waits_for, freed_by) = if *line {
            (" with the line", "the line to be released, or somebody to cancel it", "whoever runs brain")
        } else {
            ("", "somebody to promote, resume or cancel it", "whoever deploys the project")
        };
        // Whoever watches at a hold tells what is not well.
        let seen = latest.waiting.as_ref().map(|seen| format!("; {seen}")).unwrap_or_default();
        return Some(Sentence {
            text: format!("{image} deploy is paused{with} by {by}{why}{seen}"),
            since: *since,
            waits_for: waits_for.into(),
            freed_by: freed_by.into(),
        });
    }
    if let (Phase::Pending, Some(first)) = (latest.phase, latest.awaits.first()) {
        let unseen = latest.waiting.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
        return Some(Sentence {
            text: format!("{image} deploy waits for {first}{unseen}"),
            since: latest.created,
            waits_for: first.to_string(),
            freed_by: format!("whoever deploys projects/{}", first.project),
        });
    }
    let sentence = match latest.phase {
        Phase::Succeeded => return None,
        Phase::Pending if latest.held => return intent::waits_to_begin(latest, &image),
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
        Phase::RollingBack if latest.cancelled => Sentence {
            text: format!("{image} deploy is rolled back: {reason}"),
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

/// What serves is not known.
fn unobserved(project: &ProjectState) -> Option<Sentence> {
    let Unobserved { why, since } = project.unobserved.as_ref()?;
    Some(Sentence {
        text: format!("{}: production not observed since {since}: {why}", project.spec.image_repository),
        since: *since,
        waits_for: "a deployer to see what runs".into(),
        freed_by: "whoever runs the deployers, or grants their roles in AWS".into(),
    })
}

/// What of the set-up differs, and how it is mended.
fn drift(project: &ProjectState) -> Vec<Sentence> {
    let title = &project.spec.image_repository;
    let sentence = |text: String, since: Timestamp| Sentence {
        text,
        since,
        waits_for: "a deployment that repairs drift".into(),
        freed_by: "whoever deploys the project".into(),
    };
    let named = project.drift.iter().take(DRIFT_NAMED);
    let mut sentences: Vec<Sentence> =
        named.map(|known| sentence(format!("{title}: drift of the {}", known.drift), known.since)).collect();
    let unnamed = project.drift.get(DRIFT_NAMED..).unwrap_or_default();
    if let Some(first) = unnamed.iter().map(|known| known.since).min() {
        sentences.push(sentence(format!("{title}: drift of {} resources more", unnamed.len()), first));
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
