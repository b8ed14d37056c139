//! A project's state: a fold of its events. Requests and observations are decided against it and become events.

use crate::{
    deployment::{Deployment, Effect, Fact, IllegalEvent, Lease, Request},
    drift::KnownDrift,
    event::{Change, Event},
    hold::{Holds, Lifted},
    housekeeping::Removed,
    image::Digest,
    looks::Unobserved,
    names,
    observation::{Observation, ObservedBranch, ObservedHead, PollTarget},
    plan::ServiceCount,
    production::Production,
    project::ProjectSpec,
    release::{Head, Image, Moved, Release, Tag},
    time::Timestamp,
    version::{VersionPart, compare_tags, next_tag, version_of},
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
};
use thiserror::Error;

mod definition;
mod intent;
mod request;
mod serving;
#[cfg(test)]
mod tests;

pub use definition::DefinitionRefusal;
pub use intent::AUTO_DEPLOY;
pub use request::{DryRun, Refusal, WayBack, Wish};

/// Deployments that are kept, the newest.
pub const DEPLOYMENTS_KEPT: usize = 100;
/// Tags, and images, that a project may have: what one poll may bring, and a little for those that go.
pub const TAGS_MAX: usize = 25_000;

/// All that brain knows of one project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectState {
    /// Its definition.
    pub spec: ProjectSpec,
    /// When it was created.
    pub created: Timestamp,
    /// Git tags by name.
    pub tags: BTreeMap<String, Tag>,
    /// Images by tag.
    pub images: BTreeMap<String, Image>,
    /// The head of the branch.
    pub head: Option<Head>,
    /// Polls that fail, with why and since when.
    pub poll_failures: BTreeMap<PollTarget, PollFailure>,
    /// What runs, as it was last seen.
    pub production: Option<Production>,
    /// Why and since when that cannot be observed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unobserved: Option<Unobserved>,
    /// Deployments, oldest first.
    pub deployments: VecDeque<Deployment>,
    /// Counts as the latest deployment left them, by the most that each may be.
    pub serving: Vec<ServiceCount>,
    /// Where the repository has moved to, and since when that is known.
    #[serde(default)]
    pub source_moved: Option<(String, Timestamp)>,
    /// The tag that the policy asks for and that could not be made.
    #[serde(default)]
    pub tag_failure: Option<TagFailure>,
    /// What must not be deployed.
    #[serde(default)]
    pub holds: Holds,
    /// What of the set-up differs from the definition.
    #[serde(default)]
    pub drift: Vec<KnownDrift>,
    /// Who may be keeping house.
    #[serde(default)]
    pub housekeeper: Option<Lease>,
    /// What housekeeping last removed.
    #[serde(default)]
    pub removed: Option<Removed>,
    /// When the project was deleted. Of one that was, only its place on AWS is known, what may run there, and the next number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
    /// Number of the last deployment of a deleted project of this name; 0: there was none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub numbered: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like this")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A tag that could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagFailure {
    /// Tag.
    pub tag: String,
    /// Commit.
    pub commit: String,
    /// Why.
    pub why: String,
    /// Since when it fails.
    pub since: Timestamp,
}

/// Why and since when a poll fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollFailure {
    /// Why.
    pub why: String,
    /// Since when it fails at all.
    pub since: Timestamp,
}

/// An event that does not fit the state: the log is damaged, or was written by something else.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Misfit {
    /// The project's first event does not create it, or a later one does.
    #[error("a project is created by its first event, or once it was deleted, and by no other")]
    Creation,
    /// Something happens to a project that was deleted.
    #[error("the project was deleted")]
    Deleted,
    /// No such deployment.
    #[error("there is no deployment {0}")]
    NoDeployment(u64),
    /// The deployment's state machine refuses it.
    #[error("deployment {0}: {1}")]
    Illegal(u64, IllegalEvent),
    /// An event of the line among a project's, or the other way round.
    #[error("the event is of another stream")]
    Stream,
}

