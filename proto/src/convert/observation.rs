//! Observations, from agents.

use super::{ConvertError, duration_from_proto, plan::group_from_proto};
use crate::{
    name,
    v1::{self, observation::What},
};
use brain_core::{
    id::ProjectId,
    image::Digest,
    observation::{Observation, ObservedBranch, ObservedHead, PollTarget},
    production::ServiceState,
    release::{AheadOf, Commit},
    traffic::Route,
};
use std::time::Duration;

/// Longest git tag.
const GIT_TAG_MAX: usize = 250;
/// Longest image tag (a rule of the OCI distribution specification).
const IMAGE_TAG_MAX: usize = 128;
/// Most tags, or images, of one observation.
const TAGS_MAX: usize = 20_000;
/// Longest failure of a poll, and of a look at production, in characters.
const FAILURE_MAX: usize = 500;
const LOOK_FAILURE_MAX: usize = 600;
/// Longest address that a repository has moved to, title and author of a commit, in characters.
const MOVED_TO_MAX: usize = 2_000;
const TITLE_MAX: usize = 200;
const AUTHOR_MAX: usize = 100;
/// Most commits that are listed.
const COMMITS_MAX: usize = 20;
/// Most services of a production report.
const SERVICES_MAX: usize = 1_000;
/// Most that a target group weighs (an AWS limit).
const WEIGHT_MAX: u32 = 999;

/// Project and observation, checked whole.
pub fn observation_from_proto(observation: v1::Observation) -> Result<(ProjectId, Observation), ConvertError> {
    let v1::Observation { sequence: _, project, observe_time: _, what, generation: _, cause: _ } = observation;
    let project = name::parse_project(&project).map_err(|error| ConvertError::new("project", error))?;
    let observation = match what.ok_or_else(|| ConvertError::missing("what"))? {
        What::Source(source) => source_from_proto(source)?,
        What::Images(images) => images_from_proto(images)?,
        What::Poll(v1::PollOutcome { target, failure }) => Observation::Poll {
            target: match v1::PollTarget::try_from(target) {
                Ok(v1::PollTarget::Source) => PollTarget::Source,
                Ok(v1::PollTarget::Images) => PollTarget::Images,
                _ => return Err(ConvertError::new("poll.target", "is not known")),
            },
            failure: (!failure.is_empty()).then(|| failure.chars().take(FAILURE_MAX).collect()),
        },
    };
    Ok((project, observation))
}

fn source_from_proto(source: v1::SourceObservation) -> Result<Observation, ConvertError> {
    let v1::SourceObservation { complete, tags, removed_tags, head, moved_to, no_head } = source;
    check_count("source.tags", tags.len().max(removed_tags.len()))?;
    let tags = tags.into_iter().map(|v1::TagObservation { name, commit }| {
        check_length("source.tags.name", &name, GIT_TAG_MAX)?;
        check_commit("source.tags.commit", &commit)?;
        Ok((name, commit))
    });
    let head = match head {
        None if no_head => ObservedBranch::Missing,
        None => ObservedBranch::Unchanged,
        Some(v1::HeadObservation { commit, ahead_of_tag, commits_ahead, commits }) => {
            check_commit("source.head.commit", &commit)?;
            let ahead_of = match commits_ahead {
                Some(commits_ahead) if !ahead_of_tag.is_empty() => {
                    check_length("source.head.ahead_of_tag", &ahead_of_tag, GIT_TAG_MAX)?;
                    let newest =
                        commits.into_iter().take(COMMITS_MAX).map(commit_from_proto).collect::<Result<_, _>>()?;
                    Some(AheadOf { tag: ahead_of_tag, commits: commits_ahead, newest })
                }
                _ => None,
            };
            ObservedBranch::Head(ObservedHead { commit, ahead_of })
        }
    };
    check_length_most("source.moved_to", &moved_to, MOVED_TO_MAX)?;
    let moved_to = (!moved_to.is_empty()).then_some(moved_to);
    Ok(Observation::Source { complete, tags: tags.collect::<Result<_, _>>()?, removed: removed_tags, head, moved_to })
}

