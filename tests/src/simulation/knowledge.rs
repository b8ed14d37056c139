//! What git hosts and registries hold, how watchers see it, and what the server knows of it.

use super::{
    faults::{Deliberate, PollTreatment},
    referee::Referee,
};
use anyhow::{Context, Result};
use async_trait::async_trait;
use brain_core::{image::Digest, project::ProjectSpec, state::ProjectState};
use brain_proto::v1::{HostState, ImageObservation, Observation, SourceObservation, observation::What};
use brain_watcher::{
    host::{Host, Hosts},
    source::{
        PollError,
        git::{Head, Refs},
        port::{ImagesPort, RepositoryPort, Sources},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::sleep;

/// Pasts that are kept for answers that are behind.
const PASTS: usize = 4;
/// Tags that come, move and go. None of them is ever deployed.
const TAGS: [&str; 4] = ["0.0.1", "0.0.2", "v0.0.3-rc.1", "odd"];

/// What one project has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    tags: BTreeMap<String, String>,
    head: Option<String>,
    images: BTreeMap<String, String>,
}

/// What all projects have, by id.
type Places = BTreeMap<String, Place>;

/// Git hosts and registries.
#[derive(Debug, Default)]
pub struct Hosted(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    now: Places,
    /// Newest first.
    pasts: VecDeque<Places>,
    /// Projects by the addresses of their sources.
    addresses: BTreeMap<String, String>,
    /// Addresses that a watcher has opened.
    opened: BTreeSet<String>,
    made: u32,
}

impl Hosted {
    /// A project's repositories, with a commit and nothing more.
    pub fn add(&self, spec: &ProjectSpec) {
        let id = spec.id.to_string();
        let mut inner = self.lock();
        inner.addresses.insert(spec.source.git_url.clone(), id.clone());
        inner.addresses.insert(spec.image_repository.to_string(), id.clone());
        let head = Some(inner.commit());
        inner.now.insert(id, Place { head, ..Place::default() });
    }

    /// A tag and its image.
    pub fn release(&self, id: &str, tag: &str, digest: &str) -> Result<()> {
        let mut inner = self.lock();
        let commit = inner.commit();
        let place = inner.now.get_mut(id).context("no such project")?;
        place.tags.insert(tag.to_owned(), commit);
        place.images.insert(tag.to_owned(), digest.to_owned());
        Ok(())
    }

    /// Somebody pushes, moves or removes something; answers what.
    pub fn change(&self, random: &mut fastrand::Rng) -> String {
        let mut inner = self.lock();
        let past = inner.now.clone();
        inner.pasts.push_front(past);
        inner.pasts.truncate(PASTS);
        let commit = inner.commit();
        let projects: Vec<String> = inner.now.keys().cloned().collect();
        let (Some(id), Some(tag)) = (random.choice(&projects), random.choice(TAGS)) else { return String::new() };
        let Some(place) = inner.now.get_mut(id) else { return String::new() };
        let tag = tag.to_owned();
        match random.u32(0..7) {
            0 | 1 => {
                place.tags.insert(tag.clone(), commit.clone());
                format!("{id}: tag {tag} is at {commit}")
            }
            2 => format!("{id}: tag {tag} goes: {:?}", place.tags.remove(&tag)),
            3 => {
                place.head = Some(commit.clone());
                format!("{id}: the head is at {commit}")
            }
            4 => format!("{id}: the branch goes: {:?}", place.head.take()),
            5 => {
                let digest = format!("sha256:{commit:0>64}");
                place.images.insert(tag.clone(), digest.clone());
                format!("{id}: image {tag} is {digest}")
            }
            _ => format!("{id}: image {tag} goes: {:?}", place.images.remove(&tag)),
        }
    }

    fn place(&self, id: &str, behind: usize) -> Place {
        let inner = self.lock();
        let past = behind.checked_sub(1).and_then(|ago| inner.pasts.get(ago));
        past.unwrap_or(&inner.now).get(id).cloned().unwrap_or_default()
    }

    /// The project of an address, and whether it was opened before.
    fn open(&self, address: &str) -> Option<(String, bool)> {
        let mut inner = self.lock();
        let id = inner.addresses.get(address).cloned()?;
        let again = !inner.opened.insert(address.to_owned());
        Some((id, again))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn commit(&mut self) -> String {
        self.made += 1;
        format!("{:040x}", self.made)
    }
}

/// One watcher's way to them.
pub struct Way {
    hosted: Arc<Hosted>,
    referee: Arc<Referee>,
    hosts: Hosts,
}

/// A project's source, as one watcher has it open.
struct Source {
    hosted: Arc<Hosted>,
    referee: Arc<Referee>,
    host: Arc<Host>,
    id: String,
    /// All that it ever shows.
    frozen: Option<Place>,
}

impl Way {
    /// A way of a watcher that begins now.
    #[must_use]
    pub fn new(hosted: Arc<Hosted>, referee: Arc<Referee>) -> Self {
        Self { hosted, referee, hosts: Hosts::default() }
    }

    fn open(&self, address: &str) -> Result<Source, PollError> {
        let (id, again) = self.hosted.open(address).ok_or_else(|| PollError::new("there is nothing there"))?;
        let loses = again && self.referee.faults.deliberate == Some(Deliberate::LosesShare);
        let frozen = loses.then(|| self.hosted.place(&id, 0));
        let (hosted, referee) = (Arc::clone(&self.hosted), Arc::clone(&self.referee));
        Ok(Source { hosted, referee, host: self.hosts.get(address), id, frozen })
    }
}

impl Sources for Way {
    fn repository(&self, url: &str, _: &str) -> Result<Box<dyn RepositoryPort>, PollError> {
        Ok(Box::new(self.open(url)?))
    }

    fn images(&self, name: &str) -> Result<Box<dyn ImagesPort>, PollError> {
        Ok(Box::new(self.open(name)?))
    }

    fn hosts(&self) -> Vec<HostState> {
        Vec::new()
    }
}

impl Source {
    async fn look(&self) -> Result<Place, PollError> {
        let PollTreatment { after, behind, fails } = self.referee.faults.poll();
        sleep(after).await;
        if fails {
            return Err(PollError { host_trouble: true, ..PollError::new("the host is in trouble") });
        }
        Ok(self.frozen.clone().unwrap_or_else(|| self.hosted.place(&self.id, behind)))
    }
}

#[async_trait]
impl RepositoryPort for Source {
    fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    async fn poll(&mut self) -> Result<Refs, PollError> {
        let Place { tags, head, images: _ } = self.look().await?;
        let head = head.map(|commit| Head { commit, ahead_of: None, newest: Vec::new() });
        Ok(Refs { tags, head, moved_to: None })
    }

    async fn create_tag(&mut self, _: &str, _: &str) -> Result<(), PollError> {
        Err(PollError::new("nobody may make tags here"))
    }
}

#[async_trait]
impl ImagesPort for Source {
    fn host(&self) -> Arc<Host> {
        Arc::clone(&self.host)
    }

    async fn poll(&mut self, _: bool) -> Result<BTreeMap<String, Digest>, PollError> {
        let Place { images, .. } = self.look().await?;
        let parsed = |digest: &str| Digest::parse(digest).map_err(|error| PollError::new(error.to_string()));
        images.into_iter().map(|(tag, digest)| Ok((tag, parsed(&digest)?))).collect()
    }
}

/// What the server knows, by what is durable.
#[derive(Debug, Default)]
pub struct Knowledge(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    now: Places,
    /// Polls that fail, by project.
    failing: BTreeMap<String, usize>,
    /// All that was ever known of a project.
    ever: BTreeSet<(String, String)>,
}

impl Knowledge {
    pub(super) fn committed(&self, state: &ProjectState) {
        let id = state.spec.id.to_string();
        let place = Place {
            tags: state.tags.iter().map(|(name, tag)| (name.clone(), tag.commit.clone())).collect(),
            head: state.head.as_ref().map(|head| head.commit.clone()),
            images: state.images.iter().map(|(tag, image)| (tag.clone(), image.digest.to_string())).collect(),
        };
        let mut known = self.lock();
        known.failing.insert(id.clone(), state.poll_failures.len());
        if known.now.get(&id) == Some(&place) {
            return;
        }
        known.ever.extend(facts(&place).map(|fact| (id.clone(), fact)));
        known.now.insert(id, place);
    }

    /// What of an observation was never durable.
    #[must_use]
    pub fn missing(&self, observation: &Observation) -> Vec<String> {
        let id = observation.project.trim_start_matches("projects/").to_owned();
        let mut place = Place::default();
        match observation.what.clone() {
            Some(What::Source(SourceObservation { tags, head, .. })) => {
                place.tags = tags.into_iter().map(|tag| (tag.name, tag.commit)).collect();
                place.head = head.map(|head| head.commit);
            }
            Some(What::Images(ImageObservation { images, .. })) => {
                place.images = images.into_iter().map(|image| (image.tag, image.digest)).collect();
            }
            _ => {}
        }
        let known = self.lock();
        let missing = facts(&place).filter(|fact| !known.ever.contains(&(id.clone(), fact.clone())));
        missing.map(|fact| format!("{id}: {fact}")).collect()
    }

    /// What the server knows otherwise than it is.
    #[must_use]
    pub fn differences(&self, hosted: &Hosted) -> Vec<String> {
        let (known, hosted) = (self.lock(), hosted.lock());
        let mut differences = Vec::new();
        for (id, place) in &hosted.now {
            let knows = known.now.get(id);
            if knows != Some(place) {
                differences.push(format!("{id} has {place:?}, and the server knows {knows:?}"));
            }
            if let Some(failing) = known.failing.get(id).filter(|failing| **failing > 0) {
                differences.push(format!("{id} is well, and the server knows of {failing} polls that fail"));
            }
        }
        differences
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn facts(place: &Place) -> impl Iterator<Item = String> {
    let Place { tags, head, images } = place;
    let tags = tags.iter().map(|(tag, commit)| format!("tag {tag} at {commit}"));
    let images = images.iter().map(|(tag, digest)| format!("image {tag} with {digest}"));
    tags.chain(images).chain(head.iter().map(|commit| format!("head {commit}")))
}