impl ProjectState {
    /// A project that was just created.
    #[must_use]
    pub fn new(spec: ProjectSpec, created: Timestamp) -> Self {
        Self {
            spec,
            created,
            tags: BTreeMap::new(),
            images: BTreeMap::new(),
            head: None,
            poll_failures: BTreeMap::new(),
            production: None,
            unobserved: None,
            deployments: VecDeque::new(),
            serving: Vec::new(),
            source_moved: None,
            tag_failure: None,
            holds: Holds::default(),
            drift: Vec::new(),
            housekeeper: None,
            removed: None,
            deleted: None,
            numbered: 0,
        }
    }

    /// Folds one event into a project that may not exist yet.
    pub fn fold(state: &mut Option<Self>, event: &Event) -> Result<Vec<Effect>, Misfit> {
        match (state.as_mut(), &event.change) {
            (None, Change::ProjectCreated(spec)) => {
                *state = Some(Self::new((**spec).clone(), event.at));
                Ok(Vec::new())
            }
            (Some(project), _) => project.apply(event),
            (None, _) => Err(Misfit::Creation),
        }
    }

    /// Folds one event. On an error nothing has changed.
    pub fn apply(&mut self, event: &Event) -> Result<Vec<Effect>, Misfit> {
        let at = event.at;
        match &event.change {
            Change::ProjectCreated(spec) if self.deleted.is_some() => self.created_again(spec, at),
            Change::ProjectCreated(_) => return Err(Misfit::Creation),
            _ if self.deleted.is_some() => return Err(Misfit::Deleted),
            Change::ProjectChanged { spec, .. } => self.redefined(spec),
            Change::ProjectDeleted { .. } => self.deleted(at),
            Change::LineStopped { .. } | Change::LineReleased { .. } => return Err(Misfit::Stream),
            Change::TagObserved { tag, commit } => {
                let known = self.tags.remove(tag).filter(|known| known.commit != *commit);
                let moved = known.map(|known| Box::new(Moved { from: known.commit, at }));
                self.tags.insert(tag.clone(), Tag { commit: commit.clone(), since: at, moved });
                self.tag_failure.take_if(|failure| failure.commit == *commit);
            }
            Change::TagRemoved { tag } => {
                self.tags.remove(tag);
            }
            Change::HeadObserved { commit, ahead_of } => {
                let since = self.head.as_ref().filter(|head| head.commit == *commit).map_or(at, |head| head.since);
                self.head = Some(Head { commit: commit.clone(), since, ahead_of: ahead_of.clone() });
                self.tag_failure.take_if(|failure| failure.commit != *commit);
            }
            Change::HeadRemoved => self.head = None,
            Change::SourceMoved { to } => self.source_moved = to.clone().map(|to| (to, at)),
            Change::TagFailed { tag, commit, why } => {
                let same = self.tag_failure.as_ref().filter(|failure| failure.tag == *tag && failure.commit == *commit);
                let since = same.map_or(at, |failure| failure.since);
                let (tag, commit, why) = (tag.clone(), commit.clone(), why.clone());
                self.tag_failure = Some(TagFailure { tag, commit, why, since });
            }
            Change::ImageObserved { tag, digest } => {
                let known = self.images.remove(tag).filter(|known| known.digest != *digest);
                let moved = known.map(|known| Box::new(Moved { from: known.digest.to_string(), at }));
                self.images.insert(tag.clone(), Image { digest: digest.clone(), since: at, moved });
            }
            Change::ImageRemoved { tag } => {
                self.images.remove(tag);
            }
            Change::PollFailed { target, why } => {
                let since = self.poll_failures.get(target).map_or(at, |failure| failure.since);
                self.poll_failures.insert(*target, PollFailure { why: why.clone(), since });
            }
            Change::PollRecovered { target } => {
                self.poll_failures.remove(target);
            }
            Change::ProductionObserved { services } => {
                self.production = Some(Production::new(services.clone(), at));
                self.unobserved = None;
            }
            Change::ProductionUnobserved { why, since } => {
                self.unobserved = Some(Unobserved { why: why.clone(), since: *since });
            }
            Change::ProductionObservedAgain => self.unobserved = None,
            Change::DriftObserved { drift } => self.learn_drift(drift, at),
            Change::HousekeepingBegan { lease, removable: _ } => self.housekeeper = Some(lease.clone()),
            Change::HousekeepingEnded { lease, removed } => self.house_kept(lease, removed, at),
            Change::HoldSet { hold, why } => {
                self.holds.set(hold, &event.by, why, at);
                self.approvals_changed();
            }
            Change::HoldLifted { lifted, why: _ } => {
                self.holds.lift(lifted);
                self.approvals_changed();
                if let Lifted::Quarantine { tag } = lifted {
                    self.pardon(tag);
                }
            }
            Change::DeploymentRequested(request) => self.begin(request, at),
            Change::DeploymentChanged { number, fact } => return self.deployment_changed(*number, fact, at),
        }
        Ok(Vec::new())
    }