fn commit_from_proto(commit: v1::CommitObservation) -> Result<Commit, ConvertError> {
    let v1::CommitObservation { id, title, author } = commit;
    check_commit("source.head.commits.id", &id)?;
    let title = title.chars().take(TITLE_MAX).collect();
    Ok(Commit { id, title, author: author.chars().take(AUTHOR_MAX).collect() })
}

fn images_from_proto(images: v1::ImageObservation) -> Result<Observation, ConvertError> {
    let v1::ImageObservation { complete, images, removed_tags } = images;
    check_count("images.images", images.len().max(removed_tags.len()))?;
    let images = images.into_iter().map(|v1::ImageTagObservation { tag, digest }| {
        check_length("images.images.tag", &tag, IMAGE_TAG_MAX)?;
        let digest = Digest::parse(&digest).map_err(|error| ConvertError::new("images.images.digest", error))?;
        Ok((tag, digest))
    });
    Ok(Observation::Images { complete, images: images.collect::<Result<_, _>>()?, removed: removed_tags })
}

/// A look at production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductionLook {
    /// The project.
    pub project: ProjectId,
    /// Who has looked.
    pub by: LookBy,
    /// How long ago all of it was looked at.
    pub age: Duration,
    /// What was seen, or why nothing was.
    pub seen: Result<Vec<ServiceState>, String>,
}

/// Who has looked at production, each with the generation that tells it from others before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookBy {
    /// The deployer that observes the project.
    Observer(u64),
    /// A deployment's step.
    Step {
        /// Number of the deployment.
        deployment: u64,
        /// Generation of its lease.
        generation: u64,
    },
}

/// A production report, checked whole.
pub fn production_report_from_proto(report: v1::ProductionReport) -> Result<ProductionLook, ConvertError> {
    let v1::ProductionReport { project, versions, generation, deployment, failure, age } = report;
    let age = age.map(duration_from_proto).unwrap_or_default();
    let project = name::parse_project(&project).map_err(|error| ConvertError::new("project", error))?;
    let by = if deployment.is_empty() {
        LookBy::Observer(generation)
    } else {
        match name::parse_deployment(&deployment).map_err(|error| ConvertError::new("deployment", error))? {
            (of, deployment) if of == project => LookBy::Step { deployment, generation },
            _ => return Err(ConvertError::new("deployment", "must be of the project")),
        }
    };
    if versions.len() > SERVICES_MAX {
        return Err(ConvertError::new("versions", format!("must be at most {SERVICES_MAX}")));
    }
    if !failure.is_empty() {
        let why = failure.chars().take(LOOK_FAILURE_MAX).collect();
        return Ok(ProductionLook { project, by, age, seen: Err(why) });
    }
    let service = |version: v1::VersionProduction| {
        let v1::VersionProduction {
            version,
            service,
            desired,
            running,
            healthy,
            share_percent: _,
            target_group,
            target_group_weight,
        } = version;
        let weight = target_group_weight.min(WEIGHT_MAX);
        let route = group_from_proto(target_group).map(|group| Route { group, weight });
        ServiceState { service, version, desired, running, healthy, route }
    };
    Ok(ProductionLook { project, by, age, seen: Ok(versions.into_iter().map(service).collect()) })
}

fn check_count(field: &str, count: usize) -> Result<(), ConvertError> {
    if count <= TAGS_MAX { Ok(()) } else { Err(ConvertError::new(field, format!("must be at most {TAGS_MAX}"))) }
}

fn check_length_most(field: &str, text: &str, most: usize) -> Result<(), ConvertError> {
    if text.chars().count() <= most {
        Ok(())
    } else {
        Err(ConvertError::new(field, format!("must be at most {most} characters")))
    }
}

fn check_length(field: &str, text: &str, most: usize) -> Result<(), ConvertError> {
    if (1..=most).contains(&text.chars().count()) {
        Ok(())
    } else {
        Err(ConvertError::new(field, format!("must be 1 to {most} characters")))
    }
}

fn check_commit(field: &str, commit: &str) -> Result<(), ConvertError> {
    if matches!(commit.len(), 40 | 64) && commit.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err(ConvertError::new(field, "must be 40 or 64 lower-case hexadecimal digits"))
    }
}