    /// What waits to begin needs as many approvals as the project asks for now.
    fn approvals_changed(&mut self) {
        let required = self.holds.approvals.as_ref().map_or(0, |held| held.hold);
        if let Some(active) = self.deployments.back_mut().filter(|latest| !latest.phase.is_final()) {
            active.require_approvals(required);
        }
    }

    fn begin(&mut self, request: &Request, at: Timestamp) {
        self.deployments.push_back(Deployment::new(request.clone(), at));
        while self.deployments.len() > DEPLOYMENTS_KEPT {
            self.deployments.pop_front();
        }
    }

    fn deployment_changed(&mut self, number: u64, fact: &Fact, at: Timestamp) -> Result<Vec<Effect>, Misfit> {
        let (deployment, effects) = self.after(number, fact.clone(), at)?;
        if matches!(fact, Fact::Leased(_)) {
            // Whoever kept house has left, or its time is over.
            self.housekeeper = None;
        }
        if deployment.has_set_up() && self.deployment(number).is_some_and(|before| !before.has_set_up()) {
            self.learn_drift(&deployment.drift, at);
        }
        if deployment.phase.is_final() {
            self.serving = deployment.serving();
            self.serving.retain(|service| service.count > 0);
        }
        if let Some(slot) = self.deployments.iter_mut().find(|deployment| deployment.number == number) {
            *slot = deployment;
        }
        Ok(effects)
    }

    /// The deployment as it would be after `fact`, and what would have to be done.
    pub fn after(&self, number: u64, fact: Fact, at: Timestamp) -> Result<(Deployment, Vec<Effect>), Misfit> {
        let deployment = self.deployment(number).ok_or(Misfit::NoDeployment(number))?;
        deployment.clone().apply(&self.spec, fact, at).map_err(|error| Misfit::Illegal(number, error))
    }

    /// The deployment of that number.
    #[must_use]
    pub fn deployment(&self, number: u64) -> Option<&Deployment> {
        // Numbers rise; the one that is asked for is mostly the latest.
        self.deployments.iter().rev().find(|deployment| deployment.number == number)
    }

    /// The deployment in progress.
    #[must_use]
    pub fn active(&self) -> Option<&Deployment> {
        self.deployments.back().filter(|deployment| !deployment.phase.is_final())
    }

    /// What an observation changes; nothing when it is no news.
    #[must_use]
    pub fn observe(&self, observation: Observation) -> Vec<Change> {
        match observation {
            Observation::Source { complete, tags, removed, head, moved_to } => {
                let mut changes = self.observe_tags(complete, tags, removed);
                match head {
                    ObservedBranch::Unchanged => {}
                    ObservedBranch::Missing => changes.extend(self.head.is_some().then_some(Change::HeadRemoved)),
                    ObservedBranch::Head(head) => changes.extend(self.observe_head(head)),
                }
                if self.source_moved.as_ref().map(|(to, _)| to) != moved_to.as_ref() {
                    changes.push(Change::SourceMoved { to: moved_to });
                }
                changes
            }
            Observation::Images { complete, images, removed } => self.observe_images(complete, images, removed),
            Observation::Poll { target, failure } => match (self.poll_failures.get(&target), failure) {
                (Some(known), Some(why)) if known.why == why => Vec::new(),
                (_, Some(why)) => vec![Change::PollFailed { target, why }],
                (Some(_), None) => vec![Change::PollRecovered { target }],
                (None, None) => Vec::new(),
            },
            Observation::TagFailed { tag, commit, why } => {
                let same = |known: &TagFailure| known.tag == tag && known.commit == commit && known.why == why;
                let known = self.tag_failure.as_ref().is_some_and(same);
                if known { Vec::new() } else { vec![Change::TagFailed { tag, commit, why }] }
            }
            Observation::Production(services) => {
                let observed = Production::new(services, Timestamp(0)).services;
                let known = self.production.as_ref().is_some_and(|production| production.services == observed);
                match (known, &self.unobserved) {
                    (true, None) => Vec::new(),
                    (true, Some(_)) => vec![Change::ProductionObservedAgain],
                    (false, _) => vec![Change::ProductionObserved { services: observed }],
                }
            }
            Observation::ProductionUnobserved { why, since } => match &self.unobserved {
                Some(known) if known.why == why => Vec::new(),
                Some(known) => vec![Change::ProductionUnobserved { why, since: known.since }],
                None => vec![Change::ProductionUnobserved { why, since }],
            },
        }
    }

    fn observe_tags(&self, complete: bool, tags: Vec<(String, String)>, removed: Vec<String>) -> Vec<Change> {
        let gone = gone(&self.tags, complete, tags.iter().map(|(tag, _)| tag), removed);
        let mut changes: Vec<Change> = gone.into_iter().map(|tag| Change::TagRemoved { tag }).collect();
        let mut room = TAGS_MAX.saturating_sub(self.tags.len());
        for (tag, commit) in tags {
            match self.tags.get(&tag) {
                Some(known) if known.commit == commit => continue,
                Some(_) => {}
                None if room == 0 => continue,
                None => room -= 1,
            }
            changes.push(Change::TagObserved { tag, commit });
        }
        changes
    }

    fn observe_head(&self, observed: ObservedHead) -> Option<Change> {
        let ObservedHead { commit, ahead_of } = observed;
        let known = self.head.as_ref();
        let news = known.is_none_or(|head| head.commit != commit || (ahead_of.is_some() && head.ahead_of != ahead_of));
        news.then_some(Change::HeadObserved { commit, ahead_of })
    }

    fn observe_images(&self, complete: bool, images: Vec<(String, Digest)>, removed: Vec<String>) -> Vec<Change> {
        let gone = gone(&self.images, complete, images.iter().map(|(tag, _)| tag), removed);
        let mut changes: Vec<Change> = gone.into_iter().map(|tag| Change::ImageRemoved { tag }).collect();
        let mut room = TAGS_MAX.saturating_sub(self.images.len());
        for (tag, digest) in images {
            match self.images.get(&tag) {
                Some(known) if known.digest == digest => continue,
                Some(_) => {}
                None if room == 0 => continue,
                None => room -= 1,
            }
            changes.push(Change::ImageObserved { tag, digest });
        }
        changes
    }

    /// The release of that tag or version: a leading `v` may be left out or put in, where only one release fits.
    #[must_use]
    pub fn release(&self, text: &str) -> Option<Release<'_>> {
        let known = self.tags.get_key_value(text).map(|(name, _)| name);
        let known = known.or_else(|| self.images.get_key_value(text).map(|(name, _)| name));
        let name = if let Some(name) = known {
            name.as_str()
        } else {
            let version = version_of(text)?;
            let mut fitting = self.release_names().into_iter().filter(|name| version_of(name) == Some(version.clone()));
            match (fitting.next(), fitting.next()) {
                (Some(only), None) => only,
                _ => return None,
            }
        };
        Some(self.named(name))
    }

    /// All releases: every git tag, and every image whose tag is a version; highest version first, the rest by name.
    #[must_use]
    pub fn releases(&self) -> Vec<Release<'_>> {
        let mut names: Vec<&str> = self.release_names().into_iter().collect();
        names.sort_by(|a, b| {
            let by_version = Reverse(version_of(a).is_some()).cmp(&Reverse(version_of(b).is_some()));
            by_version.then_with(|| if version_of(a).is_some() { compare_tags(b, a) } else { a.cmp(b) })
        });
        names.into_iter().map(|name| self.named(name)).collect()
    }

    /// The release of exactly that tag, if it is among [`Self::releases`].
    #[must_use]
    pub fn listed_release<'a>(&'a self, tag: &'a str) -> Option<Release<'a>> {
        let listed = self.tags.contains_key(tag) || (version_of(tag).is_some() && self.images.contains_key(tag));
        listed.then(|| self.named(tag))
    }

    fn release_names(&self) -> BTreeSet<&str> {
        let versions = self.images.keys().filter(|tag| version_of(tag).is_some());
        self.tags.keys().chain(versions).map(String::as_str).collect()
    }

    fn named<'a>(&'a self, tag: &'a str) -> Release<'a> {
        Release { tag, git: self.tags.get(tag), image: self.images.get(tag) }
    }

    /// The git tag with the highest version.
    #[must_use]
    pub fn latest_tag(&self) -> Option<(&str, &Tag)> {
        let versions = self.tags.iter().filter(|(name, _)| version_of(name).is_some());
        versions.max_by(|a, b| compare_tags(a.0, b.0)).map(|(name, tag)| (name.as_str(), tag))
    }

    /// The tag after the latest one.
    #[must_use]
    pub fn next_tag(&self, part: VersionPart) -> Option<String> {
        next_tag(self.latest_tag().map(|(name, _)| name), part)
    }

    /// The tag and commit that the project's policy asks for now: the head's, when the latest tag has not all of it and no
    /// version stands on it.
    #[must_use]
    pub fn wanted_tag(&self) -> Option<(String, String)> {
        let part = self.spec.source.auto_tag?;
        let head = self.head.as_ref()?;
        let latest = self.latest_tag();
        let tagged = self.tags.iter().any(|(name, tag)| tag.commit == head.commit && version_of(name).is_some());
        if tagged || (latest.is_some() && !head.is_ahead(latest)) {
            return None;
        }
        Some((self.next_tag(part)?, head.commit.clone()))
    }

    /// The head's label, `0.0.5-a1234cba`.
    #[must_use]
    pub fn head_label(&self) -> Option<String> {
        Some(self.head.as_ref()?.label(self.latest_tag()))
    }

    /// Names of this project's AWS resources.
    #[must_use]
    pub fn resource_names(&self) -> names::ResourceNames {
        names::ResourceNames::for_spec(&self.spec)
    }
}

/// Known tags that are gone: those said to be, and when `complete` all that are not listed.
fn gone<'a, T>(
    known: &BTreeMap<String, T>,
    complete: bool,
    listed: impl Iterator<Item = &'a String>,
    removed: Vec<String>,
) -> Vec<String> {
    let listed: BTreeSet<&String> = listed.collect();
    let mut gone: BTreeSet<String> =
        removed.into_iter().filter(|tag| known.contains_key(tag) && !listed.contains(tag)).collect();
    if complete {
        gone.extend(known.keys().filter(|tag| !listed.contains(tag)).cloned());
    }
    gone.into_iter().collect()
}
